package pin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"scap/sync/change"
	"scap/sync/change/git"
)

// maxDepth bounds how deep submodules may nest.
const maxDepth = 8

// ask is a change that was named.
type ask struct {
	change.Change
	revert bool // it is taken back
}

// pinning is one Pin under way.
type pinning struct {
	p     *Pinner
	h     *Heads
	first bool                   // there is no previous release
	base  map[string]change.Part // of it, by path
	asks  map[change.Repo][]ask  // in order

	mu      sync.Mutex
	fetched map[string]map[string]string // project -> ref -> commit
	links   map[string]map[string]string // path of a base part -> path in it -> commit of the submodule there
	out     Pinned
}

// Pin says what the tree will be when picks are merged and reverts are taken back, in this order, on top of the heads. Merged
// changes among picks need no pick: they must be on their branch. base are the parts of the previous release; nil: there is
// none.
//
// A repository with named changes is as its branch says. Other submodules are as core says, except that one which an earlier
// backport took further than core yet knows stays so until core moves past it, and that picks of base which are on no branch
// yet stay in place (Pinned.Carried). Repositories of submodules that are as in base are not looked at.
//
// A conflict is a *git.Conflict in a *ChangeError. A change that is no longer what was looked up is an ErrMoved, one of no
// deployed repository an ErrNowhere.
func (p *Pinner) Pin(ctx context.Context, h *Heads, base []change.Part, picks, reverts []change.Change) (*Pinned, error) {
	n := &pinning{
		p: p, h: h, first: base == nil, base: map[string]change.Part{}, asks: map[change.Repo][]ask{},
		fetched: map[string]map[string]string{}, links: map[string]map[string]string{}, out: Pinned{Paths: map[int][]string{}},
	}
	for _, part := range base {
		n.base[part.Path] = part
	}
	n.named(picks, reverts)
	if err := n.fetchAsked(ctx); err != nil {
		return nil, err
	}
	if err := n.compose(ctx); err != nil {
		return nil, err
	}
	if err := n.landed(append(slices.Clone(picks), reverts...)); err != nil {
		return nil, err
	}
	if err := n.compare(ctx); err != nil {
		return nil, err
	}
	for number, paths := range n.out.Paths {
		slices.Sort(paths)
		n.out.Paths[number] = slices.Compact(paths)
	}
	slices.SortFunc(n.out.Carried, func(a, b Carried) int { return strings.Compare(a.Path, b.Path) })
	return &n.out, nil
}

// named files the changes under their repositories; one that is named twice counts once.
func (n *pinning) named(picks, reverts []change.Change) {
	type key struct {
		number int
		revert bool
	}
	seen := map[key]bool{}
	add := func(c change.Change, revert bool) {
		if k := (key{c.Number, revert}); !seen[k] {
			seen[k] = true
			repo := change.Repo{Project: c.Project, Branch: c.Branch}
			n.asks[repo] = append(n.asks[repo], ask{c, revert})
		}
	}
	for _, c := range picks {
		add(c, false)
	}
	for _, c := range reverts {
		add(c, true)
	}
}

