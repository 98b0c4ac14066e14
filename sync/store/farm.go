package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"scap/sync/release"
)

// linkOrCopy gives a file or link a second name, or, at the file system's limit of links, a copy.
func linkOrCopy(from *dir, name string, to *dir, e release.Entry) error {
	err := to.link(from, name, e.Name)
	if !errors.Is(err, unix.EMLINK) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EXDEV) {
		return err
	}
	if e.Kind == release.Link {
		return to.symlink(e.Target, e.Name)
	}
	f, st, err := from.open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return fill(to, e.Name, e, st.Mtim.Nano(), f)
}

// fill makes a file of what r gives and refuses any content but e's.
func fill(to *dir, name string, e release.Entry, mtime int64, r io.Reader) error {
	f, err := to.create(name)
	if err != nil {
		return err
	}
	err = copyHashed(f, r, e)
	if err == nil {
		err = again(func() error { return unix.Fchmod(int(f.Fd()), uint32(e.Mode)) })
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = to.utime(name, mtime)
	}
	if err != nil {
		return errors.Join(err, to.unlink(name))
	}
	return nil
}

// copyHashed copies exactly e's content.
func copyHashed(w io.Writer, r io.Reader, e release.Entry) error {
	h := sha256.New()
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	n, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(w, h)}, io.LimitReader(r, e.Size+1), *buf)
	if err != nil {
		return err
	}
	if sum := release.Sum(h.Sum(nil)); n != e.Size || sum != e.Sum {
		return fmt.Errorf("%w: it has another content than the release says", ErrDamaged)
	}
	return nil
}

// farm makes name in at a tree of hard links to what base has as next wants it. Directories that base lacks, files that
// differ and what is in skip are left to be put.
func (s *Store) farm(c *crew, src release.Dirs, base *tree, next release.ID, skip map[string]bool, at *dir, name string) error {
	from, err := base.open("")
	if err != nil {
		return err
	}
	defer from.close()
	to, err := at.sub(name)
	if err != nil {
		return err
	}
	defer to.close()
	f := &farmer{src: src, crew: c, skip: skip}
	return f.dir("", from, to, release.Sum(base.id), release.Sum(next))
}

type farmer struct {
	src  release.Dirs
	crew *crew
	skip map[string]bool
}

func (f *farmer) dir(path string, from, to *dir, base, next release.Sum) error {
	if f.crew.ctx.Err() != nil {
		return context.Cause(f.crew.ctx)
	}
	old, err := f.src.Dir(base)
	now := old
	if err == nil && base != next {
		now, err = f.src.Dir(next)
	}
	if err != nil {
		return err
	}
	b := f.crew.batch()
	for _, e := range now {
		was, ok := old.Find(e.Name)
		if !ok || was.Kind != e.Kind || len(f.skip) > 0 && f.skip[join(path, e.Name)] {
			continue
		}
		if e.Kind == release.Directory {
			b.do(func() error { return f.sub(join(path, e.Name), from, to, was, e) })
		} else if was == e {
			if b.fail(linkOrCopy(from, e.Name, to, e)) {
				break
			}
		}
	}
	return b.wait()
}

func (f *farmer) sub(path string, from, to *dir, was, e release.Entry) error {
	if err := to.mkdir(e.Name, uint32(e.Mode)); err != nil {
		return err
	}
	below, err := from.sub(e.Name)
	if err != nil {
		return err
	}
	defer below.close()
	made, err := to.sub(e.Name)
	if err != nil {
		return err
	}
	defer made.close()
	return f.dir(path, below, made, was.Sum, e.Sum)
}
