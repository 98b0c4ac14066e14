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

// Try starts s.To beside s.From and sends it the share of the requests that the web server's configuration gives it. See
// agent.Trier for the contract.
func (r *Runtime) Try(ctx context.Context, s release.Switch, until time.Time) (release.Proof, error) {
	if ctx.Err() != nil {
		return release.Proof{}, fmt.Errorf("try %s: %w", s.To.Short(), context.Cause(ctx))
	}
	if err := r.writeProbe(); err != nil {
		return release.Proof{}, err
	}
	proof, err := r.try(ctx, s, until)
	if err != nil {
		err = fmt.Errorf("try %s: %w", s.To.Short(), err)
	}
	return proof, err
}

func (r *Runtime) try(ctx context.Context, s release.Switch, until time.Time) (release.Proof, error) {
	g, err := r.canTry(ctx, s)
	if err != nil {
		return release.Proof{}, fmt.Errorf("nothing was changed: %w", err)
	}
	if !until.After(time.Now()) {
		return release.Proof{}, fmt.Errorf("nothing was changed: the trial would end at %s, before it has begun", until.UTC().Format(time.RFC3339))
	}
	next, err := r.raise(ctx, g.roster, s.To, until)
	if err == nil && ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), r.drop(ctx, next))
	}
	if err != nil {
		return release.Proof{}, fmt.Errorf("nobody is sent to it: %w", err)
	}
	ctx = context.WithoutCancel(ctx)
	if err := r.expose(ctx, g.roster, next, s.To, until); err != nil {
		return release.Proof{}, errors.Join(err, r.withdraw(ctx), r.drop(ctx, next))
	}
	g = r.lookAround(ctx)
	proof := r.stateOf(ctx, g)
	proof.Road = r.road(g, r.recall().Took)
	switch {
	case proof.Trial == nil:
		err = errors.New("the keeper shows no trial")
	case proof.Trial.Reason != "":
		err = errors.New(proof.Trial.Reason)
	default:
		return proof, nil
	}
	return proof, errors.Join(err, r.withdraw(ctx), r.drop(ctx, next))
}

// canTry finds what is in a trial's way before anything is changed.
func (r *Runtime) canTry(ctx context.Context, s release.Switch) (ground, error) {
	if r.conf.Strategy != Handover || r.root == nil {
		return ground{}, fmt.Errorf("strategy %s cannot run two releases on a host", r.conf.Strategy)
	}
	if s.To.IsZero() {
		return ground{}, errors.New("no release is named")
	}
	g := r.lookAround(ctx)
	if ctx.Err() != nil {
		return g, context.Cause(ctx)
	}
	if g.broken != nil {
		return g, g.broken
	}
	road := r.road(g, took{})
	switch {
	case len(g.unfit) > 0, g.noRoom != "" && !g.roster.has(s.To):
		return g, errors.New(road.Why)
	case g.roster.noTrial() != "":
		return g, errors.New(g.roster.noTrial())
	}
	for _, p := range g.roster.pools {
		serves, ok := numbered(p, p.Published)
		switch {
		case !ok || !sound(serves):
			return g, fmt.Errorf("php-fpm %s does not serve soundly", p.Name)
		case !s.From.IsZero() && serves.Release != s.From:
			return g, fmt.Errorf("php-fpm %s serves %s, not %s", p.Name, serves.Release.Short(), s.From.Short())
		case serves.Release == s.To:
			return g, fmt.Errorf("php-fpm %s serves that release to everybody", p.Name)
		}
	}
	return g, nil
}

// expose sends the web server's share of the requests to generations, until then at the latest, and has them write a nonce.
// One that is tried already only gets more time.
func (r *Runtime) expose(ctx context.Context, all roster, next []raised, to release.ID, until time.Time) error {
	if err := r.endTrial(ctx, all, to); err != nil {
		return err
	}
	again := slices.DeleteFunc(slices.Clone(next), func(c raised) bool { return c.pool.Tried == c.inst.gen.Number })
	if err := r.begin(again); err != nil {
		return err
	}
	for _, c := range next {
		end := until
		if c.pool.Tried == c.inst.gen.Number && c.inst.gen.Until.After(until) {
			end = c.inst.gen.Until
		}
		_, err := r.order(ctx, keeper.Request{Op: keeper.OpTry, Pool: c.pool.Name, Generation: c.inst.gen.Number, Until: end})
		if err != nil {
			return err
		}
	}
	var instances []Instance
	for _, c := range again {
		instances = append(instances, c.inst)
	}
	if len(instances) == 0 {
		return nil
	}
	return r.sign(ctx, instances, to)
}

