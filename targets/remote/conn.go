package remote

import (
	"context"
	"fmt"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
)

// conn is one living connection. All goroutines that work on it end when life does, since the transport is closed then.
type conn struct {
	client *ssh.Client
	raw    net.Conn
	life   context.Context
	end    context.CancelCauseFunc
}

// keep starts what looks after a new connection.
func (s *SSH) keep(raw net.Conn, client *ssh.Client) (*conn, error) {
	c := &conn{client: client, raw: raw}
	c.life, c.end = context.WithCancelCause(context.Background())
	err := s.run(func() {
		err := client.Wait()
		c.kill(fmt.Errorf("the host closed the connection: %w", err))
	})
	if err == nil {
		err = s.run(func() { c.heartbeat(s) })
	}
	if err != nil {
		c.kill(err)
	}
	return c, err
}

// kill ends the connection at once, without a word to the other side. Only the first reason counts.
func (c *conn) kill(reason error) {
	c.end(reason)
	_ = c.raw.Close() // there is nothing to save
}

// because adds why the connection ended, if it did.
func (c *conn) because(err error) error {
	if c.life.Err() != nil {
		return fmt.Errorf("%w (%w)", context.Cause(c.life), err)
	}
	return err
}

// heartbeat asks the host regularly whether it lives, and kills the connection when it is silent for too long. A hung host
// accepts bytes for a while, so only answers count.
func (c *conn) heartbeat(s *SSH) {
	tick := time.NewTicker(s.o.Keepalive)
	defer tick.Stop()
	answered := make(chan error, 1)
	waiting, missed := false, 0
	for {
		select {
		case <-c.life.Done():
			return
		case err := <-answered:
			if err != nil {
				c.kill(fmt.Errorf("keepalive: %w", err))
				return
			}
			waiting, missed = false, 0
		case <-tick.C:
			if missed++; waiting && missed >= s.o.Misses {
				c.kill(fmt.Errorf("the host has not answered for %v", time.Duration(s.o.Misses)*s.o.Keepalive))
				return
			}
			if !waiting {
				waiting, missed = true, 0
				if s.run(func() { answered <- c.ping() }) != nil {
					return
				}
			}
		}
	}
}

// ping asks for an answer, whatever it is. It is stuck with the transport and freed when that is closed.
func (c *conn) ping() error {
	_, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil)
	return err
}
