package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"scap/cmd/internal/ui"
	"scap/phases"
	"scap/phases/journal"
	"scap/sync/release"
)

// surveyLimit is how long one target may take to answer what it runs.
const surveyLimit = time.Minute

func newResumeCommand(a *app) *cobra.Command {
	var fromTargets bool
	cmd := &cobra.Command{
		Use:   "resume",
		Short: "bring the fleet to one release after a deploy died or was left",
		Long: `Takes up the last deploy that did not end: every target goes back to the release that it came from, proven, unless every
phase had already passed its gate; then the deploy is ended forwards. What a target serves is asked of the target; the
journal only says what the deploy was for. It may be repeated, and killed, as often as needed.

--from-targets works without the journal, on another deploy host for example: each target keeps its own last intent.

` + exitTable,
		Args: argCount(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runResume(cmd.Context(), fromTargets) },
	}
	cmd.Flags().BoolVar(&fromTargets, "from-targets", false, "find out from the targets what the last deploy was")
	return cmd
}

// runResume is scap resume.
func (a *app) runResume(ctx context.Context, fromTargets bool) error {
	d, ctx, err := a.openDeploy(ctx, "resume", urgent)
	if err != nil {
		return err
	}
	defer d.close()
	if fromTargets {
		return d.resumeFromTargets(ctx)
	}
	last, open, err := journal.Unfinished(journalDir(d.conf))
	if err != nil {
		return err
	}
	if !open {
		fmt.Fprintln(a.stderr, "scap: the last deploy has ended: nothing to resume (`scap status` shows the fleet; `scap repair HOST` brings one host in line)")
		return nil
	}
	if err := d.connect(back, false); err != nil {
		return err
	}
	past, err := journal.Load(last.Path)
	if err != nil {
		return err
	}
	if d.journal, err = journal.Open(last.Path); err != nil {
		return err
	}
	p, err := d.fleet.plan(last.Name, release.Release{}, planOptions{message: last.Outline.Message, noGate: "resume goes to a release that was proven"})
	if err != nil {
		return err
	}
	p.Attended, p.Well = d.attended(), d.well
	if p.Keep, err = d.keep(); err != nil {
		return err
	}
	r := d.runner()
	ui.Recall(d.view, slices.Values(past))
	d.crew.Recall(slices.Values(past))
	err = r.Resume(ctx, p, slices.Values(past))
	if errors.Is(err, phases.ErrNothing) {
		d.view.Close()
		return nil
	}
	err = d.finish(ctx, p, err)
	if d.leave.Err() == nil {
		d.disapprove(ctx, past)
	}
	return err
}

// resumeFromTargets takes the fleet back by what the targets themselves remember.
func (d *deploy) resumeFromTargets(ctx context.Context) error {
	if err := d.connect(back, false); err != nil {
		return err
	}
	seen := phases.Survey(ctx, d.fleet.all(), surveyLimit)
	origin, err := phases.FromTargets(seen)
	switch quiet := silent(seen); {
	case errors.Is(err, phases.ErrFinished) && quiet == nil:
		fmt.Fprintf(d.stderr, "scap: nothing to resume: %s\n", harmless(err.Error()))
		return nil
	case errors.Is(err, phases.ErrFinished):
		return coded{exitInconsistent, fmt.Errorf("%w; `scap repair` those that are silent when they answer again:\n%w", err, quiet)}
	case err != nil && quiet != nil:
		return fmt.Errorf("%w; no answer from:\n%w", err, quiet)
	case err != nil:
		return err
	}
	d.journal, err = d.takeUp(origin.Deploy)
	if err != nil {
		return err
	}
	p, err := d.fleet.plan(d.journal.Deploy(), release.Release{ID: origin.To}, planOptions{noGate: "resume goes to a release that was proven"})
	if err != nil {
		return err
	}
	p.From, p.Attended, p.Well, p.Verb = origin.From, d.attended(), d.well, "resume"
	if p.Keep, err = d.keep(); err != nil {
		return err
	}
	return d.finish(ctx, p, d.runner().Undo(ctx, p, nil))
}

// silent names the targets that did not answer, and why; nil when all did.
func silent(seen []phases.Seen) error {
	var errs []error
	for _, s := range seen {
		if s.Err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.Name(), s.Err))
		}
	}
	return errors.Join(errs...)
}

// takeUp opens the journal of deploy, or begins one by that name where this host has none.
func (d *deploy) takeUp(deploy string) (*journal.Writer, error) {
	past, err := journal.List(journalDir(d.conf))
	if err != nil {
		return nil, err
	}
	for _, p := range past {
		if p.Name == deploy {
			return journal.Open(p.Path)
		}
	}
	w, err := journal.Create(journalDir(d.conf), deploy)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("begin a journal for deploy %s", deploy), err)
	}
	return w, nil
}