// Abandon sends nobody to a trial any more and ends it. See agent.Trier for the contract.
func (r *Runtime) Abandon(ctx context.Context) (release.Proof, error) {
	if ctx.Err() != nil {
		return release.Proof{}, fmt.Errorf("abandon the trial: %w", context.Cause(ctx))
	}
	if r.conf.Strategy == Handover && r.root != nil {
		if err := r.withdraw(context.WithoutCancel(ctx)); err != nil {
			return release.Proof{}, fmt.Errorf("abandon the trial: %w", err)
		}
	}
	return r.State(ctx)
}

// withdraw ends whatever is tried now.
func (r *Runtime) withdraw(ctx context.Context) error {
	g := r.stand(ctx)
	switch {
	case g.broken != nil:
		return g.broken
	case !g.adopted:
		return nil // and nothing can be tried
	}
	return r.endTrial(ctx, g.roster, release.ID{})
}

// endTrial ends the trial of any release but id: no new request is sent to it, those that wait in its socket and those
// under way end.
func (r *Runtime) endTrial(ctx context.Context, all roster, id release.ID) error {
	other := all
	other.pools = slices.DeleteFunc(slices.Clone(all.pools), func(p keeper.PoolState) bool {
		g, ok := numbered(p, p.Tried)
		return p.Tried == 0 || ok && g.Release == id
	})
	if err := r.untry(ctx, other); err != nil {
		return err
	}
	var sockets []string
	for _, p := range other.pools {
		if g, ok := numbered(p, p.Tried); ok {
			sockets = append(sockets, g.Socket)
		}
	}
	var wrong []error
	if len(sockets) > 0 {
		wrong = append(wrong, r.emptied(ctx, sockets))
	}
	for _, p := range other.pools {
		if _, ok := numbered(p, p.Tried); ok && p.Tried != p.Published {
			wrong = append(wrong, r.end(ctx, p.Name, p.Tried))
		}
	}
	return errors.Join(wrong...)
}

// untry takes the trial's link away from every pool that has one.
func (r *Runtime) untry(ctx context.Context, all roster) error {
	var wrong []error
	for _, p := range all.pools {
		if p.Tried != 0 {
			_, err := r.order(ctx, keeper.Request{Op: keeper.OpTry, Pool: p.Name})
			wrong = append(wrong, err)
		}
	}
	return errors.Join(wrong...)
}

// trialOf proves what is tried, nil where nothing is. A trial that has not every pool is one that does not hold.
func (r *Runtime) trialOf(ctx context.Context, all roster) *release.Trial {
	instances := r.tried(all)
	if len(instances) == 0 {
		return nil
	}
	proof, evidence := r.gather(ctx, instances)
	t := &release.Trial{Release: instances[0].gen.Release, Started: proof.Started, Reason: proof.Reason, Until: instances[0].gen.Until}
	for _, i := range instances {
		if i.gen.Until.Before(t.Until) {
			t.Until = i.gen.Until
		}
		if i.gen.Release != t.Release && t.Reason == "" {
			t.Reason = fmt.Sprintf("%s tries %s, others try %s", i.Name, i.gen.Release.Short(), t.Release.Short())
		}
	}
	if len(instances) < len(all.pools) && t.Reason == "" {
		t.Reason = fmt.Sprintf("it is tried on %d of %d pools", len(instances), len(all.pools))
	}
	if t.Reason == "" && proof.Release != t.Release {
		t.Reason = "it runs " + proof.Release.Short()
	}
	r.inTerm(&t.Started, &t.Nonce, evidence)
	t.Requests = r.countTerms(evidence, false)
	return t
}
