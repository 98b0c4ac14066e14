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

// replace is the drained switch of an adopted host: no master fits beside the one that serves, or the web server would not
// leave it. The host is out of the pool; all masters end, and new ones start.
func (r *Runtime) replace(ctx context.Context, g ground, s release.Switch, link func(context.Context) error) (release.Proof, error) {
	if s.Serving {
		return release.Proof{}, errServing
	}
	for _, i := range r.conf.Instances {
		if _, err := r.effective(ctx, i); err != nil { // what the generations' configuration is made of
			return release.Proof{}, fmt.Errorf("nothing was changed: %w", err)
		}
	}
	ctx = context.WithoutCancel(ctx)
	if _, err := r.order(ctx, keeper.Request{Op: keeper.OpHalt, Kill: s.Emergency}); err != nil {
		return release.Proof{}, err
	}
	r.pending.Store(0)
	if err := link(ctx); err != nil {
		return release.Proof{}, errors.Join(err, r.revive(ctx, g.roster))
	}
	return r.bring(ctx, s.To)
}

// bring starts a release on an adopted host on which nothing serves, proves it and publishes it.
func (r *Runtime) bring(ctx context.Context, to release.ID) (release.Proof, error) {
	next, err := r.raiseAlone(ctx, to)
	if err != nil {
		return release.Proof{}, err
	}
	if err := r.publish(ctx, next); err != nil {
		return release.Proof{}, errors.Join(err, r.drop(ctx, next))
	}
	return r.conclude(ctx, next, to)
}

// raiseAlone is raise as the host stands now.
func (r *Runtime) raiseAlone(ctx context.Context, to release.ID) ([]raised, error) {
	g := r.stand(ctx)
	switch {
	case g.broken != nil:
		return nil, g.broken
	case !g.adopted:
		return nil, errors.New("the host is not adopted")
	}
	return r.raise(ctx, g.roster, to, time.Now().Add(raiseTime))
}

// revive starts again what served before, as far as it was one release.
func (r *Runtime) revive(ctx context.Context, before roster) error {
	var was []release.ID
	for _, p := range before.pools {
		if g, ok := numbered(p, p.Published); ok && !slices.Contains(was, g.Release) {
			was = append(was, g.Release)
		}
	}
	if len(was) != 1 {
		return fmt.Errorf("php-fpm is stopped: %d releases were served before", len(was))
	}
	if _, err := r.bring(ctx, was[0]); err != nil {
		return fmt.Errorf("start %s again: %w", was[0].Short(), err)
	}
	return nil
}
