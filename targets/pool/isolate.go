package pool

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"scap/targets"
)

// errStillIn: a balancer was told to send the host nothing and says that it does.
var errStillIn = errors.New("it is still in the pool there")

// Isolate takes a host that serves badly out of every balancer and marks it out in its own journal, as a suspect. Nothing
// is switched, so nobody waits until the host is quiet: what is under way ends by itself. A host that somebody else had
// taken out before stays out when it is brought back, as after a switch.
//
// The mark comes first: it makes the host's health check fail, so the host is out soon also where a balancer does not
// answer or forgets its drain, and it has an owner from the first instant on.
func (t *Target) Isolate(ctx context.Context, s targets.Switch) error {
	unlock, err := t.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	st, err := t.State(ctx)
	if err != nil {
		return fmt.Errorf("isolate: %w", err)
	}
	j := &job{Target: t, s: s, before: st, out: true, suspect: true}
	switch in := st.Intent; {
	case in.Token > s.Token:
		return fmt.Errorf("isolate %s: token %d, the host has seen %d: %w", t.Name(), s.Token, in.Token, targets.ErrFenced)
	case in.Out:
		j.alien = strings.HasSuffix(in.Owner, foundOut)
	default:
		j.alien = st.Pooled == targets.PoolOut
	}
	ctx, cancel := living(ctx, 4*t.o.CallLimit+2*t.o.HealthLimit)
	defer cancel()
	if err := j.retry(ctx, func() error { return j.mark(ctx, true) }); err != nil {
		return fmt.Errorf("isolate: %w", err)
	}
	if err := j.each(func(b Balancer) error {
		return j.retry(ctx, func() error { return j.shut(ctx, b) })
	}); err != nil {
		return fmt.Errorf("isolate: %w; %s is marked out in its own journal, so its health check fails", err, j.Name())
	}
	return nil
}

// shut drains the host at b, unless another deploy has claimed it since, and makes sure that b knows.
func (j *job) shut(ctx context.Context, b Balancer) error {
	ctx, cancel := context.WithTimeout(ctx, j.o.CallLimit)
	defer cancel()
	if err := j.again(ctx, b); err != nil {
		return err
	}
	pooled, detail, err := b.State(ctx, j.Name())
	switch {
	case err != nil:
		return fmt.Errorf("ask balancer %s: %w", b.Name(), err)
	case pooled != targets.PoolOut:
		return fmt.Errorf("balancer %s says %s (%s): %w", b.Name(), pooled, detail, errStillIn)
	}
	return nil
}
