package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"scap/phases"
	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

func newRepairCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "repair HOST…",
		Aliases: []string{"pull"},
		Short:   "bring one host, or some, to the release that the fleet serves",
		Long: `Stages the fleet's release on a host that missed it (it was down, re-imaged, or stayed out of the pool), switches the
host to it, proves it and puts it back into the pool. The other hosts must be on one release.

` + exitTable,
		Args: argCount(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runRepair(cmd.Context(), args) },
	}
}

// runRepair is scap repair.
func (a *app) runRepair(ctx context.Context, names []string) error {
	d, ctx, err := a.openDeploy(ctx, fmt.Sprintf("repair %v", names), inTurn)
	if err != nil {
		return err
	}
	defer d.close()
	if err := d.finished(); err != nil {
		return err
	}
	broken, err := named(d.conf, names)
	if err != nil {
		return err
	}
	if err := d.connect(forward, false); err != nil {
		return err
	}
	seen := phases.Survey(ctx, d.fleet.all(), surveyLimit)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	id, token, err := d.agreed(seen, broken)
	if err != nil {
		return err
	}
	r, err := d.store.Lookup(id)
	if err != nil {
		return fmt.Errorf("the fleet serves %s, which this deploy host does not have (run it where that was deployed, or `scap sync` here): %w", id.Short(), err)
	}
	d.release = r.ID
	return d.repairAll(ctx, seen, broken, r, token+1)
}

// agreed is the one release that all other hosts prove and the largest token seen. Where all hosts are to be repaired it
// is the release that the last good deploy left.
func (d *deploy) agreed(seen []phases.Seen, broken map[string]bool) (id release.ID, token uint64, err error) {
	for _, s := range seen {
		token = max(token, s.State.Intent.Token)
		on, ok := s.State.Consistent()
		switch {
		case broken[s.Name()]:
		case s.Err != nil || !ok: // it is somebody else's trouble; it has no vote
		case id.IsZero():
			id = on
		case id != on:
			return id, token, coded{exitInconsistent, errors.New("the other hosts do not serve one release: run `scap resume` first")}
		}
	}
	if !id.IsZero() {
		return id, token, nil
	}
	past, err := journal.List(journalDir(d.conf))
	if err != nil {
		return id, token, err
	}
	good, ok := journal.LastGood(past, "")
	if !ok {
		err := errors.New("no other host proves a release and no deploy left one proven, so it is not known which to bring the host to: `scap sync` deploys one")
		return id, token, errors.Join(err, silent(seen))
	}
	id, err = release.ParseID(good)
	return id, token, err
}

// repairAll works on the broken hosts one after the other and reports each.
func (d *deploy) repairAll(ctx context.Context, seen []phases.Seen, broken map[string]bool, r release.Release, token uint64) error {
	owner := phases.RepairOwner(who())
	var errs []error
	lost := "" // a host that served before its repair and does not now: the next that serves is not risked
	for _, s := range seen {
		if !broken[s.Name()] {
			continue
		}
		if lost != "" && s.State.Serving {
			errs = append(errs, notTried(s.Name(), lost))
			continue
		}
		if ctx.Err() != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.Name(), context.Cause(ctx)))
			continue
		}
		if err := repairOne(ctx, s, r, token, owner); err != nil {
			errs = append(errs, err)
			if s.State.Serving && errors.Is(err, targets.ErrOut) {
				lost = s.Name()
			}
			continue
		}
		fmt.Fprintf(d.stdout, "%s: serves %s, proven\n", s.Name(), r.ID.Short())
	}
	if err := errors.Join(errs...); err != nil {
		return coded{exitInconsistent, err}
	}
	return nil
}

func repairOne(ctx context.Context, s phases.Seen, r release.Release, token uint64, owner string) error {
	steward, ok := s.Target.(targets.Steward)
	if !ok {
		return fmt.Errorf("%s: cannot be repaired", s.Name())
	}
	if err := steward.Claim(ctx, token, owner); err != nil {
		return err
	}
	if err := s.Target.Stage(ctx, r); err != nil {
		return err
	}
	if err := steward.Verify(ctx, r.ID); err != nil {
		return err
	}
	return steward.Repair(ctx, targets.Switch{From: s.State.Disk, To: r.ID, Token: token, Owner: owner})
}
