package remote

import (
	"context"
	"fmt"
	"io"
	"net"
)

// Dial opens a connection from the host to address there, network "tcp" or "unix": a balancer's admin socket, for one.
// The connection has no deadlines of its own; closing it frees blocked reads and writes.
func (s *SSH) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	for first := true; ; first = false {
		c, fresh, err := s.connect(ctx)
		if err != nil {
			return nil, err
		}
		raw, err := c.dial(ctx, network, address)
		if err == nil {
			return s.tunnel(raw)
		}
		if !first || fresh || c.life.Err() == nil || ctx.Err() != nil {
			return nil, fmt.Errorf("%s on %s: %w", address, s.addr(), c.because(err))
		}
	}
}

// dial opens a channel to address, or ends with the connection: see newSession.
func (c *conn) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(c.life, cancel)
	defer stop()
	return c.client.DialContext(ctx, network, address)
}

// tunnel is a connection through an SSH channel.
type tunnel struct {
	net.Conn // for the addresses and the deadlines that it refuses
	*pumped
}

func (s *SSH) tunnel(raw net.Conn) (net.Conn, error) {
	t := &tunnel{Conn: raw, pumped: newPumped()}
	err := s.run(func() {
		t.pump(halfCloser{raw}, raw, func() {}, func() { _ = raw.Close() })
	})
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return t, nil
}

// Read, Write and Close are those of the pipes.
func (t *tunnel) Read(b []byte) (int, error)  { return t.pumped.Read(b) }
func (t *tunnel) Write(b []byte) (int, error) { return t.pumped.Write(b) }

// Close implements net.Conn.
func (t *tunnel) Close() error { return t.pumped.Close() }

// halfCloser closes only the direction to the host, where that is possible.
type halfCloser struct{ net.Conn }

// Close implements io.Closer.
func (h halfCloser) Close() error {
	if c, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

var _ io.WriteCloser = halfCloser{}
