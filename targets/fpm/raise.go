package fpm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"scap/sync/release"
	"scap/targets/fpm/keeper"
	"scap/targets/fpm/socket"
)

// raiseTime is how long a generation that nobody publishes stays, should this agent die: a switch and its way back fit in.
const raiseTime = 10 * time.Minute

// raised is a generation that is ready to serve: proven, and unseen by users unless it stays.
type raised struct {
	inst     Instance
	pool     keeper.PoolState // as it stood before
	evidence evidence
	fresh    bool // this switch has started it
	stays    bool // it is published already
}

// raise brings, for every pool, a generation of the release to where it can be published: one that is there and still
// proves the release, or a new one, warmed and compared with the one that serves. After an error those that it started are
// ended, and users have seen nothing.
func (r *Runtime) raise(ctx context.Context, all roster, to release.ID, until time.Time) (next []raised, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, r.drop(ctx, next))
		}
	}()
	known := r.recall()
	for n, i := range r.conf.Instances {
		c, ok, err := r.standing(ctx, known, i, all.pools[n], to)
		if err != nil {
			return next, err
		}
		if !ok {
			c, err = r.startBeside(ctx, i, all.pools[n], to, until)
		}
		if err != nil {
			return next, err
		}
		next = append(next, c)
	}
	for n := range next {
		if !next[n].fresh {
			continue
		}
		if err := r.ready(ctx, &next[n], to); err != nil {
			return next, err
		}
	}
	return next, nil
}

// standing finds a generation of the release that is there, proven once and again now. One that is no longer what it was is
// ended, but for the published one.
func (r *Runtime) standing(ctx context.Context, known register, i Instance, p keeper.PoolState, to release.ID) (raised, bool, error) {
	order := func(yield func(keeper.Generation) bool) { // the published one, then the youngest
		if g, ok := numbered(p, p.Published); ok && !yield(g) {
			return
		}
		for n := len(p.Generations) - 1; n >= 0; n-- {
			if g := p.Generations[n]; g.Number != p.Published && !yield(g) {
				return
			}
		}
	}
	for g := range order {
		c := raised{inst: i.of(g), pool: p, stays: g.Number == p.Published}
		if g.Release != to || !sound(g) || !lasts(p, g) || !c.stays && !known.of(c.inst).Proven {
			continue
		}
		var err error
		if c.evidence, err = r.proves(ctx, c.inst, to); err == nil {
			return c, true, nil
		}
		if ctx.Err() != nil {
			return c, false, context.Cause(ctx)
		}
		if !c.stays && g.Number != p.Tried {
			if err := r.end(ctx, p.Name, g.Number); err != nil {
				return c, false, err
			}
		}
	}
	return raised{}, false, nil
}

// startBeside starts a generation. Where there is no room a kept one makes some.
func (r *Runtime) startBeside(ctx context.Context, i Instance, p keeper.PoolState, to release.ID, until time.Time) (raised, error) {
	request := keeper.Request{Op: keeper.OpStart, Pool: p.Name, Release: to, Until: until}
	reply, err := r.order(ctx, request)
	if refusal(err) == keeper.NoMemory {
		var making error
		for _, g := range p.Generations {
			if g.Number != p.Published && g.Number != p.Tried {
				making = errors.Join(making, r.end(ctx, p.Name, g.Number))
			}
		}
		if reply, err = r.order(ctx, request); err != nil {
			err = errors.Join(err, making)
		}
	}
	if err == nil && reply.Generation == nil {
		err = errors.New("the keeper does not say what it started")
	}
	if err != nil {
		return raised{}, err
	}
	return raised{inst: i.of(*reply.Generation), pool: p, fresh: true}, nil
}

// ready warms a new generation where no user is, proves it and holds it against the one that serves.
func (r *Runtime) ready(ctx context.Context, c *raised, to release.ID) error {
	err := r.rounds(func(p Page) error { return r.visitDirect(ctx, c.inst, p, to) })
	if err != nil {
		return fmt.Errorf("warm %s: %w", to.Short(), err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if c.evidence, err = r.proves(ctx, c.inst, to); err != nil {
		return fmt.Errorf("prove %s: %w", to.Short(), err)
	}
	if serves, ok := numbered(c.pool, c.pool.Published); ok && sound(serves) {
		if err := r.compare(ctx, c.inst.of(serves), c.evidence.opcache); err != nil {
			return err
		}
	}
	_, err = r.remember(func(g *register) bool {
		t := g.of(c.inst)
		t.Proven = true
		g.put(c.inst, t)
		return true
	})
	return err
}

// proves has every worker of a generation answer, and fails unless they are one with the release.
func (r *Runtime) proves(ctx context.Context, i Instance, to release.ID) (evidence, error) {
	e, err := r.proveInstance(ctx, i)
	if err == nil && e.release != to {
		err = fmt.Errorf("it runs %s", e.release.Short())
	}
	if err != nil {
		return e, fmt.Errorf("php-fpm %s, generation %d: %w", i.Name, i.gen.Number, err)
	}
	return e, nil
}

// drop ends what was started and is not published. The keeper would, later.
func (r *Runtime) drop(ctx context.Context, next []raised) error {
	ctx = context.WithoutCancel(ctx)
	var wrong []error
	for _, c := range next {
		if !c.fresh {
			continue
		}
		// One that is refused is published, or gone: neither is a new one's end to see to.
		if err := r.end(ctx, c.pool.Name, c.inst.gen.Number); refusal(err) != keeper.Refused {
			wrong = append(wrong, err)
		}
	}
	return errors.Join(wrong...)
}

func (r *Runtime) end(ctx context.Context, pool string, number uint64) error {
	_, err := r.order(ctx, keeper.Request{Op: keeper.OpEnd, Pool: pool, Generation: number})
	return err
}

// order asks the keeper for one thing within the time that requests, a start and an end may take.
func (r *Runtime) order(ctx context.Context, q keeper.Request) (keeper.Reply, error) {
	if r.root == nil {
		return keeper.Reply{}, errors.New("no keeper is configured (targets.handover)")
	}
	limit := commandTime + r.conf.Limits.Start.or(defaultStart) + 2*r.conf.Limits.Stop.or(defaultStop)
	for _, i := range r.conf.Instances {
		limit = max(limit, limit+time.Duration(i.Longest))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %v", limit))
	defer cancel()
	reply, err := r.root.Do(ctx, q)
	if err != nil {
		what := string(q.Op)
		if q.Pool != "" {
			what += " " + q.Pool
		}
		if q.Generation != 0 {
			what += fmt.Sprintf(" generation %d", q.Generation)
		}
		return reply, fmt.Errorf("keeper: %s: %w", what, err)
	}
	return reply, nil
}

// refusal is the kind of a keeper's refusal, "" for everything else.
func refusal(err error) keeper.Code {
	var no *keeper.Error
	if errors.As(err, &no) {
		return no.Code
	}
	return ""
}

// emptied waits until nobody waits in the sockets any more, to which nothing leads.
func (r *Runtime) emptied(ctx context.Context, sockets []string) error {
	return socket.Emptied(ctx, sockets, r.conf.Limits.Prove.or(defaultProve))
}
