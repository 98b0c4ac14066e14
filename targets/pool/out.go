package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"scap/targets"
)

// errNotGreen: the host proves a release but a balancer's health check does not turn green.
var errNotGreen = errors.New("the balancer's health check is not green")

// leave takes the host out of the pool and waits until nothing reaches it. On an error what it did is undone, unless
// the host had been out before.
func (j *job) leave(ctx context.Context) error {
	if err := j.mark(ctx, true); err != nil {
		if errors.Is(err, targets.ErrFenced) {
			return err
		}
		// The mark may or may not be on the host's disk: take it back.
		return j.undo(ctx, err)
	}
	// The balancers forget a drain when they reload; the host's journal and its failing health check do not. So the
	// host is marked first.
	err := j.drain(ctx)
	if err == nil {
		err = j.quiet(ctx)
	}
	if err == nil {
		j.out = true
		return nil
	}
	if errors.Is(err, targets.ErrFenced) {
		return j.abandon(err)
	}
	return j.undo(ctx, err)
}

// undo gives back what leave took, because of cause.
func (j *job) undo(ctx context.Context, cause error) error {
	cause = fmt.Errorf("take %s out of the pool: %w", j.Name(), cause)
	if j.before.Intent.Out {
		return fmt.Errorf("%w; it was out before and stays out, owned by %s: %w", cause, j.s.Owner, targets.ErrOut)
	}
	j.out = true
	if err := j.comeBack(ctx); err != nil {
		return j.stayOut(ctx, fmt.Errorf("%w; and to undo that: %w", cause, err))
	}
	return j.kept(cause)
}

// mark writes into the host's journal whether it is out, and makes its health check say the same.
func (j *job) mark(ctx context.Context, out bool) error {
	ctx, cancel := context.WithTimeout(ctx, 2*j.o.CallLimit)
	defer cancel()
	if err := j.host.Out(ctx, j.s.Token, out, j.owner()); err != nil {
		return fmt.Errorf("mark %s out=%t in its own journal: %w", j.Name(), out, err)
	}
	return nil
}

// drain drains the host at every balancer at once.
func (j *job) drain(ctx context.Context) error {
	return j.each(func(b Balancer) error {
		ctx, cancel := context.WithTimeout(ctx, j.o.CallLimit)
		defer cancel()
		if err := b.Drain(ctx, j.Name()); err != nil {
			return fmt.Errorf("drain at balancer %s: %w", b.Name(), err)
		}
		return nil
	})
}

// each runs do for every balancer at once and joins what they say.
func (j *job) each(do func(Balancer) error) error {
	errs := make([]error, len(j.balancers))
	var wg sync.WaitGroup
	for i, b := range j.balancers {
		wg.Go(func() { errs[i] = do(b) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// comeBack puts the host back: it is made ready at every balancer while its own mark still keeps the health checks red,
// then the mark is taken away, then every balancer is asked whether the host is in and green. The mark goes last so that
// the host has an owner for as long as any balancer is told to send it nothing, also when the deploy dies in between. It
// works on a living context.
//
// RACE: a deploy that lost its lease between the two may ready a host which its successor has just drained. The mark,
// which only the successor can take away then, keeps the health check red, and the successor drains again.
func (j *job) comeBack(ctx context.Context) error {
	if !j.out {
		return nil
	}
	ctx, cancel := living(ctx, 4*j.o.CallLimit+3*j.o.HealthLimit)
	defer cancel()
	if j.alien {
		if err := j.retry(ctx, func() error { return j.mark(ctx, false) }); err != nil {
			return err
		}
		j.out = false
		return nil
	}
	if st, err := j.host.State(ctx); err != nil {
		return fmt.Errorf("ask %s before it is repooled: %w", j.Name(), err)
	} else if st.Intent.Token > j.s.Token {
		return fmt.Errorf("repool %s: token %d, and %q has %d: %w", j.Name(), j.s.Token, st.Intent.Claimer, st.Intent.Token, targets.ErrFenced)
	}
	if err := j.each(func(b Balancer) error {
		return j.retry(ctx, func() error {
			ctx, cancel := context.WithTimeout(ctx, j.o.CallLimit)
			defer cancel()
			if err := b.Ready(ctx, j.Name()); err != nil {
				return fmt.Errorf("make ready at balancer %s: %w", b.Name(), err)
			}
			return nil
		})
	}); err != nil {
		return err
	}
	if err := j.retry(ctx, func() error { return j.mark(ctx, false) }); err != nil {
		return err
	}
	if err := j.each(func(b Balancer) error { return j.green(ctx, b) }); err != nil {
		return err
	}
	j.out = false
	return nil
}

// retry tries do for as long as a health check may take; a balancer that is just reloading comes back within it.
func (j *job) retry(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, j.o.HealthLimit)
	defer cancel()
	for {
		err := do()
		if err == nil || errors.Is(err, targets.ErrFenced) {
			return err
		}
		if wait(ctx, j.o.Poll) != nil {
			return err
		}
	}
}

// green waits until b says that the host is in and its health check is green.
func (j *job) green(ctx context.Context, b Balancer) error {
	ctx, cancel := context.WithTimeout(ctx, j.o.HealthLimit)
	defer cancel()
	for {
		said, err := j.greenNow(ctx, b)
		if err == nil && said == "" {
			return nil
		}
		if wait(ctx, j.o.Poll) == nil {
			continue
		}
		if err != nil {
			return fmt.Errorf("ask balancer %s: %w", b.Name(), err)
		}
		return fmt.Errorf("balancer %s says after %s: %s: %w", b.Name(), j.o.HealthLimit, said, errNotGreen)
	}
}

func (j *job) greenNow(ctx context.Context, b Balancer) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, j.o.CallLimit)
	defer cancel()
	pooled, detail, err := b.State(ctx, j.Name())
	if err != nil {
		return "", err
	}
	healthy, err := b.Healthy(ctx, j.Name())
	switch {
	case err != nil:
		return "", err
	case !healthy:
		return "down (" + detail + ")", nil
	case pooled != targets.PoolIn:
		return fmt.Sprintf("%s (%s)", pooled, detail), nil
	}
	return "", nil
}

// stayOut makes sure that a host which could not be brought back is out everywhere it can be told to be, and says so.
func (j *job) stayOut(ctx context.Context, cause error) error {
	ctx, cancel := living(ctx, 4*j.o.CallLimit+j.o.HealthLimit)
	defer cancel()
	err := j.retry(ctx, func() error { return j.mark(ctx, true) })
	if errors.Is(err, targets.ErrFenced) {
		return j.abandon(errors.Join(cause, err))
	}
	if err = errors.Join(err, j.drain(ctx)); err != nil {
		cause = fmt.Errorf("%w; and to keep it out: %w", cause, err)
	}
	return fmt.Errorf("%w: owned by %s: %w; `scap repair %s` brings it back", notReturned{cause}, j.s.Owner, targets.ErrOut, j.Name())
}

// abandon leaves the host to the deploy that has claimed it since; it is out, and its journal says by whom.
func (j *job) abandon(cause error) error {
	return fmt.Errorf("leave %s to the deploy that claimed it: %w", j.Name(), cause)
}
