package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"scap/sync/release"
)

// placer puts a wanted file, verified, in a directory of the tree that is built, with its mode, and returns its mtime.
type placer interface {
	place(to *dir, name, path string, e release.Entry) (mtime int64, err error)
}

// fsyncFiles is up to how many new files are made durable one by one: above it syncfs costs less.
const fsyncFiles = 64

// builder makes one tree.
type builder struct {
	s     *Store
	plan  *plan
	from  placer
	crew  *crew
	mu    sync.Mutex
	times map[string]int64 // of files that were put
	files []string         // that were put with new content
}

// buildName is the tree in an incoming/ directory: whatever stands there after a crash is thrown away.
const buildName = "build"

// build makes the tree of r as plan says and moves it, complete, verified and durable, to releases/. at is r's directory
// under incoming/; objects are directories that the store may lack. When it fails the half-built tree is removed.
func (s *Store) build(ctx context.Context, p *plan, r release.Release, at *dir, from placer, objects map[release.Sum][]byte) error {
	b := &builder{s: s, plan: p, from: from, crew: newCrew(ctx), times: map[string]int64{}}
	err := b.run(ctx, at)
	if err == nil {
		err = b.finish(r, at, objects)
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("build release %s: %w", r.ID.Short(), full(err))
	if left := s.discard(context.WithoutCancel(ctx), at, buildName); left != nil {
		err = errors.Join(err, fmt.Errorf("remove the half-built tree: %w", left))
	}
	return err
}

func (b *builder) run(ctx context.Context, at *dir) error {
	if err := b.start(at); err != nil {
		return err
	}
	tree, err := at.sub(buildName)
	if err != nil {
		return err
	}
	defer tree.close()
	if err := b.removes(ctx, tree); err != nil {
		return err
	}
	if err := b.puts(tree); err != nil {
		return err
	}
	return b.durable(tree)
}

// start puts a tree at build: the spare, taken out of spare/ before it is touched, or a farm of hard links.
func (b *builder) start(at *dir) error {
	base := b.plan.base
	if base != nil && base.spare {
		free, err := base.at.alone(base.id.String())
		if err != nil {
			return err
		}
		defer free()
		if err := base.at.rename(base.id.String(), at, buildName); err != nil {
			return err
		}
		return base.at.sync()
	}
	if err := at.mkdir(buildName, 0o755); err != nil || base == nil {
		return err
	}
	return b.s.farm(b.crew, b.plan.src, base, b.plan.next, b.plan.damaged, at, buildName)
}

// removes takes out of a spare what next does not have.
func (b *builder) removes(ctx context.Context, tree *dir) error {
	if b.plan.base == nil || !b.plan.base.spare {
		return nil
	}
	whole := map[string]bool{}
	for _, c := range b.plan.delta.Remove {
		whole[c.Path] = c.Entry.Kind == release.Directory
	}
	for _, c := range b.plan.delta.Remove {
		parent, name := split(c.Path)
		if whole[parent] {
			continue // goes with its parent
		}
		d, err := tree.walk(parent)
		if err != nil {
			return err
		}
		err = removeAll(ctx, d, name)
		d.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// puts makes directories, parents first, then fills each directory, several at once.
func (b *builder) puts(tree *dir) error {
	groups := map[string][]release.Change{}
	for _, c := range b.plan.puts {
		parent, name := split(c.Path)
		if c.Entry.Kind != release.Directory {
			groups[parent] = append(groups[parent], c)
			continue
		}
		if err := b.mkdir(tree, parent, name, c); err != nil {
			return err
		}
	}
	work := b.crew.batch()
	for _, parent := range slices.Sorted(maps.Keys(groups)) {
		work.do(func() error { return b.group(tree, parent, groups[parent]) })
	}
	return work.wait()
}

func (b *builder) mkdir(tree *dir, parent, name string, c release.Change) error {
	d, err := tree.walk(parent)
	if err != nil {
		return err
	}
	defer d.close()
	err = d.mkdir(name, uint32(c.Entry.Mode))
	if errors.Is(err, unix.ENOTDIR) && b.plan.damaged[c.Path] {
		if err = d.unlink(name); err == nil {
			err = d.mkdir(name, uint32(c.Entry.Mode))
		}
	}
	return err
}

func (b *builder) group(tree *dir, parent string, changes []release.Change) error {
	d, err := tree.walk(parent)
	if err != nil {
		return err
	}
	defer d.close()
	for _, c := range changes {
		if b.crew.ctx.Err() != nil {
			return context.Cause(b.crew.ctx)
		}
		if c.Old.Kind != 0 && b.plan.base != nil {
			if err := removeAll(b.crew.ctx, d, c.Entry.Name); err != nil {
				return err
			}
		}
		if err := b.put(d, c); err != nil {
			return fmt.Errorf("%q: %w", c.Path, err)
		}
	}
	return nil
}

func (b *builder) put(d *dir, c release.Change) error {
	if c.Entry.Kind == release.Link {
		return d.symlink(c.Entry.Target, c.Entry.Name)
	}
	var mtime int64
	var err error
	other := b.plan.relink[c.Path]
	if other != nil {
		mtime, err = b.relink(d, other, c)
	} else {
		mtime, err = b.from.place(d, c.Entry.Name, c.Path, c.Entry)
	}
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.times[c.Path] = mtime
	if other == nil {
		b.files = append(b.files, c.Path)
	}
	return nil
}

func (b *builder) relink(d *dir, other *tree, c release.Change) (int64, error) {
	parent, name := split(c.Path)
	from, err := other.open(parent)
	if err != nil {
		return 0, err
	}
	defer from.close()
	st, err := from.stat(name)
	if err != nil {
		return 0, err
	}
	return st.Mtim.Nano(), linkOrCopy(from, name, d, c.Entry)
}

// durable flushes what was made.
func (b *builder) durable(tree *dir) error {
	dirs := map[string]bool{}
	for _, list := range [][]release.Change{b.plan.puts, b.plan.delta.Remove} {
		for _, c := range list {
			parent, _ := split(c.Path)
			dirs[parent] = true
			if c.Entry.Kind == release.Directory {
				dirs[c.Path] = true
			}
		}
	}
	if b.plan.base == nil || !b.plan.base.spare || len(b.files) > fsyncFiles || len(dirs) > 2*fsyncFiles {
		return tree.syncAll()
	}
	work := b.crew.batch()
	for _, path := range b.files {
		work.do(func() error { return syncFile(tree, path) })
	}
	for path := range dirs {
		work.do(func() error {
			d, err := tree.walk(path)
			if missing(err) || errors.Is(err, unix.ENOTDIR) {
				return nil // removed
			}
			if err != nil {
				return err
			}
			defer d.close()
			return d.sync()
		})
	}
	return work.wait()
}

func syncFile(tree *dir, path string) error {
	parent, name := split(path)
	d, err := tree.walk(parent)
	if err != nil {
		return err
	}
	defer d.close()
	if err := d.change("sync", name); err != nil {
		return err
	}
	f, _, err := d.open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// finish records what is known of the release, then lets it appear.
func (b *builder) finish(r release.Release, at *dir, objects map[release.Sum][]byte) error {
	var old times
	var gone []string
	if b.plan.base != nil {
		old = b.s.readTimes(b.plan.base.id)
	}
	for _, list := range [][]release.Change{b.plan.delta.Remove, b.plan.puts} {
		for _, c := range list {
			if c.Entry.Kind != release.Directory {
				gone = append(gone, c.Path)
			}
		}
	}
	maps.Copy(b.times, b.plan.touched)
	if err := b.s.writeTimes(r.ID, old.with(gone, b.times)); err != nil {
		return err
	}
	if _, err := b.s.writePack(objects); err != nil {
		return err
	}
	if err := b.s.writeMeta(r); err != nil {
		return err
	}
	name := r.ID.String()
	if err := at.rename(buildName, b.s.releases, name); err != nil {
		return err
	}
	return b.s.releases.sync()
}

// clean reports whether a path is one that a release may have, before it is used as a key.
func clean(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if release.CheckName(part) != nil {
			return false
		}
	}
	return true
}
