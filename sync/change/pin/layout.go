package pin

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"scap/sync/change"
	"scap/sync/change/git"
)

// Layout says where the repositories of the heads' moment are in the whole: of the live versions by core's .gitmodules,
// of other versions as of the newest live one. Submodules of submodules are not in it: nobody backports to them.
func (p *Pinner) Layout(ctx context.Context, h *Heads) (change.Layout, error) {
	l := change.Layout{Config: p.o.Config, Core: p.o.Core.Project}
	_, core, err := p.repos()
	if err != nil {
		return l, err
	}
	var newest []mount
	for _, v := range h.Live {
		mounts, err := p.mounts(ctx, core, v.Commit)
		if err != nil {
			return l, err
		}
		newest = mounts
		l.Versions = append(l.Versions, p.version(v.Name, true, mounts))
	}
	for _, name := range slices.Sorted(maps.Keys(h.Others)) {
		l.Versions = append(l.Versions, p.version(name, false, newest))
	}
	slices.SortFunc(l.Versions, func(a, b change.Version) int { return compareVersions(a.Name, b.Name) })
	return l, nil
}

func (p *Pinner) version(name string, live bool, mounts []mount) change.Version {
	root := versioned(p.o.Core.Path, name)
	paths := map[string]string{p.o.Core.Project: root}
	for _, m := range mounts {
		if _, twice := paths[m.project]; !twice {
			paths[m.project] = below(root, m.Path)
		}
	}
	return change.Version{Name: name, Branch: versioned(p.o.Core.Branch, name), Live: live, Paths: paths}
}

// mount is a submodule whose project is known.
type mount struct {
	git.Submodule
	project string
}

// mounts lists the submodules of a commit, by path.
func (p *Pinner) mounts(ctx context.Context, repo *git.Repo, commit string) ([]mount, error) {
	subs, err := repo.Submodules(ctx, commit)
	if err != nil {
		return nil, err
	}
	all := make([]mount, len(subs))
	for i, s := range subs {
		project, err := git.Project(p.o.Mirrors.URL(), repo.Project(), s.URL)
		if err != nil {
			return nil, fmt.Errorf("submodule %q of %s: %w", s.Path, repo.Project(), err)
		}
		all[i] = mount{Submodule: s, project: project}
	}
	return all, nil
}
