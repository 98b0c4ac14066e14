package store

import (
	"fmt"
	"path"
	"strings"
)

// excludes are the patterns of SnapshotOptions.Excludes, ready to match.
type excludes []exclude

type exclude struct {
	parts    []string // of the pattern; "**" stands for any number of elements
	anchored bool     // to the tree's root
	dirOnly  bool
}

// newExcludes reads patterns, rsync's simple forms:
//
//	*.cdb      any file or directory of that name, wherever it lies
//	/scap      the one at the root only
//	a/*.php    the end of a path, wherever it begins
//	**/.git    the same as .git; ** stands for any number of directories
//	cache/     directories only
//
// Within one element *, ? and [a-z] have the shell's meaning. What lies in an excluded directory is not looked at.
func newExcludes(patterns []string) (excludes, error) {
	out := excludes{{parts: []string{".git"}}}
	for _, text := range patterns {
		e := exclude{anchored: strings.HasPrefix(text, "/"), dirOnly: strings.HasSuffix(text, "/")}
		for part := range strings.SplitSeq(strings.Trim(text, "/"), "/") {
			if _, err := path.Match(part, ""); err != nil || part == "" || part == ".." || part == "." {
				return nil, fmt.Errorf("exclude pattern %q: not one that can match a path", text)
			}
			e.parts = append(e.parts, part)
		}
		out = append(out, e)
	}
	return out, nil
}

// Excluder returns what SnapshotOptions.Excludes leave out of a tree: whether the entry at a path is, alone or because a
// directory above it is.
func Excluder(patterns []string) (func(path string) bool, error) {
	x, err := newExcludes(patterns)
	if err != nil {
		return nil, err
	}
	return func(path string) bool {
		for i := range len(path) {
			if path[i] == '/' && x.match(path[:i], true) {
				return true
			}
		}
		return x.match(path, false)
	}, nil
}

// match reports whether the entry at a path of the tree is left out.
func (x excludes) match(p string, isDir bool) bool {
	var parts []string
	for _, e := range x {
		if e.dirOnly && !isDir {
			continue
		}
		if len(e.parts) == 1 && !e.anchored {
			if ok, _ := path.Match(e.parts[0], p[strings.LastIndexByte(p, '/')+1:]); ok || e.parts[0] == "**" {
				return true
			}
			continue
		}
		if parts == nil {
			parts = strings.Split(p, "/")
		}
		if e.anchored && fits(e.parts, parts) {
			return true
		}
		for i := range parts {
			if !e.anchored && fits(e.parts, parts[i:]) {
				return true
			}
		}
	}
	return false
}

// fits reports whether a pattern covers all of a path.
func fits(pattern, parts []string) bool {
	if len(pattern) == 0 {
		return len(parts) == 0
	}
	if pattern[0] == "**" {
		return fits(pattern[1:], parts) || len(parts) > 0 && fits(pattern, parts[1:])
	}
	if len(parts) == 0 {
		return false
	}
	ok, _ := path.Match(pattern[0], parts[0])
	return ok && fits(pattern[1:], parts[1:])
}
