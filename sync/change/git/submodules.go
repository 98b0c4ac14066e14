package git

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
)

// Submodule is another repository that a commit mounts.
type Submodule struct {
	Name   string // in .gitmodules
	Path   string // in the commit's tree
	URL    string // as written: see Project
	Branch string // that it follows; "": none is named
	Commit string
}

const (
	maxModules     = 4 << 20 // of .gitmodules
	maxSubmodules  = 10000
	pathsAtOnce    = 500
	gitmodulesFile = ".gitmodules"
)

// Submodules lists the submodules of a commit (or of a tree), by path: those that .gitmodules names and that the tree has.
// The tree is not walked. Hostile names, paths and URLs are refused.
func (r *Repo) Submodules(ctx context.Context, commit string) ([]Submodule, error) {
	if err := checkID(commit); err != nil {
		return nil, err
	}
	if all, ok := r.memory.mounted(commit); ok {
		return all, nil
	}
	all, err := r.submodules(ctx, commit)
	if err == nil {
		r.memory.mount(commit, all)
	}
	return all, err
}

func (r *Repo) submodules(ctx context.Context, commit string) ([]Submodule, error) {
	found, err := r.check(ctx, []string{commit, commit + ":" + gitmodulesFile})
	if err != nil {
		return nil, err
	}
	switch {
	case found[0].kind == "":
		return nil, fmt.Errorf("%s of %s: %w", commit, r.project, ErrNoRef)
	case found[1].kind == "":
		return nil, nil
	case found[1].kind != "blob" || found[1].size > maxModules:
		return nil, fmt.Errorf(".gitmodules in %s of %s: it is no file, or too long: %w", commit, r.project, ErrName)
	}
	out, _, err := r.run(ctx, command{verb: "config", args: []string{"--blob", found[1].id, "--null", "--list"}})
	if err != nil {
		return nil, fmt.Errorf(".gitmodules in %s of %s: %w", commit, r.project, err)
	}
	all, err := parseModules(string(out))
	if err != nil {
		return nil, fmt.Errorf(".gitmodules in %s of %s: %w", commit, r.project, err)
	}
	if err := r.gitlinks(ctx, commit, all); err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(s Submodule) bool { return s.Commit == "" })
	return all, nil
}

// parseModules reads git config's list of .gitmodules: key, newline, value, NUL.
func parseModules(list string) ([]Submodule, error) {
	byName := map[string]*Submodule{}
	for _, item := range strings.Split(list, "\x00") {
		key, value, _ := strings.Cut(item, "\n")
		rest, ok := strings.CutPrefix(key, "submodule.")
		dot := strings.LastIndexByte(rest, '.')
		if !ok || dot < 0 {
			continue
		}
		name, what := rest[:dot], rest[dot+1:]
		if err := checkPath("submodule", name); err != nil {
			return nil, err
		}
		s := byName[name]
		if s == nil {
			if len(byName) >= maxSubmodules {
				return nil, fmt.Errorf("more than %d submodules: %w", maxSubmodules, ErrName)
			}
			s = &Submodule{Name: name}
			byName[name] = s
		}
		switch what { // the last one counts, as in git
		case "path":
			s.Path = strings.TrimSuffix(value, "/")
		case "url":
			s.URL = value
		case "branch":
			s.Branch = value
		}
	}
	return checkModules(byName)
}

