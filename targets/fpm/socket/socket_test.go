package socket

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"scap/targets/fpm/proc"
)

func TestKernelSaysHowManyWait(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(t.TempDir(), "s")
			}
			l, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			address = l.Addr().String()
			for waiting := range 4 {
				err := proc.Poll(t.Context(), 10*time.Second, func() error { // TCP's handshake ends a moment after connect
					n, err := Waiting(address)
					if err == nil && n != waiting {
						err = fmt.Errorf("%d wait, want %d", n, waiting)
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				var d net.Dialer
				c, err := d.DialContext(context.Background(), network, address)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
			}
		})
	}
	if n, err := Waiting(filepath.Join(t.TempDir(), "nobody")); n != 0 || err != nil {
		t.Errorf("queue of nobody: %d, %v", n, err)
	}
}

func unixMessage(path string, waiting uint32) []byte {
	m := make([]byte, unixMessageSize)
	m[0] = unix.AF_UNIX
	add := func(kind uint16, value []byte) {
		m = binary.NativeEndian.AppendUint16(m, uint16(unix.SizeofRtAttr+len(value)))
		m = binary.NativeEndian.AppendUint16(m, kind)
		m = append(m, value...)
		for len(m)%4 != 0 {
			m = append(m, 0)
		}
	}
	add(unixAttrName, append([]byte(path), 0))
	add(unixAttrQueue, binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, waiting), 128))
	return m
}

func FuzzParseUnixDiag(f *testing.F) {
	good := unixMessage("/run/fpm.sock", 7)
	if name, waiting, err := parseUnixDiag(good); err != nil || name != "/run/fpm.sock" || waiting != 7 {
		f.Fatalf("seed: %q %d %v", name, waiting, err)
	}
	f.Add(good)
	f.Add(good[:len(good)-3])
	f.Add(append(make([]byte, unixMessageSize), 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if name, _, err := parseUnixDiag(b); err == nil && len(name) > len(b) {
			t.Errorf("%d bytes hold the name %q", len(b), name)
		}
	})
}

func FuzzParseInetDiag(f *testing.F) {
	good := make([]byte, inetMessageSize)
	good[0] = unix.AF_INET
	binary.BigEndian.PutUint16(good[4:], 9000)
	copy(good[8:], []byte{127, 0, 0, 1})
	binary.NativeEndian.PutUint32(good[56:], 3)
	if at, waiting, err := parseInetDiag(good); err != nil || at.String() != "127.0.0.1:9000" || waiting != 3 {
		f.Fatalf("seed: %v %d %v", at, waiting, err)
	}
	f.Add(good)
	f.Add(good[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		if at, _, err := parseInetDiag(b); err == nil && !at.Addr().IsValid() {
			t.Errorf("%x has no address", b)
		}
	})
}
