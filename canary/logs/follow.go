package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
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
	// cuts counts how often a file lost what had not been read.
	cuts    int
	skipped int64 // lines that were too long
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
