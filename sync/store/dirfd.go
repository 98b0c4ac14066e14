package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// dir is an open directory. Everything under it is named by one element relative to it, so that neither a symbolic link
// put in the way nor the length of a path can lead elsewhere.
type dir struct {
	fd    int
	name  string // for messages
	fault *fault
}

// fault lets a test stop the world before any change on disk; nil in production.
type fault struct{ before func(op, name string) error }

func (d *dir) change(op, name string) error {
	if d.fault == nil || d.fault.before == nil {
		return nil
	}
	return d.fault.before(op, name)
}

func openDir(path string, f *fault) (*dir, error) {
	fd, err := open(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &dir{fd: fd, name: path, fault: f}, nil
}

func (d *dir) close() { _ = unix.Close(d.fd) }

func (d *dir) err(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: d.name + "/" + name, Err: err}
}

// again repeats a call that a signal interrupted.
func again(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func open(at int, name string, flags int, mode uint32) (fd int, err error) {
	err = again(func() error {
		fd, err = unix.Openat(at, name, flags|unix.O_CLOEXEC, mode)
		return err
	})
	return fd, err
}

// sub opens a directory in d, and never what a link names.
func (d *dir) sub(name string) (*dir, error) {
	fd, err := open(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, d.err("open", name, err)
	}
	return &dir{fd: fd, name: d.name + "/" + name, fault: d.fault}, nil
}

// walk opens the directory at a slash separated path under d, element by element; "" is d itself, opened once more.
func (d *dir) walk(path string) (*dir, error) {
	if path == "" {
		return d.sub(".")
	}
	at := d
	for name := range strings.SplitSeq(path, "/") {
		next, err := at.sub(name)
		if at != d {
			at.close()
		}
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

var direntBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// names lists d, in no order, without "." and "..".
func (d *dir) names() ([]string, error) {
	if _, err := unix.Seek(d.fd, 0, 0); err != nil {
		return nil, d.err("list", ".", err)
	}
	buf := direntBuffers.Get().(*[]byte)
	defer direntBuffers.Put(buf)
	var out []string
	for {
		var n int
		err := again(func() (err error) { n, err = unix.ReadDirent(d.fd, *buf); return err })
		if err != nil {
			return nil, d.err("list", ".", err)
		}
		if n <= 0 {
			return out, nil
		}
		_, _, out = unix.ParseDirent((*buf)[:n], -1, out)
	}
}

// stat looks at name itself, not at what a link names.
func (d *dir) stat(name string) (st unix.Stat_t, err error) {
	err = again(func() error { return unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return st, d.err("stat", name, err)
}

// has reports whether anything stands at name.
func (d *dir) has(name string) (bool, error) {
	_, err := d.stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (d *dir) readlink(name string) (string, error) {
	buf := make([]byte, 4096)
	var n int
	err := again(func() (err error) { n, err = unix.Readlinkat(d.fd, name, buf); return err })
	if err != nil {
		return "", d.err("readlink", name, err)
	}
	return string(buf[:n]), nil
}

// open opens a regular file for reading; anything else is refused without waiting for it.
func (d *dir) open(name string) (*os.File, unix.Stat_t, error) {
	fd, st, err := d.openFd(name)
	if err != nil {
		return nil, st, err
	}
	return os.NewFile(uintptr(fd), d.name+"/"+name), st, nil
}

// openFd is open for who closes it himself: an os.File costs as many system calls as reading a small file does.
func (d *dir) openFd(name string) (int, unix.Stat_t, error) {
	var st unix.Stat_t
	fd, err := open(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, st, d.err("open", name, err)
	}
	if err = again(func() error { return unix.Fstat(fd, &st) }); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errors.New("not a regular file")
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, st, d.err("open", name, err)
	}
	return fd, st, nil
}

// create makes a new file for writing.
func (d *dir) create(name string) (*os.File, error) {
	if err := d.change("create", name); err != nil {
		return nil, err
	}
	fd, err := open(d.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, d.err("create", name, err)
	}
	return os.NewFile(uintptr(fd), d.name+"/"+name), nil
}

// mkdir makes a directory with exactly these permissions; one that is there already is taken, and given them.
func (d *dir) mkdir(name string, mode uint32) error {
	if err := d.change("mkdir", name); err != nil {
		return err
	}
	err := again(func() error { return unix.Mkdirat(d.fd, name, mode) })
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return d.err("mkdir", name, err)
	}
	sub, err := d.sub(name)
	if err != nil {
		return err
	}
	defer sub.close()
	return sub.chmod(mode)
}

func (d *dir) chmod(mode uint32) error {
	if err := d.change("chmod", "."); err != nil {
		return err
	}
	return d.err("chmod", ".", again(func() error { return unix.Fchmod(d.fd, mode) }))
}

func (d *dir) link(from *dir, old, name string) error {
	if err := d.change("link", name); err != nil {
		return err
	}
	return d.err("link", name, again(func() error { return unix.Linkat(from.fd, old, d.fd, name, 0) }))
}

func (d *dir) symlink(target, name string) error {
	if err := d.change("symlink", name); err != nil {
		return err
	}
	return d.err("symlink", name, again(func() error { return unix.Symlinkat(target, d.fd, name) }))
}

func (d *dir) rename(name string, to *dir, newName string) error {
	if err := d.change("rename", name); err != nil {
		return err
	}
	err := again(func() error { return unix.Renameat(d.fd, name, to.fd, newName) })
	if err != nil {
		return fmt.Errorf("rename to %s/%s: %w", to.name, newName, d.err("rename", name, err))
	}
	return nil
}

func (d *dir) unlink(name string) error {
	if err := d.change("unlink", name); err != nil {
		return err
	}
	return d.err("unlink", name, again(func() error { return unix.Unlinkat(d.fd, name, 0) }))
}

func (d *dir) rmdir(name string) error {
	if err := d.change("rmdir", name); err != nil {
		return err
	}
	return d.err("rmdir", name, again(func() error { return unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR) }))
}

func (d *dir) sync() error {
	if err := d.change("sync", "."); err != nil {
		return err
	}
	return d.err("fsync", ".", again(func() error { return unix.Fsync(d.fd) }))
}

// syncAll makes the whole file system durable: cheaper than many fsyncs.
func (d *dir) syncAll() error {
	if err := d.change("syncfs", "."); err != nil {
		return err
	}
	return d.err("syncfs", ".", again(func() error { return unix.Syncfs(d.fd) }))
}

// utime gives a file its mtime.
func (d *dir) utime(name string, ns int64) error {
	if err := d.change("utime", name); err != nil {
		return err
	}
	t := unix.NsecToTimespec(ns)
	return d.err("utime", name, again(func() error {
		return unix.UtimesNanoAt(d.fd, name, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW)
	}))
}
