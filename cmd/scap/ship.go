package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"scap/phases"
	"scap/phases/journal"
	"scap/sync/change"
	"scap/sync/change/staging"
)

// ship composes what was agreed upon and deploys it.
func (b *backport) ship(ctx context.Context) error {
	if err := b.compose(ctx); err != nil {
		return err
	}
	merged := len(b.picks) == 0
	// What changes nothing that is served cannot be looked at on a test server: the revert of what was rolled back.
	idle := b.betaOnly() || b.built.Release.ID == b.from
	if !merged && (b.mergesFirst() || idle && !b.o.stop) {
		if err := b.mergeNow(ctx); err != nil {
			return err
		}
		merged = true
	}
	switch {
	case b.o.stop:
		fmt.Fprintf(b.people(), "composed %s: %s; no host was touched%s\n", b.built.Release.ID.Short(), some(len(b.built.Changed), "path"), unmerged(merged))
		return nil
	case b.betaOnly() && merged:
		fmt.Fprintln(b.people(), "merged; every file of it is beta-only (staging.beta_only): no host is touched, and it ships with the next deploy")
		return nil
	}
	o := b.planOptions()
	o.look = true
	if !merged {
		o.after = &phases.After{Act: journal.Merge, Text: b.about(), Do: func(ctx context.Context, tell func(string)) (string, error) {
			err := b.merge(ctx, testedThere, tell)
			merged = err == nil
			return "merged, and the branches are what was tested", err
		}}
	}
	err := b.roll(ctx, b.built.Release, o)
	if err != nil && merged && len(b.picks) > 0 {
		b.offerRevert(ctx, err)
	}
	return err
}

func unmerged(merged bool) string {
	if merged {
		return ""
	}
	return ", nothing was merged"
}

// planOptions are those of a deploy of b.
func (b *backport) planOptions() planOptions {
	verb := "backport"
	if b.o.revert {
		verb = journal.VerbRevert
	}
	return planOptions{
		message: b.message(), emergency: b.o.emergency, noGate: b.o.noGate, despite: b.o.despite, noWatch: b.o.noWatch, confirm: true,
		verb: verb, changes: b.outline(), expect: b.from,
	}
}

// message is the deploy's. Of a private change it says nothing.
func (b *backport) message() string {
	switch {
	case len(b.named) > 0:
		return change.Message(b.named)
	case len(b.undo) > 0:
		return "revert of " + change.Message(b.undo)
	case len(b.o.private) > 0:
		return "a private change"
	}
	return b.title
}

// outline lists the changes for the journal.
func (b *backport) outline() (list []journal.Change) {
	for _, c := range b.named {
		x := journal.Change{
			Number: c.Number, PatchSet: c.PatchSet, ChangeID: c.ID, Revision: c.Revision, Project: c.Project, Branch: c.Branch,
			Subject: c.Subject, Owner: c.Owner, URL: c.URL,
		}
		if c.Private { // what it is about is not told before it is merged
			x.Subject, x.Owner = "a private change", ""
		}
		list = append(list, x)
	}
	for range b.o.private {
		list = append(list, journal.Change{})
	}
	return list
}

// compose makes the release.
func (b *backport) compose(ctx context.Context) (err error) {
	b.began = time.Now()
	b.built, err = b.stager.Build(ctx, b.base, b.pinned.Parts, staging.BuildOptions{Message: b.message(), Changes: patchSets(b.named), Tell: b.progress})
	if err != nil {
		return err
	}
	b.findings()
	if err := b.patches(ctx); err != nil {
		return errors.Join(err, b.discard(ctx))
	}
	record := b.built.Record
	if b.base != nil && b.built.Release.ID == b.from && len(b.picks) > 0 {
		record = b.base // it is served, and what it is made of changes only with the merge
	}
	if err := b.stager.Save(record); err != nil {
		return err
	}
	r := b.built.Release
	b.did(journal.Compose, b.began, "%s: %s, %s in %.1f s", r.ID.Short(), some(r.Files, "file"), changedPaths(b.built, b.base), time.Since(b.began).Seconds())
	return nil
}

// patchSets are those that were asked for.
func patchSets(cs []change.Change) (list []change.Pick) {
	for _, c := range cs {
		list = append(list, change.Pick{Number: c.Number, PatchSet: c.PatchSet, Revision: c.Revision})
	}
	return list
}

func changedPaths(built *staging.Built, base *staging.Record) string {
	if base == nil {
		return "all of it new"
	}
	return some(len(built.Changed), "path") + " changed"
}

// progress tells what the composing is at, to a person who waits.
func (d *deploy) progress(text string) {
	if !d.json {
		fmt.Fprintf(d.stderr, "scap: %s\n", harmless(text))
	}
}

// findings shows what the checks of the tree only warn of.
func (b *backport) findings() {
	for _, f := range b.built.Findings {
		b.progress("warning: " + f.String())
		text := f.String()
		if f.Private || f.Check == "patches" { // everybody on this host may read the journal
			text = f.Check + ": a warning about what is private"
		}
		b.before = append(b.before, journal.Record{Kind: journal.Note, At: time.Now(), Text: text})
	}
}

// discard removes a release that was composed and that nobody wants. One that was there before stays.
func (b *backport) discard(ctx context.Context) error {
	if b.built.Release.Created.Before(b.began) {
		return nil
	}
	return b.store.Remove(context.WithoutCancel(ctx), b.built.Release.ID)
}

// betaOnly says that nothing but files which production does not read is changed.
func (b *backport) betaOnly() bool {
	return len(b.o.private) == 0 && change.BetaOnly(b.named, b.layout, change.RiskOptions{BetaOnly: b.conf.Staging.BetaOnly})
}
