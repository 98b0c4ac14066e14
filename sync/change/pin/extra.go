package pin

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"scap/sync/change"
	"scap/sync/change/git"
)

// maxLog is how many commits of a repository are read to find the extra ones.
const maxLog = 2000

// compare says how the parts differ from base: what would ship although nobody named it, and which files.
func (n *pinning) compare(ctx context.Context) error {
	if n.first {
		return nil
	}
	now := map[string]change.Part{}
	for _, part := range n.out.Parts {
		now[part.Path] = part
	}
	c := &comparison{n: n, now: now, files: map[string]bool{}}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, path := range slices.Sorted(maps.Keys(both(n.base, now))) {
		was, had := n.base[path]
		is, has := now[path]
		switch {
		case had && has && was.Project == is.Project:
			if was.Commit != is.Commit || was.Tree != is.Tree {
				g.Go(func() error { return c.changed(ctx, was, is) })
			}
			continue
		case had && !c.covered(path, n.base, now):
			c.whole(was, false)
		}
		if has && !c.covered(path, now, n.base) {
			c.whole(is, true)
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	slices.SortFunc(c.extra, func(a, b Extra) int { return strings.Compare(a.Path, b.Path) })
	n.out.Extra, n.out.Files = c.extra, slices.Sorted(maps.Keys(c.files))
	if n.out.Files == nil {
		n.out.Files = []string{}
	}
	return nil
}

func both(a, b map[string]change.Part) map[string]bool {
	all := map[string]bool{}
	for path := range a {
		all[path] = true
	}
	for path := range b {
		all[path] = true
	}
	return all
}

// comparison collects the differences.
type comparison struct {
	n   *pinning
	now map[string]change.Part

	mu    sync.Mutex
	extra []Extra
	files map[string]bool
}

// covered reports whether a part that only one side has is below another one that only that side has: then it goes
// without saying. The root covers nothing.
func (c *comparison) covered(path string, side, other map[string]change.Part) bool {
	for up := range side {
		if up != "" && up != path && within(path, up) && other[up].Project != side[up].Project {
			return true
		}
	}
	return false
}

// whole notes a repository that comes or goes.
func (c *comparison) whole(part change.Part, comes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files[part.Path+"/"] = true
	c.extra = append(c.extra, Extra{Path: part.Path, Project: part.Project, Branch: part.Branch, New: comes, Removed: !comes})
}

// changed compares a part with what it was.
func (c *comparison) changed(ctx context.Context, was, is change.Part) error {
	repo, err := c.n.p.o.Mirrors.Repo(is.Project)
	if err != nil {
		return err
	}
	if was.Tree != is.Tree {
		if err := c.list(ctx, repo, was, is); err != nil {
			return err
		}
	}
	if was.Commit == is.Commit {
		return nil
	}
	e, err := extra(ctx, repo, was, is, c.n.asks[change.Repo{Project: is.Project, Branch: is.Branch}])
	if err != nil {
		return err
	}
	if e.worth() {
		c.mu.Lock()
		c.extra = append(c.extra, e)
		c.mu.Unlock()
	}
	return nil
}

func (e Extra) worth() bool { return len(e.Commits) > 0 || len(e.Gone) > 0 || e.Unknown }

// list notes the files that differ. When the old tree is nowhere to be had, that is the whole repository.
func (c *comparison) list(ctx context.Context, repo *git.Repo, was, is change.Part) error {
	has, err := repo.Has(ctx, was.Tree)
	if err != nil {
		return err
	}
	var diffs []git.Diff
	if has[0] {
		if diffs, err = repo.Diff(ctx, was.Tree, is.Tree); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !has[0] {
		c.files[is.Path+"/"] = true
	}
	for _, d := range diffs {
		if d.New.Kind != git.Gitlink && d.Old.Kind != git.Gitlink {
			c.files[below(is.Path, d.Path)] = true
		}
	}
	return nil
}

// extra lists the commits between two states of a part that nobody named.
func extra(ctx context.Context, repo *git.Repo, was, is change.Part, named []ask) (Extra, error) {
	e := Extra{Path: is.Path, Project: is.Project, Branch: is.Branch}
	if _, err := repo.Fetch(ctx, was.Commit); err != nil {
		if !errors.Is(err, git.ErrNoRef) {
			return e, err
		}
		e.Unknown = true
		return e, nil
	}
	return e, e.fill(ctx, repo, was, is, named)
}

// fill reads both histories, which are in the mirror.
func (e *Extra) fill(ctx context.Context, repo *git.Repo, was, is change.Part, named []ask) error {
	log, err := repo.Log(ctx, was.Commit, is.Commit, maxLog)
	if err != nil {
		return err
	}
	e.More = len(log) == maxLog
	if log, err = unnamed(ctx, repo, log, was.Picks, named); err != nil {
		return err
	}
	if e.Gone, err = repo.Log(ctx, is.Commit, was.Commit, maxExtra); err != nil {
		return err
	}
	if len(log) > maxExtra {
		log, e.More = log[len(log)-maxExtra:], true
	}
	e.Commits = log
	return nil
}

// unnamed leaves out the named changes and the merges that brought them, bumps of submodules, and what the previous release
// had as a pick already, if it does the same.
func unnamed(ctx context.Context, repo *git.Repo, log []git.Commit, had []change.Pick, named []ask) ([]git.Commit, error) {
	if len(log) == 0 {
		return nil, nil
	}
	ids := make([]string, 0, len(log)+len(had))
	for _, c := range log {
		ids = append(ids, c.ID)
	}
	for _, pick := range had {
		has, err := repo.Has(ctx, pick.Revision)
		if err != nil {
			return nil, err
		}
		if has[0] && !pick.Revert {
			ids = append(ids, pick.Revision)
		}
	}
	for _, a := range named {
		if a.Status == change.Merged {
			continue
		}
		has, err := repo.Has(ctx, a.Revision)
		if err != nil {
			return nil, err
		}
		if has[0] {
			ids = append(ids, a.Revision)
		}
	}
	slices.Sort(ids)
	touched, err := repo.Touched(ctx, slices.Compact(ids)...)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{} // commits that need no word
	var rest []git.Commit
	for _, c := range log { // oldest first: a merge comes after what it merges
		known[c.ID] = isNamed(c, named, touched) || isBump(touched[c.ID]) || len(c.Parents) == 2 && known[c.Parents[1]]
		for _, pick := range had {
			known[c.ID] = known[c.ID] || c.ID == pick.Revision || !pick.Revert && len(touched[pick.Revision]) > 0 && slices.Equal(touched[c.ID], touched[pick.Revision])
		}
		if !known[c.ID] {
			rest = append(rest, c)
		}
	}
	return rest, nil
}

// isNamed reports whether a commit is a named change. One that was merged since it was looked up counts only if it does
// what the patch set did that was named: another patch set of it is nothing that anybody has seen.
func isNamed(c git.Commit, named []ask, touched map[string][]git.Diff) bool {
	return slices.ContainsFunc(named, func(a ask) bool {
		if a.revert || c.ID != a.Revision && (a.ID == "" || c.ChangeID != a.ID) {
			return false
		}
		return c.ID == a.Revision || a.Status == change.Merged || slices.Equal(touched[c.ID], touched[a.Revision])
	})
}

// isBump reports whether a commit does nothing but move submodules.
func isBump(touched []git.Diff) bool {
	for _, d := range touched {
		if d.Old.Kind != git.Gitlink || d.New.Kind != git.Gitlink {
			return false
		}
	}
	return len(touched) > 0
}
