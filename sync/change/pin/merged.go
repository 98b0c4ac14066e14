package pin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"scap/sync/change"
	"scap/sync/change/git"
)

// Difference is a repository whose branch is, after the merge, not what was pinned and tested.
type Difference struct {
	Path, Project, Branch string
	Want, Have            string       // git trees
	Commits               []git.Commit // on the branch and not among what was pinned, oldest first
	Files                 []string     // paths in the whole at which the trees differ, sorted
}

// Merged fetches the branches of the repositories that picks are for and compares them with what was pinned, tree by tree.
// Without a difference, parts are the pinned ones as they are on the branches now: the same files, other commits, no picks
// of these changes. In core, submodules may have been moved to commits with the pinned trees. Repositories without a pick
// are not looked at: what others merge there is not part of this.
func (p *Pinner) Merged(ctx context.Context, pinned *Pinned, picks []change.Change) ([]change.Part, []Difference, error) {
	repos := map[change.Repo]bool{}
	numbers := map[int]change.Change{}
	for _, c := range picks {
		repos[change.Repo{Project: c.Project, Branch: c.Branch}] = true
		numbers[c.Number] = c
	}
	m := &merging{p: p, parts: slices.Clone(pinned.Parts), numbers: numbers}
	var looked []int
	for i, part := range m.parts {
		mine := slices.ContainsFunc(part.Picks, func(pick change.Pick) bool { _, ok := numbers[pick.Number]; return ok })
		if mine && repos[change.Repo{Project: part.Project, Branch: part.Branch}] {
			looked = append(looked, i)
		}
	}
	if err := m.fetch(ctx, looked); err != nil {
		return nil, nil, err
	}
	// Inner parts first: what core may name depends on what they are.
	slices.SortFunc(looked, func(a, b int) int { return strings.Compare(m.parts[b].Path, m.parts[a].Path) })
	var diffs []Difference
	for _, i := range looked {
		diff, err := m.compare(ctx, i)
		if err != nil {
			return nil, nil, fmt.Errorf("compare the merged %s on %s: %w", m.parts[i].Project, m.parts[i].Branch, err)
		}
		if diff != nil {
			diffs = append(diffs, *diff)
		}
	}
	slices.SortFunc(diffs, func(a, b Difference) int { return strings.Compare(a.Path, b.Path) })
	return m.parts, diffs, nil
}

// merging is one Merged under way.
type merging struct {
	p       *Pinner
	parts   []change.Part
	numbers map[int]change.Change
	heads   map[int]string
}

// fetch brings the branches of the looked-at parts, one fetch a repository, all at once.
func (m *merging) fetch(ctx context.Context, looked []int) error {
	refs := map[string]map[string]bool{}
	for _, i := range looked {
		part := m.parts[i]
		if refs[part.Project] == nil {
			refs[part.Project] = map[string]bool{}
		}
		refs[part.Project]["refs/heads/"+part.Branch] = true
	}
	results := make(chan map[string]string, len(refs))
	g, ctx := errgroup.WithContext(ctx)
	for project, set := range refs {
		g.Go(func() error {
			repo, err := m.p.o.Mirrors.Repo(project)
			if err != nil {
				return err
			}
			got, err := repo.Fetch(ctx, slices.Sorted(maps.Keys(set))...)
			if err != nil {
				return fmt.Errorf("fetch what was merged in %s: %w", project, err)
			}
			named := map[string]string{}
			for ref, commit := range got {
				named[project+" "+ref] = commit
			}
			results <- named
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	close(results)
	all := map[string]string{}
	for got := range results {
		maps.Copy(all, got)
	}
	m.heads = map[int]string{}
	for _, i := range looked {
		m.heads[i] = all[m.parts[i].Project+" refs/heads/"+m.parts[i].Branch]
	}
	return nil
}

// compare puts what is still not merged, and not of this deploy, on the branch's head, and compares the tree.
func (m *merging) compare(ctx context.Context, i int) (*Difference, error) {
	pinned := m.parts[i]
	repo, err := m.p.o.Mirrors.Repo(pinned.Project)
	if err != nil {
		return nil, err
	}
	now := pinned
	now.Commit, now.Head, now.Picks = m.heads[i], m.heads[i], nil
	for _, pick := range pinned.Picks {
		if _, mine := m.numbers[pick.Number]; mine {
			continue
		}
		there, err := onBranch(ctx, repo, pinned.Commit, now.Commit, pick)
		if err != nil {
			return nil, err
		}
		if there {
			continue
		}
		if now.Head, err = repick(ctx, repo, now.Head, pick); err != nil {
			return nil, err
		}
		now.Picks = append(now.Picks, pick)
	}
	trees, err := repo.Trees(ctx, now.Head)
	if err != nil {
		return nil, err
	}
	now.Tree = trees[0]
	diffs, err := m.files(ctx, repo, pinned, now)
	if err != nil {
		return nil, err
	}
	if len(diffs) == 0 {
		m.parts[i] = now
		return nil, nil
	}
	return m.tell(ctx, repo, pinned, now, diffs)
}

// files lists where the trees differ, without submodules that were moved to commits with the pinned tree.
func (m *merging) files(ctx context.Context, repo *git.Repo, pinned, now change.Part) ([]string, error) {
	diffs, err := repo.Diff(ctx, pinned.Tree, now.Tree)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, d := range diffs {
		path := below(now.Path, d.Path)
		same, err := m.sameSubmodule(ctx, path, d)
		if err != nil {
			return nil, err
		}
		if !same {
			all = append(all, path)
		}
	}
	slices.Sort(all)
	return all, nil
}

// sameSubmodule reports whether a difference is a submodule's move to a commit that has the files that were pinned there.
func (m *merging) sameSubmodule(ctx context.Context, path string, d git.Diff) (bool, error) {
	if d.Old.Kind != git.Gitlink || d.New.Kind != git.Gitlink {
		return false, nil
	}
	i := slices.IndexFunc(m.parts, func(part change.Part) bool { return part.Path == path })
	if i < 0 {
		return false, nil
	}
	repo, err := m.p.o.Mirrors.Repo(m.parts[i].Project)
	if err != nil {
		return false, err
	}
	if _, err := repo.Fetch(ctx, d.New.OID); err != nil {
		return false, err
	}
	trees, err := repo.Trees(ctx, d.New.OID)
	return err == nil && trees[0] == m.parts[i].Tree, err
}

// tell makes the Difference.
func (m *merging) tell(ctx context.Context, repo *git.Repo, pinned, now change.Part, files []string) (*Difference, error) {
	log, err := repo.Log(ctx, pinned.Commit, now.Commit, maxLog)
	if err != nil {
		return nil, err
	}
	var named []ask
	for _, c := range m.numbers {
		if c.Project == pinned.Project && c.Branch == pinned.Branch {
			c.Status = change.Merged // as whatever
			named = append(named, ask{Change: c})
		}
	}
	if log, err = unnamed(ctx, repo, log, nil, named); err != nil {
		return nil, err
	}
	if len(log) > maxExtra {
		log = log[len(log)-maxExtra:]
	}
	return &Difference{Path: pinned.Path, Project: pinned.Project, Branch: pinned.Branch, Want: pinned.Tree, Have: now.Tree, Commits: log, Files: files}, nil
}
