package fpm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"scap/sync/release"
	"scap/targets/fpm/keeper"
)

// backTime is how long the old master stays at the least: the way back of a switch that fails its last check needs it.
const backTime = 2 * time.Minute

// publish makes generations what the web server reaches, pool by pool. After an error those that were published are taken
// back as far as the old ones live.
func (r *Runtime) publish(ctx context.Context, next []raised) error {
	if err := r.begin(slices.DeleteFunc(slices.Clone(next), func(c raised) bool { return c.stays })); err != nil {
		return err
	}
	until := time.Now().Add(max(time.Duration(r.conf.Keeper.Keep), backTime))
	for n, c := range next {
		if c.stays {
			continue
		}
		_, err := r.order(ctx, keeper.Request{
			Op: keeper.OpPublish, Pool: c.pool.Name, Generation: c.inst.gen.Number, From: c.pool.Published, Until: until,
		})
		if err != nil {
			return errors.Join(fmt.Errorf("publish: %w", err), r.unpublish(ctx, next[:n+1]))
		}
	}
	return nil
}

// unpublish goes back to the old masters, which are warm and have changed nothing. What became of each publication is asked
// of the keeper: one that failed on the way may have happened.
func (r *Runtime) unpublish(ctx context.Context, next []raised) error {
	reply, err := r.order(ctx, keeper.Request{Op: keeper.OpState})
	if err != nil {
		return err
	}
	all, err := r.join(*reply.State)
	if err != nil {
		return err
	}
	var wrong []error
	for _, c := range next {
		n := slices.IndexFunc(all.pools, func(p keeper.PoolState) bool { return p.Name == c.pool.Name })
		now := all.pools[n]
		if c.stays || now.Published != c.inst.gen.Number {
			continue
		}
		old, ok := numbered(now, c.pool.Published)
		if !ok || !sound(old) {
			wrong = append(wrong, fmt.Errorf("php-fpm %s: no old master is there to go back to", c.pool.Name))
			continue
		}
		// The new one ends by itself once nobody waits for it.
		err := r.begin([]raised{{inst: c.inst.of(old), evidence: r.lastEntered(ctx, c.inst.of(old))}})
		_, publishing := r.order(ctx, keeper.Request{Op: keeper.OpPublish, Pool: now.Name, Generation: old.Number, From: now.Published})
		wrong = append(wrong, err, publishing)
	}
	if err := errors.Join(wrong...); err != nil {
		return fmt.Errorf("and back: %w", err)
	}
	return nil
}

// lastEntered is how many pages an instance has begun, or nothing when it does not say.
func (r *Runtime) lastEntered(ctx context.Context, i Instance) evidence {
	f, err := r.ask(ctx, i, question{scripts: true})
	if err != nil {
		return evidence{}
	}
	return evidence{opcache: f}
}

// conclude ends a switch to generations that are published: users' pages through the web server, the old sockets empty, a
// word in the log, and the proof, asked afresh.
func (r *Runtime) conclude(ctx context.Context, next []raised, to release.ID) (release.Proof, error) {
	client := r.client()
	for _, p := range r.conf.Warm.Pages {
		if err := r.visit(ctx, client, p, to); err != nil {
			return release.Proof{}, errors.Join(fmt.Errorf("ask %s through the web server: %w", to.Short(), err), r.unpublish(ctx, next))
		}
	}
	var instances []Instance
	for _, c := range next {
		instances = append(instances, c.inst)
	}
	if err := r.sign(ctx, instances, to); err != nil {
		return release.Proof{}, errors.Join(err, r.unpublish(ctx, next))
	}
	g := r.lookAround(ctx)
	proof := r.stateOf(ctx, g)
	if proof.Release != to {
		why := proof.Reason
		if why == "" {
			why = "it runs " + proof.Release.Short()
		}
		return proof, errors.Join(fmt.Errorf("prove %s: %s", to.Short(), why), r.unpublish(ctx, next))
	}
	proof.Road = r.road(g, r.recall().Took)
	return proof, nil
}

// sign has generations write a nonce into their own log, and remembers it for each.
func (r *Runtime) sign(ctx context.Context, instances []Instance, id release.ID) error {
	nonce := random(16)
	said := nonce
	for _, i := range instances {
		f, err := r.ask(ctx, i, question{nonce: nonce, release: id})
		if err != nil {
			return fmt.Errorf("write a nonce into the log of %s: %w", i.Name, err)
		}
		if f.loud { // see confirm
			said = ""
		}
	}
	_, err := r.remember(func(g *register) bool {
		for _, i := range instances {
			t := g.of(i)
			t.Nonce = said
			g.put(i, t)
		}
		return true
	})
	return err
}

// retire ends what is over after a switch: dead masters' orphans, and, unless they are kept, the old masters once nobody
// waits in their sockets. What cannot be ended now ends by its deadline, and is told.
func (r *Runtime) retire(ctx context.Context, next []raised, hasten bool) (notes []string) {
	tell := func(err error) {
		if err != nil {
			notes = append(notes, err.Error())
		}
	}
	var sockets []string
	for _, c := range next {
		if old, ok := numbered(c.pool, c.pool.Published); ok && old.Alive && !c.stays {
			sockets = append(sockets, old.Socket)
		}
	}
	waiting := r.emptied(ctx, sockets)
	tell(waiting)
	for _, c := range next {
		for _, g := range c.pool.Generations {
			isOld := g.Number == c.pool.Published && !c.stays
			switch {
			case g.Number == c.inst.gen.Number:
			case !g.Alive && (isOld || g.Number != c.pool.Published) && len(g.Orphans) > 0:
				tell(r.end(ctx, c.pool.Name, g.Number))
			case isOld && r.conf.Keeper.Keep == 0 && waiting == nil && !hasten:
				tell(r.end(ctx, c.pool.Name, g.Number))
			}
		}
	}
	return notes
}
