// Package trust follows a path one name at a time and finds who could change what it leads to: what root executes, reads or
// mounts by a path must be nobody else's to replace.
package trust

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Place is what a path led to.
type Place struct {
	FD   int    // O_PATH
	Real string // the path without links
	Stat unix.Stat_t
}

// Close closes FD.
func (p *Place) Close() { _ = unix.Close(p.FD) }

// Check fails when others than root can change what lies at path, or can put something else there: every directory and every
// link on the way must be root's, and so must the end. A directory in which everybody may write is passed where its sticky
// bit keeps root's names root's.
func Check(path string) error {
	p, err := Open(path, true)
	if err != nil {
		return err
	}
	defer p.Close()
	_, err = loose(p.Real, &p.Stat)
	return err
}

// Open opens what lies at an absolute path, of whatever kind and whoever's. When strict, nobody but root may be able to change
// the way to it: not a directory that it leads through, not a link that is followed. Errors of the way name the place.
func Open(path string, strict bool) (*Place, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%s is no absolute path", path)
	}
	w := &walker{fd: -1, rest: split(path), strict: strict}
	err := w.restart()
	for err == nil && len(w.rest) > 0 {
		err = w.step()
	}
	p := &Place{FD: w.fd, Real: w.real}
	if err == nil {
		err = unix.Fstat(w.fd, &p.Stat)
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return p, nil
}

// maxLinks bounds the links on the way, as the kernel does.
const maxLinks = 40

// walker goes from / to the end of a path, one name at a time.
type walker struct {
	fd     int
	real   string
	rest   []string
	links  int
	strict bool
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
	fd, err := Openat(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY)
	if err == nil {
		w.enter(fd, "/")
	}
	return err
}

// step takes the next name.
func (w *walker) step() error {
	name := w.rest[0]
	w.rest = w.rest[1:]
	open := false
	if w.strict {
		var st unix.Stat_t
		err := unix.Fstat(w.fd, &st)
		if err == nil {
			open, err = loose(w.real, &st)
		}
		if err != nil {
			return err
		}
	}
	fd, err := Openat(w.fd, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return &fs.PathError{Op: "open", Path: filepath.Join(w.real, name), Err: err}
	}
	path := filepath.Join(w.real, name) // of a name that is ".." it is the parent
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	isLink := st.Mode&unix.S_IFMT == unix.S_IFLNK
	if err == nil && open && st.Uid != 0 {
		what := path
		if isLink {
			what = "the link " + path
		}
		err = fmt.Errorf("%s can be replaced by user %d, whose it is: move it to where only root writes", what, st.Uid)
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

// loose fails when others than root can change what is at path. It reports whether anybody may put names of his own there, as
// in /tmp: then a name that is root's is still safe, because the directory is sticky.
func loose(path string, st *unix.Stat_t) (bool, error) {
	open := st.Mode&0o022 != 0
	sticky := st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Mode&unix.S_ISVTX != 0
	if st.Uid != 0 || open && !sticky {
		return false, fmt.Errorf("others than root can change %s (user %d, mode %04o): chown root and chmod go-w %s", path, st.Uid, st.Mode&0o7777, path)
	}
	return open, nil
}

func (w *walker) follow(link int, path string) error {
	if w.links++; w.links > maxLinks {
		return &fs.PathError{Op: "open", Path: path, Err: unix.ELOOP}
	}
	target, err := Readlinkat(link, "")
	if err != nil {
		return &fs.PathError{Op: "readlink", Path: path, Err: err}
	}
	w.rest = append(split(target), w.rest...)
	if filepath.IsAbs(target) {
		return w.restart()
	}
	return nil
}
