package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"scap/targets"
)

// Dialer opens a connection to a balancer's admin socket: here, or through SSH on the machine where it is.
type Dialer func(ctx context.Context) (net.Conn, error)

// Socket returns a Dialer for "unix:/path", "/path" or "tcp:host:port".
func Socket(address string) (Dialer, error) {
	network, rest, ok := strings.Cut(address, ":")
	switch {
	case strings.HasPrefix(address, "/"):
		network, rest = "unix", address
	case !ok || rest == "" || network != "unix" && network != "tcp":
		return nil, fmt.Errorf("socket %q: want unix:/path or tcp:host:port", address)
	}
	if network == "tcp" {
		if _, _, err := net.SplitHostPort(rest); err != nil {
			return nil, fmt.Errorf("socket %q: %w", address, err)
		}
	}
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, rest)
	}, nil
}

// HAProxy is one HAProxy process behind its admin socket (level admin). Several processes, also those that share a port
// by SO_REUSEPORT, are several Balancers. A process that is started anew takes every server for healthy until its checks
// have failed, unless it is told to keep its state (load-server-state-from-file): the drain is given again at once, but a
// few requests may reach a host that switches.
type HAProxy struct {
	name    string
	dial    Dialer
	servers []template
}

var _ Balancer = (*HAProxy)(nil)

// template is a server's name with {host} or {short} for the target's.
type template struct{ backend, server string }

// NewHAProxy returns the balancer that calls itself name in messages. Each of servers is "backend/server", where {host}
// stands for the target's name and {short} for its first label; a host may be known under several of them.
func NewHAProxy(name string, dial Dialer, servers ...string) (*HAProxy, error) {
	if dial == nil || len(servers) == 0 {
		return nil, fmt.Errorf("balancer %s: want a socket and at least one server, like app/{host}", name)
	}
	h := &HAProxy{name: name, dial: dial}
	for _, s := range servers {
		backend, server, ok := strings.Cut(s, "/")
		t := template{backend, server}
		if _, _, err := t.of("a.b"); !ok || err != nil {
			return nil, fmt.Errorf("balancer %s: server %q: want backend/server, like app/{host}", name, s)
		}
		h.servers = append(h.servers, t)
	}
	return h, nil
}

// of fills the template in. Names go into a command line of HAProxy's own, so they hold nothing but what HAProxy
// allows in a name.
func (t template) of(host string) (backend, server string, err error) {
	short, _, _ := strings.Cut(host, ".")
	fill := strings.NewReplacer("{host}", host, "{short}", short)
	backend, server = fill.Replace(t.backend), fill.Replace(t.server)
	for _, name := range []string{backend, server} {
		if !validName(name) {
			return "", "", fmt.Errorf("%q is no name that HAProxy knows", name)
		}
	}
	return backend, server, nil
}

func validName(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	foreign := func(r rune) bool {
		ours := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.:", r)
		return !ours
	}
	return !strings.ContainsFunc(s, foreign)
}

// Name returns what the configuration calls this balancer.
func (h *HAProxy) Name() string { return h.name }

// State reads the administrative state of every server of host.
func (h *HAProxy) State(ctx context.Context, host string) (targets.Pooling, string, error) {
	rows, err := h.rows(ctx, host)
	if err != nil {
		return targets.PoolUnknown, "", err
	}
	pooled, details := targets.PoolUnknown, make([]string, 0, len(rows))
	for i, r := range rows {
		is := targets.PoolIn
		if r.out() {
			is = targets.PoolOut
		}
		if i > 0 && pooled != is {
			is = targets.PoolMixed
		}
		pooled = is
		details = append(details, r.String())
	}
	return pooled, strings.Join(details, ", "), nil
}

// Healthy reports whether HAProxy's own check of every server of host is green; a server without a check counts as
// healthy.
func (h *HAProxy) Healthy(ctx context.Context, host string) (bool, error) {
	rows, err := h.rows(ctx, host)
	if err != nil {
		return false, err
	}
	for _, r := range rows {
		if !r.green() {
			return false, nil
		}
	}
	return true, nil
}

// Idle reports whether no server of host has a session or a queued request in this process.
func (h *HAProxy) Idle(ctx context.Context, host string) (bool, error) {
	rows, err := h.rows(ctx, host)
	if err != nil {
		return false, err
	}
	for _, r := range rows {
		if r.sessions+r.queued > 0 {
			return false, nil
		}
	}
	return true, nil
}

// Drain sets every server of host to drain.
func (h *HAProxy) Drain(ctx context.Context, host string) error { return h.set(ctx, host, "drain") }

// Ready sets every server of host to ready.
func (h *HAProxy) Ready(ctx context.Context, host string) error { return h.set(ctx, host, "ready") }

func (h *HAProxy) set(ctx context.Context, host, state string) error {
	for _, t := range h.servers {
		backend, server, err := t.of(host)
		if err != nil {
			return err
		}
		answer, err := h.command(ctx, fmt.Sprintf("set server %s/%s state %s", backend, server, state))
		if err != nil {
			return err
		}
		if said := strings.TrimSpace(answer); said != "" {
			return fmt.Errorf("set server %s/%s state %s: haproxy says %q", backend, server, state, cut(said))
		}
	}
	return nil
}

// rows asks for every server of host. A server's administrative state is only in "show servers state" (a drained
// server that is down says DOWN in "show stat"), its sessions only in "show stat".
func (h *HAProxy) rows(ctx context.Context, host string) ([]row, error) {
	rows := make([]row, 0, len(h.servers))
	for _, t := range h.servers {
		backend, server, err := t.of(host)
		if err != nil {
			return nil, err
		}
		states, err := h.command(ctx, "show servers state "+backend)
		if err != nil {
			return nil, err
		}
		r := row{backend: backend, server: server}
		if err := r.readState(states); err != nil {
			return nil, err
		}
		const servers = 4 // the kind of rows that "show stat" shall answer with
		stat, err := h.command(ctx, fmt.Sprintf("show stat %s %d %d", backend, servers, r.id))
		if err != nil {
			return nil, err
		}
		if err := r.readStat(stat); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// maxAnswer bounds one answer: some 500 bytes a server, thousands of servers.
const maxAnswer = 4 << 20

var errTooLong = errors.New("the answer is longer than it can be")

// command asks one thing; HAProxy answers and closes. The connection ends with ctx.
func (h *HAProxy) command(ctx context.Context, line string) (string, error) {
	conn, err := h.dial(ctx)
	if err != nil {
		return "", fmt.Errorf("reach its admin socket: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		return "", fmt.Errorf("%s: %w", line, because(ctx, err))
	}
	b, err := io.ReadAll(io.LimitReader(conn, maxAnswer+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", line, because(ctx, err))
	case len(b) > maxAnswer:
		return "", fmt.Errorf("%s: %w", line, errTooLong)
	case len(b) == 0:
		// Every answer ends with an empty line, so nothing at all is a process that died.
		return "", fmt.Errorf("%s: %w", line, io.ErrUnexpectedEOF)
	}
	return string(b), nil
}

// because prefers ctx's cause to the error of a connection that was closed for it.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// cut keeps a foreign text short enough for a message.
func cut(s string) string {
	const limit = 200
	if len(s) > limit {
		return s[:limit] + "…"
	}
	return s
}
