package socket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// What the kernel's sock_diag speaks (linux/unix_diag.h, linux/inet_diag.h, net/tcp_states.h).
const (
	stateListen      = 10
	unixShowName     = 1
	unixShowQueue    = 16
	unixAttrName     = 0
	unixAttrQueue    = 4
	unixMessageSize  = 16
	inetMessageSize  = 72
	inetRequestSize  = 56
	unixRequestSize  = 24
	maxDiagDatagrams = 4096
)

// eachUnix names every listening unix socket of this machine, by the path that it was bound to, and how many wait there.
func eachUnix(each func(path string, waiting int)) error {
	request := make([]byte, unixRequestSize)
	request[0] = unix.AF_UNIX
	binary.NativeEndian.PutUint32(request[4:], 1<<stateListen)
	binary.NativeEndian.PutUint32(request[12:], unixShowName|unixShowQueue)
	return diag(request, func(m []byte) error {
		path, waiting, err := parseUnixDiag(m)
		if err == nil {
			each(path, waiting)
		}
		return err
	})
}

// parseUnixDiag reads one listening unix socket: its name and how many wait.
func parseUnixDiag(m []byte) (name string, waiting int, err error) {
	if len(m) < unixMessageSize {
		return "", 0, fmt.Errorf("socket of %d bytes", len(m))
	}
	for rest := m[unixMessageSize:]; len(rest) >= unix.SizeofRtAttr; {
		length := int(binary.NativeEndian.Uint16(rest))
		kind := binary.NativeEndian.Uint16(rest[2:])
		if length < unix.SizeofRtAttr || length > len(rest) {
			return "", 0, fmt.Errorf("attribute of %d bytes in %d", length, len(rest))
		}
		value := rest[unix.SizeofRtAttr:length]
		switch kind {
		case unixAttrName:
			name = unix.ByteSliceToString(value)
		case unixAttrQueue:
			if len(value) < 8 {
				return "", 0, fmt.Errorf("queue of %d bytes", len(value))
			}
			waiting = int(binary.NativeEndian.Uint32(value))
		}
		rest = rest[min((length+3)&^3, len(rest)):]
	}
	return name, waiting, nil
}

// waitingTCP is Waiting for host:port.
func waitingTCP(listen string) (int, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return 0, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0, err
	}
	want, _ := netip.ParseAddr(host) // a name or nothing: any address of that port counts
	total := 0
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		request := make([]byte, inetRequestSize)
		request[0], request[1] = family, unix.IPPROTO_TCP
		binary.NativeEndian.PutUint32(request[4:], 1<<stateListen)
		err := diag(request, func(m []byte) error {
			at, waiting, err := parseInetDiag(m)
			if err == nil && at.Port() == uint16(number) && (!want.IsValid() || at.Addr().IsUnspecified() || at.Addr() == want.Unmap()) {
				total += waiting
			}
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("ask the kernel for the queue of %s: %w", listen, err)
		}
	}
	return total, nil
}

// parseInetDiag reads one listening TCP socket: its address and how many wait.
func parseInetDiag(m []byte) (netip.AddrPort, int, error) {
	if len(m) < inetMessageSize {
		return netip.AddrPort{}, 0, fmt.Errorf("socket of %d bytes", len(m))
	}
	size := 4
	if m[0] == unix.AF_INET6 {
		size = 16
	}
	addr, _ := netip.AddrFromSlice(m[8 : 8+size])
	return netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(m[4:])), int(binary.NativeEndian.Uint32(m[56:])), nil
}

// diag dumps what request asks for and gives each socket's message to each.
func diag(request []byte, each func([]byte) error) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}); err != nil {
		return err
	}
	message := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+len(request))
	binary.NativeEndian.PutUint32(message, uint32(unix.NLMSG_HDRLEN+len(request)))
	binary.NativeEndian.PutUint16(message[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(message[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	if err := unix.Sendto(fd, append(message, request...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buffer := make([]byte, 64<<10)
	for range maxDiagDatagrams {
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return err
		}
		for _, m := range messages {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return nil
			case unix.NLMSG_ERROR:
				if len(m.Data) < 4 {
					return errors.New("the kernel answered with an error it does not name")
				}
				if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
					return unix.Errno(-code)
				}
			case unix.SOCK_DIAG_BY_FAMILY:
				if err := each(m.Data); err != nil {
					return err
				}
			}
		}
	}
	return errors.New("the kernel's list of sockets has no end")
}
