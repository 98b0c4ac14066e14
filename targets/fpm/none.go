package fpm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"scap/sync/release"
)

// None is the runtime of a host without php-fpm, a maintenance host: its proof is where the link leads. A long-running
// script there keeps the code that it has loaded; only a new one sees the new release.
type None struct{ link link }

// NewNone makes the runtime of a host that serves releases from served and has nothing to restart.
func NewNone(served, releases string) None {
	return None{link: newLink(served, releases)}
}

// State says where the link leads.
func (n None) State(ctx context.Context) (release.Proof, error) {
	if ctx.Err() != nil {
		return release.Proof{}, context.Cause(ctx)
	}
	var err error
	proof := release.Proof{Started: n.link.swapped()}
	if proof.Release, err = n.link.place(resolve(n.link.served)); err != nil {
		proof.Reason = err.Error()
	}
	return proof, nil
}

// Switch calls link and reads the link back.
func (n None) Switch(ctx context.Context, s release.Switch, link func(context.Context) error) (release.Proof, error) {
	if ctx.Err() != nil {
		return release.Proof{}, context.Cause(ctx)
	}
	ctx = context.WithoutCancel(ctx)
	if err := link(ctx); err != nil {
		return release.Proof{}, fmt.Errorf("switch to %s: %w", s.To.Short(), err)
	}
	proof, err := n.State(ctx)
	if err == nil && proof.Release != s.To {
		err = errors.Join(fmt.Errorf("switch to %s: the link leads to %s", s.To.Short(), proof.Release.Short()), reason(proof))
	}
	return proof, err
}

func reason(p release.Proof) error {
	if p.Reason == "" {
		return nil
	}
	return errors.New(p.Reason)
}

// Quiet is at once calm: nobody is served here.
func (n None) Quiet(_ context.Context, window time.Duration) (release.Quiet, error) {
	return release.Quiet{Window: window}, nil
}

// Check finds nothing: there is nothing to restart.
func (n None) Check(ctx context.Context) error { return context.Cause(ctx) }
