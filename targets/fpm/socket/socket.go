// Package socket says by the kernel's word who listens and how many wait to be accepted. php-fpm's own "listen queue" is
// always 0 on a unix socket, so it proves nothing.
package socket

import (
	"context"
	"errors"
	"fmt"
	"time"

	"scap/targets/fpm/fcgi"
	"scap/targets/fpm/proc"
)

// Waiting is how many connections wait to be accepted on a unix socket's path or on host:port. No listening socket at all is
// no error: nobody waits there.
func Waiting(listen string) (int, error) {
	if fcgi.Network(listen) != "unix" {
		return waitingTCP(listen)
	}
	waiting, _, err := Listening(listen)
	return waiting, err
}

// Listening reports whether anybody listens on a unix socket that was bound to path, and how many wait there. What lies at
// path now does not matter: a socket that was unlinked or replaced listens on.
func Listening(path string) (waiting int, there bool, err error) {
	err = eachUnix(func(name string, queue int) {
		if name == path {
			waiting, there = waiting+queue, true
		}
	})
	if err != nil {
		return 0, false, fmt.Errorf("ask the kernel for the queue of %s: %w", path, err)
	}
	return waiting, there, nil
}

// What Emptied owes those who connect: a web server may have looked up a link right before it led away from a socket.
const (
	settling = 50 * time.Millisecond
	looks    = 3
)

// Emptied waits until nobody waits on any of the sockets: seen three times in a row, the first time 50 ms after the call, which
// comes when nothing leads to them any more. Whoever waits after limit is in the error.
func Emptied(ctx context.Context, paths []string, limit time.Duration) error {
	settled := time.NewTimer(settling)
	defer settled.Stop()
	select {
	case <-settled.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	empty := 0
	return proc.Poll(ctx, limit, func() error {
		for _, path := range paths {
			n, err := Waiting(path)
			if err != nil {
				return err
			}
			if n > 0 {
				empty = 0
				return fmt.Errorf("%d requests wait in %s", n, path)
			}
		}
		if empty++; empty < looks {
			return errors.New("requests may wait there")
		}
		return nil
	})
}
