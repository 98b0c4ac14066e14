package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"scap/sync/release"
)

// badPaths bounds how many paths an error of Verify names.
const badPaths = 10

// Verify reads all of a release on disk and fails, wrapping ErrDamaged and naming the first paths, when anything is
// missing, there but not in the release, or of another kind, mode, target or content.
//
// Asked again by the same Store it does not read again what the file system says nobody has touched since it was read: same
// file, size, mtime and ctime.
func (s *Store) Verify(ctx context.Context, id release.ID) error {
	if _, err := s.Lookup(id); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	v := &verifier{s: s, crew: newCrew(ctx), known: s.proven(id), seen: map[string][]stamp{}, since: time.Now().Add(-racy).UnixNano()}
	if err := v.run(s.releaseTree(id)); err != nil {
		return fmt.Errorf("verify release %s in %s: %w", id.Short(), s.path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read = proven{id, v.seen}
	return nil
}

// proven is what the last Verify read: of each directory the stamps of its files, in the order of the release. A zero stamp
// proves nothing.
type proven struct {
	id   release.ID
	dirs map[string][]stamp
}

func (s *Store) proven(id release.ID) map[string][]stamp {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.read.id != id {
		return nil
	}
	return s.read.dirs
}

// verify compares a tree with its description. With quick, a file whose size, mode and mtime are those recorded there
// is not read.
func (s *Store) verify(ctx context.Context, t *tree, quick *times) error {
	return (&verifier{s: s, crew: newCrew(ctx), quick: quick}).run(t)
}

// run fails when the tree is not what its description says.
func (v *verifier) run(t *tree) error {
	d, err := t.open("")
	if err != nil {
		return err
	}
	defer d.close()
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
	known map[string][]stamp // that were read before
	seen  map[string][]stamp // that are read now; nil: nobody wants to know
	since int64              // a ctime from here on proves nothing
	mu    sync.Mutex         // guards what follows, and seen
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
	files := make([]release.Entry, 0, len(want))
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
	known, seen := v.known[path], make([]stamp, len(files))
	if len(known) != len(files) {
		known = make([]stamp, len(files))
	}
	for i := 0; i < len(files); i += filesAtOnce {
		end := min(i+filesAtOnce, len(files))
		b.do(func() error { return v.files(d, path, files[i:end], known[i:end], seen[i:end]) })
	}
	err = b.wait()
	if v.seen != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.seen[path] = seen
	}
	return err
}

// filesAtOnce is how many files of a directory one goroutine reads.
const filesAtOnce = 16

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

func (v *verifier) files(d *dir, path string, list []release.Entry, known, seen []stamp) error {
	for i, e := range list {
		if v.crew.ctx.Err() != nil {
			return context.Cause(v.crew.ctx)
		}
		p := join(path, e.Name)
		what, at, err := v.file(d, p, e, known[i])
		if err != nil {
			return fmt.Errorf("%q: %w", p, err)
		}
		if what != "" {
			v.complain(p, what)
		}
		if at.ctime < v.since {
			seen[i] = at
		}
	}
	return nil
}

// file says what is wrong with a file or link, nothing when nothing is, and what a file was that is right.
func (v *verifier) file(d *dir, path string, e release.Entry, known stamp) (string, stamp, error) {
	if e.Kind == release.Link {
		what, err := linkIs(d, e)
		return what, stamp{}, err
	}
	if v.quick != nil || known != (stamp{}) {
		st, err := d.stat(e.Name)
		if err != nil {
			return "", stamp{}, err
		}
		if what := shape(&st, e); what != "" {
			return what, stamp{}, nil
		}
		if known != (stamp{}) && stampOf(&st) == known {
			return "", known, nil
		}
		if v.quick != nil {
			if at, ok := v.quick.get(path); ok && at == st.Mtim.Nano() {
				return "", stamp{}, nil
			}
		}
	}
	fd, st, err := d.openFd(e.Name)
	if err != nil {
		if st, err := d.stat(e.Name); err == nil && shape(&st, e) != "" {
			return shape(&st, e), stamp{}, nil
		}
		return "", stamp{}, err
	}
	defer func() { _ = unix.Close(fd) }() // it was only read
	if what := shape(&st, e); what != "" {
		return what, stamp{}, nil
	}
	sum, err := hashOpen(d, e.Name, fd, stampOf(&st))
	switch {
	case errors.Is(err, errChanging):
		return "is being changed", stamp{}, nil
	case err != nil:
		return "", stamp{}, err
	case sum != e.Sum:
		return "has another content", stamp{}, nil
	}
	return "", stampOf(&st), nil
}

// shape says what is wrong with a file before it is read.
func shape(st *unix.Stat_t, e release.Entry) string {
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return "is no file"
	case uint16(st.Mode&0o7777) != e.Mode:
		return fmt.Sprintf("has mode %#o, not %#o", st.Mode&0o7777, e.Mode)
	case st.Size != e.Size:
		return "has another content"
	}
	return ""
}

// linkIs says what is wrong with a link.
func linkIs(d *dir, e release.Entry) (string, error) {
	st, err := d.stat(e.Name)
	if err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "is no link", nil
	}
	target, err := d.readlink(e.Name)
	if err == nil && target != e.Target {
		return fmt.Sprintf("points to %q, not %q", target, e.Target), nil
	}
	return "", err
}
