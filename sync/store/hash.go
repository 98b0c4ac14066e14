package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
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
	var sum release.Sum
	f, st, err := d.open(name)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	if stampOf(&st) != want {
		return sum, errChanging
	}
	h := sha256.New()
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	// One byte more than there is to read, so that a file that grows is seen.
	n, err := io.CopyBuffer(h, struct{ io.Reader }{io.LimitReader(f, want.size+1)}, *buf)
	if err != nil {
		return sum, err
	}
	if err := again(func() error { return unix.Fstat(int(f.Fd()), &st) }); err != nil {
		return sum, err
	}
	if n != want.size || stampOf(&st) != want {
		return sum, errChanging
	}
	h.Sum(sum[:0])
	return sum, nil
}
