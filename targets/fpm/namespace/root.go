package namespace

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"scap/targets/fpm/trust"
)

// root is the open root of a store.
type root struct {
	fd   int    // O_PATH
	name string // as configured
	real string // without links
	uid  uint32
}

func (r *root) close() { _ = unix.Close(r.fd) }

// openRoot opens the directory at path, which may belong to anybody. When strict, nobody but root may be able to change the
// way to it.
func openRoot(path string, strict bool) (*root, error) {
	p, err := trust.Open(path, strict)
	if err == nil && (p.Real == "/" || p.Stat.Mode&unix.S_IFMT != unix.S_IFDIR) {
		p.Close()
		err = fmt.Errorf("%s is no directory below /", p.Real)
	}
	if err != nil {
		return nil, fmt.Errorf("the releases in %s: %w", path, err)
	}
	return &root{fd: p.FD, name: path, real: p.Real, uid: p.Stat.Uid}, nil
}

// openat2 opens a name below at. An old kernel is refused, since nothing else promises the same in one step.
func openat2(at int, name string, flags uint64, resolve uint64) (fd int, err error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolve}
	for range 100 { // EAGAIN: something was renamed while the kernel looked
		fd, err = unix.Openat2(at, name, &how)
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	switch {
	case errors.Is(err, unix.ENOSYS):
		return -1, fmt.Errorf("openat2: %w: a handover needs Linux 5.6 or newer; use strategy drain", err)
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EXDEV):
		return -1, fmt.Errorf("a link stands in the way, and none is followed: %w", err)
	case err != nil:
		return -1, err
	}
	return fd, nil
}
