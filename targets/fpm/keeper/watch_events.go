package keeper

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"scap/targets/fpm/proc"
)

// events is what a watch waits for: the end of a master, another keeper's change of the record, a time, its own end.
type events struct {
	record  int // inotify
	done    *os.File
	forget  func() bool
	stopped *os.File
}

func newEvents(ctx context.Context, state string) (*events, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", state, err)
	}
	if _, err := unix.InotifyAddWatch(fd, state, unix.IN_MOVED_TO); err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", state, err), unix.Close(fd))
	}
	done, stopped, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	e := &events{record: fd, done: done, stopped: stopped}
	e.forget = context.AfterFunc(ctx, func() { _, _ = stopped.Write([]byte{1}) })
	return e, nil
}

func (e *events) close() {
	e.forget()
	_ = unix.Close(e.record)
	e.done.Close()
	e.stopped.Close()
}

// wait returns when something has happened. due: one of the masters has ended, or next is past; else the record may have
// changed, and with it who the masters are.
func (e *events) wait(masters []proc.Process, next time.Time) (due bool, err error) {
	fds := []unix.PollFd{{Fd: int32(e.done.Fd()), Events: unix.POLLIN}, {Fd: int32(e.record), Events: unix.POLLIN}}
	defer func() {
		for _, f := range fds[2:] {
			_ = unix.Close(int(f.Fd))
		}
	}()
	for _, m := range masters {
		fd, err := unix.PidfdOpen(m.PID, 0)
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return false, fmt.Errorf("pidfd of %d: %w", m.PID, err)
		}
		if err == nil {
			fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
		if now, gone := proc.Read(m.PID); err != nil || gone != nil || now.Tick != m.Tick {
			return true, nil
		}
	}
	for {
		left := time.Until(next)
		if left <= 0 {
			return true, nil
		}
		_, err := unix.Poll(fds, int(min(left.Milliseconds()+1, math.MaxInt32)))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false, err
		}
		switch {
		case fds[0].Revents != 0:
			return false, nil
		case fds[1].Revents != 0:
			return false, e.drain()
		}
		for _, f := range fds[2:] {
			if f.Revents != 0 {
				return true, nil
			}
		}
	}
}

// drain reads what inotify has to say; what it says does not matter.
func (e *events) drain() error {
	buf := make([]byte, 4<<10)
	for {
		_, err := unix.Read(e.record, buf)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("inotify: %w", err)
		}
	}
}
