package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Bounds of a journal.
const (
	MaxLine = 1 << 20 // bytes of a line with its newline
	MaxText = 16 << 10
	suffix  = ".jsonl"
	// reserve is what a Writer keeps allocated ahead unless Reserve asked for more.
	reserve = 1 << 20
)

// ErrBusy means that another process writes the journal now.
var ErrBusy = errors.New("another process writes this journal")

// Writer appends to one deploy's journal. It is the only one that does: the file is locked as long as it is open. A nil
// error of Append means that the record is on the disk. Its methods may be called from several goroutines.
type Writer struct {
	path   string
	deploy string
	torn   int64
	ended  bool // when it was opened the last record but those that are Idle was an End

	mu     sync.Mutex // guards what follows
	file   *os.File
	seq    uint64
	size   int64 // of the whole records
	ahead  int64 // bytes to keep allocated behind size
	end    int64 // up to where bytes are allocated
	noRoom error // why they are not
}

// NewDeploy makes a deploy's name: its second and who started it, so that names sort by time and people know them.
func NewDeploy(at time.Time, user string) string {
	clean := strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && strings.ContainsRune(nameLetters, r) {
			return r
		}
		return '_'
	}, user)
	return at.UTC().Format("20060102T150405.000Z") + "-" + clean[:min(len(clean), 40)]
}

const nameLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

// checkDeploy refuses a name that could not be a file's, or would hide.
func checkDeploy(deploy string) error {
	if deploy == "" || len(deploy) > 100 || strings.Trim(deploy, nameLetters) != "" || deploy[0] == '.' || deploy[0] == '-' {
		return fmt.Errorf("deploy %q: a name has 1 to 100 letters, digits, '.', '_' or '-' and begins with a letter, digit or '_'", deploy)
	}
	return nil
}

// Create begins the journal of a new deploy in dir, which it makes when missing. It fails when the deploy has one, and
// when the disk has no room for the way back.
func Create(dir, deploy string) (*Writer, error) {
	if err := checkDeploy(deploy); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, deploy+suffix)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create the deploy's journal: %w", err)
	}
	w := &Writer{path: path, deploy: deploy, file: f, ahead: reserve}
	if err := errors.Join(w.begin(), syncDir(dir)); err != nil {
		return nil, errors.Join(fmt.Errorf("create the deploy's journal: %w", err), f.Close(), os.Remove(path))
	}
	return w, nil
}

// Open takes up the journal at path to append to it: the one of a deploy that died. A torn last line, whose Append never
// returned, is cut off. It fails with ErrBusy while the deploy lives.
func Open(path string) (*Writer, error) {
	deploy, ok := strings.CutSuffix(filepath.Base(path), suffix)
	if err := checkDeploy(deploy); err != nil || !ok {
		return nil, fmt.Errorf("open journal %s: not a journal's name", path)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	w := &Writer{path: path, deploy: deploy, file: f, ahead: reserve}
	if err := w.takeUp(); err != nil {
		return nil, errors.Join(fmt.Errorf("open journal %s: %w", path, err), f.Close())
	}
	return w, nil
}

// takeUp locks the file, reads it to its last whole record and cuts the rest off.
func (w *Writer) takeUp() error {
	if err := w.lock(); err != nil {
		return err
	}
	s := newScanner(w.file)
	for {
		r, err := s.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		w.ended = r.Kind == End || w.ended && r.Kind.Idle()
	}
	if s.deploy != "" && s.deploy != w.deploy {
		return fmt.Errorf("its records are of deploy %q", s.deploy)
	}
	w.seq, w.size, w.torn = s.seq, s.good, s.read-s.good
	if err := w.rewind(); err != nil {
		return err
	}
	w.top() // without room the way back is still tried
	return nil
}

// begin locks a new file and reserves its room.
func (w *Writer) begin() error {
	if err := w.lock(); err != nil {
		return err
	}
	w.top()
	return w.noRoom
}

func (w *Writer) lock() error {
	err := unix.Flock(int(w.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrBusy
	}
	return err
}

// Deploy returns the deploy's name.
func (w *Writer) Deploy() string { return w.deploy }

// Path returns the journal's file name.
func (w *Writer) Path() string { return w.path }

// Torn returns how many bytes of an unfinished last line Open cut off.
func (w *Writer) Torn() int64 { return w.torn }

// Seq returns the number of the last record, 0 when there is none.
func (w *Writer) Seq() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seq
}

// Reserve keeps n bytes (at least 1 MiB) allocated ahead of what is written, so that a full disk cannot stop the way
// back. It fails when the disk has no such room now.
func (w *Writer) Reserve(n int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ahead = max(n, reserve)
	w.top()
	return w.noRoom
}

// Room returns an error while less than half of what should be reserved is: reason enough not to begin anything new.
func (w *Writer) Room() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.noRoom == nil || w.end-w.size > w.ahead/2 {
		return nil
	}
	return fmt.Errorf("the journal's disk is full (%s): %w", filepath.Dir(w.path), w.noRoom)
}

