package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"scap/sync/release"
)

// SnapshotOptions says how a tree becomes a release.
type SnapshotOptions struct {
	Excludes []string // see newExcludes for the forms; .git is always left out
	Message  string
}

// Snapshot makes a release of the tree at src, which must not change meanwhile: what changes while it is read, and all
// that no release can hold, is refused, every path of it. Content is copied, so that the release does not change when
// people go on to edit src. A tree equal to a release that is here gives that release.
func (s *Store) Snapshot(ctx context.Context, src string, o SnapshotOptions) (release.Release, error) {
	unlock, err := s.lock(ctx, buildLockName)
	if err != nil {
		return release.Release{}, fmt.Errorf("snapshot %s: %w", src, err)
	}
	defer unlock()
	r, err := s.snapshot(ctx, src, o)
	if err != nil {
		return release.Release{}, fmt.Errorf("snapshot %s: %w", src, full(err))
	}
	return r, nil
}

func (s *Store) snapshot(ctx context.Context, src string, o SnapshotOptions) (release.Release, error) {
	var none release.Release
	src, err := filepath.Abs(src)
	if err != nil {
		return none, err
	}
	if src, err = filepath.EvalSymlinks(src); err != nil {
		return none, err
	}
	d, err := openDir(src, s.fault)
	if err != nil {
		return none, err
	}
	defer d.close()
	whole := s.packs.whole()
	r, err := s.once(ctx, d, src, o)
	if err != nil && whole && !s.packs.whole() {
		return s.once(ctx, d, src, o) // directory objects turned out to be damaged: now they are made anew
	}
	return r, err
}

func (s *Store) once(ctx context.Context, d *dir, src string, o SnapshotOptions) (release.Release, error) {
	sc, id, err := s.look(ctx, d, src, o)
	if err != nil {
		return release.Release{}, err
	}
	// The index is a cache: the release is made while it is written, and does not need it.
	saved := make(chan error, 1)
	go func() {
		if !sc.changed {
			saved <- nil
			return
		}
		saved <- s.writeIndex(src, sc.seen)
	}()
	r, err := s.take(ctx, d, sc, release.Release{
		ID: id, Message: o.Message, Created: time.Now().UTC(), Files: sc.files, Bytes: sc.bytes,
	})
	return r, errors.Join(err, <-saved)
}

// look scans the tree under d.
func (s *Store) look(ctx context.Context, d *dir, src string, o SnapshotOptions) (*scanner, release.ID, error) {
	x, err := newExcludes(o.Excludes)
	if err != nil {
		return nil, release.ID{}, err
	}
	own, err := s.root.stat(".")
	if err != nil {
		return nil, release.ID{}, err
	}
	sc := &scanner{
		ctx: ctx, crew: newCrew(ctx), exclude: x, known: s.readIndex(src), has: s.packs.has,
		since: time.Now().Add(-racy).UnixNano(), own: stampOf(&own), ownDev: own.Dev,
	}
	id, err := sc.run(d)
	return sc, id, err
}

// take makes the release that a scan has described.
func (s *Store) take(ctx context.Context, d *dir, sc *scanner, r release.Release) (release.Release, error) {
	if have, err := s.Lookup(r.ID); err == nil {
		_, err = s.writePack(sc.objects)
		return have, err
	}
	p, err := s.newPlan(ctx, overlay{sc.objects, s.packs}, r.ID, r.Files)
	if err != nil {
		return release.Release{}, err
	}
	at, err := s.work(ctx, r.ID)
	if err != nil {
		return release.Release{}, err
	}
	defer at.close()
	if err := s.build(ctx, p, r, at, &copier{src: d, plan: p}, sc.objects); err != nil {
		return release.Release{}, err
	}
	return r, s.discard(context.WithoutCancel(ctx), s.incoming, r.ID.String())
}

// copier places files from the tree that a snapshot is taken of.
type copier struct {
	src  *dir
	plan *plan
}

var _ placer = (*copier)(nil)

// place copies a file, keeping its mtime unless an earlier release has that very second for another content: whatever
// trusts a time to tell contents apart would be deceived.
func (c *copier) place(to *dir, name, path string, e release.Entry) (int64, error) {
	parent, base := split(path)
	from, err := c.src.walk(parent)
	if err != nil {
		return 0, gone(err)
	}
	defer from.close()
	f, st, err := from.open(base)
	if err != nil {
		return 0, gone(err)
	}
	defer f.Close()
	mtime := st.Mtim.Nano()
	for c.plan.clashes(path, mtime) {
		mtime = unix.NsecToTimespec(mtime).Sec*1e9 + 1e9
	}
	err = fill(to, name, e, mtime, f)
	if errors.Is(err, ErrDamaged) {
		return 0, errChanging
	}
	return mtime, err
}
