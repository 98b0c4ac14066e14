package namespace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"scap/targets/fpm/trust"
)

// Inside returns the inode of a process's mount namespace: two processes with the same one see the same mounts. The error
// wraps fs.ErrNotExist when there is no such process, and fs.ErrPermission when it is not the caller's to look at.
func Inside(pid int) (ino uint64, err error) { return inode(fmt.Sprintf("/proc/%d/ns/mnt", pid)) }

func inode(path string) (uint64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, unix.ESRCH) {
		err = fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fmt.Errorf("%s has no inode", path)
	}
	return st.Ino, nil
}

// SeenBy checks from outside that a process sees this release at the served path, read-only, and no other one beside it.
func (r *Release) SeenBy(pid int) error {
	if err := r.seenBy(pid); err != nil {
		return fmt.Errorf("process %d and release %s: %w", pid, r.spec.Release.Short(), err)
	}
	return nil
}

func (r *Release) seenBy(pid int) error {
	top, err := trust.Openat(unix.AT_FDCWD, fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(top)
	// Absolute links on the way are the process's, not ours.
	fd, err := openat2(top, r.spec.Served, unix.O_PATH|unix.O_DIRECTORY, unix.RESOLVE_IN_ROOT)
	if err != nil {
		return fmt.Errorf("follow %s: %w", r.spec.Served, err)
	}
	defer unix.Close(fd)
	if err := r.is(fd, r.spec.Served); err != nil {
		return err
	}
	list, err := openat2(top, filepath.Join(r.real, releasesName), unix.O_RDONLY|unix.O_DIRECTORY, unix.RESOLVE_IN_ROOT)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(list), filepath.Join(r.real, releasesName))
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	if !slices.Equal(names, []string{r.spec.Release.String()}) {
		return fmt.Errorf("it sees %d releases", len(names))
	}
	return nil
}
