package pin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"scap/sync/change/git"
)

// maxVersions bounds what wikiversions may name.
const maxVersions = 20

// Live is a version that wikis run.
type Live struct {
	Name   string // 1.41.0-wmf.5
	Branch string // of core
	Commit string // the branch's head
	Path   string // in the whole
}

// Heads are the branch heads of one moment. What is pinned, is pinned to them.
type Heads struct {
	Config string // commit of the configuration repository
	Live   []Live // oldest first
	// Others are the branches of core's versions that are not live, by version's name, and their commits.
	Others map[string]string
}

// Fetch brings the heads of the configuration repository and of core's live branches into the mirrors, all at once, and
// asks for the names of core's other branches. It does not look at submodules' repositories.
func (p *Pinner) Fetch(ctx context.Context) (*Heads, error) {
	config, core, err := p.repos()
	if err != nil {
		return nil, err
	}
	prefix, _, _ := strings.Cut(p.o.Core.Branch, "{version}")
	h := &Heads{}
	var remote map[string]string
	g, ctx2 := errgroup.WithContext(ctx)
	g.Go(func() error {
		ref := "refs/heads/" + p.o.Config.Branch
		got, err := config.Fetch(ctx2, ref)
		h.Config = got[ref]
		return err
	})
	g.Go(func() error {
		var err error
		remote, err = core.Remote(ctx2, prefix)
		return err
	})
	g.Go(func() error {
		p.guess(ctx2, config, core)
		return nil
	})
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("fetch the heads: %w", err)
	}
	names, err := p.versions(ctx, config, h.Config)
	if err != nil {
		return nil, err
	}
	if h.Live, err = p.live(ctx, core, names, remote); err != nil {
		return nil, err
	}
	h.Others = p.others(names, remote)
	return h, nil
}

func (p *Pinner) repos() (config, core *git.Repo, err error) {
	if config, err = p.o.Mirrors.Repo(p.o.Config.Project); err != nil {
		return nil, nil, err
	}
	core, err = p.o.Mirrors.Repo(p.o.Core.Project)
	return config, core, err
}

// guess fetches core's branches of the versions that were live when the mirrors were last fetched, which are nearly
// always those that still are. Whatever goes wrong comes again where it can be told.
func (p *Pinner) guess(ctx context.Context, config, core *git.Repo) {
	head, err := config.Head(ctx, p.o.Config.Branch)
	if err != nil {
		return
	}
	names, err := p.versions(ctx, config, head)
	if err != nil {
		return
	}
	refs := make([]string, len(names))
	for i, name := range names {
		refs[i] = "refs/heads/" + versioned(p.o.Core.Branch, name)
	}
	_, _ = core.Fetch(ctx, refs...)
}

// live makes sure that the heads of the versions' branches are in the mirror: as they are in remote when it has them.
func (p *Pinner) live(ctx context.Context, core *git.Repo, names []string, remote map[string]string) ([]Live, error) {
	all := make([]Live, len(names))
	var missing []string
	for i, name := range names {
		branch := versioned(p.o.Core.Branch, name)
		all[i] = Live{Name: name, Branch: branch, Path: versioned(p.o.Core.Path, name)}
		head, err := core.Head(ctx, branch)
		switch {
		case err == nil && head == remote[branch]:
			all[i].Commit = head
		case err != nil && !errors.Is(err, git.ErrNoRef):
			return nil, err
		default:
			missing = append(missing, "refs/heads/"+branch)
		}
	}
	if len(missing) == 0 {
		return all, nil
	}
	got, err := core.Fetch(ctx, missing...)
	if err != nil {
		return nil, fmt.Errorf("branches of core of the live versions: %w", err)
	}
	for i := range all {
		if all[i].Commit == "" {
			all[i].Commit = got["refs/heads/"+all[i].Branch]
		}
	}
	return all, nil
}

// others are the branches of versions that a change may be on although no wiki runs them: those that are newer than the
// oldest live one, such as the next train's.
func (p *Pinner) others(live []string, remote map[string]string) map[string]string {
	prefix, suffix, _ := strings.Cut(p.o.Core.Branch, "{version}")
	all := map[string]string{}
	for branch, head := range remote {
		name, ok := strings.CutPrefix(branch, prefix)
		if name, ok2 := strings.CutSuffix(name, suffix); ok && ok2 && checkVersion(name) == nil && !slices.Contains(live, name) {
			if len(live) == 0 || compareVersions(name, live[0]) > 0 {
				all[name] = head
			}
		}
	}
	return all
}

// versions reads the live versions' names from a commit of the configuration repository, oldest first.
func (p *Pinner) versions(ctx context.Context, config *git.Repo, commit string) ([]string, error) {
	text, err := config.File(ctx, commit, p.o.Wikiversions)
	if err != nil {
		return nil, fmt.Errorf("which versions are live: %w", err)
	}
	names, err := parseWikiversions(text, p.o.VersionPrefix)
	if err != nil {
		return nil, fmt.Errorf("which versions are live: %s in %.12s of %s: %w", p.o.Wikiversions, commit, p.o.Config.Project, err)
	}
	return names, nil
}

// parseWikiversions returns the distinct versions of {"enwiki": "php-1.41.0-wmf.5"}, oldest first.
func parseWikiversions(text []byte, prefix string) ([]string, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	var wikis map[string]string
	if err := dec.Decode(&wikis); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	var names []string
	for wiki, dir := range wikis {
		name, ok := strings.CutPrefix(dir, prefix)
		if !ok {
			return nil, fmt.Errorf("%.60q has %.60q, which does not begin with %q", wiki, dir, prefix)
		}
		if err := checkVersion(name); err != nil {
			return nil, fmt.Errorf("%.60q: %w", wiki, err)
		}
		if !slices.Contains(names, name) {
			if len(names) == maxVersions {
				return nil, fmt.Errorf("more than %d versions", maxVersions)
			}
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, errors.New("no wiki is in it")
	}
	slices.SortFunc(names, compareVersions)
	return names, nil
}

// checkVersion lets only through what can stand in a branch and in a directory's name.
func checkVersion(name string) error {
	ok := name != "" && len(name) <= 60 && name[0] != '.' && name[0] != '-' && !strings.Contains(name, "..")
	for _, c := range []byte(name) {
		ok = ok && (c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte(".-_", c) >= 0)
	}
	if !ok {
		return fmt.Errorf("%.60q is no version", name)
	}
	return nil
}

// compareVersions compares names with numbers as numbers: wmf.9 is before wmf.10.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		na, nb := digits(a), digits(b)
		if na > 0 && nb > 0 {
			da, db := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
			if len(da) != len(db) {
				return len(da) - len(db)
			}
			if c := strings.Compare(da, db); c != 0 {
				return c
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func digits(text string) int {
	n := 0
	for n < len(text) && text[n] >= '0' && text[n] <= '9' {
		n++
	}
	return n
}
