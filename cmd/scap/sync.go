package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scap/cmd/internal/config"
	"scap/phases"
	"scap/phases/journal"
	"scap/sync/release"
	"scap/sync/store"
)

type syncOptions struct {
	emergency string
	noGate    string
	despite   string
	because   string                    // what a rollback is for, where no deployer asked for it
	still     func([]phases.Seen) error // of a rollback: whether there is still what it is for
	unpatched string                    // why a rollback may lose security patches
	noWatch   bool
	dryRun    bool
}

func (o *syncOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var((*reason)(&o.emergency), "emergency", "do not drain, do not wait for requests in flight, at full width; the `REASON` is journaled")
	f.BoolVar(&o.dryRun, "dry-run", false, "only say what would be done, as scap plan does")
	f.Var((*reason)(&o.despite), "despite-red", "deploy although probes or signals are red already, because this change is the cure; the `REASON` is journaled. Gates still judge the rest, and restarts stay safe")
	f.BoolVar(&o.noWatch, "no-watch", false, "do not go on looking after the end (deploy.watch)")
	f.Var((*reason)(&o.noGate), "no-gate", "ask no gate; the `REASON` is journaled and shown")
}

func newSyncCommand(a *app) *cobra.Command {
	var o syncOptions
	cmd := &cobra.Command{
		Use:     "sync [MESSAGE…]",
		Aliases: []string{"sync-world"},
		Short:   "deploy the branches as they are, or the staged tree",
		Long: `Makes a release and deploys it: staged everywhere unseen, activated phase by phase (code and php-fpm as one), judged by
each phase's gate. A failure, a gate's FAIL or Ctrl-C brings every target back to the release it served before, proven.
After the end the gates go on looking in the background for deploy.watch (` + "`scap help watch`" + `). Ctrl-C again leaves at once;
` + "`scap resume`" + ` then goes on.

The release is a snapshot of the staged tree (deploy.stage_dir). Where trees come from git (staging) it is what the branches
have: all commits that no host serves yet are shown and asked about first. For changes under review see ` + "`scap help backport`" + `.

The MESSAGE, of one word or several, goes into the journal.

` + exitTable,
		Example: `  scap sync "Backport for T327196: fix DiscussionTools"
  scap sync --yes -D phases.canaries.bake:60s "config change"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.dryRun && a.json:
				return usage(errors.New("--json: sync --dry-run prints no JSON; `scap backport --dry-run --json CHANGE` does"))
			case o.dryRun:
				return a.runPlan(cmd.Context(), strings.Join(args, " "), planFlags{most: 20})
			}
			return a.runSync(cmd.Context(), strings.Join(args, " "), o)
		},
	}
	o.flags(cmd)
	return cmd
}

// runSync is scap sync.
func (a *app) runSync(ctx context.Context, message string, o syncOptions) error {
	conf, err := a.load()
	if err != nil {
		return err
	}
	if conf.Staging != nil {
		return a.runHeads(ctx, message, o)
	}
	d, ctx, err := a.openDeploy(ctx, orText(message, "sync"), inTurn)
	if err != nil {
		return err
	}
	defer d.close()
	if err := d.finished(); err != nil {
		return err
	}
	if err := d.answerable(); err != nil {
		return err
	}
	r, err := d.snapshot(ctx, message)
	if err != nil {
		return err
	}
	if o.despite != "" {
		d.before = append(d.before, journal.Record{Kind: journal.Note, Text: "despite red: " + o.despite})
	}
	return d.roll(ctx, r, planOptions{message: message, emergency: o.emergency, noGate: o.noGate, despite: o.despite, noWatch: o.noWatch, confirm: true})
}

// answerable refuses, before anything is done, a deploy that will ask a question which nobody can answer.
func (d *deploy) answerable() error {
	if d.attended() {
		return nil
	}
	for _, ph := range d.conf.Phases {
		if ph.Confirm {
			return usage(fmt.Errorf("phase %s asks before it goes on, and %w", ph.Name, errNoTerminal))
		}
	}
	return nil
}

// takeSnapshot makes a release of the staged tree. One without files is a mount that is missing, never what was meant.
func takeSnapshot(ctx context.Context, st *store.Store, conf *config.Config, message string) (release.Release, error) {
	if len(message) > maxMessage {
		return release.Release{}, usage(fmt.Errorf("the message has %d bytes: at most %d", len(message), maxMessage))
	}
	began := time.Now()
	o := store.SnapshotOptions{Excludes: conf.Deploy.Excludes, Message: message}
	r, err := st.Snapshot(ctx, conf.Deploy.StageDir, o)
	if err == nil && r.Created.Before(began) { // a release that was here before, and may have been edited since
		if bad := st.Verify(ctx, r.ID); errors.Is(bad, store.ErrDamaged) {
			if err = st.Remove(ctx, r.ID); err == nil {
				r, err = st.Snapshot(ctx, conf.Deploy.StageDir, o)
			}
		} else {
			err = bad
		}
	}
	if err == nil && r.Files == 0 {
		err = fmt.Errorf("snapshot %s: there is no file in it (deploy.stage_dir, deploy.excludes)", conf.Deploy.StageDir)
	}
	return r, err
}

// maxMessage is what a line of the journal and of a chat channel can bear.
const maxMessage = 4 << 10

// snapshot is takeSnapshot for a deploy.
func (d *deploy) snapshot(ctx context.Context, message string) (release.Release, error) {
	began := time.Now()
	r, err := takeSnapshot(ctx, d.store, d.conf, message)
	if err != nil {
		if stop := context.Cause(ctx); stop != nil && !errors.Is(err, stop) {
			err = errors.Join(stop, err)
		}
		return r, err
	}
	d.did(journal.Snapshot, began, "%s: %d files, %d MB of %s in %.1f s",
		r.ID.Short(), r.Files, r.Bytes>>20, d.conf.Deploy.StageDir, time.Since(began).Seconds())
	return r, nil
}

// roll brings r to every target under a journal of its own.
func (d *deploy) roll(ctx context.Context, r release.Release, o planOptions) error {
	d.release = r.ID
	if d.fleet == nil {
		if err := d.connect(way(o.back), o.emergency != ""); err != nil {
			return err
		}
	}
	d.to = way(o.back)
	if o.still != nil {
		if err := o.still(phases.Survey(ctx, d.fleet.all(), stillLimit)); err != nil {
			return err
		}
	}
	d.early.wait(d.progress)
	if err := d.create(); err != nil {
		return err
	}
	p, err := d.fleet.plan(d.journal.Deploy(), r, o)
	if err != nil {
		return err
	}
	if p.Keep, err = d.keep(); err != nil {
		return err
	}
	p.KeepFound = len(p.Keep) < d.conf.Deploy.KeepReleases // another deploy host may know of more
	p.Before = d.before
	p.Attended, p.Well = d.attended(), d.well
	err = d.runner().Run(ctx, p)
	watch := d.serves(err)
	if err = d.finish(ctx, p, err); watch {
		d.watchBehind(p)
	}
	if err == nil {
		d.afterwards(ctx, r.ID)
	}
	return err
}

// serves says of a deploy that ended with err that it has brought its release to users, which is to be watched. Suspects
// that it left out of the pool change nothing of that.
func (d *deploy) serves(err error) bool {
	var e *phases.Ended
	if err != nil && (!errors.As(err, &e) || e.How != journal.Inconsistent || len(e.Suspects) == 0 || len(e.Suspects) != len(e.Hosts)) {
		return false
	}
	return journal.Summary(d.journal.Path()).Changed
}

// stillLimit is how long one host may take to say whether there is still what a rollback is for: users fail meanwhile, and
// what the others say is enough.
const stillLimit = 10 * time.Second

func orText(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
