package lease

import (
	"context"
	"errors"
	"slices"
	"time"
)

// poll is how often whoever waits looks whether it is his turn.
const poll = 200 * time.Millisecond

// WaitOptions say how Acquire waits.
type WaitOptions struct {
	// Limit is how long it waits; 0: not at all.
	Limit time.Duration
	// Urgent goes before all who are not: for the way back to a release that works.
	Urgent bool
	// Tell is called, by the goroutine that called Acquire, when it begins to wait and whenever its place has changed. Nil is
	// nobody.
	Tell func(Position)
}

// Position is a place in the queue.
type Position struct {
	Place int      // 1 is next
	Ahead []Holder // the holder, then those who wait and come first; one that could not be read has no Who
}

// Acquire takes the lease whose lock file is path, for h; Since and PID are filled in when they are zero. While another
// process, or another Lease of this one, has it or waits for it, it waits too, for as long as o says: whoever came first gets
// it first. Who stops waiting or dies leaves no place behind, and the kernel frees the lease of a process that dies, so there
// is no stale one. When the time is over it fails with a *HeldError, and with the cause of ctx when that ends.
func Acquire(ctx context.Context, path string, h Holder, o WaitOptions) (*Lease, error) {
	l, err := acquireNow(ctx, path, h, o.Urgent)
	if !errors.Is(err, ErrHeld) || o.Limit <= 0 {
		return l, err
	}
	t, err := draw(path, h, o.Urgent)
	if err != nil {
		return nil, err
	}
	defer func() { t.drop() }()
	began := time.Now()
	limit, tick := time.NewTimer(o.Limit), time.NewTicker(poll)
	defer limit.Stop()
	defer tick.Stop()
	var told *Position
	for {
		if t.lost() { // somebody has tidied up: it goes on at the end
			again, err := draw(path, h, o.Urgent)
			if err != nil {
				return nil, err
			}
			t.drop()
			t = again
		}
		l, p, err := t.turn(ctx, path, h)
		if !errors.Is(err, ErrHeld) {
			return l, err
		}
		if o.Tell != nil && (told == nil || !slices.EqualFunc(told.Ahead, p.Ahead, Holder.same)) {
			told = &p
			o.Tell(p)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-limit.C:
			var held *HeldError
			if errors.As(err, &held) {
				held.Waited = time.Since(began)
			}
			return nil, err
		case <-tick.C:
		}
	}
}

// acquireNow takes the lease unless somebody has it, or waits for it and goes first.
func acquireNow(ctx context.Context, path string, h Holder, urgently bool) (*Lease, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	first := Waiting
	if urgently {
		first = urgent
	}
	ahead, err := first(path)
	if err != nil {
		return nil, err
	}
	if len(ahead) > 0 {
		return nil, behind(path, ahead)
	}
	return take(ctx, path, h)
}

// turn takes the lease if nobody is before t, or says who is.
func (t *ticket) turn(ctx context.Context, path string, h Holder) (*Lease, Position, error) {
	ahead, err := t.before()
	if err != nil {
		return nil, Position{}, err
	}
	if len(ahead) == 0 {
		l, err := take(ctx, path, h)
		var held *HeldError
		if errors.As(err, &held) {
			return nil, Position{Place: 1, Ahead: []Holder{held.Holder}}, err
		}
		return l, Position{}, err
	}
	held := behind(path, ahead)
	p := Position{Place: 1 + len(ahead), Ahead: ahead}
	if !held.Next {
		if ahead[0].PID == held.Holder.PID && ahead[0].Who == held.Holder.Who { // has just got it
			ahead = ahead[1:]
		}
		p = Position{Place: 1 + len(ahead), Ahead: append([]Holder{held.Holder}, ahead...)}
	}
	return nil, p, held
}

// behind is the error of whoever must let those ahead go first.
func behind(path string, ahead []Holder) *HeldError {
	held := &HeldError{Holder: ahead[0], Known: ahead[0].Who != "", Next: true, Waiting: len(ahead)}
	if h, err := Read(path); err == nil { // what the dead have left names them until the next one has the lease
		held.Holder, held.Known, held.Next = h, true, false
	}
	return held
}

// same reports whether both are the same one.
func (h Holder) same(o Holder) bool {
	return h.PID == o.PID && h.Who == o.Who && h.Since.Equal(o.Since)
}
