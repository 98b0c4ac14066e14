package phases

import (
	"context"
	"time"
)

// Clock is the time that a deploy goes by, so that a replay can run in its own.
type Clock interface {
	Now() time.Time
	// Wait returns after d, or with context.Cause(ctx) once ctx has ended.
	Wait(ctx context.Context, d time.Duration) error
}

// System is the machine's clock.
type System struct{}

var _ Clock = System{}

// Now returns the time.
func (System) Now() time.Time { return time.Now() }

// Wait waits for d or the end of ctx.
func (System) Wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
