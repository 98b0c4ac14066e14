package staging

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errUnconfined means that this kernel cannot hold a process to what it may write.
var errUnconfined = errors.New("the kernel has no Landlock")

// starter starts a command that may write below the named directories only, or fails with errUnconfined.
type starter func(cmd *exec.Cmd, writable []string) error

// startConfined starts cmd so that it and its children can write below the named directories and to harmless devices, and
// nowhere else. Nothing was started when it fails.
func startConfined(cmd *exec.Cmd, writable []string) error {
	failed := make(chan error, 1)
	go func() {
		// What Landlock is asked for holds for this thread and what it starts. The thread is never given back: it ends
		// with this goroutine.
		runtime.LockOSThread()
		err := confine(writable)
		if err == nil {
			err = cmd.Start()
		}
		failed <- err
	}()
	return <-failed
}

// The accesses that change a file system, by the version of Landlock that has them first.
const (
	writes1 = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	writes2 = writes1 | unix.LANDLOCK_ACCESS_FS_REFER
	writes3 = writes2 | unix.LANDLOCK_ACCESS_FS_TRUNCATE
)

// devices are those that a command may write to; more of /dev may be disks, or hold files.
var devices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}

// landlock returns the version that the kernel has.
func landlock() (int, error) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, errUnconfined
	}
	return int(version), nil
}

// confine takes from the calling thread, for good, the right to change files but below the named directories.
func confine(writable []string) error {
	version, err := landlock()
	if err != nil {
		return err
	}
	rights := uint64(writes1)
	switch {
	case version >= 3:
		rights = writes3
	case version == 2:
		rights = writes2
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: rights}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr.Handled_access_fs), 0)
	if errno != 0 {
		return fmt.Errorf("landlock_create_ruleset: %w", errno)
	}
	defer unix.Close(int(fd))
	for _, dir := range writable {
		if err := allow(int(fd), dir, rights); err != nil {
			return err
		}
	}
	for _, dev := range devices {
		err := allow(int(fd), dev, rights&(unix.LANDLOCK_ACCESS_FS_WRITE_FILE|unix.LANDLOCK_ACCESS_FS_TRUNCATE))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fmt.Errorf("landlock_restrict_self: %w", errno)
	}
	return nil
}

func allow(rules int, dir string, rights uint64) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("landlock: open %s: %w", dir, err)
	}
	defer unix.Close(fd)
	attr := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(rules), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("landlock: allow %s: %w", dir, errno)
	}
	return nil
}
