package keeper

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"scap/targets/fpm/proc"
)

// What the kernel's sock_diag speaks (linux/unix_diag.h).
const (
	diagListening  = 1 << 10 // state TCP_LISTEN, which unix sockets share
	diagShow       = 1 | 16  // UDIAG_SHOW_NAME, UDIAG_SHOW_RQLEN
	diagName       = 0       // attribute UNIX_DIAG_NAME
	diagQueue      = 4       // attribute UNIX_DIAG_RQLEN
	diagRequest    = 24      // struct unix_diag_req
	diagMessage    = 16      // struct unix_diag_msg
	maxDiagAnswers = 4096
)

// listener asks the kernel whether anybody listens on a unix socket that was bound to path, and how many wait there.
func listener(path string) (waiting int, there bool, err error) {
	err = eachListener(func(name string, queue int) {
		if name == path {
			waiting, there = waiting+queue, true
		}
	})
	if err != nil {
		return 0, false, fmt.Errorf("ask the kernel for the queue of %s: %w", path, err)
	}
	return waiting, there, nil
}

// eachListener names every listening unix socket of this machine.
func eachListener(each func(name string, queue int)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}); err != nil {
		return err
	}
	m := make([]byte, unix.NLMSG_HDRLEN+diagRequest)
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	binary.NativeEndian.PutUint16(m[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	m[unix.NLMSG_HDRLEN] = unix.AF_UNIX
	binary.NativeEndian.PutUint32(m[unix.NLMSG_HDRLEN+4:], diagListening)
	binary.NativeEndian.PutUint32(m[unix.NLMSG_HDRLEN+12:], diagShow)
	if err := unix.Sendto(fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buffer := make([]byte, 64<<10)
	for range maxDiagAnswers {
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		done, err := diagAnswer(buffer[:n], each)
		if done || err != nil {
			return err
		}
	}
	return errors.New("the kernel's list of sockets has no end")
}

func diagAnswer(b []byte, each func(name string, queue int)) (done bool, err error) {
	messages, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return false, err
	}
	for _, m := range messages {
		switch m.Header.Type {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			if len(m.Data) < 4 {
				return false, errors.New("an error without a number")
			}
			if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
				return false, unix.Errno(-code)
			}
		case unix.SOCK_DIAG_BY_FAMILY:
			name, queue, err := diagSocket(m.Data)
			if err != nil {
				return false, err
			}
			each(name, queue)
		}
	}
	return false, nil
}

// diagSocket reads one listening socket: its name and how many wait.
func diagSocket(m []byte) (name string, waiting int, err error) {
	if len(m) < diagMessage {
		return "", 0, fmt.Errorf("a socket of %d bytes", len(m))
	}
	for rest := m[diagMessage:]; len(rest) >= unix.SizeofRtAttr; {
		length, kind := int(binary.NativeEndian.Uint16(rest)), binary.NativeEndian.Uint16(rest[2:])
		if length < unix.SizeofRtAttr || length > len(rest) {
			return "", 0, fmt.Errorf("an attribute of %d bytes in %d", length, len(rest))
		}
		switch value := rest[unix.SizeofRtAttr:length]; {
		case kind == diagName:
			name = unix.ByteSliceToString(value)
		case kind == diagQueue && len(value) >= 8:
			waiting = int(binary.NativeEndian.Uint32(value))
		}
		rest = rest[min((length+3)&^3, len(rest)):]
	}
	return name, waiting, nil
}

// drained waits until nothing was seen waiting on a socket three times in a row, the first time 50 ms after a link led away
// from it: a web server may have opened the link before. At most for limit: what still waits then is answered by nobody.
func drained(ctx context.Context, path string, limit time.Duration) error {
	const apart, times = 50 * time.Millisecond, 3
	empty, last := 0, time.Now()
	return proc.Poll(ctx, limit+times*apart, func() error {
		if time.Since(last) < apart {
			return errors.New("requests wait there")
		}
		last = time.Now()
		waiting, there, err := listener(path)
		switch {
		case err != nil:
			return err
		case !there:
			return nil
		case waiting > 0:
			empty = 0
			return fmt.Errorf("%d requests wait there", waiting)
		}
		if empty++; empty < times {
			return errors.New("requests may wait there")
		}
		return nil
	})
}
