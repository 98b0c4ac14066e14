package gerrit

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"scap/sync/change"
)

// complete asks what a query does not tell well: whether an open change can be merged, which most Gerrits leave out and
// the index may have wrong, and what a merge commit changes against its first parent.
func (c *Client) complete(ctx context.Context, all map[int]change.Change) error {
	type late struct {
		number    int
		mergeable change.Tri
		files     []change.File
	}
	group, inner := errgroup.WithContext(ctx)
	var lates []*late
	for n, x := range all {
		l := &late{n, x.Mergeable, x.Files}
		if x.Status == change.New && x.Mergeable != change.Yes {
			group.Go(func() (err error) {
				l.mergeable, err = c.mergeable(inner, x)
				return err
			})
		}
		if len(x.Parents) > 1 {
			group.Go(func() (err error) {
				l.files, err = c.against(inner, x)
				return err
			})
		}
		lates = append(lates, l)
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, l := range lates {
		x := all[l.number]
		x.Mergeable, x.Files = l.mergeable, l.files
		all[l.number] = x
	}
	return nil
}

func (c *Client) mergeable(ctx context.Context, x change.Change) (change.Tri, error) {
	var m struct {
		Mergeable *bool `json:"mergeable"`
	}
	err := c.get(ctx, id(x.Project, x.Number)+"/revisions/current/mergeable", &m)
	switch {
	case errors.Is(err, ErrConflict) || errors.Is(err, change.ErrNotFound): // it has been merged or hidden just now
		return change.Unknown, nil
	case err != nil:
		return change.Unknown, fmt.Errorf("ask whether change %d can be merged: %w", x.Number, err)
	case m.Mergeable == nil:
		return change.Unknown, nil
	}
	return tri(*m.Mergeable), nil
}

// against lists what a merge commit changes against its first parent: Gerrit's own list is against the merge that it would make.
func (c *Client) against(ctx context.Context, x change.Change) ([]change.File, error) {
	var m map[string]fileInfo
	err := c.get(ctx, id(x.Project, x.Number)+"/revisions/"+x.Revision+"/files/?parent=1", &m)
	if err != nil {
		return nil, fmt.Errorf("ask for the files of change %d: %w", x.Number, err)
	}
	return files(m)
}

// related is one of the changes that are above or below another one.
type related struct {
	Commit   *commitInfo `json:"commit"`
	Number   int         `json:"_change_number"`
	Revision int         `json:"_revision_number"`
}

// maxChain bounds the list of related changes.
const maxChain = 10_000

// Ancestors returns the changes that x's commit stands on and that are not merged, nearest first. One of them that has
// moved on since has the patch set that x stands on, but message and files of the current one.
func (c *Client) Ancestors(ctx context.Context, x change.Change) ([]change.Change, error) {
	if x.Status == change.Merged {
		return nil, nil // all that is below is on the branch
	}
	var answer struct {
		Changes []related `json:"changes"`
	}
	if err := c.get(ctx, id(x.Project, x.Number)+"/revisions/"+url.PathEscape(x.Revision)+"/related", &answer); err != nil {
		return nil, fmt.Errorf("ask what change %d stands on: %w", x.Number, err)
	}
	below, err := below(x, answer.Changes)
	if err != nil {
		return nil, fmt.Errorf("what %s says that change %d stands on cannot be: %w", c.url, x.Number, err)
	}
	numbers := make([]int, len(below))
	for i, r := range below {
		numbers[i] = r.Number
	}
	found, err := c.Changes(ctx, numbers)
	if err != nil {
		return nil, fmt.Errorf("what change %d stands on: %w", x.Number, err)
	}
	var list []change.Change
	for i, a := range found {
		if a.Status == change.Merged {
			continue
		}
		if r := below[i]; r.Commit.Commit != a.Revision {
			a.Revision, a.PatchSet, a.Ref = r.Commit.Commit, r.Revision, ref(r.Number, r.Revision)
			if a.Parents, err = r.Commit.parents(); err != nil {
				return nil, fmt.Errorf("what %s says of change %d cannot be: %w", c.url, a.Number, err)
			}
		}
		list = append(list, a)
	}
	return list, nil
}

// below walks from a change's parents down, commit by commit, nearest first. It goes on past merged changes: the patch set
// that stands below may be one that was never merged as it is.
func below(x change.Change, list []related) ([]related, error) {
	if len(list) > maxChain {
		return nil, fmt.Errorf("%d related changes", len(list))
	}
	by := map[string]related{}
	for _, r := range list {
		if r.Commit == nil || !commitForm.MatchString(r.Commit.Commit) {
			return nil, errors.New("one of them has no commit")
		}
		if r.Number < 0 || r.Number > 0 && r.Revision <= 0 {
			return nil, fmt.Errorf("patch set %d of change %d", r.Revision, r.Number)
		}
		by[r.Commit.Commit] = r
	}
	var found []related
	seen := map[string]bool{x.Revision: true}
	told := map[int]bool{x.Number: true}
	for next := slices.Clone(x.Parents); len(next) > 0; next = next[1:] {
		r, ok := by[next[0]]
		if !ok || seen[next[0]] {
			continue
		}
		seen[next[0]] = true
		if r.Number > 0 && !told[r.Number] { // 0: a commit that was pushed past review
			told[r.Number] = true
			found = append(found, r)
		}
		parents, err := r.Commit.parents()
		if err != nil {
			return nil, err
		}
		next = append(next, parents...)
	}
	return found, nil
}

// Branches returns the branches of its project that hold a change, in the order of their names.
func (c *Client) Branches(ctx context.Context, x change.Change) ([]string, error) {
	var answer struct {
		Branches []string `json:"branches"`
	}
	if err := c.get(ctx, id(x.Project, x.Number)+"/in", &answer); err != nil {
		return nil, fmt.Errorf("ask which branches hold change %d: %w", x.Number, err)
	}
	for i, b := range answer.Branches {
		if answer.Branches[i] = strings.TrimPrefix(b, "refs/heads/"); !named(answer.Branches[i]) {
			return nil, fmt.Errorf("%s names a branch %q that holds change %d", c.url, clip(b, 100), x.Number)
		}
	}
	slices.Sort(answer.Branches)
	return slices.Compact(answer.Branches), nil
}
