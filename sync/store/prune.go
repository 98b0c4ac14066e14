package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"scap/sync/release"
)

// staleAfter is how long the rest of an interrupted staging is kept.
const staleAfter = 24 * time.Hour

// Prune removes all complete releases but those in keep and the current one, and returns what it removed. One of them
// stays as the spare that the next release is made from; when there is none, a spare is made. What else is unused goes
// too: directory objects, old interrupted stagings, rubbish. Files that are not the store's are left alone, and so are
// releases that processes run in: a later Prune takes them. Repeatable; after an error it has removed what it returns.
func (s *Store) Prune(ctx context.Context, keep []release.ID) ([]release.ID, error) {
	unlock, err := s.lock(ctx, buildLockName)
	if err != nil {
		return nil, fmt.Errorf("prune: %w", err)
	}
	defer unlock()
	gone, err := s.prune(ctx, keep)
	if err == nil {
		err = s.respare(ctx)
	}
	if err == nil {
		err = s.sweep(ctx)
	}
	if err != nil {
		return gone, fmt.Errorf("prune %s: %w", s.path, full(err))
	}
	return gone, nil
}

func (s *Store) prune(ctx context.Context, keep []release.ID) (gone []release.ID, err error) {
	if _, err := s.Current(); err != nil {
		return nil, err // who does not know what is served must not remove anything
	}
	all, err := s.Releases()
	if err != nil {
		return nil, err
	}
	slices.Reverse(all)
	var errs []error
	for _, r := range all {
		if slices.Contains(keep, r.ID) {
			continue
		}
		if ctx.Err() != nil {
			return gone, errors.Join(append(errs, context.Cause(ctx))...)
		}
		moved, err := s.retire(ctx, r.ID)
		if moved {
			gone = append(gone, r.ID)
		}
		if err != nil && !errors.Is(err, ErrPinned) {
			errs = append(errs, fmt.Errorf("release %s: %w", r.ID.Short(), err))
		}
	}
	return gone, errors.Join(errs...)
}

// Remove takes one release out of the store, for instance a damaged one that is to be staged anew. The current release
// is refused, and so is, with ErrPinned, one that processes run in.
func (s *Store) Remove(ctx context.Context, id release.ID) error {
	unlock, err := s.lock(ctx, buildLockName)
	if err != nil {
		return fmt.Errorf("remove release %s: %w", id.Short(), err)
	}
	defer unlock()
	moved, err := s.leave(ctx, id, s.trash, id.String()+".removed")
	if err == nil && !moved {
		err = errors.New("it is current")
	}
	if err == nil {
		err = removeAll(ctx, s.trash, id.String()+".removed")
	}
	if err != nil {
		return fmt.Errorf("remove release %s: %w", id.Short(), err)
	}
	return nil
}

// Retire takes out of the complete releases one that was only a step towards another, and keeps its tree as the spare
// when there is none. The current release is refused, and so is, with ErrPinned, one that processes run in.
func (s *Store) Retire(ctx context.Context, id release.ID) error {
	unlock, err := s.lock(ctx, buildLockName)
	if err != nil {
		return fmt.Errorf("retire release %s: %w", id.Short(), err)
	}
	defer unlock()
	moved, err := s.retire(ctx, id)
	if err == nil && !moved {
		err = errors.New("it is current")
	}
	if err != nil {
		return fmt.Errorf("retire release %s: %w", id.Short(), full(err))
	}
	return nil
}

// retire makes a release the spare, or removes it when there is one.
func (s *Store) retire(ctx context.Context, id release.ID) (moved bool, err error) {
	spare, err := s.spareID()
	if err != nil {
		return false, err
	}
	if spare.IsZero() {
		moved, err = s.leave(ctx, id, s.spare, id.String())
		return moved, errors.Join(err, s.spare.sync())
	}
	name := id.String() + ".pruned"
	if err := removeAll(ctx, s.trash, name); err != nil {
		return false, err
	}
	moved, err = s.leave(ctx, id, s.trash, name)
	if err != nil || !moved {
		return moved, err
	}
	return true, removeAll(ctx, s.trash, name)
}

// leave moves a release out of releases/ unless it is current or pinned; while it does no Swap can make it current, and
// nobody can pin it.
func (s *Store) leave(ctx context.Context, id release.ID, to *dir, name string) (bool, error) {
	unlock, err := s.lock(ctx, swapName)
	if err != nil {
		return false, err
	}
	defer unlock()
	now, err := s.Current()
	if err != nil || now == id {
		return false, err
	}
	free, err := s.releases.alone(id.String())
	if err != nil {
		return false, err
	}
	defer free()
	if err := s.releases.rename(id.String(), to, name); err != nil {
		return false, err
	}
	return true, s.releases.sync()
}

