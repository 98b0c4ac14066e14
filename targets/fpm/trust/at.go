package trust

import (
	"errors"

	"golang.org/x/sys/unix"
)

func again(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Openat opens a name at a directory, close-on-exec, whatever signals come.
func Openat(at int, name string, flags int) (fd int, err error) {
	err = again(func() error {
		fd, err = unix.Openat(at, name, flags|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// Readlinkat reads a link at a directory, or with no name the one that at is.
func Readlinkat(at int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n := 0
	err := again(func() (err error) { n, err = unix.Readlinkat(at, name, buf); return err })
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
