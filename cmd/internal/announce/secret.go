package announce

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// secret reads the one line of a file that only its user may read. No error shows what is in it.
func secret(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe is no file, and not waited for
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", fmt.Errorf("secret: %w", err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("secret: %s is no file", path)
	case info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("secret: others may read %s: chmod 600 it", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, 8<<10))
	if err != nil {
		return "", errors.New("secret: " + path + " cannot be read")
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 || len(text) > 4<<10 || bytes.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return "", fmt.Errorf("secret: %s has not one line with something in it", path)
	}
	return string(text), nil
}
