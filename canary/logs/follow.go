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
	"syscall"
	"time"
)

const (
	chunk   = 256 << 10 // read at once
	maxLine = 1 << 20   // a longer line is skipped
	maxGens = 8         // rotations followed at once
	tailLen = 64        // bytes that are checked for having stayed, of the beginning and before the cursor
)

// place of a file that survives its renaming.
type fileID struct{ dev, ino uint64 }

// gen is one file that has carried, or carries, the log's name.
type gen struct {
	f     *os.File
	id    fileID
	off   int64  // behind the last complete line that was read
	head  []byte // what the file begins with, as far as it was read, and
	tail  []byte // the bytes before off: when they are others now, the file was cut off and written anew
	skip  bool   // inside a line that is too long
	mtime time.Time
}

// follower reads one log in order across rotation (rename and create) and truncation (copytruncate). It is used by one
// goroutine.
type follower struct {
	path  string
	since time.Time
	when  func(line []byte) (time.Time, bool) // to find where to begin
	gens  []*gen
	floor time.Time // files last written before it are done with
	// cuts counts how often a file lost what had not been read; what came before vouches for nothing.
	cuts    int
	skipped int64    // lines that were too long
	notes   []string // what was lost for good
	packed  []packedLog
	buf     []byte
}

// packedLog is a file that was rotated and compressed before it was read: what it says is lost, up to until.
type packedLog struct {
	path  string
	until time.Time
}

func (f *follower) close() {
	for _, g := range f.gens {
		_ = g.f.Close()
	}
	f.gens = nil
}

// next hands complete lines to each, oldest file first, until all is read or budget bytes are. It returns how many it took
// and what is left.
func (f *follower) next(budget int64, each func(line []byte)) (taken, behind int64, err error) {
	if err := f.look(); err != nil {
		return 0, 0, err
	}
	for i := 0; i < len(f.gens); i++ { // reading may find one more
		g := f.gens[i]
		n, err := f.read(g, budget, each)
		taken += n
		if err != nil {
			return taken, behind, err
		}
		budget -= n
		st, err := g.f.Stat()
		if err != nil {
			return taken, behind, fmt.Errorf("read %s: %w", f.path, err)
		}
		// A torn last line is not behind: its writer has not ended it.
		if budget <= 0 {
			behind += max(0, st.Size()-g.off)
		}
		g.mtime = st.ModTime()
	}
	for len(f.gens) > maxGens {
		g := f.gens[0]
		f.floor = g.mtime
		_ = g.f.Close()
		f.gens = f.gens[1:]
	}
	return taken, behind, nil
}

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

func (f *follower) known(id fileID) bool {
	return slices.ContainsFunc(f.gens, func(g *gen) bool { return g.id == id })
}

// open takes up the file at p, as the one at that place in the order of reading.
func (f *follower) open(p string, first bool, at int) error {
	file, st, err := openLog(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // rotated away under our hands; the next look finds it
	}
	if err != nil {
		return err
	}
	if f.known(idOf(st)) {
		return file.Close()
	}
	g := &gen{f: file, id: idOf(st), mtime: st.ModTime()}
	if first {
		if g.off, err = f.begin(file, st.Size()); err != nil {
			_ = file.Close()
			return fmt.Errorf("find %s in %s: %w", f.since.Format(time.RFC3339), p, err)
		}
		if err := g.remember(); err != nil {
			_ = file.Close()
			return err
		}
	}
	f.gens = slices.Insert(f.gens, at, g)
	return nil
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
				f.notes = append(f.notes, fmt.Sprintf("%s was rotated and compressed since %s: what is in it is not counted",
					p, f.since.Format(time.TimeOnly)))
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

func idOf(st fs.FileInfo) fileID {
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}
	}
	return fileID{s.Dev, s.Ino}
}

// begin returns the start of a line before since: it probes backwards in doubling steps, so a log of gigabytes costs a
// few reads.
func (f *follower) begin(file *os.File, size int64) (int64, error) {
	// Lines of one log are nearly in order; a request that ends is logged within this of its time.
	const slack = 10 * time.Second
	for step := int64(chunk); ; step *= 2 {
		pos := max(0, size-step)
		if pos == 0 {
			return 0, nil
		}
		b := make([]byte, min(chunk, size-pos))
		n, err := file.ReadAt(b, pos)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		b = b[:n]
		line := bytes.IndexByte(b, '\n') + 1
		if line == 0 {
			continue
		}
		start := pos + int64(line)
		for l := range bytes.Lines(b[line:]) {
			at, ok := f.when(bytes.TrimRight(l, "\r\n"))
			if !ok {
				continue
			}
			if at.Before(f.since.Add(-slack)) {
				return start, nil
			}
			break
		}
	}
}

// read hands g's complete lines to each and returns how many bytes it took.
func (f *follower) read(g *gen, budget int64, each func([]byte)) (int64, error) {
	if err := f.stayed(g); err != nil {
		return 0, err
	}
	var taken int64
	if f.buf == nil {
		f.buf = make([]byte, chunk)
	}
	buf := f.buf
	for taken < budget {
		n, err := g.f.ReadAt(buf, g.off)
		if err != nil && !errors.Is(err, io.EOF) {
			return taken, fmt.Errorf("read %s: %w", f.path, err)
		}
		used := bytes.LastIndexByte(buf[:n], '\n') + 1
		switch {
		case used > 0:
			lines := buf[:used]
			if g.skip {
				lines, g.skip = lines[bytes.IndexByte(lines, '\n')+1:], false
			}
			for l := range bytes.Lines(lines) {
				each(bytes.TrimRight(l, "\r\n"))
			}
		case n == len(buf) && (n >= maxLine || g.skip):
			if !g.skip {
				f.skipped++
			}
			used, g.skip = n, true
		case n == len(buf):
			buf = make([]byte, maxLine) // a long line: look again for its end
			continue
		}
		g.off += int64(used)
		taken += int64(used)
		if used == 0 {
			break // the end, or a torn last line: it is read again when its newline has come
		}
	}
	return taken, g.remember()
}

// remember keeps the bytes before the cursor.
func (g *gen) remember() error {
	n := min(g.off, tailLen)
	tail := make([]byte, n)
	if _, err := g.f.ReadAt(tail, g.off-n); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	g.tail = tail
	if len(g.head) < tailLen {
		g.head = make([]byte, n)
		if _, err := g.f.ReadAt(g.head, 0); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	return nil
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

// openLog opens a regular file, without waiting for a writer of anything else.
func openLog(p string) (*os.File, fs.FileInfo, error) {
	file, err := os.OpenFile(p, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	st, err := file.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", p)
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, st, nil
}
