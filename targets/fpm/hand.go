package fpm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"scap/sync/release"
	"scap/targets/fpm/keeper"
	"scap/targets/fpm/proc"
)

// adopt takes the runtime over from the distribution, the host being out of the pool. On a host that is adopted it starts
// all masters anew, which takes in whatever was changed in their configuration. After an error the distribution's php-fpm
// runs again on a host that it was taken over from.
func (r *Runtime) adopt(ctx context.Context, g ground, s release.Switch, link func(context.Context) error) (release.Proof, error) {
	if g.broken != nil {
		return release.Proof{}, fmt.Errorf("nothing was changed: %w", g.broken)
	}
	if g.adopted {
		if _, err := r.order(ctx, keeper.Request{Op: keeper.OpAdopt}); err != nil { // one that was cut short is ended
			return release.Proof{}, err
		}
		return r.replace(ctx, g, s, link)
	}
	if err := r.adoptable(ctx, s.Emergency); err != nil {
		return release.Proof{}, fmt.Errorf("nothing was changed: %w", err)
	}
	ctx = context.WithoutCancel(ctx)
	r.pending.Store(0)
	_, err := r.order(ctx, keeper.Request{Op: keeper.OpAdopt})
	var next []raised
	if err == nil {
		next, err = r.raiseAlone(ctx, s.To) // what the link names is nothing to them, so it is made when they are proven
	}
	if err == nil {
		err = link(ctx)
	}
	if err == nil {
		err = r.publish(ctx, next)
	}
	var proof release.Proof
	if err == nil {
		proof, err = r.conclude(ctx, next, s.To)
	}
	if err != nil {
		return proof, errors.Join(err, r.handBack(ctx))
	}
	return proof, nil
}

// adoptable finds what an adoption would fail at, before it stops anything.
func (r *Runtime) adoptable(ctx context.Context, emergency bool) error {
	reply, err := r.order(ctx, keeper.Request{Op: keeper.OpState})
	if err != nil {
		return err
	}
	if reply.State == nil {
		return errors.New("the keeper answers without a state")
	}
	if _, err := r.join(*reply.State); err != nil {
		return err
	}
	if !reply.State.Watched {
		return fmt.Errorf("no watch of the keeper's runs on the host: a php-fpm that dies would not be replaced, and after a reboot none would be started; "+
			"have it run first (systemctl enable --now scap-keeper.service, or by init: %s watch)", strings.Join(r.conf.Keeper.Command, " "))
	}
	_, err = r.survey(ctx, emergency)
	return err
}

// handBack has the distribution's php-fpm serve again, and waits until it answers.
func (r *Runtime) handBack(ctx context.Context) error {
	if _, err := r.order(ctx, keeper.Request{Op: keeper.OpGiveUp}); err != nil {
		return err
	}
	var wrong []error
	for _, i := range r.conf.Instances {
		if err := proc.Poll(ctx, r.conf.Limits.Start.or(defaultStart), func() error { return r.ping(ctx, i) }); err != nil {
			wrong = append(wrong, fmt.Errorf("the distribution's php-fpm %s: %w", i.Name, err))
		}
	}
	return errors.Join(wrong...)
}

// giveUp gives the runtime back to the distribution, the host being out of the pool. Where that has it already it is
// restarted as any drained host is.
func (r *Runtime) giveUp(ctx context.Context, g ground, s release.Switch, link func(context.Context) error) (release.Proof, error) {
	if g.broken != nil {
		return release.Proof{}, fmt.Errorf("give up: nothing was changed: %w", g.broken)
	}
	if !g.adopted {
		return r.plain(ctx, s, link)
	}
	for _, i := range r.conf.Instances {
		if _, err := r.effective(ctx, i); err != nil {
			return release.Proof{}, fmt.Errorf("give up: nothing was changed: %w", err)
		}
	}
	ctx = context.WithoutCancel(ctx)
	r.pending.Store(0)
	if err := r.swap(ctx, link); err != nil { // what still runs does not see it
		return release.Proof{}, fmt.Errorf("give up: %w", err)
	}
	if err := r.handBack(ctx); err != nil {
		return release.Proof{}, fmt.Errorf("give up: %w", err)
	}
	proof, err := r.confirm(ctx, s.To, nil)
	if err != nil {
		return proof, fmt.Errorf("give up: %w", err)
	}
	proof.Road = r.road(r.lookAround(ctx), took{})
	return proof, nil
}
