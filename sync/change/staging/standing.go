package staging

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"scap/sync/release"
)

// A step reads a tree that stands on disk. That is a release in the store which nobody may deploy, because what the step
// makes is not in it; so its name is noted in Dir/standing before it is made, and whoever builds next, if not this
// build, takes it out again.

func (s *Stager) standingDir() string { return filepath.Join(s.o.Dir, "standing") }

// standing writes the tree as it is now into the store, for steps to read.
func (b *build) standing(ctx context.Context) (release.ID, error) {
	id, err := b.tree.seal()
	if err != nil || b.s.o.Store.Has(id) {
		return id, err
	}
	note := filepath.Join(b.s.standingDir(), id.String())
	err = os.MkdirAll(b.s.standingDir(), 0o700)
	if err == nil {
		err = os.WriteFile(note, nil, 0o600)
	}
	if err == nil {
		err = syncDir(b.s.standingDir())
	}
	if err != nil {
		return id, err
	}
	r := release.Release{
		ID: id, Message: "only for steps, on the way to: " + b.o.Message, Created: time.Now().UTC(), Files: b.tree.files, Bytes: b.tree.bytes,
	}
	return id, b.timed("store for steps", func() error { return b.write(ctx, r) })
}

// stands reports whether a release was made for steps only.
func (s *Stager) stands(id release.ID) bool {
	_, err := os.Lstat(filepath.Join(s.standingDir(), id.String()))
	return err == nil
}

// retire takes the trees that were made for steps out of the releases. They are near what is built next, so one may stay
// as the spare.
func (s *Stager) retire(ctx context.Context) error { return s.takeOut(ctx, s.o.Store.Retire) }

// drop is retire for what a build left that was killed: its steps may have written to the tree, so nothing is to be made
// of it.
func (s *Stager) drop(ctx context.Context) error { return s.takeOut(ctx, s.o.Store.Remove) }

func (s *Stager) takeOut(ctx context.Context, out func(context.Context, release.ID) error) error {
	notes, err := os.ReadDir(s.standingDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	current, lost := s.o.Store.Current()
	errs := []error{err, lost}
	for _, n := range notes {
		id, err := release.ParseID(n.Name())
		if err == nil && id != current && s.o.Store.Has(id) {
			err = out(ctx, id)
		}
		if err == nil {
			err = os.Remove(filepath.Join(s.standingDir(), n.Name()))
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("take out what was made for steps only: %w", err)
	}
	return nil
}

// clear removes what was made for the way.
func (b *build) clear(ctx context.Context) error {
	if b.o.Dry {
		return nil
	}
	err := b.s.retire(ctx)
	if b.work != "" {
		err = errors.Join(err, os.RemoveAll(b.work))
	}
	return err
}
