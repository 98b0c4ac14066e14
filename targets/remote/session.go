package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"scap/sync/wire"
)

// session is one command on the host.
type session struct {
	*pumped
	conn   *conn
	ssh    *ssh.Session
	stderr tail
	ended  chan struct{} // closed after exit was set
	exit   error         // how the command ended
}

// exec starts a command on the connection.
func (s *SSH) exec(ctx context.Context, c *conn, command string) (*session, error) {
	x := &session{pumped: newPumped(), conn: c, ended: make(chan struct{})}
	started := make(chan error, 1)
	err := s.run(func() {
		stdin, stdout, err := x.begin(command)
		started <- err
		if err == nil {
			x.pump(stdin, stdout, func() { x.exit = x.ssh.Wait(); close(x.ended) }, func() { _ = x.ssh.Close() })
		}
	})
	if err != nil {
		return nil, err
	}
	select {
	case err := <-started:
		if err != nil {
			return nil, err
		}
		return x, nil
	case <-ctx.Done():
		_ = x.Close() // it closes itself when the host answers after all
		return nil, context.Cause(ctx)
	}
}

// begin opens the channel and starts the command: two round trips that a hung host never ends.
func (x *session) begin(command string) (io.WriteCloser, io.Reader, error) {
	var err error
	if x.ssh, err = x.conn.newSession(); err != nil {
		var refused *ssh.OpenChannelError
		if errors.As(err, &refused) {
			return nil, nil, fmt.Errorf("%w: %w", ErrSessions, err)
		}
		x.conn.kill(fmt.Errorf("it took no further session: %w", err)) // only a dead connection fails otherwise
		return nil, nil, err
	}
	x.ssh.Stderr = &x.stderr
	stdin, err := x.ssh.StdinPipe()
	if err == nil {
		var stdout io.Reader
		if stdout, err = x.ssh.StdoutPipe(); err == nil {
			if err = x.ssh.Start(command); err == nil {
				return stdin, stdout, nil
			}
		}
	}
	_ = x.ssh.Close()
	return nil, nil, err
}

// newSession opens a channel, or ends with the connection.
//
// RACE: x/crypto/ssh never answers a channel that it opens at the very moment at which the connection ends: it has told all
// channels of the end and then takes another one. The goroutine that asked is lost then, and nobody waits for it.
func (c *conn) newSession() (*ssh.Session, error) {
	type opened struct {
		session *ssh.Session
		err     error
	}
	got := make(chan opened, 1)
	go func() {
		session, err := c.client.NewSession()
		got <- opened{session, err}
	}()
	select {
	case o := <-got:
		return o.session, o.err
	case <-c.life.Done(): // and what is opened after all ends with its connection
		return nil, context.Cause(c.life)
	}
}

// exitWait is how long Reason waits for the host's word on a command whose output has ended.
const exitWait = time.Second

// Reason returns why the session ended: the connection's end, or the command's exit and what it wrote to stderr.
func (x *session) Reason() error {
	select {
	case <-x.closed:
		return context.Cause(x.conn.life)
	default:
	}
	t := time.NewTimer(exitWait)
	defer t.Stop()
	select {
	case <-x.conn.life.Done():
		return context.Cause(x.conn.life)
	case <-t.C:
		return nil
	case <-x.ended:
	}
	said := x.stderr.String()
	var code *ssh.ExitError
	switch {
	case errors.As(x.exit, &code) && code.ExitStatus() == 126:
		return fmt.Errorf("exit status 126: the agent cannot be executed there; is its directory mounted noexec, or the host of another "+
			"architecture? %s", said)
	case x.exit == nil && said == "":
		return nil
	case said == "":
		return x.exit
	case x.exit == nil:
		return errors.New(said)
	}
	return fmt.Errorf("%w: %s", x.exit, said)
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 4 << 10

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.b = append(t.b, p[max(0, len(p)-tailSize):]...); len(t.b) > tailSize {
		t.b = append(t.b[:0], t.b[len(t.b)-tailSize:]...)
	}
	return len(p), nil
}

// String returns the text, fit for a terminal.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return wire.Plain(string(t.b), tailSize)
}
