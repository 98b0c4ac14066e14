package fpm

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"scap/sync/release"
)

// link is the way from the served path to a release.
type link struct {
	served   string
	named    string // the directory of the releases as configured
	releases string // and without links in it, as PHP sees it
}

func newLink(served, releases string) link {
	return link{served: served, named: releases, releases: resolve(releases)}
}

// resolve is path without links, as far as it exists.
func resolve(path string) string {
	if clean, err := filepath.EvalSymlinks(path); err == nil {
		return clean
	}
	if parent := filepath.Dir(path); parent != path {
		return filepath.Join(resolve(parent), filepath.Base(path))
	}
	return path
}

// place turns the end of the way into the release that lies there.
func (l link) place(path string) (release.ID, error) {
	if path == l.served {
		return release.ID{}, fmt.Errorf("%s is no link: adopt the host first", path)
	}
	dir, name := filepath.Split(path)
	id, err := release.ParseID(name)
	if err != nil || resolve(filepath.Clean(dir)) != l.releases {
		return release.ID{}, fmt.Errorf("%s leads to %s, which is no release in %s", l.served, path, l.named)
	}
	return id, nil
}

// swapped is when one of the links on the way was last made. rename(2) sets it.
func (l link) swapped() time.Time {
	var youngest time.Time
	path := l.served
	for range 10 {
		info, err := os.Lstat(path)
		if err != nil || info.Mode()&os.ModeSymlink == 0 {
			break
		}
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			if at := time.Unix(s.Ctim.Unix()); at.After(youngest) {
				youngest = at
			}
		}
		next, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(next) {
			next = filepath.Join(filepath.Dir(path), next)
		}
		path = next
	}
	return youngest
}