// fetchAsked brings the named changes, and the branches they are for, into the mirrors: one fetch a repository, all at once.
// Heads of configuration and core are those that were pinned.
func (n *pinning) fetchAsked(ctx context.Context) error {
	refs := map[string][]string{}
	for repo, asks := range n.asks {
		if repo != n.p.o.Config && repo.Project != n.p.o.Core.Project {
			refs[repo.Project] = append(refs[repo.Project], "refs/heads/"+repo.Branch)
		}
		for _, a := range asks {
			switch {
			case !git.IsID(a.Revision):
				return about(a.Change, fmt.Errorf("revision %q: %w", a.Revision, git.ErrName))
			case a.revert || a.Status == change.Merged:
				continue // it is on the branch
			case !strings.HasPrefix(a.Ref, "refs/changes/"):
				return about(a.Change, fmt.Errorf("ref %q: %w", a.Ref, git.ErrName))
			}
			refs[repo.Project] = append(refs[repo.Project], a.Ref)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	for project, refs := range refs {
		g.Go(func() error {
			repo, err := n.p.o.Mirrors.Repo(project)
			if err != nil {
				return err
			}
			got, err := repo.Fetch(ctx, refs...)
			if err != nil {
				return fmt.Errorf("fetch the named changes of %s: %w", project, err)
			}
			n.mu.Lock()
			n.fetched[project] = got
			n.mu.Unlock()
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, asks := range n.asks {
		for _, a := range asks {
			if got, ok := n.fetched[a.Project][a.Ref]; ok && got != a.Revision {
				return about(a.Change, fmt.Errorf("patch set %d is %.12s, and %s is %.12s: %w", a.PatchSet, a.Revision, a.Ref, got, ErrMoved))
			}
		}
	}
	return nil
}

// compose makes the parts.
func (n *pinning) compose(ctx context.Context) error {
	config, core, err := n.p.repos()
	if err != nil {
		return err
	}
	root, err := n.part(ctx, config, place{branch: n.p.o.Config.Branch, commit: n.h.Config, asks: n.asks[n.p.o.Config]})
	if err != nil {
		return err
	}
	live := n.h.Live
	if root.Head != n.h.Config { // a change may bring a version, or end one
		names, err := n.p.versions(ctx, config, root.Head)
		if err != nil {
			return err
		}
		if live, err = n.moveTo(ctx, core, names); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.below(ctx, config, root, nil, 0) })
	for _, v := range live {
		g.Go(func() error {
			repo := change.Repo{Project: core.Project(), Branch: v.Branch}
			part, err := n.part(ctx, core, place{path: v.Path, branch: v.Branch, commit: v.Commit, asks: n.asks[repo]})
			if err != nil {
				return err
			}
			return n.below(ctx, core, part, &v, 0)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	slices.SortFunc(n.out.Parts, func(a, b change.Part) int { return strings.Compare(a.Path, b.Path) })
	for i := 1; i < len(n.out.Parts); i++ {
		if n.out.Parts[i].Path == n.out.Parts[i-1].Path {
			return fmt.Errorf("%s and %s are both at %q", n.out.Parts[i-1].Project, n.out.Parts[i].Project, n.out.Parts[i].Path)
		}
	}
	return nil
}

// moveTo returns the heads of the versions that will be live; those of versions that were not yet are fetched.
func (n *pinning) moveTo(ctx context.Context, core *git.Repo, names []string) ([]Live, error) {
	known := map[string]string{}
	for _, v := range n.h.Live {
		known[v.Branch] = v.Commit
	}
	all := make([]Live, len(names))
	for i, name := range names {
		branch := versioned(n.p.o.Core.Branch, name)
		all[i] = Live{Name: name, Branch: branch, Path: versioned(n.p.o.Core.Path, name), Commit: known[branch]}
		if all[i].Commit == "" {
			ref := "refs/heads/" + branch
			got, err := core.Fetch(ctx, ref)
			if err != nil {
				return nil, fmt.Errorf("version %s, which the named changes make live: %w", name, err)
			}
			all[i].Commit = got[ref]
		}
	}
	return all, nil
}

// below adds a part and all that is mounted in it.
func (n *pinning) below(ctx context.Context, repo *git.Repo, part change.Part, v *Live, depth int) error {
	n.add(part)
	mounts, err := n.p.mounts(ctx, repo, part.Head)
	if err != nil {
		return err
	}
	if len(mounts) > 0 && depth == maxDepth {
		return fmt.Errorf("submodules at %q nest more than %d deep: %w", part.Path, maxDepth, git.ErrName)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, m := range mounts {
		if path := below(part.Path, m.Path); n.unchanged(m, path, v) {
			n.add(n.subtree(path)...)
			continue
		}
		g.Go(func() error { return n.mount(ctx, m, part, v, depth+1) })
	}
	return g.Wait()
}

func (n *pinning) add(parts ...change.Part) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, part := range parts {
		part.Patches, part.Patched = nil, ""
		n.out.Parts = append(n.out.Parts, part)
	}
}

// subtree returns the base's parts at path and below.
func (n *pinning) subtree(path string) []change.Part {
	var all []change.Part
	for at, part := range n.base {
		if within(at, path) {
			all = append(all, part)
		}
	}
	return all
}

// unchanged reports whether all at path and below is what base has, and nothing in it was named.
func (n *pinning) unchanged(m mount, path string, v *Live) bool {
	was, had := n.base[path]
	return had && was.Project == m.project && was.Commit == m.Commit && len(n.asked(m, v)) == 0 && n.settled(path, v)
}

// settled reports whether the base's parts at path and below have no picks, and no change that is for them was named.
func (n *pinning) settled(path string, v *Live) bool {
	for _, part := range n.subtree(path) {
		if len(part.Picks) > 0 || part.Head != part.Commit {
			return false
		}
		if v != nil && len(n.asks[change.Repo{Project: part.Project, Branch: v.Branch}]) > 0 {
			return false
		}
	}
	return true
}

func (n *pinning) asked(m mount, v *Live) []ask {
	if v == nil {
		return nil
	}
	return n.asks[change.Repo{Project: m.project, Branch: v.Branch}]
}

// mount adds a submodule that is not simply as in base, and all below it.
func (n *pinning) mount(ctx context.Context, m mount, parent change.Part, v *Live, depth int) error {
	repo, err := n.p.o.Mirrors.Repo(m.project)
	if err != nil {
		return err
	}
	at := place{path: below(parent.Path, m.Path), commit: m.Commit, asks: n.asked(m, v)}
	switch was, had := n.base[at.path]; {
	case len(at.asks) > 0:
		at.branch, at.commit = v.Branch, n.fetched[m.project]["refs/heads/"+v.Branch]
	case had && was.Project == m.project && was.Branch != "":
		ahead := was.Commit == m.Commit
		if !ahead {
			if ahead, err = n.ahead(ctx, repo, m, parent, was); err != nil {
				return err
			}
		}
		if ahead && n.settled(at.path, v) {
			n.add(n.subtree(at.path)...)
			return nil
		}
		if ahead {
			at.branch, at.commit = was.Branch, was.Commit
		}
	}
	branch := at.branch
	if branch == "" && v != nil {
		branch = v.Branch
	}
	if err := n.bring(ctx, repo, at.commit, branch); err != nil {
		return fmt.Errorf("submodule at %q: %w", at.path, err)
	}
	part, err := n.part(ctx, repo, at)
	if err != nil {
		return err
	}
	return n.below(ctx, repo, part, v, depth)
}

// ahead reports whether the previous release has the submodule further than core names it because core's bumps come
// late: core names what it named then, or moved on from there but not yet as far. If core went anywhere else, somebody
// meant it.
func (n *pinning) ahead(ctx context.Context, repo *git.Repo, m mount, parent, was change.Part) (bool, error) {
	then, err := n.linkThen(ctx, parent.Path, m.Path)
	if err != nil || then == "" {
		return false, err
	}
	if then == m.Commit {
		return true, nil
	}
	has, err := repo.Has(ctx, m.Commit, then, was.Commit)
	if err != nil || slices.Contains(has, false) {
		return false, err // then core's word counts
	}
	forward, err := repo.Contains(ctx, m.Commit, then)
	if err != nil || !forward {
		return false, err
	}
	return repo.Contains(ctx, was.Commit, m.Commit)
}

// linkThen returns the commit that the previous release's part at path named for a submodule; "" when it named none or
// can no longer be read.
func (n *pinning) linkThen(ctx context.Context, path, sub string) (string, error) {
	part, ok := n.base[path]
	if !ok {
		return "", nil
	}
	n.mu.Lock()
	links, known := n.links[path]
	n.mu.Unlock()
	if !known {
		repo, err := n.p.o.Mirrors.Repo(part.Project)
		if err != nil {
			return "", err
		}
		subs, err := repo.Submodules(ctx, part.Head)
		if err != nil && !errors.Is(err, git.ErrNoRef) {
			return "", err
		}
		links = map[string]string{}
		for _, s := range subs {
			links[s.Path] = s.Commit
		}
		n.mu.Lock()
		n.links[path] = links
		n.mu.Unlock()
	}
	return links[sub], nil
}

// bring makes sure that a commit is in the mirror. A server that hands out no single commits is asked for the branch.
func (n *pinning) bring(ctx context.Context, repo *git.Repo, commit, branch string) error {
	_, err := repo.Fetch(ctx, commit)
	if !errors.Is(err, git.ErrNoRef) || branch == "" {
		return err
	}
	if _, second := repo.Fetch(ctx, "refs/heads/"+branch); second != nil {
		return err
	}
	has, second := repo.Has(ctx, commit)
	if second == nil && has[0] {
		return nil
	}
	return err
}

// landed refuses changes that were named and are for nothing that is deployed. One for a branch of core's that no wiki runs
// is let through: it changes no path.
func (n *pinning) landed(all []change.Change) error {
	for _, c := range all {
		if _, ok := n.out.Paths[c.Number]; ok {
			continue
		}
		for name := range n.h.Others {
			if c.Branch == versioned(n.p.o.Core.Branch, name) {
				n.out.Paths[c.Number] = []string{}
			}
		}
		if _, ok := n.out.Paths[c.Number]; !ok {
			return about(c, ErrNowhere)
		}
	}
	return nil
}
