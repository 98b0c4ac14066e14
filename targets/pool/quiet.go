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
func (j *job) quiet(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, j.o.QuietLimit, errBusy)
	defer cancel()
	var last string
	var lost error // the last answer that did not come
	for {
		said, err := j.idle(ctx)
		if err == nil && said == "" {
			var q release.Quiet
			if q, err = j.host.Quiet(ctx, j.o.Window); err == nil && q.Calm() {
				return nil
			}
			said = sayBusy(q)
		}
		switch {
		case errors.Is(err, targets.ErrFenced):
			return err
		case err != nil && ctx.Err() == nil:
			lost = err
		case err == nil:
			last, lost = said, nil
		}
		if werr := wait(ctx, j.o.Poll); werr != nil {
			if errors.Is(werr, errBusy) {
				return fmt.Errorf("wait until %s is quiet: after %s %s: %w", j.Name(), j.o.QuietLimit, final(last, lost), errBusy)
			}
			return fmt.Errorf("wait until %s is quiet: %w", j.Name(), werr)
		}
	}
}

// final says what is known at the end: what was seen last, and what could not be asked since.
func final(last string, lost error) string {
	switch {
	case lost == nil && last == "":
		return "no answer"
	case lost == nil:
		return last
	case last == "":
		return lost.Error()
	}
	return fmt.Sprintf("%s; since then %v", last, lost)
}

// idle looks at every balancer until each was idle Looks times in a row, and says "" then; else what is still there.
func (j *job) idle(ctx context.Context) (string, error) {
	for look := range j.o.Looks {
		if look > 0 && len(j.balancers) > 0 {
			if err := wait(ctx, j.o.Poll); err != nil {
				return "", err
			}
		}
		for _, b := range j.balancers {
			if said, err := j.idleAt(ctx, b); err != nil || said != "" {
				return said, err
			}
		}
	}
	return "", nil
}

func (j *job) idleAt(ctx context.Context, b Balancer) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, j.o.CallLimit)
	defer cancel()
	pooled, detail, err := b.State(ctx, j.Name())
	if err != nil {
		return "", fmt.Errorf("ask balancer %s: %w", b.Name(), err)
	}
	if pooled != targets.PoolOut {
		if err := j.again(ctx, b); err != nil {
			return "", err
		}
		return fmt.Sprintf("balancer %s had put it back (%s)", b.Name(), detail), nil
	}
	idle, err := b.Idle(ctx, j.Name())
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

// again drains at a balancer that has the host in, unless it was the deploy that has claimed the host since which put it
// back.
func (j *job) again(ctx context.Context, b Balancer) error {
	st, err := j.host.State(ctx)
	if err != nil {
		return fmt.Errorf("ask %s: %w", j.Name(), err)
	}
	if st.Intent.Token > j.s.Token {
		return fmt.Errorf("%s has token %d of %q: %w", j.Name(), st.Intent.Token, st.Intent.Claimer, targets.ErrFenced)
	}
	if err := b.Drain(ctx, j.Name()); err != nil {
		return fmt.Errorf("drain at balancer %s: %w", b.Name(), err)
	}
	return nil
}

// keepOut runs do while it watches that no balancer forgets its drain: one that is reloaded sends requests until its
// health check has failed often enough, which may be seconds.
func (j *job) keepOut(ctx context.Context, do func(context.Context) error) error {
	if !j.out || len(j.balancers) == 0 {
		return do(ctx) // it serves while it switches: a reload, or an emergency
	}
	watch, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for wait(watch, 2*j.o.Poll) == nil {
			// What cannot be asked or told now is asked again in a moment; the mark on the host stands meanwhile.
			_ = j.each(func(b Balancer) error {
				ctx, cancel := context.WithTimeout(watch, j.o.CallLimit)
				defer cancel()
				if pooled, _, err := b.State(ctx, j.Name()); err != nil || pooled == targets.PoolOut {
					return err
				}
				return j.again(ctx, b)
			})
		}
	}()
	err := do(ctx)
	stop()
	<-done
	return err
}
