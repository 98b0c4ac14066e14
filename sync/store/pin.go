package store

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrPinned means that processes run in a release: whoever does holds a shared flock on its directory. The release stays
// where and as it is until they have ended.
var ErrPinned = errors.New("processes run in it")

// alone takes a tree for somebody who moves it, so that nobody can pin it meanwhile. It wraps ErrPinned when somebody has.
func (d *dir) alone(name string) (free func(), err error) {
	tree, err := d.sub(name)
	if err != nil {
		return nil, err
	}
	err = again(func() error { return unix.Flock(tree.fd, unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("%w (see /proc/locks)", ErrPinned)
	}
	if err != nil {
		tree.close()
		return nil, d.err("take", name, err)
	}
	return tree.close, nil
}

// pinned reports whether somebody has pinned a tree.
func (d *dir) pinned(name string) (bool, error) {
	free, err := d.alone(name)
	if err == nil {
		free()
	}
	if errors.Is(err, ErrPinned) {
		return true, nil
	}
	return false, err
}
