package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"scap/sync/release"
)

// badPaths bounds how many paths an error of Verify names.
const badPaths = 10

// Verify reads all of a release on disk and fails, wrapping ErrDamaged and naming the first paths, when anything is
// missing, there but not in the release, or of another kind, mode, target or content.
func (s *Store) Verify(ctx context.Context, id release.ID) error {
	if _, err := s.Lookup(id); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if err := s.verify(ctx, s.releaseTree(id), nil); err != nil {
		return fmt.Errorf("verify release %s in %s: %w", id.Short(), s.path, err)
	}
	return nil
}

// verify compares a tree with its description. With quick, a file whose size, mode and mtime are those recorded there
// is not read.
func (s *Store) verify(ctx context.Context, t *tree, quick *times) error {
	d, err := t.open("")
	if err != nil {
		return err
	}
	defer d.close()
	v := &verifier{s: s, crew: newCrew(ctx), quick: quick}
	if err := v.dir(d, "", release.Sum(t.id), 0); err != nil {
		return err
	}
	if len(v.bad) == 0 {
		return nil
	}
	slices.Sort(v.bad)
	what := v.bad[:min(badPaths, len(v.bad))]
	if n := v.count - len(what); n > 0 {
		what = append(what, fmt.Sprintf("and %d more", n))
	}
	return fmt.Errorf("%w: %s", ErrDamaged, strings.Join(what, "; "))
}

type verifier struct {
	s     *Store
	crew  *crew
	quick *times
	mu    sync.Mutex
	bad   []string
	count int
}

// verifyKeep bounds what is remembered of a tree that is wrong everywhere.
const verifyKeep = 1000

func (v *verifier) complain(path, what string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.count++; len(v.bad) < verifyKeep {
		v.bad = append(v.bad, fmt.Sprintf("%q %s", path, what))
	}
}

func (v *verifier) dir(d *dir, path string, sum release.Sum, depth int) error {
	if v.crew.ctx.Err() != nil {
		return context.Cause(v.crew.ctx)
	}
	if depth > release.MaxDepth {
		return release.ErrInvalid
	}
	want, err := v.s.Dir(sum)
	if err != nil {
		return fmt.Errorf("its description lacks %q: %w", path, errors.Join(err, ErrDamaged))
	}
	names, err := d.names()
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(names))
	for _, n := range names {
		there[n] = true
		if _, ok := want.Find(n); !ok {
			v.complain(join(path, n), "is not in the release")
		}
	}
	b := v.crew.batch()
	var files []release.Entry
	for _, e := range want {
		switch {
		case !there[e.Name]:
			v.complain(join(path, e.Name), "is missing")
		case e.Kind == release.Directory:
			b.do(func() error { return v.sub(d, join(path, e.Name), e, depth) })
		default:
			files = append(files, e)
		}
	}
	for part := range slices.Chunk(files, 16) {
		b.do(func() error { return v.files(d, path, part) })
	}
	return b.wait()
}

func (v *verifier) sub(d *dir, path string, e release.Entry, depth int) error {
	st, err := d.stat(e.Name)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		v.complain(path, "is no directory")
		return nil
	}
	if uint16(st.Mode&0o777) != e.Mode { // a directory may inherit setgid
		v.complain(path, fmt.Sprintf("has mode %#o, not %#o", st.Mode&0o777, e.Mode))
	}
	sub, err := d.sub(e.Name)
	if err != nil {
		return err
	}
	defer sub.close()
	return v.dir(sub, path, e.Sum, depth+1)
}

func (v *verifier) files(d *dir, path string, list []release.Entry) error {
	for _, e := range list {
		if v.crew.ctx.Err() != nil {
			return context.Cause(v.crew.ctx)
		}
		p := join(path, e.Name)
		what, err := v.file(d, p, e)
		if err != nil {
			return fmt.Errorf("%q: %w", p, err)
		}
		if what != "" {
			v.complain(p, what)
		}
	}
	return nil
}

// file says what is wrong with a file or link, nothing when nothing is.
func (v *verifier) file(d *dir, path string, e release.Entry) (string, error) {
	st, err := d.stat(e.Name)
	if err != nil {
		return "", err
	}
	if e.Kind == release.Link {
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			return "is no link", nil
		}
		target, err := d.readlink(e.Name)
		if err == nil && target != e.Target {
			return fmt.Sprintf("points to %q, not %q", target, e.Target), nil
		}
		return "", err
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return "is no file", nil
	case uint16(st.Mode&0o7777) != e.Mode:
		return fmt.Sprintf("has mode %#o, not %#o", st.Mode&0o7777, e.Mode), nil
	case st.Size != e.Size:
		return "has another content", nil
	}
	if v.quick != nil {
		if at, ok := v.quick.get(path); ok && at == st.Mtim.Nano() {
			return "", nil
		}
	}
	sum, err := hashFile(d, e.Name, stampOf(&st))
	switch {
	case errors.Is(err, errChanging):
		return "is being changed", nil
	case err != nil:
		return "", err
	case sum != e.Sum:
		return "has another content", nil
	}
	return "", nil
}
