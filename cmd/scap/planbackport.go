package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"scap/phases"
	"scap/sync/change"
	"scap/sync/change/staging"
	"scap/sync/release"
)

// planBackport is scap backport --dry-run, and scap plan where trees come from git: everything but what writes.
func (a *app) planBackport(ctx context.Context, args []string, o backportOptions) (err error) {
	b, done, err := a.openTree(args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	b.o = o
	b.o.dryRun = true
	if err := b.connect(forward, false); err != nil {
		return err
	}
	defer b.fleet.close()
	if o.revert {
		err = b.prepareRevert(ctx)
	} else {
		err = b.prepare(ctx)
	}
	if err != nil {
		return err
	}
	if !a.json {
		b.show(a.stdout)
	}
	b.built, err = b.stager.Build(ctx, b.base, b.pinned.Parts, staging.BuildOptions{Message: b.message(), Dry: true, Tell: b.progress})
	if err != nil {
		return err
	}
	_, doubt, err := b.privately() // a log of CI's is no place for names
	if err != nil {
		return err
	}
	if doubt != "" {
		b.doubts = append(b.doubts, doubt)
	}
	return b.planned(ctx)
}

// unmade stands for a release that has no name before its steps have run: no host has it.
var unmade = release.ID(sha256.Sum256([]byte("unmade")))

// planned shows what would be deployed, and asks the fleet whether it could begin.
func (b *backport) planned(ctx context.Context) error {
	r := b.built.Release
	asked := r
	if r.ID.IsZero() {
		asked.ID = unmade
	}
	p, err := b.fleet.plan("plan", asked, planOptions{message: b.message()})
	if err != nil {
		return err
	}
	report := (&phases.Runner{}).Examine(ctx, p)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if b.json {
		return errors.Join(b.planJSON(report), report.Err())
	}
	w := b.stdout
	fmt.Fprintf(w, "\nrelease  %s  %s\n", r.ID.Short(), changedPaths(b.built, b.base))
	showPaths(w, b.built.Changed, b.base != nil)
	b.showPending()
	for _, f := range b.built.Findings {
		fmt.Fprintf(w, "Warning: %s\n", harmless(f.String()))
	}
	for _, doubt := range b.doubts {
		fmt.Fprintf(w, "It would be asked about: %s\n", harmless(doubt))
	}
	if report.Nothing {
		fmt.Fprintln(w, "nothing to do: every host is proven on this release")
		return nil
	}
	return b.showPlan(ctx, p, report)
}

// pending names the steps that a dry run did not run. What they make is in no path that is shown, and the release has no
// name before it is there.
func pending(built *staging.Built) []string {
	list := []string{}
	for _, s := range built.Pending {
		list = append(list, strings.TrimSuffix(s.Name+" for "+s.Version, " for "))
	}
	return list
}

func (b *backport) showPending() {
	for _, name := range pending(b.built) {
		fmt.Fprintf(b.stdout, "step %s would run: what it makes is not shown here\n", harmless(name))
	}
}

func showPaths(w io.Writer, paths []string, known bool) {
	if !known {
		return
	}
	for i, path := range paths {
		if i == 2*mostFiles {
			fmt.Fprintf(w, "  … and %d more\n", len(paths)-i)
			return
		}
		fmt.Fprintf(w, "  %q\n", path)
	}
}

// dryRun is what --dry-run --json prints: one object.
type dryRun struct {
	From      string          `json:"from"`
	Release   string          `json:"release,omitempty"` // none while a step would have to run
	Changes   []change.Change `json:"changes"`
	Reverts   []change.Change `json:"reverts,omitempty"`
	Extra     []extraCommit   `json:"extra"` // on the branches, not served, and named by nobody
	Parts     []change.Part   `json:"parts"` // that a change touches
	Paths     []string        `json:"paths"` // that differ from what is served
	Steps     []string        `json:"steps"` // that would run; what they make is not among the paths
	Warnings  []string        `json:"warnings"`
	Questions []string        `json:"questions"` // that would be asked besides whether to go on
	Problems  []string        `json:"problems"`  // that keep a deploy from beginning
}

type extraCommit struct {
	Project string `json:"project"`
	Branch  string `json:"branch"`
	Commit  string `json:"commit"`
	Subject string `json:"subject"`
	Goes    bool   `json:"goes,omitempty"` // it is served now
}

func (b *backport) planJSON(report phases.Report) error {
	out := dryRun{
		From: b.from.String(), Changes: orEmpty(b.named), Reverts: b.undo, Extra: []extraCommit{},
		Parts: []change.Part{}, Paths: orEmpty(b.built.Changed), Steps: pending(b.built), Warnings: orEmpty(slices.Clone(b.warnings)), Questions: orEmpty(b.doubts), Problems: []string{},
	}
	if !b.built.Release.ID.IsZero() {
		out.Release = b.built.Release.ID.String()
	}
	for _, e := range b.unnamed() {
		for _, c := range e.Commits {
			out.Extra = append(out.Extra, extraCommit{Project: e.Project, Branch: e.Branch, Commit: c.ID, Subject: c.Subject})
		}
		for _, c := range e.Gone {
			out.Extra = append(out.Extra, extraCommit{Project: e.Project, Branch: e.Branch, Commit: c.ID, Subject: c.Subject, Goes: true})
		}
		if e.New || e.Removed || e.Unknown { // without a commit to name
			out.Extra = append(out.Extra, extraCommit{Project: e.Project, Branch: e.Branch, Goes: e.Removed})
		}
	}
	for _, p := range b.pinned.Parts {
		if len(p.Picks) > 0 {
			out.Parts = append(out.Parts, p)
		}
	}
	for _, f := range b.built.Findings {
		out.Warnings = append(out.Warnings, f.String())
	}
	if err := report.Err(); err != nil {
		out.Problems = append(out.Problems, err.Error())
	}
	return json.NewEncoder(b.stdout).Encode(out)
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// runHeads is scap sync where trees come from git: the branches as they are.
func (a *app) runHeads(ctx context.Context, message string, o syncOptions) error {
	d, ctx, err := a.openDeploy(ctx, orText(message, "sync"), inTurn)
	if err != nil {
		return err
	}
	defer d.close()
	b := &backport{deploy: d, o: backportOptions{syncOptions: o}, title: message}
	if err := d.finished(); err != nil {
		return err
	}
	if err := d.answerable(); err != nil {
		return err
	}
	if b.workshop, err = openWorkshop(d.conf, d.store, ""); err != nil {
		return err
	}
	if err := d.connect(forward, o.emergency != ""); err != nil {
		return err
	}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	if err := b.agree(ctx); err != nil {
		return err
	}
	if err := b.compose(ctx); err != nil {
		return err
	}
	if b.nothing() && b.built.Release.ID != b.from && len(b.built.NewPatches)+len(b.built.GonePatches) == 0 {
		if err := b.confirm(ctx, fmt.Sprintf("The repositories are as they are served, and what is made of them is not: %s.", changedPaths(b.built, b.base)), "Deploy it?"); err != nil {
			return errors.Join(err, b.discard(ctx))
		}
	}
	plan := b.planOptions()
	plan.verb = ""
	return b.roll(ctx, b.built.Release, plan)
}

// listChanges is scap backport --list.
func (a *app) listChanges(ctx context.Context, merged bool) (err error) {
	b, done, err := a.openTree(nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	heads, err := b.pinner.Fetch(ctx)
	if err != nil {
		return err
	}
	layout, err := b.pinner.Layout(ctx, heads)
	if err != nil {
		return err
	}
	list, err := b.listed(ctx, layout, merged)
	if err != nil {
		return err
	}
	if a.json {
		return json.NewEncoder(a.stdout).Encode(orEmpty(list))
	}
	return tabulate(a.stdout, list)
}
