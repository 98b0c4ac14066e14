package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"scap/phases"
	"scap/phases/journal"
	"scap/sync/release"
)

func newRollbackCommand(a *app) *cobra.Command {
	var o syncOptions
	cmd := &cobra.Command{
		Use:   "rollback [RELEASE]",
		Short: "go back to the last good release, or to RELEASE",
		Long: `Activates an older release on every target. It builds nothing, asks nobody and copies nothing: the release is on the
targets already. Without RELEASE it is the last one that a deploy left proven everywhere, never one that a gate failed.
RELEASE is its name or the first digits of it (` + "`scap status`" + ` and the journal show names).

A release that lacks a security patch which is served now is refused, unless --without-patches says why.

Hosts that do not serve well are no capacity: a fleet that is broken everywhere is rolled back at full width. A failure
does not turn it around; it goes on past failures and names them. A probe that fails is told and not obeyed. Ctrl-C takes
the hosts back to the release that they came from, as in every deploy: to stay on the way, let it end.

` + exitTable,
		Args: argCount(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runRollback(cmd.Context(), strings.Join(args, ""), o)
		},
	}
	f := cmd.Flags()
	f.Var((*reason)(&o.emergency), "emergency", "do not drain, do not wait for requests in flight, at full width; the `REASON` is journaled")
	f.Var((*reason)(&o.unpatched), "without-patches", "go back past a security patch: the release lacks what is served now; the `REASON` is journaled")
	return cmd
}

// keepsPatches refuses a rollback to a release that lacks a private patch which is served now. What is served the fleet
// says: another deploy host may have deployed since.
func (d *deploy) keepsPatches(ctx context.Context, to release.ID, o syncOptions) error {
	if d.conf.Staging == nil || o.because != "" { // the watch goes back by itself to what it came from
		return nil
	}
	lost, err := d.lost(ctx, to, o)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case o.unpatched != "":
		d.before = append(d.before, journal.Record{Kind: journal.Note, Text: fmt.Sprintf("without %s: %s", some(len(lost), "private patch"), o.unpatched)})
	case err != nil:
		return fmt.Errorf("whether %s has every security patch is not known: %w; --without-patches REASON goes on", to.Short(), err)
	case len(lost) > 0:
		return fmt.Errorf("%s lacks private patches or files as they are served now: %s. Deploy the mended tree instead (`scap sync`), or say --without-patches REASON", to.Short(), strings.Join(lost, ", "))
	}
	return nil
}

// lost names what is private, is served by any host, and is not in to.
func (d *deploy) lost(ctx context.Context, to release.ID, o syncOptions) (all []string, err error) {
	if err := d.connect(back, o.emergency != ""); err != nil {
		return nil, err
	}
	served := map[release.ID]bool{}
	for _, s := range phases.Survey(ctx, d.fleet.all(), stillLimit) {
		if s.Err == nil && !s.State.Disk.IsZero() {
			served[s.State.Disk] = true
		}
	}
	if len(served) == 0 { // nobody says
		id, err := latest(d.conf)
		if err != nil {
			return nil, err
		}
		served[id] = true
	}
	var errs []error
	for id := range served {
		names, err := d.withoutPatches(id, to)
		errs = append(errs, err)
		all = append(all, names...)
	}
	slices.Sort(all)
	return slices.Compact(all), errors.Join(errs...)
}

// runRollback is scap rollback.
func (a *app) runRollback(ctx context.Context, name string, o syncOptions) error {
	d, ctx, err := a.openDeploy(ctx, orText("rollback "+name, "rollback"), urgent)
	if err != nil {
		return err
	}
	defer d.close()
	if err := d.finished(); err != nil {
		return err
	}
	r, why, err := d.goal(name)
	if err != nil {
		return err
	}
	if o.because != "" {
		why = ": " + o.because
	}
	if err := d.keepsPatches(ctx, r.ID, o); err != nil {
		return err
	}
	return d.roll(ctx, r, planOptions{message: "rollback to " + r.ID.Short() + why, emergency: o.emergency, back: true, still: o.still, noGate: "a rollback asks no gate: it goes to a release that was good", verb: "rollback"})
}

// goal finds the release to go back to.
func (d *deploy) goal(name string) (r release.Release, why string, err error) {
	if name != "" {
		r, err = d.lookup(name)
		return r, " by name", err
	}
	past, err := journal.List(journalDir(d.conf))
	if err != nil {
		return r, "", err
	}
	good, ok := journal.LastGood(past, serving(past))
	if !ok {
		return r, "", errors.New("no earlier release is known to be good: name one, `scap rollback RELEASE`")
	}
	id, err := release.ParseID(good)
	if err != nil {
		return r, "", err
	}
	if !d.store.Has(id) {
		return release.Release{ID: id}, ", the last good one", nil // the targets have it
	}
	r, err = d.store.Lookup(id)
	return r, ", the last good one", err
}

// serving is the release that users meet by the journals (newest first): what the last deploy left proven, or was about to
// when it ended with hosts that are not. A rollback that did so leaves its way open.
func serving(past []journal.Deploy) string {
	for _, p := range past {
		if p.How == journal.Deployed || p.How == journal.Inconsistent && p.Changed && !p.Outline.Back {
			return p.To
		}
	}
	return ""
}

// lookup finds the one release whose name begins with name.
func (d *deploy) lookup(name string) (release.Release, error) {
	all, err := d.store.Releases()
	if err != nil {
		return release.Release{}, err
	}
	var found []release.Release
	for _, r := range all {
		if strings.HasPrefix(r.ID.String(), name) {
			found = append(found, r)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return release.Release{}, usage(fmt.Errorf("%d releases begin with %s: give more digits", len(found), name))
	}
	if id, err := release.ParseID(name); err == nil {
		return release.Release{ID: id}, nil // this deploy host may not have it; the targets say whether they do
	}
	return release.Release{}, usage(fmt.Errorf("no release begins with %q; `scap status` lists those that are kept", name))
}
