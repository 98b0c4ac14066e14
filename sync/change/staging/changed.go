package staging

import (
	"context"

	"scap/sync/change"
	"scap/sync/release"
)

// changed lists the paths that differ from the base. When that is gone, or this one is not known, it is what the
// repositories and private files say.
func (b *build) changed(id release.ID) ([]string, error) {
	paths := map[string]bool{}
	if b.base == nil || id.IsZero() {
		for p := range b.touched {
			paths[p] = true
		}
		return sortedKeys(paths), nil
	}
	d, err := release.Diff(b.shelf, b.base.Release, id)
	if err != nil {
		return nil, err
	}
	for _, list := range [][]release.Change{d.Put, d.Remove} {
		for _, c := range list {
			if c.Entry.Kind != release.Directory {
				paths[c.Path] = true
			}
		}
	}
	return sortedKeys(paths), nil
}

// touch finds what differs from the prior release although the tree is made of nothing.
func (b *build) touch(ctx context.Context) error {
	was := map[string]change.Part{}
	for _, p := range b.prior.Parts {
		was[p.Path] = p
	}
	came, places := b.touched, b.mounts()
	b.touched = map[string]bool{}
	for _, p := range b.parts {
		old, ok := was[p.Path]
		if ok && old.Final() == p.Final() {
			continue
		}
		if ok && old.Project == p.Project {
			if list, err := b.diff(ctx, p, old.Final()); err == nil {
				for _, d := range list {
					path := join(p.Path, d.Path)
					if come, ok := came[path]; ok || isFile(d.Old) && !isFile(d.New) && !b.s.exclude(path) {
						b.touched[path] = come
					}
				}
				continue
			}
		}
		for path, come := range came {
			if _, inner := places.inside(p.Path, path); below(path, p.Path) && !inner {
				b.touched[path] = come
			}
		}
	}
	return nil
}

// came lists the files that came or changed, against the prior release; when there was none, nothing.
func (b *build) came() []string {
	var out []string
	if b.prior == nil {
		return nil
	}
	for _, p := range sortedKeys(b.touched) {
		if _, isFile := b.contents[p]; isFile && b.touched[p] {
			out = append(out, p)
		}
	}
	return out
}
