package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"scap/sync/release"
)

// asideMark is in the name of the directory that Adopt keeps.
const asideMark = ".before-scap-"

// Adopt takes over a served path that is a plain directory: its content becomes a release, which becomes current, and a
// link to this store's `current` takes the directory's place in one step. The directory is kept beside it, as
// <served>.before-scap-<id>. It is repeatable, also after it was interrupted anywhere; a served path that is the link
// already is left alone. Nothing may write to the directory meanwhile.
func (s *Store) Adopt(ctx context.Context, served string, o SnapshotOptions) (release.Release, error) {
	r, err := s.adopt(ctx, served, o)
	if err != nil {
		return release.Release{}, fmt.Errorf("adopt %s: %w", served, full(err))
	}
	return r, nil
}

func (s *Store) adopt(ctx context.Context, served string, o SnapshotOptions) (release.Release, error) {
	var none release.Release
	served, err := filepath.Abs(served)
	if err != nil {
		return none, err
	}
	parent, err := openDir(filepath.Dir(served), s.fault)
	if err != nil {
		return none, err
	}
	defer parent.close()
	name := filepath.Base(served)
	temp := "." + name + ".scap-adopt" // the link, then for a moment the directory
	if err := s.mend(parent, name, temp); err != nil {
		return none, err
	}
	st, err := parent.stat(name)
	if err != nil {
		return none, err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return s.adopted(parent, name)
	case unix.S_IFDIR:
	default:
		return none, errors.New("it is neither a directory nor a link")
	}
	if err := parent.writable(); err != nil {
		return none, err
	}
	r, err := s.Snapshot(ctx, served, o)
	if err != nil {
		return none, err
	}
	now, err := s.Current()
	if err == nil {
		err = s.Swap(ctx, now, r.ID)
	}
	if err == nil {
		err = s.unchanged(ctx, served, r.ID, o)
	}
	if err == nil {
		err = s.exchange(parent, name, temp, aside(name, r.ID))
	}
	return r, err
}

// adopted checks a link at the served path.
func (s *Store) adopted(parent *dir, name string) (release.Release, error) {
	var none release.Release
	target, err := parent.readlink(name)
	if err != nil {
		return none, err
	}
	if target != s.link() {
		return none, fmt.Errorf("it is a link to %q already, not to %q: nothing was changed", target, s.link())
	}
	id, err := s.Current()
	if err != nil {
		return none, err
	}
	if id.IsZero() {
		return none, fmt.Errorf("it links to %s, but no release is current", s.link())
	}
	return s.Lookup(id)
}

func (s *Store) link() string { return filepath.Join(s.path, currentName) }

func aside(name string, id release.ID) string { return name + asideMark + id.Short() }

// unchanged looks at the directory once more: what was written to it since would be lost from sight.
func (s *Store) unchanged(ctx context.Context, served string, id release.ID, o SnapshotOptions) error {
	if err := s.Verify(ctx, id); err != nil {
		return err
	}
	d, err := openDir(served, s.fault)
	if err != nil {
		return err
	}
	defer d.close()
	_, now, err := s.look(ctx, d, served, o)
	if err == nil && now != id {
		err = errors.New("somebody writes to it: stop that and try again")
	}
	return err
}

// exchange puts the link in the directory's place and the directory aside.
func (s *Store) exchange(parent *dir, name, temp, keep string) error {
	if taken, err := parent.has(keep); err != nil || taken {
		return errors.Join(err, fmt.Errorf("%s/%s stands in the way: move it", parent.name, keep))
	}
	if err := parent.symlink(s.link(), temp); err != nil {
		return err
	}
	if err := parent.sync(); err != nil {
		return err
	}
	err := parent.swap(temp, name)
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
		// An old kernel or file system: for an instant nothing stands at the served path.
		if err := parent.rename(name, parent, keep); err != nil {
			return err
		}
		if err := parent.rename(temp, parent, name); err != nil {
			return errors.Join(err, parent.rename(keep, parent, name))
		}
		return parent.sync()
	case err != nil:
		return errors.Join(err, parent.unlink(temp))
	}
	if err := parent.rename(temp, parent, keep); err != nil {
		return err
	}
	return parent.sync()
}

// mend ends or takes back what an interrupted Adopt left.
func (s *Store) mend(parent *dir, name, temp string) error {
	left, err := parent.stat(temp)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	at, err := parent.stat(name)
	gone := missing(err)
	if err != nil && !gone {
		return err
	}
	isLink := left.Mode&unix.S_IFMT == unix.S_IFLNK
	switch {
	case isLink && gone: // between the two renames
		err = parent.rename(temp, parent, name)
	case isLink: // before the exchange
		err = parent.unlink(temp)
	case gone:
		err = fmt.Errorf("nothing is there, but %s/%s is: move it back", parent.name, temp)
	case at.Mode&unix.S_IFMT != unix.S_IFLNK:
		err = fmt.Errorf("%s/%s stands in the way: move it", parent.name, temp)
	default: // after the exchange
		id, cur := s.Current()
		if cur != nil {
			return cur
		}
		err = parent.rename(temp, parent, aside(name, id))
	}
	return errors.Join(err, parent.sync())
}

// writable reports whether the link can be put in the directory's place, before anything is done for it. Where served
// paths are, few may write.
func (d *dir) writable() error {
	if err := unix.Faccessat(d.fd, ".", unix.W_OK|unix.X_OK, 0); err != nil {
		return fmt.Errorf("%s: %w: the link is put there by the user that scap logs in as; let him write for this once (setfacl -m u:USER:rwx %s, afterwards -x)",
			d.name, err, d.name)
	}
	return nil
}

// swap exchanges two names in one step.
func (d *dir) swap(a, b string) error {
	if err := d.change("swap", a); err != nil {
		return err
	}
	return d.err("exchange", a, again(func() error { return unix.Renameat2(d.fd, a, d.fd, b, unix.RENAME_EXCHANGE) }))
}
