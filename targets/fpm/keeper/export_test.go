package keeper

import (
	"context"
	"io"

	"scap/targets/fpm/socket"
)

// What the tests outside of the package need: they use fixtures that import it.

// ServeStepping is Serve that calls step after each step.
func ServeStepping(ctx context.Context, conf Config, in io.Reader, out io.Writer, step func(string)) error {
	k, err := open(conf)
	if err != nil {
		return err
	}
	k.step = step
	return k.serve(ctx, in, out)
}

// Waiting is how many requests wait on a socket, by the kernel's word.
func Waiting(path string) (int, error) {
	n, there, err := socket.Listening(path)
	if err == nil && !there {
		n = -1
	}
	return n, err
}

// SetMemory makes dir what is believed about this machine's memory.
func SetMemory(dir string) { theMemory = memory{proc: dir, cgroup: dir} }
