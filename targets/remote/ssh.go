package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// SSHOptions say how a host is reached. Host, User, KnownHosts and one kind of key are needed.
type SSHOptions struct {
	Host string // name or address, as in known_hosts
	Port int    // 0: 22
	User string

	Keys       []string // private key files, unencrypted
	AuthSocket string   // of an SSH agent; "" for none
	KnownHosts []string // files; a host that is in none of them is refused
	Jump       *SSH     // reached first; may serve many hosts. Its owner closes it

	Agent     *Binary // the scap-agent to run
	AgentDir  string  // on the host, absolute or relative to the user's home; "": ".cache/scap"
	AllowRoot bool    // let the agent run as root

	DialTimeout time.Duration // for connection, handshake, and an agent's first word; 0: 20 seconds
	Keepalive   time.Duration // between questions whether the host still lives; 0: 5 seconds
	Misses      int           // unanswered questions after which the connection is dead; 0: 3
}

// SSH opens agent sessions over one SSH connection, which it makes when it is needed and again after it died. It is safe
// for use by several goroutines.
type SSH struct {
	o SSHOptions

	turn chan struct{} // holds one token while nobody connects
	conn *conn         // by the holder of the turn
	life context.Context
	end  context.CancelCauseFunc

	mu      sync.Mutex
	closed  bool           // no worker may be started any more; under mu
	workers sync.WaitGroup // every goroutine on any connection
}

var _ Opener = (*SSH)(nil)

// ErrClosed is what Open returns after Close.
var ErrClosed = errors.New("the connection was closed by this side")

// NewSSH checks o and returns an SSH that has not connected yet.
func NewSSH(o SSHOptions) (*SSH, error) {
	if o.Port == 0 {
		o.Port = 22
	}
	if o.DialTimeout <= 0 {
		o.DialTimeout = 20 * time.Second
	}
	if o.Keepalive <= 0 {
		o.Keepalive = 5 * time.Second
	}
	if o.Misses <= 0 {
		o.Misses = 3
	}
	if o.AgentDir == "" {
		o.AgentDir = ".cache/scap"
	}
	switch {
	case o.Host == "" || o.User == "":
		return nil, errors.New("ssh: host and user are needed")
	case o.Port < 1 || o.Port > 65535:
		return nil, fmt.Errorf("ssh to %s: port %d", o.Host, o.Port)
	case len(o.KnownHosts) == 0:
		return nil, fmt.Errorf("ssh to %s: no known_hosts file is configured, so the host could be anybody", o.Host)
	case len(o.Keys) == 0 && o.AuthSocket == "":
		return nil, fmt.Errorf("ssh to %s: neither a key file nor an SSH agent (SSH_AUTH_SOCK) is configured", o.Host)
	}
	if err := checkDir(o.AgentDir); err != nil {
		return nil, fmt.Errorf("ssh to %s: %w", o.Host, err)
	}
	s := &SSH{o: o, turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	s.life, s.end = context.WithCancelCause(context.Background())
	return s, nil
}

// addr is what is dialled and looked up in known_hosts.
func (s *SSH) addr() string { return net.JoinHostPort(s.o.Host, strconv.Itoa(s.o.Port)) }

// Open starts the agent in a new session. It uploads the agent where the host does not have it.
func (s *SSH) Open(ctx context.Context) (io.ReadWriteCloser, error) {
	if s.o.Agent == nil {
		return nil, fmt.Errorf("ssh to %s: no agent is given to be run there", s.addr())
	}
	for first := true; ; first = false {
		c, fresh, err := s.connect(ctx)
		if err != nil {
			return nil, err
		}
		rwc, err := s.start(ctx, c)
		if err == nil {
			return rwc, nil
		}
		if !first || fresh || c.life.Err() == nil || ctx.Err() != nil {
			return nil, fmt.Errorf("start the agent on %s: %w", s.addr(), c.because(err))
		}
		// An idle connection had died unnoticed: that is no reason to fail.
	}
}

// Close ends the connection at once, and waits for all that worked on it.
func (s *SSH) Close() error {
	s.end(ErrClosed)
	<-s.turn // nobody connects now, and connecting ends with life
	if s.conn != nil {
		s.conn.kill(ErrClosed)
	}
	s.turn <- struct{}{}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.workers.Wait()
	return nil
}

// run starts a goroutine that Close waits for. It must end when its connection does.
func (s *SSH) run(do func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.workers.Go(do)
	return nil
}

// connect returns the living connection, or makes a fresh one.
func (s *SSH) connect(ctx context.Context) (c *conn, fresh bool, err error) {
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
	if s.life.Err() != nil {
		return nil, false, ErrClosed
	}
	if s.conn != nil && s.conn.life.Err() == nil {
		return s.conn, false, nil
	}
	if c, err = s.dial(ctx); err != nil {
		return nil, false, fmt.Errorf("connect to %s: %w", s.addr(), err)
	}
	s.conn = c
	return c, true, nil
}

// dial makes a connection and looks after it until it ends.
func (s *SSH) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.o.DialTimeout,
		fmt.Errorf("no SSH connection within %v", s.o.DialTimeout))
	defer cancel()
	stop := context.AfterFunc(s.life, cancel)
	defer stop()
	id, err := s.identify(ctx)
	if err != nil {
		return nil, err
	}
	defer id.close()
	raw, err := s.transport(ctx)
	if err != nil {
		return nil, because(ctx, err)
	}
	release := context.AfterFunc(ctx, func() { _ = raw.Close() }) // ends a handshake that hangs
	sc, chans, reqs, err := ssh.NewClientConn(raw, s.addr(), id.config)
	if !release() && err == nil {
		_ = sc.Close() // the error to tell is the context's
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = raw.Close()
		return nil, because(ctx, id.explain(err))
	}
	c, err := s.keep(raw, ssh.NewClient(sc, chans, reqs))
	if err != nil {
		_ = raw.Close()
	}
	return c, err
}

// transport opens the TCP connection, or a channel of the jump host's connection.
func (s *SSH) transport(ctx context.Context) (net.Conn, error) {
	if s.o.Jump == nil {
		return (&net.Dialer{}).DialContext(ctx, "tcp", s.addr())
	}
	jump, _, err := s.o.Jump.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("by way of %s: %w", s.o.Jump.addr(), err)
	}
	raw, err := jump.dial(ctx, "tcp", s.addr())
	if err != nil {
		return nil, fmt.Errorf("by way of %s: %w", s.o.Jump.addr(), jump.because(err))
	}
	return raw, nil
}

// because puts the reason why ctx ended in place of what it made fail.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", context.Cause(ctx), err)
	}
	return err
}