// Respare sees to it that there is a spare near the current release, so that the next one is made fast. Prune does it
// too.
func (s *Store) Respare(ctx context.Context) error {
	unlock, err := s.lock(ctx, buildLockName)
	if err != nil {
		return fmt.Errorf("make a spare: %w", err)
	}
	defer unlock()
	if err := s.respare(ctx); err != nil {
		return fmt.Errorf("make a spare: %w", full(err))
	}
	return nil
}

func (s *Store) respare(ctx context.Context) error {
	now, err := s.Current()
	if err != nil {
		return err
	}
	if now.IsZero() {
		all, err := s.Releases()
		if err != nil || len(all) == 0 {
			return err
		}
		now = all[0].ID
	}
	spare, err := s.spareID()
	if err != nil {
		return err
	}
	if !spare.IsZero() {
		if held, err := s.spare.pinned(spare.String()); err != nil || held {
			return err
		}
		if err := s.fit(ctx, spare, now); err == nil {
			return nil
		} else if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := s.discard(ctx, s.spare, spare.String()); err != nil {
			return err
		}
	}
	return s.makeSpare(ctx, now)
}

// fit checks that the spare is whole, without reading files that look untouched, and not too far from now.
func (s *Store) fit(ctx context.Context, spare, now release.ID) error {
	if _, err := release.Diff(&near{s.packs, nearDirs}, spare, now); err != nil {
		return err
	}
	t := s.readTimes(spare)
	return s.verify(ctx, s.spareTree(spare), &t)
}

// makeSpare builds a farm of a release's files, apart, and lets it become the spare when it is complete.
func (s *Store) makeSpare(ctx context.Context, id release.ID) error {
	const name = "spare"
	if err := removeAll(ctx, s.trash, name); err != nil {
		return err
	}
	if err := s.trash.mkdir(name, 0o755); err != nil {
		return err
	}
	base := s.releaseTree(id)
	err := s.farm(newCrew(ctx), s.packs, base, id, nil, s.trash, name)
	if err == nil {
		err = s.trash.syncAll()
	}
	if err == nil {
		t := s.readTimes(id)
		err = s.verify(ctx, &tree{id: id, at: s.trash, name: name}, &t)
	}
	if err != nil {
		return errors.Join(err, removeAll(context.WithoutCancel(ctx), s.trash, name))
	}
	if err := s.trash.rename(name, s.spare, id.String()); err != nil {
		return err
	}
	return s.spare.sync()
}

// sweep removes what nothing needs.
func (s *Store) sweep(ctx context.Context) error {
	all, err := s.Releases()
	if err != nil {
		return err
	}
	var roots []release.ID
	for _, r := range all {
		roots = append(roots, r.ID)
	}
	if id, err := s.spareID(); err != nil {
		return err
	} else if !id.IsZero() {
		roots = append(roots, id)
	}
	return errors.Join(s.sweepMeta(roots), s.sweepIncoming(ctx), s.sweepDir(ctx, s.trash), s.sweepDir(ctx, s.tmp), s.repack(roots))
}

func (s *Store) sweepMeta(roots []release.ID) error {
	names, err := s.meta.names()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		stem, ext, _ := strings.Cut(name, ".")
		id, err := release.ParseID(stem)
		if err != nil || ext != "json" && ext != "times" || slices.Contains(roots, id) {
			continue
		}
		if there, err := s.releases.has(stem); err != nil || there {
			continue // not complete, and not ours to judge
		}
		errs = append(errs, s.meta.unlink(name))
	}
	return errors.Join(errs...)
}

func (s *Store) sweepIncoming(ctx context.Context) error {
	names, err := s.incoming.names()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		id, err := release.ParseID(name)
		if err != nil {
			continue
		}
		st, err := s.incoming.stat(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if s.Has(id) || time.Since(time.Unix(st.Mtim.Unix())) > staleAfter {
			errs = append(errs, s.discard(ctx, s.incoming, name))
		}
	}
	return errors.Join(errs...)
}

// sweepDir empties a directory that holds rubbish only.
func (s *Store) sweepDir(ctx context.Context, d *dir) error {
	names, err := d.names()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, removeAll(ctx, d, name))
	}
	return errors.Join(errs...)
}
