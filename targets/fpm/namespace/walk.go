package namespace

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// root is the open root of a store.
type root struct {
	fd   int    // O_PATH
	name string // as configured
	real string // without links
	uid  uint32
}

func (r *root) close() { _ = unix.Close(r.fd) }

// maxLinks bounds the links on the way to a root, as the kernel does.
const maxLinks = 40

// walker goes from / to a root, one name at a time.
type walker struct {
	fd     int
	real   string
	rest   []string
	links  int
	strict bool
}

// openRoot opens the directory at path. When strict, nobody but root may be able to change the way to it: not a directory
// that it leads through, not a link that is followed. The root itself may belong to anybody.
func openRoot(path string, strict bool) (*root, error) {
	w := &walker{fd: -1, rest: split(path), strict: strict}
	err := w.restart()
	for err == nil && len(w.rest) > 0 {
		err = w.step()
	}
	var st unix.Stat_t
	if err == nil {
		err = unix.Fstat(w.fd, &st)
	}
	if err == nil && w.real == "/" {
		err = errors.New("it is the root of the file system")
	}
	if err != nil {
		w.close()
		return nil, fmt.Errorf("the releases in %s: %w", path, err)
	}
	return &root{fd: w.fd, name: path, real: w.real, uid: st.Uid}, nil
}

func split(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(name string) bool { return name == "" || name == "." })
}

func (w *walker) close() {
	if w.fd >= 0 {
		_ = unix.Close(w.fd)
	}
}

// enter makes fd, at the path real, the place where the walker stands.
func (w *walker) enter(fd int, real string) {
	w.close()
	w.fd, w.real = fd, real
}

func (w *walker) restart() error {
	fd, err := openat(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY)
	if err == nil {
		w.enter(fd, "/")
	}
	return err
}

// step takes the next name.
func (w *walker) step() error {
	name := w.rest[0]
	w.rest = w.rest[1:]
	loose, err := w.loose()
	if err != nil {
		return err
	}
	fd, err := openat(w.fd, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return &fs.PathError{Op: "open", Path: filepath.Join(w.real, name), Err: err}
	}
	path := filepath.Join(w.real, name) // of a name that is ".." it is the parent
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && loose && st.Uid != 0 {
		err = fmt.Errorf("%s can be replaced by user %d: move it to where only root writes", path, st.Uid)
	}
	isLink := st.Mode&unix.S_IFMT == unix.S_IFLNK
	if err == nil && !isLink && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = &fs.PathError{Op: "open", Path: path, Err: unix.ENOTDIR}
	}
	switch {
	case err != nil:
	case isLink:
		err = w.follow(fd, path)
	default:
		w.enter(fd, path)
		return nil
	}
	_ = unix.Close(fd)
	return err
}

// loose checks who may change the directory that the walker is about to leave. It reports whether anybody may put names
// of his own there, as in /tmp: then a name that is root's is still safe, because the directory is sticky.
func (w *walker) loose() (bool, error) {
	if !w.strict {
		return false, nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(w.fd, &st); err != nil {
		return false, err
	}
	open := st.Mode&0o022 != 0
	if st.Uid != 0 || open && st.Mode&unix.S_ISVTX == 0 {
		return false, fmt.Errorf("others than root can change %s (user %d, mode %04o), which the way leads through: chown root, chmod go-w",
			w.real, st.Uid, st.Mode&0o7777)
	}
	return open, nil
}

func (w *walker) follow(link int, path string) error {
	if w.links++; w.links > maxLinks {
		return &fs.PathError{Op: "open", Path: path, Err: unix.ELOOP}
	}
	target, err := readlinkat(link, "")
	if err != nil {
		return &fs.PathError{Op: "readlink", Path: path, Err: err}
	}
	w.rest = append(split(target), w.rest...)
	if filepath.IsAbs(target) {
		return w.restart()
	}
	return nil
}

func again(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func openat(at int, name string, flags int) (fd int, err error) {
	err = again(func() error {
		fd, err = unix.Openat(at, name, flags|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

func readlinkat(at int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n := 0
	err := again(func() (err error) { n, err = unix.Readlinkat(at, name, buf); return err })
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
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
