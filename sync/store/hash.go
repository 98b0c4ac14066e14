package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"golang.org/x/sys/unix"

	"scap/sync/release"
)

func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errChanging, err)
	}
	return err
}

// errChanging refuses a file that somebody works on.
var errChanging = errors.New("it changed while it was read; wait until nobody works on the tree and try again")

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// hashFile reads a file that must be the one of a stamp, before and after.
func hashFile(d *dir, name string, want stamp) (release.Sum, error) {
	fd, st, err := d.openFd(name)
	if err != nil {
		return release.Sum{}, err
	}
	defer func() { _ = unix.Close(fd) }() // it was only read
	if stampOf(&st) != want {
		return release.Sum{}, errChanging
	}
	return hashOpen(d, name, fd, want)
}

// hashOpen reads an open file to its end, and it must be the one of a stamp then. Of a tree of small files half the work is
// in system calls: a file that fits into the buffer takes two.
func hashOpen(d *dir, name string, fd int, want stamp) (release.Sum, error) {
	var sum release.Sum
	h := sha256.New()
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	// One byte more than there is to read, so that a file that grows is seen.
	left := want.size + 1
	for left > 0 {
		var n int
		part := (*buf)[:min(left, int64(len(*buf)))]
		err := again(func() (err error) { n, err = unix.Read(fd, part); return err })
		if err != nil {
			return sum, d.err("read", name, err)
		}
		if n <= 0 {
			break
		}
		h.Write(part[:n])
		if left -= int64(n); left == 1 && n < len(part) { // less than was asked for, and all there should be: the end
			break
		}
	}
	var st unix.Stat_t
	if err := again(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return sum, d.err("stat", name, err)
	}
	if left != 1 || stampOf(&st) != want {
		return sum, errChanging
	}
	h.Sum(sum[:0])
	return sum, nil
}
