package staging

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"scap/sync/change"
	"scap/sync/change/git"
	"scap/sync/release"
)

// errAnew means that the release before cannot be built upon, for whatever reason: the build begins again from nothing,
// which gives the same tree and finds out what is really wrong, if anything is.
var errAnew = errors.New("the release before is not what its record says")

// edit is a file or link of a repository that comes, or goes when it has no blob.
type edit struct {
	path string
	link bool
	mode uint16
	blob *blob
}

// partDiff is what git says of one part.
type partDiff struct {
	part  change.Part
	fresh bool // nothing of it is in the base
	diff  []git.Diff
}

// diffParts asks git what differs between a part and what was at its place, for all parts at once.
func (b *build) diffParts(ctx context.Context, was map[string]change.Part) ([]partDiff, error) {
	out := make([]partDiff, len(b.parts))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(b.s.o.Parallel)
	for i, p := range b.parts {
		out[i].part = p
		old, ok := was[p.Path]
		if ok && old.Project == p.Project && old.Final() == p.Final() {
			continue
		}
		g.Go(func() (err error) {
			from := ""
			if ok && old.Project == p.Project {
				from = old.Final()
			}
			out[i].fresh = from == ""
			out[i].diff, err = b.diff(ctx, p, from)
			if err != nil && from != "" && ctx.Err() == nil {
				return fmt.Errorf("%w: %w", errAnew, err) // its old tree may be gone from the mirror
			}
			return err
		})
	}
	return out, g.Wait()
}

func (b *build) diff(ctx context.Context, p change.Part, from string) ([]git.Diff, error) {
	repo, err := b.s.o.Mirrors.Repo(p.Project)
	if err != nil {
		return nil, err
	}
	return repo.Diff(ctx, from, p.Final())
}

// mounts are the places of the parts.
type mounts map[string]bool

func (b *build) mounts() mounts {
	m := mounts{}
	for _, p := range b.parts {
		if p.Path != "" {
			m[p.Path] = true
		}
	}
	return m
}

// inside returns the part below dir that a path of dir's own repository would lie in, if any.
func (m mounts) inside(dir, path string) (string, bool) {
	start := len(dir) + 1
	if dir == "" {
		start = 0
	}
	for i := start; i <= len(path); i++ {
		if (i == len(path) || path[i] == '/') && i > 0 && m[path[:i]] {
			return path[:i], true
		}
	}
	return "", false
}

// complaints bounds how many paths one error names.
const complaints = 20

// edits turns differences into what goes and what comes.
func (b *build) edits(diffs []partDiff) (goes, comes []edit, err error) {
	places := b.mounts()
	var bad []error
	for _, d := range diffs {
		for _, e := range d.diff {
			path := join(d.part.Path, e.Path)
			if b.s.exclude(path) {
				continue
			}
			in, inner := places.inside(d.part.Path, path)
			if isFile(e.Old) && !isFile(e.New) {
				goes = append(goes, edit{path: path})
			}
			switch {
			case e.New.Kind == git.Absent:
			case e.New.Kind == git.Gitlink:
				if in != path {
					bad = append(bad, fmt.Errorf("%q of %s is a submodule, and nothing is to be put there", path, d.part.Project))
				}
			case inner:
				bad = append(bad, fmt.Errorf("%q of %s lies where another repository is put, %q", path, d.part.Project, in))
			default:
				c, err := b.come(d.part, path, e.New)
				if err != nil {
					bad = append(bad, fmt.Errorf("%q of %s: %w", path, d.part.Project, err))
				}
				comes = append(comes, c)
			}
			if len(bad) == complaints {
				return nil, nil, errors.Join(bad...)
			}
		}
	}
	return goes, comes, errors.Join(bad...)
}

// isFile reports whether an entry is a file or a link: something that stands in a tree by itself.
func isFile(e git.Entry) bool { return e.Kind != git.Absent && e.Kind != git.Gitlink }

func (b *build) come(p change.Part, path string, e git.Entry) (edit, error) {
	c := edit{path: path, blob: b.library.blob(p.Project, e.OID), link: e.Kind == git.Symlink}
	if len(path) > release.MaxTarget {
		return c, fmt.Errorf("a path of %d bytes", len(path))
	}
	for name := range strings.SplitSeq(path, "/") {
		if err := release.CheckName(name); err != nil {
			return c, err
		}
	}
	switch e.Kind {
	case git.Regular:
		c.mode = 0o644
	case git.Executable:
		c.mode = 0o755
	}
	return c, nil
}

// apply makes the tree of the repositories out of the base's, which has the layers above them no more.
func (b *build) apply(ctx context.Context, was map[string]change.Part, diffs []partDiff) error {
	goes, comes, err := b.edits(diffs)
	if err != nil {
		return err
	}
	if err := b.library.weigh(ctx); err != nil {
		return err
	}
	if err := b.unmount(ctx, was, diffs); err != nil {
		return err
	}
	for _, e := range goes {
		if there, err := b.tree.remove(e.path); err != nil || !there {
			return fmt.Errorf("%w: it has no %q (%w)", errAnew, e.path, errors.Join(err))
		}
		b.touched[e.path] = false
	}
	if err := b.vacant(diffs); err != nil {
		return err
	}
	var bad []error
	for _, e := range comes {
		if err := b.come1(ctx, e); err != nil {
			bad = append(bad, err)
		}
		if len(bad) == complaints {
			break
		}
	}
	return errors.Join(bad...)
}

// come1 puts one file or link into the tree.
func (b *build) come1(ctx context.Context, e edit) error {
	at := release.Entry{Kind: release.File, Mode: e.mode, Size: e.blob.size, Sum: e.blob.sum}
	if e.link {
		if e.blob.size > release.MaxTarget {
			return fmt.Errorf("%q: a link's target of %d bytes, more than %d", e.path, e.blob.size, release.MaxTarget)
		}
		target, err := b.library.read(ctx, content{blob: e.blob})
		if err == nil {
			err = release.CheckLink(e.path, string(target))
		}
		if err != nil {
			return fmt.Errorf("%q: %w", e.path, err)
		}
		at = release.Entry{Kind: release.Link, Size: e.blob.size, Sum: e.blob.sum, Target: string(target)}
	} else {
		b.contents[e.path] = content{blob: e.blob}
	}
	b.touched[e.path] = true
	return b.tree.put(e.path, at)
}

// checkParts refuses a list that no tree can be made of.
func checkParts(parts []change.Part) error {
	seen := map[string]bool{}
	for _, p := range parts {
		if seen[p.Path] {
			return fmt.Errorf("%q: two repositories for one place", p.Path)
		}
		seen[p.Path] = true
		if p.Tree == "" || p.Project == "" {
			return fmt.Errorf("%q: a part without a tree or a project", p.Path)
		}
		if p.Path == "" {
			continue
		}
		for name := range strings.SplitSeq(p.Path, "/") {
			if err := release.CheckName(name); err != nil {
				return fmt.Errorf("part %q: %w", p.Path, err)
			}
		}
	}
	return nil
}

func sortedParts(parts []change.Part) []change.Part {
	out := slices.Clone(parts)
	slices.SortFunc(out, func(a, b change.Part) int { return strings.Compare(a.Path, b.Path) })
	return out
}
