package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"scap/sync/release"
)

// Current returns the release that `current` points to, zero when there is no such link. Anything but a link of exactly
// the form that Swap makes, to a complete release, is an error: somebody else has been at work.
func (s *Store) Current() (release.ID, error) {
	target, err := s.root.readlink(currentName)
	if errors.Is(err, fs.ErrNotExist) {
		return release.ID{}, nil
	}
	if err != nil {
		return release.ID{}, fmt.Errorf("read %s/current: %w (it must be a link that scap made)", s.path, err)
	}
	name, ok := strings.CutPrefix(target, releasesName+"/")
	id, err := release.ParseID(name)
	if !ok || err != nil {
		return release.ID{}, fmt.Errorf("%s/current points to %q, which scap did not write: point it to releases/<id>", s.path, target)
	}
	if _, err := s.Lookup(id); err != nil {
		return release.ID{}, fmt.Errorf("%s/current: %w", s.path, err)
	}
	return id, nil
}

// Swap makes to current in place of from, in one step and durably; the zero from stands for no current release. It does
// nothing when to is current already, and fails with ErrNotCurrent when anything else is.
func (s *Store) Swap(ctx context.Context, from, to release.ID) error {
	unlock, err := s.lock(ctx, swapName)
	if err != nil {
		return fmt.Errorf("swap to %s: %w", to.Short(), err)
	}
	defer unlock()
	now, err := s.Current()
	if err != nil {
		return fmt.Errorf("swap to %s: %w", to.Short(), err)
	}
	if _, err := s.Lookup(to); err != nil {
		return fmt.Errorf("swap to %s: %w", to.Short(), err)
	}
	if now == to {
		return s.root.sync() // whoever swapped may have died before it was durable
	}
	if now != from {
		return fmt.Errorf("swap from %s to %s in %s: %w: %s", from.Short(), to.Short(), s.path, ErrNotCurrent, now.Short())
	}
	if err := s.point(to); err != nil {
		return fmt.Errorf("swap to %s: %w", to.Short(), full(err))
	}
	return nil
}

// point puts the link in place. Only the holder of the swap lock may.
func (s *Store) point(to release.ID) error {
	if err := s.tmp.unlink(currentName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.tmp.symlink(releasesName+"/"+to.String(), currentName); err != nil {
		return err
	}
	if err := s.tmp.rename(currentName, s.root, currentName); err != nil {
		return err
	}
	return s.root.sync()
}
