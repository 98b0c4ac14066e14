package announce

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// irc says events in a channel. It connects with the first and stays until it is closed.
type irc struct {
	Options
	dial func(ctx context.Context) (net.Conn, error)
	conn *ircConn
	due  time.Time // when all that was said may have been said, at the pace that servers want
}

func newIRC(o Options) *irc {
	a := &irc{Options: o}
	a.dial = a.connect
	return a
}

// The pace that servers want, by RFC 1459, 8.10: a line each two seconds, some at once after a while.
const (
	ircPace  = 2 * time.Second
	ircBurst = 4
)

// ircTries is how often a line is said until the server has taken it.
const ircTries = 3

// Tell says the line and waits until the server has taken it. When the connection breaks before that, the line is said again
// on another: it may then stand there twice, which is better than not at all.
func (a *irc) Tell(ctx context.Context, e Event) (err error) {
	line := e.Text(mark, lineMost)
	for try := range ircTries {
		if try > 0 {
			if bad := wait(ctx, time.Duration(try)*time.Second); bad != nil {
				return errors.Join(err, bad)
			}
		}
		if err = a.say(ctx, line); err == nil {
			return nil
		}
		var no *refusal
		if ctx.Err() != nil || errors.As(err, &no) {
			return err
		}
	}
	return err
}

func (a *irc) say(ctx context.Context, line string) error {
	if err := a.pace(ctx); err != nil {
		return err
	}
	err := a.join(ctx)
	if err == nil {
		err = a.conn.say(ctx, a.Channel, line)
	}
	if err != nil && a.conn != nil {
		a.conn.close()
		a.conn = nil
	}
	return err
}

// pace waits until a line more is not too many.
func (a *irc) pace(ctx context.Context) error {
	now := time.Now()
	if a.due.Before(now) {
		a.due = now
	}
	a.due = a.due.Add(ircPace)
	return wait(ctx, a.due.Sub(now)-ircBurst*ircPace)
}

// join makes sure that there is a connection and that it is in the channel.
func (a *irc) join(ctx context.Context) error {
	if a.conn != nil && a.conn.gone() {
		a.conn.close()
		a.conn = nil
	}
	if a.conn == nil {
		password := ""
		if a.PasswordFile != "" {
			var err error
			if password, err = secret(a.PasswordFile); err != nil {
				return &refusal{err.Error()}
			}
		}
		socket, err := a.dial(ctx)
		if err != nil {
			return err
		}
		a.conn = newIRCConn(socket)
		if err := a.conn.register(ctx, a.Nick, a.User, password); err != nil {
			return without(err, password)
		}
	}
	return a.conn.join(ctx, a.Channel)
}

func (a *irc) connect(ctx context.Context) (net.Conn, error) {
	d := &net.Dialer{}
	if a.Plain {
		return d.DialContext(ctx, "tcp", a.Address)
	}
	host, _, err := net.SplitHostPort(a.Address)
	if err != nil {
		return nil, err
	}
	conf := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if a.CAFile != "" {
		if conf.RootCAs, err = authorities(a.CAFile); err != nil {
			return nil, &refusal{err.Error()}
		}
	}
	conn, err := (&tls.Dialer{NetDialer: d, Config: conf}).DialContext(ctx, "tcp", a.Address)
	var bad *tls.CertificateVerificationError
	if errors.As(err, &bad) {
		return nil, &refusal{fmt.Sprintf("%s: %v", a.Address, bad)}
	}
	return conn, err
}

// Close takes leave of the server.
func (a *irc) Close() error {
	if a.conn != nil {
		a.conn.quit()
		a.conn = nil
	}
	return nil
}

// refusal is what does not become better by trying again.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

// wait waits for d, or for the end of ctx, which is its error.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
