package staging

import (
	"context"
	"errors"
	"fmt"

	"scap/sync/change"
	"scap/sync/change/git"
)

// unmount takes out the parts that are there no more, or are another repository's now.
func (b *build) unmount(ctx context.Context, was map[string]change.Part, diffs []partDiff) error {
	now := map[string]partDiff{}
	for _, d := range diffs {
		now[d.part.Path] = d
	}
	for _, path := range sortedKeys(was) {
		d, kept := now[path]
		if kept && !d.fresh {
			continue
		}
		for other, d := range now {
			if other != path && below(other, path) && !d.fresh {
				return fmt.Errorf("%w: %q stays inside of %q, which goes", errAnew, other, path)
			}
		}
		if !kept {
			if err := b.unlinked(ctx, path, now); err != nil {
				return err
			}
		}
		if path == "" {
			return errAnew
		}
		if _, err := b.tree.remove(path); err != nil { // not there: it went with the one around it
			return err
		}
	}
	return nil
}

// unlinked checks that the repository around a part that goes does not ask for it any more.
func (b *build) unlinked(ctx context.Context, path string, now map[string]partDiff) error {
	around, ok := outer(path, now)
	if !ok || around.fresh {
		return nil // what it asks for is in its own difference
	}
	all, err := b.diff(ctx, around.part, "")
	if err != nil {
		return err
	}
	for _, e := range all {
		if at := join(around.part.Path, e.Path); at == path && e.New.Kind == git.Gitlink && !b.s.exclude(at) {
			return fmt.Errorf("%q of %s is a submodule, and nothing is to be put there", path, around.part.Project)
		}
	}
	return nil
}

// outer returns the part around a path.
func outer(path string, parts map[string]partDiff) (partDiff, bool) {
	for path != "" {
		path, _ = split(path)
		if d, ok := parts[path]; ok {
			return d, true
		}
	}
	return partDiff{}, false
}

// vacant checks that nothing stands where a new part is put.
func (b *build) vacant(diffs []partDiff) error {
	for _, d := range diffs {
		if !d.fresh {
			continue
		}
		if d.part.Path == "" {
			if len(b.tree.root.names) > 0 {
				return fmt.Errorf("%w: something is there already, where %s is put", errAnew, d.part.Project)
			}
			continue
		}
		if _, there, err := b.tree.find(d.part.Path); err != nil || there {
			return fmt.Errorf("%w: something is at %q, where %s is put (%w)", errAnew, d.part.Path, d.part.Project, errors.Join(err))
		}
	}
	return nil
}
