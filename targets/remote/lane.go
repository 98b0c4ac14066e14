package remote

import (
	"context"
	"errors"
	"fmt"
	"io"

	"scap/sync/push"
	"scap/sync/wire"
)

// lane is one session, opened when it is needed. Who holds its turn may use it.
type lane struct {
	turn   chan struct{} // holds one token while nobody uses the lane
	client *push.Client  // nil: to be opened
	rwc    io.ReadWriteCloser
}

func newLane() lane {
	l := lane{turn: make(chan struct{}, 1)}
	l.turn <- struct{}{}
	return l
}

// reasoner is a session that can say why it ended: the error text of a shell, a dead connection.
type reasoner interface {
	// Reason returns why the session ended, nil when it knows nothing beyond that.
	Reason() error
}

// call asks op on a lane.
func (h *Host) call(ctx context.Context, l *lane, op wire.Op, in, out any) error {
	return h.do(ctx, l, func(ctx context.Context, c *push.Client) error { return c.Call(ctx, op, in, out) })
}

// do uses a lane's session. A session that was idle may have died unnoticed; everything that is asked is repeatable, so
// it is asked once more on a new one.
func (h *Host) do(ctx context.Context, l *lane, use func(context.Context, *push.Client) error) error {
	err := h.once(ctx, l, use)
	var s *stale
	if errors.As(err, &s) && ctx.Err() == nil {
		err = h.once(ctx, l, use)
	}
	if errors.Is(err, ErrSessions) && l == &h.talk && ctx.Err() == nil {
		return h.do(ctx, &h.work, use)
	}
	return err
}

// stale is an error of a session that had been idle before.
type stale struct{ error }

func (s *stale) Unwrap() error { return s.error }

// once takes the lane's turn, opens its session where there is none, and drops it when it is of no more use.
func (h *Host) once(ctx context.Context, l *lane, use func(context.Context, *push.Client) error) error {
	select {
	case <-l.turn:
		defer func() { l.turn <- struct{}{} }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	idle := l.client != nil
	if !idle {
		if err := h.open(ctx, l); err != nil {
			return err
		}
	}
	err := use(ctx, l.client)
	var answered *wire.Error
	if err == nil || errors.As(err, &answered) {
		return err
	}
	err = why(l.rwc, err)
	_ = l.client.Close() // it is broken
	l.client, l.rwc = nil, nil
	if idle && errors.Is(err, push.ErrLost) {
		return &stale{err}
	}
	return err
}

// open connects the lane.
func (h *Host) open(ctx context.Context, l *lane) error {
	rwc, err := h.opener.Open(ctx)
	if err != nil {
		return err
	}
	h.mu.Lock()
	hello := wire.Hello{Token: h.claim.Token, Owner: h.claim.Owner, Config: h.conf}
	h.mu.Unlock()
	c, err := push.Connect(ctx, rwc, hello)
	if err != nil {
		return why(rwc, err)
	}
	l.client, l.rwc = c, rwc
	return nil
}

// why adds what the session knows about its end.
func why(rwc io.ReadWriteCloser, err error) error {
	if r, ok := rwc.(reasoner); ok {
		if reason := r.Reason(); reason != nil {
			return fmt.Errorf("%w (%w)", err, reason)
		}
	}
	return err
}
