package keeper

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks bounds the links on the way to a file, as the kernel does.
const maxLinks = 40

// trusted checks that nobody but root can change what lies at path, or what path leads to: every directory and every link on
// the way, and the end. A directory in which everybody may write is passed where its sticky bit keeps root's names root's.
func trusted(path string) error {
	if err := walk(path); err != nil {
		return fmt.Errorf("%s cannot be trusted: %w", path, err)
	}
	return nil
}

func walk(path string) error {
	if !filepath.IsAbs(path) {
		return errors.New("it is no absolute path")
	}
	rest := strings.Split(filepath.Clean(path)[1:], "/")
	at, links := "/", 0
	loose, err := mayChange("/", false)
	if err != nil {
		return err
	}
	for len(rest) > 0 {
		if rest[0] == "" || rest[0] == "." { // of / itself, and of a link's text
			rest = rest[1:]
			continue
		}
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		target, isLink, err := link(next, loose)
		switch {
		case err != nil:
			return err
		case !isLink:
			if loose, err = mayChange(next, loose); err != nil {
				return err
			}
			at = next
			continue
		}
		if links++; links > maxLinks {
			return fmt.Errorf("%s: %w", next, unix.ELOOP)
		}
		rest = append(strings.Split(target, "/"), rest...)
		if filepath.IsAbs(target) {
			at = "/"
			if loose, err = mayChange("/", false); err != nil {
				return err
			}
		}
	}
	return nil
}

// link reads path if it is a symbolic link. One in a directory where everybody may put names must be root's own.
func link(path string, loose bool) (target string, is bool, err error) {
	target, err = os.Readlink(path)
	if errors.Is(err, unix.EINVAL) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return "", false, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	if loose && st.Uid != 0 {
		return "", false, fmt.Errorf("the link %s belongs to user %d: only root's are followed there", path, st.Uid)
	}
	return target, true, nil
}

// mayChange answers an error if others than root may change path. It reports whether others may put names into it.
func mayChange(path string, _ bool) (loose bool, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return false, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	sticky := st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Mode&unix.S_ISVTX != 0
	switch {
	case st.Uid != 0:
		return false, fmt.Errorf("%s belongs to user %d, not to root", path, st.Uid)
	case st.Mode&0o022 != 0 && !sticky:
		return false, fmt.Errorf("%s is writable by others than root (mode %04o): chmod go-w %s", path, st.Mode&0o7777, path)
	}
	return st.Mode&0o022 != 0, nil
}

// ownProgram returns the path of the running program, which nobody but root can change: with another one in its place a
// deploy user would be root.
func ownProgram() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	if strings.HasSuffix(path, " (deleted)") {
		return "", fmt.Errorf("the program %s was replaced while it runs: start it again", strings.TrimSuffix(path, " (deleted)"))
	}
	return path, trusted(path)
}
