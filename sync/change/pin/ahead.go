package pin

import (
	"context"
	"errors"
	"slices"
	"strings"

	"scap/sync/change"
	"scap/sync/change/git"
)

// Ahead says what the branches, as of the last fetch, have and the parts have not: what the next deploy of anything would
// ship too. It asks no server.
func (p *Pinner) Ahead(ctx context.Context, parts []change.Part) ([]Extra, error) {
	var all []Extra
	at := map[string]change.Part{}
	for _, part := range parts {
		at[part.Path] = part
	}
	for _, part := range parts {
		if part.Branch == "" {
			continue
		}
		repo, err := p.o.Mirrors.Repo(part.Project)
		if err != nil {
			return nil, err
		}
		head, err := repo.Head(ctx, part.Branch)
		switch {
		case errors.Is(err, git.ErrNoRef) || err == nil && head == part.Commit:
			continue
		case err != nil:
			return nil, err
		}
		is := part
		is.Commit = head
		e, err := offline(ctx, repo, part, is)
		if err != nil {
			return nil, err
		}
		if e.worth() {
			all = append(all, e)
		}
		bumped, err := p.bumped(ctx, repo, part, head, at)
		if err != nil {
			return nil, err
		}
		all = append(all, bumped...)
	}
	slices.SortFunc(all, func(a, b Extra) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// bumped says what the submodules that head moved would bring.
func (p *Pinner) bumped(ctx context.Context, repo *git.Repo, part change.Part, head string, at map[string]change.Part) ([]Extra, error) {
	mounts, err := p.mounts(ctx, repo, head)
	if err != nil {
		return nil, err
	}
	var all []Extra
	for _, m := range mounts {
		was, ok := at[below(part.Path, m.Path)]
		switch {
		case !ok:
			all = append(all, Extra{Path: below(part.Path, m.Path), Project: m.project, New: true})
			continue
		case was.Commit == m.Commit || was.Project != m.project || was.Branch != "":
			continue // what is on a branch of its own was told by that
		}
		sub, err := p.o.Mirrors.Repo(m.project)
		if err != nil {
			return nil, err
		}
		is := was
		is.Commit = m.Commit
		e, err := offline(ctx, sub, was, is)
		if err != nil {
			return nil, err
		}
		if e.worth() {
			all = append(all, e)
		}
	}
	return all, nil
}

// offline lists the commits between two states, if the mirror has them.
func offline(ctx context.Context, repo *git.Repo, was, is change.Part) (Extra, error) {
	e := Extra{Path: is.Path, Project: is.Project, Branch: is.Branch}
	has, err := repo.Has(ctx, was.Commit, is.Commit)
	if err != nil {
		return e, err
	}
	if slices.Contains(has, false) {
		e.Unknown = true
		return e, nil
	}
	return e, e.fill(ctx, repo, was, is, nil)
}
