package remote

import (
	"context"
	"fmt"
	"net"
)

// Dial opens a connection from the host to address there, network "tcp" or "unix": a balancer's admin socket, for one.
// The connection has no deadlines of its own; closing it frees blocked reads.
func (s *SSH) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, _, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := c.client.DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("%s on %s: %w", address, s.addr(), c.because(err))
	}
	return raw, nil
}
