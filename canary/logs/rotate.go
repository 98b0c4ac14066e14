package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// look opens what carries the log's name now, and the files that carried it before and were not seen.
func (f *follower) look() error {
	st, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if len(f.gens) > 0 {
			return nil // between the rename and the create of a rotation
		}
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", f.path)
	case f.known(idOf(st)):
		return f.lookBehind(idOf(st))
	}
	first := len(f.gens) == 0
	for _, g := range slices.Clone(f.gens) {
		if err := f.stayed(g); err != nil { // what was copied away must not be taken for another log
			return err
		}
	}
	fresh := f.unread(first)
	if err == nil {
		fresh = append(fresh, f.path)
	}
	for _, p := range fresh {
		if err := f.open(p, first, len(f.gens)); err != nil {
			return err
		}
	}
	return nil
}

// lookBehind finds what copytruncate took out of the file of that id while so little of it had been read that it does not show.
func (f *follower) lookBehind(id fileID) error {
	at := slices.IndexFunc(f.gens, func(g *gen) bool { return g.id == id })
	if len(f.gens[at].tail) == tailLen {
		return nil
	}
	for i, p := range f.unread(false) {
		if err := f.open(p, false, at+i); err != nil {
			return err
		}
	}
	return nil
}

// unread lists the files that a rotation made and that were not seen, oldest first, without those that somebody copied from
// what is there.
func (f *follower) unread(first bool) []string {
	list := f.siblings(first)
	heads := map[string]bool{}
	for _, g := range f.gens {
		heads[headOf(g.f)] = true
	}
	if file, _, err := openLog(f.path); err == nil {
		heads[headOf(file)] = true
		_ = file.Close()
	}
	return slices.DeleteFunc(list, func(p string) bool {
		file, _, err := openLog(p)
		if err != nil {
			return false // opening it again says why
		}
		defer file.Close()
		head := headOf(file)
		return len(head) == tailLen && heads[head]
	})
}

// headOf is how a file begins.
func headOf(file *os.File) string {
	b := make([]byte, tailLen)
	n, _ := file.ReadAt(b, 0) // what cannot be read is like nothing else
	return string(b[:n])
}

// siblings lists the files that a rotation made of the log and that were written since, oldest first.
func (f *follower) siblings(first bool) []string {
	after := f.since
	if f.floor.After(after) {
		after = f.floor
	}
	type old struct {
		path  string
		mtime time.Time
	}
	var list []old
	entries, err := os.ReadDir(filepath.Dir(f.path))
	if err != nil {
		return nil // the directory may be closed to us while the file is open
	}
	base := filepath.Base(f.path)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), base+".") && !strings.HasPrefix(e.Name(), base+"-") || !e.Type().IsRegular() {
			continue
		}
		st, err := e.Info()
		if err != nil || !st.ModTime().After(after) || f.known(idOf(st)) {
			continue
		}
		p := filepath.Join(filepath.Dir(f.path), e.Name())
		if isPacked(p) {
			if first {
				f.packed = append(f.packed, packedLog{p, st.ModTime()})
			}
			continue
		}
		list = append(list, old{p, st.ModTime()})
	}
	slices.SortFunc(list, func(a, b old) int { return a.mtime.Compare(b.mtime) })
	paths := make([]string, 0, len(list))
	for _, o := range list {
		paths = append(paths, o.path)
	}
	return paths
}

func isPacked(p string) bool {
	return slices.Contains([]string{".gz", ".bz2", ".xz", ".zst"}, filepath.Ext(p))
}

// stayed begins anew when the file was cut off since the last look, also when it has grown beyond the cursor again. What it
// held is read on in the copy that copytruncate made of it, when there is one; else it is lost.
func (f *follower) stayed(g *gen) error {
	ok, err := g.holds(g.f)
	if err != nil {
		return fmt.Errorf("read %s: %w", f.path, err)
	}
	if ok {
		return nil
	}
	cut := &gen{f: g.f, id: g.id, mtime: g.mtime}
	later, ok := f.rescue(g)
	if !ok {
		*g = *cut
		f.cuts++
		return nil
	}
	i := slices.Index(f.gens, g)
	f.gens = slices.Insert(f.gens, i+1, append(later, cut)...)
	return nil
}

// holds reports whether a file has what was read of g's.
func (g *gen) holds(file *os.File) (bool, error) {
	now := make([]byte, tailLen)
	for _, part := range []struct {
		want []byte
		at   int64
	}{{g.tail, g.off - int64(len(g.tail))}, {g.head, 0}} {
		n, err := file.ReadAt(now[:len(part.want)], part.at)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if !bytes.Equal(now[:n], part.want) {
			return false, nil
		}
	}
	return true, nil
}

// rescue lets g go on in the copy that copytruncate made of its file before it cut it off. If that has happened several
// times since, later are the further copies, oldest first.
func (f *follower) rescue(g *gen) (later []*gen, ok bool) {
	for _, p := range f.siblings(false) { // oldest first
		file, st, err := openLog(p)
		if err != nil {
			continue
		}
		if f.known(idOf(st)) {
			_ = file.Close()
			continue
		}
		same, err := g.holds(file)
		switch {
		case !ok && same && err == nil && len(g.tail) == tailLen: // of less it cannot be known
			g.f, g.id, g.mtime, ok = file, idOf(st), st.ModTime(), true
		case ok && !same:
			later = append(later, &gen{f: file, id: idOf(st), mtime: st.ModTime()})
		default:
			_ = file.Close()
		}
	}
	return later, ok
}
