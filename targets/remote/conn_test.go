package remote

import (
	"context"
	"errors"
	"testing"

	"golang.org/x/crypto/ssh"
)

// lostConn never answers a channel that is opened, as x/crypto/ssh does in the moment at which a connection ends.
type lostConn struct {
	ssh.Conn
	asked, over chan struct{}
}

func (l lostConn) OpenChannel(string, []byte) (ssh.Channel, <-chan *ssh.Request, error) {
	l.asked <- struct{}{}
	<-l.over
	return nil, nil, errors.New("it is over")
}

// TestChannelLostWithItsConnection: nobody waits for a channel that a dead connection will not open.
func TestChannelLostWithItsConnection(t *testing.T) {
	cut := errors.New("the connection was cut")
	for name, open := range map[string]func(*conn) error{
		"session": func(c *conn) error { _, err := c.newSession(); return err },
		"dial":    func(c *conn) error { _, err := c.dial(context.Background(), "tcp", "127.0.0.1:1"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			l := lostConn{asked: make(chan struct{}), over: make(chan struct{})}
			defer close(l.over)
			chans, reqs := make(chan ssh.NewChannel), make(chan *ssh.Request)
			defer close(chans)
			defer close(reqs)
			c := &conn{client: ssh.NewClient(quietConn{l}, chans, reqs)}
			c.life, c.end = context.WithCancelCause(t.Context())
			done := make(chan error, 1)
			go func() { done <- open(c) }()
			<-l.asked
			c.end(cut)
			if err := c.because(<-done); !errors.Is(err, cut) {
				t.Errorf("%v, want %v", err, cut)
			}
		})
	}
}

// quietConn is what ssh.NewClient asks of a connection besides.
type quietConn struct{ lostConn }

func (q quietConn) Wait() error { <-q.over; return nil }
