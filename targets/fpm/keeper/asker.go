package keeper

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// unheard reports whether nobody can read what is written to out: the process that asked is gone. An agent that was killed has
// lost its host's lock with it, and another deploy may have begun: what it asked for and what had to wait must not happen then.
// Where something stands between (sudo that logs what is printed), nobody is ever known to be gone.
func unheard(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	c, err := f.SyscallConn()
	if err != nil {
		return false
	}
	gone := false
	err = c.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(fds, 0)
		gone = err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
	})
	return err == nil && gone
}
