package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// removeAll removes whatever stands at name in d, however deep, following no link. What is gone already is no error.
func removeAll(ctx context.Context, d *dir, name string) error {
	return (&remover{newCrew(ctx)}).entry(d, name)
}

type remover struct{ crew *crew }

func (r *remover) entry(d *dir, name string) error {
	st, err := d.stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return d.unlink(name)
	}
	if err := r.inside(d, name); err != nil {
		return err
	}
	return d.rmdir(name)
}

func (r *remover) inside(d *dir, name string) error {
	if err := r.crew.ctx.Err(); err != nil {
		return context.Cause(r.crew.ctx)
	}
	sub, err := d.sub(name)
	if err != nil {
		return err
	}
	defer sub.close()
	names, err := sub.names()
	if err != nil {
		return err
	}
	b := r.crew.batch()
	for _, n := range names {
		switch err := sub.unlink(n); {
		case errors.Is(err, unix.EISDIR), errors.Is(err, unix.EPERM):
			b.do(func() error { return r.entry(sub, n) })
		case err != nil:
			b.fail(err)
		}
	}
	return b.wait()
}

// discard moves name out of the way in one step and then removes it: half of it is never seen where it stood.
func (s *Store) discard(ctx context.Context, from *dir, name string) error {
	for i := 0; ; i++ {
		to := fmt.Sprintf("%s.%d", name, i)
		if taken, err := s.trash.has(to); err != nil {
			return err
		} else if taken {
			continue
		}
		err := from.rename(name, s.trash, to)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return removeAll(ctx, s.trash, to)
	}
}
