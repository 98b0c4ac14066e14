// Package namespace gives processes a view of a host in which the served path leads to one release and no other exists:
// a mount namespace in which a read-only file system of a few names stands at the releases' root, and in it the release,
// read-only. On the host itself nothing changes. Whoever runs in a release holds a pin on it, which the store respects.
//
// It needs Linux 5.6 (openat2, and the mount calls of 5.2).
package namespace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"scap/sync/release"
	"scap/targets/fpm/trust"
)

// Names under a store's root.
const (
	releasesName = "releases"
	currentName  = "current"
)

// AnyOwner is the Owner of a Spec that takes a release from whoever owns the root.
const AnyOwner = -1

// Spec says which release, and where it is to be seen. Paths are absolute and clean.
type Spec struct {
	Root   string // of the store that holds the release
	Served string // leads to Root/current; empty: is Root/current
	// Release is the one; the zero ID is the one that Root/current names at that moment.
	Release release.ID
	// Owner is the user whom the root and the release must belong to, or AnyOwner. The zero value is root.
	Owner int
}

// Release is a release that was opened safely, and is pinned as long as this, or a process that inherited the pin, lives.
type Release struct {
	spec Spec   // with Release and Served filled in
	real string // of the root, without links
	pin  *os.File
	stat unix.Stat_t
}

// Open finds the release, refuses one that lies anywhere else than under the root or belongs to somebody else, and pins it.
// To root it also refuses a root that others than root can put elsewhere: what is mounted there stands in the way of
// whatever is below. The error wraps fs.ErrNotExist when there is no such release.
func Open(s Spec) (*Release, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if s.Served == "" {
		s.Served = filepath.Join(s.Root, currentName)
	}
	root, err := openRoot(s.Root, os.Geteuid() == 0)
	if err != nil {
		return nil, err
	}
	defer root.close()
	if s.Owner == AnyOwner {
		s.Owner = int(root.uid)
	}
	if int(root.uid) != s.Owner {
		return nil, fmt.Errorf("%s belongs to user %d, not to %d", s.Root, root.uid, s.Owner)
	}
	if !s.Release.IsZero() {
		return root.release(s)
	}
	for range 10 { // a release that is no longer current may be removed before it is pinned
		if s.Release, err = root.current(); err != nil {
			return nil, err
		}
		var r *Release
		if r, err = root.release(s); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return r, err
		}
	}
	return nil, err
}

func (s Spec) check() error {
	for _, p := range []string{s.Root, s.Served} {
		if p == "" && p == s.Served {
			continue
		}
		if !filepath.IsAbs(p) || filepath.Clean(p) != p || p == "/" {
			return fmt.Errorf("%q must be an absolute, clean path below /", p)
		}
	}
	return nil
}

// current reads which release the root's link names.
func (r *root) current() (release.ID, error) {
	target, err := trust.Readlinkat(r.fd, currentName)
	if err != nil {
		return release.ID{}, fmt.Errorf("which release is current in %s: %w", r.name, err)
	}
	name, ok := strings.CutPrefix(target, releasesName+"/")
	id, err := release.ParseID(name)
	if !ok || err != nil {
		return release.ID{}, fmt.Errorf("%s/%s points to %q, which is no release", r.name, currentName, target)
	}
	return id, nil
}

// release opens and pins one.
func (r *root) release(s Spec) (*Release, error) {
	fd, st, err := r.open(s)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), filepath.Join(r.real, releasesName, s.Release.String()))
	err = pin(fd)
	if err == nil {
		err = r.still(s, &st)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("pin release %s in %s: %w", s.Release.Short(), s.Root, err), f.Close())
	}
	return &Release{spec: s, real: r.real, pin: f, stat: st}, nil
}

// open opens a release's directory. No link is followed below the root, by the kernel's word.
func (r *root) open(s Spec) (int, unix.Stat_t, error) {
	var st unix.Stat_t
	fd, err := openat2(r.fd, releasesName+"/"+s.Release.String(), unix.O_RDONLY|unix.O_DIRECTORY, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_BENEATH)
	if err == nil {
		err = unix.Fstat(fd, &st)
	}
	if err == nil && int(st.Uid) != s.Owner {
		err = fmt.Errorf("it belongs to user %d, not to %d", st.Uid, s.Owner)
	}
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return -1, st, fmt.Errorf("open release %s in %s: %w", s.Release.Short(), s.Root, err)
	}
	return fd, st, nil
}

// still checks that what was pinned had not been moved away before the pin held.
func (r *root) still(s Spec, was *unix.Stat_t) error {
	fd, now, err := r.open(s)
	if err != nil {
		return err
	}
	_ = unix.Close(fd)
	if !same(was, &now) {
		return fmt.Errorf("it was replaced at that moment: %w", fs.ErrNotExist)
	}
	return nil
}

func same(a, b *unix.Stat_t) bool { return a.Dev == b.Dev && a.Ino == b.Ino }

// pinWait is how long somebody who moves a release may hold it alone: the time of a rename and an fsync.
const pinWait = 5 * time.Second

// pin takes the shared lock. It is not waited for in the kernel: whoever can read the directory could hold it for ever.
func pin(fd int) error {
	limit := time.NewTimer(pinWait)
	defer limit.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-tick.C:
		case <-limit.C:
			return fmt.Errorf("somebody holds it alone for %v, as if it were being removed", pinWait)
		}
	}
}

// ID returns which release it is.
func (r *Release) ID() release.ID { return r.spec.Release }

// Path returns where its tree is, without links: what PHP's realpath() of the served path is in the namespace too.
func (r *Release) Path() string { return filepath.Join(r.real, releasesName, r.spec.Release.String()) }

// Inode returns the inode of its directory.
func (r *Release) Inode() uint64 { return r.stat.Ino }

// Close lets go of the pin; processes that inherited it still hold it.
func (r *Release) Close() error { return r.pin.Close() }
