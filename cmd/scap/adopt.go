package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"scap/cmd/internal/ui"
	"scap/phases"
	"scap/targets"
)

func newAdoptCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "adopt [HOST…]",
		Short: "make the plain directory at a served path a host's first release",
		Long: `Before the first deploy: the content of the plain directory at the served path (targets.served) becomes a release on the
host, and a link to <root>/current takes the directory's place in one rename. The directory is kept beside it. Then
php-fpm is restarted outside the pool and proven, one host after the other; nothing that users see changes. It ends at the
first host that does not come back; run it again once that is mended. Without HOST every host is asked, and those that are
adopted already are left alone.

` + exitTable,
		RunE: func(cmd *cobra.Command, args []string) error { return a.runAdopt(cmd.Context(), args) },
	}
}

// runAdopt is scap adopt.
func (a *app) runAdopt(ctx context.Context, names []string) error {
	d, ctx, err := a.openDeploy(ctx, "adopt", inTurn)
	if err != nil {
		return err
	}
	defer d.close()
	asked, err := named(d.conf, names)
	if err != nil {
		return err
	}
	if err := d.connect(forward, false); err != nil {
		return err
	}
	seen := phases.Survey(ctx, d.fleet.all(), surveyLimit)
	token := nextToken(seen)
	owner := phases.RepairOwner(who())
	var errs []error
	lost := "" // what one host did not survive is likely wrong on all
	for _, s := range seen {
		switch {
		case len(asked) > 0 && !asked[s.Name()]:
		case lost != "" && s.State.Serving && (s.State.Plain || halfAdopted(s.State)):
			errs = append(errs, notTried(s.Name(), lost))
		default:
			err := d.adopt(ctx, s, token, owner)
			if errors.Is(err, targets.ErrOut) {
				lost = s.Name()
			}
			errs = append(errs, err)
		}
	}
	err = errors.Join(errs...)
	if lost != "" {
		return coded{exitInconsistent, err}
	}
	return err
}

// nextToken is larger than any that a host has seen.
func nextToken(seen []phases.Seen) uint64 {
	token := uint64(0)
	for _, s := range seen {
		token = max(token, s.State.Intent.Token)
	}
	return token + 1
}

// notTried is the error of a host that is left as it is because another one was just lost to the same.
func notTried(name, lost string) error {
	return fmt.Errorf("%s: not tried: %s stays out of the pool, and one host at a time is all that a pool is asked for", name, lost)
}

func (d *deploy) adopt(ctx context.Context, s phases.Seen, token uint64, owner string) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", s.Name(), context.Cause(ctx))
	case s.Err != nil:
		return s.Err
	case !s.State.Plain && !halfAdopted(s.State):
		fmt.Fprintf(d.stdout, "%s: %s is adopted already, it leads to %s\n", s.Name(), ui.Clean(s.State.Served), s.State.Disk.Short())
		return nil
	}
	host := d.fleet.hosts[s.Name()]
	if err := host.Claim(ctx, token, owner); err != nil {
		return err
	}
	if s.State.Plain {
		if err := host.Adopt(ctx, token); err != nil {
			return err
		}
	}
	after, err := host.State(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.stdout, "%s: %s is now a link to release %s\n", s.Name(), ui.Clean(after.Served), after.Disk.Short())
	// What runs was compiled by the directory's old name: only a restart, out of the pool, makes it provable.
	id := after.Disk
	if err := d.fleet.targets[s.Name()].Repair(ctx, targets.Switch{From: id, To: id, Token: token, Owner: owner}); err != nil {
		return err
	}
	fmt.Fprintf(d.stdout, "%s: serves %s, proven\n", s.Name(), id.Short())
	return nil
}

// halfAdopted reports whether a host's directory was adopted and its php-fpm not proven after it: no deploy acted on it.
func halfAdopted(s targets.State) bool {
	_, proven := s.Consistent()
	sw := s.Intent.Switch
	restart := sw.To == s.Disk && (sw.From.IsZero() || sw.From == sw.To)
	return !s.Disk.IsZero() && (s.Intent.Out || !proven) && (sw.To.IsZero() || restart)
}