func checkModules(byName map[string]*Submodule) ([]Submodule, error) {
	var all []Submodule
	paths := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		s := byName[name]
		if s.Path == "" {
			continue // half a section mounts nothing
		}
		if err := checkPath("submodule's path", s.Path); err != nil {
			return nil, err
		}
		if other, twice := paths[s.Path]; twice {
			return nil, fmt.Errorf("submodules %q and %q are both at %q: %w", other, name, s.Path, ErrName)
		}
		paths[s.Path] = name
		switch {
		case strings.HasPrefix(s.URL, "-"):
			return nil, refused("submodule's URL", s.URL, `it begins with "-"`)
		case len(s.URL) > maxPath || strings.ContainsFunc(s.URL, func(c rune) bool { return c < ' ' || c == 0x7f }):
			return nil, refused("submodule's URL", s.URL, "it is too long, or a control character is in it")
		}
		if s.Branch != "" && s.Branch != "." {
			if err := CheckBranch(s.Branch); err != nil {
				return nil, err
			}
		}
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b Submodule) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// gitlinks looks up the commits at the submodules' paths; git reads the directories on the way to them and no others.
func (r *Repo) gitlinks(ctx context.Context, commit string, all []Submodule) error {
	at := make(map[string]int, len(all))
	for i, s := range all {
		at[s.Path] = i
	}
	for chunk := range slices.Chunk(all, pathsAtOnce) {
		args := []string{"-z", "--full-tree", commit, "--"}
		for _, s := range chunk {
			args = append(args, s.Path)
		}
		out, _, err := r.run(ctx, command{verb: "ls-tree", args: args})
		if err != nil {
			return err
		}
		for _, line := range strings.Split(string(out), "\x00") {
			head, where, _ := strings.Cut(line, "\t")
			words := strings.Fields(head)
			if i, ok := at[where]; ok && len(words) == 3 && words[0] == "160000" && IsID(words[2]) {
				all[i].Commit = words[2]
			}
		}
	}
	return nil
}

// ErrElsewhere means that a submodule's URL leads to another server than ours.
var ErrElsewhere = errors.New("it is on another server")

// Project says which of the server's projects a submodule's URL means: base is the server's URL, own the project whose
// .gitmodules has it. Relative URLs are taken as git takes them; of absolute ones, those of our server's name are ours, by
// whatever scheme, port, user and with or without Gerrit's /a/ and /p/.
func Project(base, own, link string) (string, error) {
	if err := CheckProject(own); err != nil {
		return "", err
	}
	if link == "" || len(link) > maxPath {
		return "", refused("submodule's URL", link, "it is empty or too long")
	}
	var name string
	switch {
	case strings.HasPrefix(link, "./") || strings.HasPrefix(link, "../"):
		name = path.Join("/"+own, link)
		// path.Join does not go above "/", where git would leave the server's projects.
		if depth(own, link) < 0 {
			return "", refused("submodule's URL", link, "it leads out of the server's projects")
		}
	default:
		var err error
		if name, err = absolute(base, link); err != nil {
			return "", err
		}
	}
	name = strings.TrimSuffix(strings.Trim(name, "/"), ".git")
	if err := CheckProject(name); err != nil {
		return "", fmt.Errorf("submodule's URL %q: %w", link, err)
	}
	return name, nil
}

// depth is how many names are left at the lowest point of the way that link goes from own.
func depth(own, link string) int {
	left := strings.Count(own, "/") + 1
	lowest := left
	for _, part := range strings.Split(link, "/") {
		switch part {
		case "..":
			left--
		case "", ".":
		default:
			left++
		}
		lowest = min(lowest, left)
	}
	return lowest
}

// absolute takes the server and its prefix off an absolute URL.
func absolute(base, link string) (string, error) {
	b, err := url.Parse(base)
	if err != nil {
		return "", refused("server's URL", base, "it cannot be read")
	}
	if host, rest, ok := strings.Cut(link, ":"); ok && !strings.Contains(host, "/") && !strings.HasPrefix(rest, "/") && !strings.Contains(link, "://") {
		link = "ssh://" + host + "/" + rest // git@host:project
	}
	u, err := url.Parse(link)
	if err != nil || u.Scheme == "" {
		return "", refused("submodule's URL", link, "it cannot be read")
	}
	if !strings.EqualFold(u.Hostname(), b.Hostname()) || (u.Scheme == "file") != (b.Scheme == "file") {
		return "", fmt.Errorf("submodule's URL %q: %w than %s", u.Redacted(), ErrElsewhere, b.Host)
	}
	name := strings.Trim(u.Path, "/")
	prefix := strings.Trim(b.Path, "/")
	for _, p := range []string{prefix, strings.TrimSuffix("/"+prefix, "/a")} {
		if p = strings.Trim(p, "/"); p != "" && strings.HasPrefix(name, p+"/") {
			name = name[len(p)+1:]
			break
		}
	}
	for _, p := range []string{"a/", "p/"} {
		name = strings.TrimPrefix(name, p)
	}
	return name, nil
}
