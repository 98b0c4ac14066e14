package lease

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// The queue is a directory of tickets beside the lock file. A ticket says who waits and is locked by the process that drew
// it, so that the ticket of one that has died can be told from the others. Tickets only say whose turn it is: that nobody
// works beside another is the lock file's affair alone.

// ticketName has the class (0 urgent, 1 not), a number, and something to tell apart who drew the same one at the same
// time: tickets in the order of their names are the queue.
var ticketName = regexp.MustCompile(`^[01]-([0-9]{12})-[0-9a-f]{16}$`)

// A ticket is made under a name that begins so, and has its own once it is locked and complete.
const unfinished = "new-"

// stale is how old an unfinished ticket is when whoever began it has surely died.
const stale = time.Minute

func queueDir(path string) string { return path + ".queue" }

// ticket is a place in the queue.
type ticket struct {
	path string // of the file
	lock *flock.Flock
}

// draw takes a place at the end of the queue of the lock file path, or at the end of those that are urgent.
func draw(path string, h Holder, urgent bool) (_ *ticket, err error) {
	dir := queueDir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("wait for %s: %w", path, err)
	}
	b, err := json.Marshal(h.complete())
	if err != nil {
		return nil, fmt.Errorf("wait for %s: %w", path, err)
	}
	names, err := tickets(dir)
	if err != nil {
		return nil, fmt.Errorf("wait for %s: %w", path, err)
	}
	last := 0
	for _, name := range names {
		n, _ := strconv.Atoi(ticketName.FindStringSubmatch(name)[1]) // at most 12 digits
		last = max(last, n)
	}
	class := 1
	if urgent {
		class = 0
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // it never fails
	begun := filepath.Join(dir, fmt.Sprintf("%s%x", unfinished, random))
	t := &ticket{path: filepath.Join(dir, fmt.Sprintf("%d-%012d-%x", class, last+1, random)), lock: flock.New(begun, flock.SetPermissions(0o644))}
	ok, err := t.lock.TryLock()
	if err == nil && !ok {
		err = errors.New("somebody else has locked it")
	}
	if err == nil {
		err = os.WriteFile(begun, append(b, '\n'), 0o644)
	}
	if err == nil {
		err = os.Rename(begun, t.path)
	}
	if err != nil {
		_ = os.Remove(begun)
		return nil, errors.Join(fmt.Errorf("wait for %s: %w", path, err), t.lock.Close())
	}
	return t, nil
}

// drop gives the place up.
func (t *ticket) drop() {
	_ = os.Remove(t.path) // nobody takes one that is not locked for a place, and whoever sees it removes it
	_ = t.lock.Close()
}

// lost reports whether somebody removed the file.
func (t *ticket) lost() bool {
	mine, err := t.lock.Stat()
	if err != nil {
		return true
	}
	there, err := os.Lstat(t.path)
	return err != nil || !os.SameFile(mine, there)
}

// before returns who is before t, first come first.
func (t *ticket) before() ([]Holder, error) {
	return waiting(filepath.Dir(t.path), func(name string) bool { return name < filepath.Base(t.path) }, true)
}

// Waiting returns who waits for the lease whose lock file is path, next one first. It changes nothing.
func Waiting(path string) ([]Holder, error) {
	return waiting(queueDir(path), func(string) bool { return true }, false)
}

// urgent returns who waits and is urgent.
func urgent(path string) ([]Holder, error) {
	return waiting(queueDir(path), func(name string) bool { return name[0] == '0' }, false)
}

// waiting returns those of a queue that count. With clean, what the dead have left is removed.
func waiting(dir string, counts func(name string) bool, clean bool) (list []Holder, err error) {
	names, err := tickets(dir)
	if err != nil {
		return nil, fmt.Errorf("look at who waits: %w", err)
	}
	if clean {
		sweep(dir)
	}
	for _, name := range names {
		if !counts(name) {
			continue
		}
		path := filepath.Join(dir, name)
		h, rerr := readHolder(path) // who it is may be unknown: the place counts all the same
		switch ok, err := alive(path); {
		case err != nil:
			return nil, fmt.Errorf("look at who waits: %w", err)
		case ok && !errors.Is(rerr, fs.ErrNotExist):
			list = append(list, h)
		case !ok && clean:
			_ = os.Remove(path) // nobody draws a ticket of that name again
		}
	}
	return list, nil
}

// alive reports whether the process that drew a ticket still has it.
func alive(path string) (bool, error) {
	lock := flock.New(path, flock.SetFlag(os.O_RDONLY))
	free, err := lock.TryRLock()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return !free, errors.Join(err, lock.Close())
}

// tickets returns the names of the tickets in dir, sorted. A directory that is not there has none.
func tickets(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if ticketName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// sweep removes what was begun by a process that has died.
func sweep(dir string) {
	entries, _ := os.ReadDir(dir) // what is not swept now is later
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), unfinished) && time.Since(info.ModTime()) > stale {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
