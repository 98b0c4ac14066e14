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
	for n := range next {
		if next[n].stays {
			continue
		}
		if err := r.rename(ctx, &next[n], until); err != nil {
			return errors.Join(fmt.Errorf("publish: %w", err), r.unpublish(ctx, next[:n+1]))
		}
	}
	return nil
}

// rename publishes one generation. A watch may meanwhile have replaced a dead master by a new one of the same release: then
// that is what is replaced now.
func (r *Runtime) rename(ctx context.Context, c *raised, until time.Time) error {
	for {
		_, err := r.order(ctx, keeper.Request{
			Op: keeper.OpPublish, Pool: c.pool.Name, Generation: c.inst.gen.Number, From: c.pool.Published, Until: until,
		})
		if refusal(err) != keeper.Refused {
			return err
		}
		g := r.stand(ctx)
		n := slices.IndexFunc(g.roster.pools, func(p keeper.PoolState) bool { return p.Name == c.pool.Name })
		if g.broken != nil || n < 0 {
			return errors.Join(err, g.broken)
		}
		now := g.roster.pools[n]
		was, _ := numbered(c.pool, c.pool.Published)
		is, _ := numbered(now, now.Published)
		if is.Number == was.Number || is.Release != was.Release {
			return err
		}
		c.pool = now
	}
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

// errPinned is a web server that goes on asking the old master: it keeps its connections.
var errPinned = errors.New("requests still reach the old master: the web server keeps its connections to php-fpm open (upstream keepalive)")

// conclude ends a switch to generations that are published: nobody waits for the old ones, pages through the web server come
// from the new ones and are good, a word is in their log, and they are proven, asked afresh. Else it goes back by rename.
func (r *Runtime) conclude(ctx context.Context, next []raised, to release.ID) (release.Proof, error) {
	old := replaced(next)
	waiting := r.emptied(ctx, sockets(old))
	if err := r.askUsers(ctx, old, to); err != nil {
		return release.Proof{}, errors.Join(fmt.Errorf("ask %s through the web server: %w", to.Short(), err), r.unpublish(ctx, next))
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
	if waiting != nil {
		proof.Notes = append(proof.Notes, waiting.Error())
	}
	return proof, nil
}

// askUsers asks for the pages as users do, and finds whether anything still comes to masters that nothing leads to.
func (r *Runtime) askUsers(ctx context.Context, old []Instance, to release.ID) error {
	before := make([]status, len(old))
	for n, i := range old {
		before[n], _ = r.statusOf(ctx, i)
	}
	client := r.client()
	for _, p := range r.conf.Warm.Pages {
		if err := r.visit(ctx, client, p, to); err != nil {
			return err
		}
	}
	for n, i := range old {
		after, err := r.statusOf(ctx, i)
		if err != nil || before[n].Pool == "" || after.Start != before[n].Start {
			continue // it ends, or hangs: either way it is not asked by anybody
		}
		came := after.Accepted - before[n].Accepted
		if i.StatusListen == "" {
			came-- // this look
		}
		if came > 0 {
			return errPinned
		}
	}
	return nil
}

// replaced are the masters that generations have taken the place of, as far as they live.
func replaced(next []raised) (old []Instance) {
	for _, c := range next {
		if g, ok := numbered(c.pool, c.pool.Published); ok && g.Alive && !c.stays {
			old = append(old, c.inst.of(g))
		}
	}
	return old
}

func sockets(is []Instance) (paths []string) {
	for _, i := range is {
		paths = append(paths, i.Listen)
	}
	return paths
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

// retire ends what is over after a switch: dead masters' orphans, and, unless they are kept, the old masters. What cannot be
// ended now ends by its deadline, and is told.
func (r *Runtime) retire(ctx context.Context, next []raised, hasten bool) (notes []string) {
	tell := func(err error) {
		if err != nil {
			notes = append(notes, err.Error())
		}
	}
	for _, c := range next {
		for _, g := range c.pool.Generations {
			isOld := g.Number == c.pool.Published && !c.stays
			switch {
			case g.Number == c.inst.gen.Number:
			case !g.Alive && (isOld || g.Number != c.pool.Published) && len(g.Orphans) > 0:
				tell(r.end(ctx, c.pool.Name, g.Number))
			case isOld && r.conf.Keeper.Keep == 0 && !hasten: // the keeper waits for its queue and its requests
				tell(r.end(ctx, c.pool.Name, g.Number))
			}
		}
	}
	return notes
}
