package pool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"scap/sync/release"
	"scap/targets"
)

// errBusy: requests still reach the host although every balancer we know was told to send none.
var errBusy = errors.New("requests still reach the host")

// quiet waits until every balancer has been idle Looks times in a row and the host itself saw nobody for Window. A
// balancer that forgot its drain (a reload does that) is told again.
func (t *Target) quiet(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, t.o.QuietLimit, errBusy)
	defer cancel()
	last := "it never answered"
	for {
		said, err := t.idle(ctx)
		if err == nil && said == "" {
			var q release.Quiet
			if q, err = t.host.Quiet(ctx, t.o.Window); err == nil && q.Calm() {
				return nil
			}
			said = sayBusy(q)
		}
		switch {
		case errors.Is(err, targets.ErrFenced):
			return err
		case err != nil && ctx.Err() == nil:
			last = err.Error()
		case err == nil:
			last = said
		}
		if werr := wait(ctx, t.o.Poll); werr != nil {
			if errors.Is(werr, errBusy) {
				return fmt.Errorf("wait until %s is quiet: after %s %s: %w", t.Name(), t.o.QuietLimit, last, errBusy)
			}
			return fmt.Errorf("wait until %s is quiet: %w", t.Name(), werr)
		}
	}
}

// idle looks at every balancer until each was idle Looks times in a row, and says "" then; else what is still there.
func (t *Target) idle(ctx context.Context) (string, error) {
	for look := range t.o.Looks {
		if look > 0 && len(t.balancers) > 0 {
			if err := wait(ctx, t.o.Poll); err != nil {
				return "", err
			}
		}
		for _, b := range t.balancers {
			if said, err := t.idleAt(ctx, b); err != nil || said != "" {
				return said, err
			}
		}
	}
	return "", nil
}

func (t *Target) idleAt(ctx context.Context, b Balancer) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, t.o.CallLimit)
	defer cancel()
	pooled, detail, err := b.State(ctx, t.Name())
	if err != nil {
		return "", fmt.Errorf("ask balancer %s: %w", b.Name(), err)
	}
	if pooled != targets.PoolOut {
		if err := b.Drain(ctx, t.Name()); err != nil {
			return "", fmt.Errorf("drain again at balancer %s: %w", b.Name(), err)
		}
		return fmt.Sprintf("balancer %s had put it back (%s)", b.Name(), detail), nil
	}
	idle, err := b.Idle(ctx, t.Name())
	if err != nil {
		return "", fmt.Errorf("ask balancer %s: %w", b.Name(), err)
	}
	if !idle {
		return fmt.Sprintf("balancer %s still has requests under way (%s)", b.Name(), detail), nil
	}
	return "", nil
}

func sayBusy(q release.Quiet) string {
	var parts []string
	if q.Active > 0 {
		parts = append(parts, fmt.Sprintf("%d requests under way", q.Active))
	}
	if q.Queued > 0 {
		parts = append(parts, fmt.Sprintf("%d waiting", q.Queued))
	}
	if q.Outside > 0 {
		last := ""
		if q.Last != "" {
			last = fmt.Sprintf(", the last for %q", q.Last)
		}
		parts = append(parts, fmt.Sprintf("%d came in %s%s: is there a balancer that nobody named?",
			q.Outside, q.Window.Round(time.Millisecond), last))
	}
	return "the host itself says: " + strings.Join(parts, ", ")
}
