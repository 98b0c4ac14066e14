package pin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"scap/sync/change"
	"scap/sync/change/git"
)

// maxLanding is how far back a branch is searched for a change.
const maxLanding = 5000

// place is where a part comes to be, and on what.
type place struct {
	path, branch, commit string
	asks                 []ask
}

// part puts what stays of the previous release's picks, and then what was named, on the place's commit.
func (n *pinning) part(ctx context.Context, repo *git.Repo, at place) (change.Part, error) {
	part := change.Part{Path: at.path, Project: repo.Project(), Branch: at.branch, Commit: at.commit, Head: at.commit}
	if was, had := n.base[at.path]; had && was.Project == part.Project {
		if err := n.carry(ctx, repo, &part, was, at.asks); err != nil {
			return part, err
		}
	}
	for _, a := range at.asks {
		if err := n.put(ctx, repo, &part, a); err != nil {
			return part, about(a.Change, err)
		}
	}
	trees, err := repo.Trees(ctx, part.Head)
	if err != nil {
		return part, err
	}
	part.Tree = trees[0]
	return part, nil
}

// put puts a named change on the part, or takes it back.
func (n *pinning) put(ctx context.Context, repo *git.Repo, part *change.Part, a ask) error {
	there, err := contains(ctx, repo, part.Commit, a.Revision)
	if err != nil {
		return err
	}
	switch {
	case a.revert && !there, !a.revert && !there && a.Status == change.Merged:
		return fmt.Errorf("it is merged as %.12s, but that is not on %s as of %.12s: %w", a.Revision, part.Branch, part.Commit, ErrMoved)
	case !a.revert && there:
		touched, err := repo.Touched(ctx, a.Revision)
		if err != nil {
			return err
		}
		n.changes(a.Number, part.Path, touched[a.Revision])
		return nil
	}
	before := part.Head
	if a.revert {
		part.Head, err = repo.Revert(ctx, before, a.Revision)
	} else {
		part.Head, err = repo.Pick(ctx, before, a.Revision)
	}
	if err != nil {
		return n.merged(ctx, repo, part.Commit, a, err)
	}
	part.Picks = append(part.Picks, change.Pick{Number: a.Number, PatchSet: a.PatchSet, Revision: a.Revision, Revert: a.revert})
	diffs, err := repo.Diff(ctx, before, part.Head)
	if err != nil {
		return err
	}
	n.changes(a.Number, part.Path, diffs)
	return nil
}

// contains is Repo.Contains that takes a commit which is not there for one that is not contained.
func contains(ctx context.Context, repo *git.Repo, id, commit string) (bool, error) {
	has, err := repo.Has(ctx, commit)
	if err != nil || !has[0] {
		return false, err
	}
	return repo.Contains(ctx, id, commit)
}

func (n *pinning) changes(number int, part string, diffs []git.Diff) {
	n.mu.Lock()
	defer n.mu.Unlock()
	paths := n.out.Paths[number]
	if paths == nil {
		paths = []string{} // it landed, if only with nothing to do
	}
	for _, d := range diffs {
		paths = append(paths, below(part, d.Path))
	}
	n.out.Paths[number] = paths
}

// merged replaces a conflict that is there because the change was merged meanwhile, as another commit.
func (n *pinning) merged(ctx context.Context, repo *git.Repo, head string, a ask, err error) error {
	var conflict *git.Conflict
	if !errors.As(err, &conflict) || a.ID == "" || a.revert {
		return err
	}
	c, reading := repo.Commit(ctx, a.Revision)
	if reading != nil || len(c.Parents) == 0 {
		return err
	}
	log, reading := repo.Log(ctx, c.Parents[0], head, maxLanding)
	if reading != nil {
		return err
	}
	for _, other := range log {
		if other.ChangeID == a.ID {
			return fmt.Errorf("it was merged as %.12s: %w", other.ID, ErrMoved)
		}
	}
	return err
}

// carry puts on the part what the previous release had picked and what is on the branch neither by name nor in effect.
func (n *pinning) carry(ctx context.Context, repo *git.Repo, part *change.Part, was change.Part, asks []ask) error {
	for _, pick := range was.Picks {
		if slices.ContainsFunc(asks, func(a ask) bool { return a.Number == pick.Number }) {
			continue
		}
		there, err := onBranch(ctx, repo, was.Commit, part.Commit, pick)
		if err != nil {
			return fmt.Errorf("change %d, which is deployed and was not merged: %w", pick.Number, err)
		}
		if there {
			continue
		}
		head, err := repick(ctx, repo, part.Head, pick)
		if err != nil {
			return &ChangeError{Number: pick.Number, Project: part.Project, Branch: was.Branch, Err: fmt.Errorf("it is deployed, not merged, and cannot stay: %w", err)}
		}
		trees, err := repo.Trees(ctx, part.Head, head)
		if err != nil {
			return err
		}
		if trees[0] == trees[1] {
			continue
		}
		part.Head, part.Picks = head, append(part.Picks, pick)
		if part.Branch == "" {
			part.Branch = was.Branch
		}
		n.mu.Lock()
		n.out.Carried = append(n.out.Carried, Carried{Path: part.Path, Project: part.Project, Branch: part.Branch, Pick: pick})
		n.mu.Unlock()
	}
	return nil
}

func repick(ctx context.Context, repo *git.Repo, onto string, pick change.Pick) (string, error) {
	if pick.Revert {
		return repo.Revert(ctx, onto, pick.Revision)
	}
	return repo.Pick(ctx, onto, pick.Revision)
}

// onBranch reports whether a pick of the previous release is on a branch by now: as itself, as a commit with its
// Change-Id, or as a revert that names its commit.
func onBranch(ctx context.Context, repo *git.Repo, then, now string, pick change.Pick) (bool, error) {
	if !pick.Revert {
		if there, err := contains(ctx, repo, now, pick.Revision); err != nil || there {
			return there, err
		}
	}
	c, err := repo.Commit(ctx, pick.Revision)
	if err != nil {
		return false, err
	}
	log, err := newer(ctx, repo, then, now, maxLanding)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(log, func(other git.Commit) bool {
		if pick.Revert {
			return strings.Contains(other.Message, "This reverts commit "+pick.Revision)
		}
		return c.ChangeID != "" && other.ChangeID == c.ChangeID
	}), nil
}

// newer is what now has and then has not; when then is not to be had, all that now has.
func newer(ctx context.Context, repo *git.Repo, then, now string, most int) ([]git.Commit, error) {
	has, err := repo.Has(ctx, then)
	if err != nil {
		return nil, err
	}
	if !has[0] {
		then = ""
	}
	return repo.Log(ctx, then, now, most)
}