// Append writes r, with the next Seq, this deploy and (when zero) the time now filled in, and returns it once it is on
// the disk. Text is made valid UTF-8 and cut at MaxText. After an error the record is not in the journal.
func (w *Writer) Append(r Record) (Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return r, errors.New("append to the journal: it is closed")
	}
	if r.At.IsZero() {
		r.At = time.Now()
	}
	r.At, r.Seq, r.Deploy, r.Text = r.At.UTC().Round(0), w.seq+1, w.deploy, cut(r.Text)
	line, err := json.Marshal(r)
	if err == nil && len(line) >= MaxLine {
		err = fmt.Errorf("a record of %d bytes, and %d may be", len(line), MaxLine-1)
	}
	if err == nil {
		_, err = parse(line) // what is refused by the reader must never be written
	}
	if err == nil {
		err = w.write(append(line, '\n'))
	}
	if err != nil {
		return r, fmt.Errorf("append %s to the journal: %w", r.Kind, err)
	}
	w.seq = r.Seq
	return r, nil
}

// write puts line behind the last whole record and on the disk, or takes away what it wrote of it.
func (w *Writer) write(line []byte) error {
	_, err := w.file.WriteAt(line, w.size)
	if err == nil {
		err = unix.Fdatasync(int(w.file.Fd()))
	}
	if err != nil {
		err = errors.Join(err, w.rewind())
		w.top()
		return err
	}
	w.size += int64(len(line))
	if w.end-w.size < w.ahead/2 || w.noRoom != nil {
		w.top()
	}
	return nil
}

// rewind cuts the file behind the last whole record. That frees what was reserved.
func (w *Writer) rewind() error {
	w.end = w.size
	return errors.Join(w.file.Truncate(w.size), w.file.Sync())
}

// top allocates ahead bytes behind size without changing the file's length. A file system that cannot do so leaves the
// journal without a reserve, which is no error.
func (w *Writer) top() {
	err := unix.Fallocate(int(w.file.Fd()), unix.FALLOC_FL_KEEP_SIZE, w.size, w.ahead)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		err = nil
	case err == nil:
		w.end = w.size + w.ahead
	}
	w.noRoom = err
}

// Close gives back what was reserved and unlocks the journal.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return nil
	}
	f := w.file
	w.file = nil
	return errors.Join(f.Truncate(w.size), f.Close())
}

// cut makes text valid UTF-8 of at most MaxText bytes.
func cut(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= MaxText {
		return text
	}
	const more = " [cut]"
	b := []byte(text[:MaxText-len(more)])
	for len(b) > 0 && !utf8.Valid(b) {
		b = b[:len(b)-1]
	}
	return string(bytes.TrimRight(b, "\x00")) + more
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
