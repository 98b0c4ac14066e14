package keeper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"scap/targets/fpm/proc"
	"scap/targets/fpm/socket"
)

// endOne ends a generation that nobody is sent to. One that has ended already is no error: it may have by its deadline.
func (k *keeper) endOne(ctx context.Context, r *record, q Request) error {
	e := r.find(q.Generation)
	if e == nil {
		return nil
	}
	switch role, err := k.role(r, e); {
	case err != nil:
		return err
	case role != "":
		return refuse("generation %d is %s", e.Number, role)
	}
	return k.end(ctx, r, e, false)
}

// role says whether users are sent to a generation: "published", "tried" or "". A generation that was the published one, and
// whose link somebody else took away, still is: the link is to be mended.
func (k *keeper) role(r *record, e *entry) (string, error) {
	pool, ok := k.conf.pool(e.Pool)
	if !ok && e.Until.IsZero() {
		return "published", nil // of a pool that is no longer configured: who reaches it is not known
	}
	if !ok {
		return "", nil
	}
	published, err := k.leads(r, e.Pool, pool.Listen)
	if err != nil {
		return "", err
	}
	tried, err := k.leads(r, e.Pool, pool.Trial)
	switch {
	case err != nil:
		return "", err
	case published == e.Number, published == 0 && r.pool(e.Pool).Published == e.Number:
		return "published", nil
	case tried == e.Number:
		return "tried", nil
	}
	return "", nil
}

// end ends whoever is left of a generation and forgets it. Nobody may be sent to it any more. With kill its requests are not
// waited for. When it fails, or ctx ends, the generation stays in the record as one that is to go.
func (k *keeper) end(ctx context.Context, r *record, e *entry, kill bool) error {
	if e.Phase != ending {
		e.Phase = ending
		if err := k.save(r); err != nil {
			return err
		}
	}
	k.tick("end: the record has generation %d ending", e.Number)
	if err := k.quit(ctx, e, kill); err != nil {
		return fmt.Errorf("end generation %d: %w", e.Number, err)
	}
	k.tick("end: nobody of generation %d is left", e.Number)
	if err := k.start.ended(ctx, e.Number); err != nil {
		return err
	}
	for _, path := range k.conf.files(e.Number).all() {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	k.tick("end: the files of generation %d are gone", e.Number)
	r.forget(e.Number)
	if s := r.pool(e.Pool); s.Published == e.Number {
		s.Published = 0
	}
	err := k.save(r)
	k.tick("end: the record has no generation %d", e.Number)
	return err
}

// quit asks the master to end its requests and go, then whoever is left, then kills.
func (k *keeper) quit(ctx context.Context, e *entry, kill bool) error {
	polite, limit := unix.SIGQUIT, k.stop(e)
	if kill {
		polite, limit = unix.SIGTERM, killTime
	}
	c, err := k.crewNow(e)
	if err != nil {
		return err
	}
	if !kill && e.Served && len(c.members) > 0 {
		// What waits longer than requests may take is answered by nobody.
		if err := socket.Emptied(ctx, []string{k.conf.files(e.Number).socket}, limit); err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		k.tick("end: nothing waits for generation %d", e.Number)
	}
	seen := c.members
	if c.alive {
		if err := proc.Signal(c.master, polite); err != nil {
			return err
		}
		k.tick("end: the master of generation %d was told", e.Number)
		proc.AwaitGone(ctx, append(slices.Clone(c.workers), c.master), limit)
		limit = min(limit, killTime) // for those it left behind, which have had their time
	}
	for _, round := range []struct {
		signal unix.Signal
		limit  time.Duration
	}{{polite, limit}, {unix.SIGKILL, killTime}} {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		left, err := k.leftOf(e, seen)
		if err != nil || len(left) == 0 {
			return err
		}
		seen = left
		if err := tell(left, round.signal); err != nil {
			return err
		}
		proc.AwaitGone(ctx, left, round.limit)
	}
	left, err := k.leftOf(e, seen)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("processes %v do not go away", proc.PIDs(left))
	}
	return err
}

// tell signals each process. A worker of php-fpm ends its request on SIGQUIT; other programs would dump their memory.
func tell(ps []proc.Process, s unix.Signal) error {
	var wrong []error
	for _, p := range ps {
		own := s
		if s == unix.SIGQUIT && !strings.HasPrefix(p.Title, "php-fpm: ") {
			own = unix.SIGTERM
		}
		wrong = append(wrong, proc.Signal(p, own))
	}
	return errors.Join(wrong...)
}

func (k *keeper) crewNow(e *entry) (crew, error) {
	s, err := look()
	if err != nil {
		return crew{}, err
	}
	return k.crew(s, e), nil
}

// leftOf looks again who is in the namespace, and who of those that were seen there still runs.
func (k *keeper) leftOf(e *entry, seen []proc.Process) ([]proc.Process, error) {
	c, err := k.crewNow(e)
	if err != nil {
		return nil, err
	}
	left := proc.Left(seen)
	for _, p := range c.members {
		if !slices.ContainsFunc(left, func(q proc.Process) bool { return q.PID == p.PID && q.Tick == p.Tick }) {
			left = append(left, p)
		}
	}
	return left, nil
}

// stop is how long requests of a generation may take to end.
func (k *keeper) stop(e *entry) time.Duration {
	if p, ok := k.conf.pool(e.Pool); ok {
		return p.Stop
	}
	return time.Minute // its pool is no longer configured
}

// halt ends everything: the links first, so that no request comes to a master that goes.
func (k *keeper) halt(ctx context.Context, r *record, kill bool) error {
	for _, p := range k.conf.Pools {
		if err := errors.Join(k.unpoint(p.Listen), k.unpoint(p.Trial)); err != nil {
			return err
		}
		r.pool(p.Name).Published = 0
	}
	for _, e := range r.Generations {
		e.Phase = ending
	}
	if err := k.save(r); err != nil {
		return err
	}
	k.tick("halt: the links are gone")
	var wrong []error
	for _, e := range slices.Clone(r.Generations) {
		wrong = append(wrong, k.end(ctx, r, e, kill))
	}
	return errors.Join(wrong...)
}

// reopen tells every master to open its logs anew.
func (k *keeper) reopen(r *record) error {
	s, err := look()
	if err != nil {
		return err
	}
	var wrong []error
	for _, e := range r.Generations {
		if c := k.crew(s, e); c.alive && e.Phase == running {
			wrong = append(wrong, proc.Signal(c.master, unix.SIGUSR1))
		}
	}
	return errors.Join(wrong...)
}
