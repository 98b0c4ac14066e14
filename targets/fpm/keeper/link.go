package keeper

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// leads says which generation of a pool the link at path leads to; 0: there is none, or it leads elsewhere.
func (k *keeper) leads(r *record, pool, path string) (uint64, error) {
	if path == "" {
		return 0, nil
	}
	target, err := os.Readlink(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.EINVAL): // EINVAL: it is no link
		return 0, nil
	case err != nil:
		return 0, err
	}
	name, _ := strings.CutPrefix(filepath.Base(target), "fpm-")
	number, _ := strconv.ParseUint(strings.TrimSuffix(name, ".sock"), 10, 64)
	if e := r.find(number); e != nil && e.Pool == pool && k.conf.files(number).socket == target {
		return number, nil
	}
	return 0, nil
}

// point makes path a link to target, in one rename(2): whoever opens path meanwhile gets the old one or the new one. The
// directory may belong to the pool's user, as /run/php does: no name in it is followed.
func point(path, target string) error {
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("publish %s at %s: %w", target, path, err)
	}
	defer unix.Close(dir)
	next := "." + filepath.Base(path) + ".scap"
	if err := unix.Unlinkat(dir, next, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("publish %s at %s: remove %s of before: %w", target, path, next, err)
	}
	if err := unix.Symlinkat(target, dir, next); err != nil {
		return fmt.Errorf("publish %s at %s: %w", target, path, err)
	}
	if err := unix.Renameat(dir, next, dir, filepath.Base(path)); err != nil {
		return errors.Join(fmt.Errorf("publish %s at %s: %w", target, path, err), unix.Unlinkat(dir, next, 0))
	}
	return nil
}

// unpoint removes the link at path if it leads into the keeper's own directory.
func (k *keeper) unpoint(path string) error {
	if path == "" {
		return nil
	}
	target, err := os.Readlink(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.EINVAL):
		return nil
	case err != nil:
		return err
	case filepath.Dir(target) != k.conf.Run:
		return nil
	}
	return os.Remove(path)
}
