package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"scap/phases"
	"scap/phases/journal"
	"scap/sync/change"
	"scap/sync/change/staging"
	"scap/sync/release"
)

// ready checks what must hold before anything is looked up, and opens what is needed.
func (b *backport) ready(ctx context.Context) (err error) {
	if err := b.finished(); err != nil {
		return err
	}
	if !b.attended() {
		return usage(fmt.Errorf("a backport asks before it ships anything, and %w", errNoTerminal))
	}
	if !b.mergesFirst() && !slices.ContainsFunc(b.conf.Phases, isTest) {
		return usage(errors.New("no phase has test: true, so there is nowhere to look at a change before it is merged: give the test servers' phase that key, or say --merge-first"))
	}
	if b.workshop, err = openWorkshop(b.conf, b.store, ""); err != nil {
		return err
	}
	return b.connect(forward, b.o.emergency != "")
}

// prepare finds out all that the deployer is to be shown: what was asked for, what it needs, what the fleet serves, and
// the tree as it will be, pinned.
func (b *backport) prepare(ctx context.Context) error {
	began := time.Now()
	if err := b.lookUp(ctx); err != nil {
		return err
	}
	if err := b.judge(); err != nil {
		return err
	}
	if err := b.pin(ctx); err != nil {
		return err
	}
	b.did(journal.LookUp, began, "%s", b.about())
	return nil
}

// lookUp asks everybody at the same time.
func (b *backport) lookUp(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		if b.heads, err = b.pinner.Fetch(ctx); err != nil {
			return err
		}
		b.layout, err = b.pinner.Layout(ctx, b.heads)
		return err
	})
	g.Go(func() (err error) {
		if len(b.asked) == 0 {
			return nil
		}
		b.graph, err = change.Gather(ctx, b.gerrit, b.asked)
		return err
	})
	g.Go(func() error {
		if len(b.asked) == 0 || b.offline || b.o.dryRun {
			return nil
		}
		_, err := b.gerrit.Self(ctx)
		return wrapped(err, "log in to Gerrit")
	})
	g.Go(func() (err error) {
		if !b.offline {
			b.from, b.seen, err = b.served(ctx)
		}
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return b.recall()
}

func wrapped(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// served asks the fleet which release it serves. Hosts that do not answer or lag behind are the preflight's business.
func (b *backport) served(ctx context.Context) (release.ID, []phases.Seen, error) {
	seen := phases.Survey(ctx, b.fleet.all(), surveyLimit)
	if ctx.Err() != nil {
		return release.ID{}, seen, context.Cause(ctx)
	}
	id, err := phases.Served(seen)
	if err != nil {
		return id, seen, errors.Join(err, silent(seen))
	}
	return id, seen, nil
}

// recall reads what the served release is made of.
func (b *backport) recall() (err error) {
	b.base, err = b.stager.Record(b.from)
	if errors.Is(err, staging.ErrNoRecord) {
		if len(b.asked) == 0 && len(b.o.private) == 0 || b.offline {
			return nil
		}
		return fmt.Errorf("the fleet serves %s, and this deploy host has no record of the commits in it: `scap sync` deploys the branches as they are, and keeps one", b.from.Short())
	}
	return err
}

// judge applies the rules to what was looked up.
func (b *backport) judge() error {
	if b.graph == nil {
		return nil
	}
	var errs []error
	for _, f := range change.Judge(b.graph, b.layout) {
		switch f.Level {
		case change.Error:
			errs = append(errs, errors.New(f.Text))
		case change.Ask:
			b.doubts = append(b.doubts, f.Text)
		default:
			b.warnings = append(b.warnings, f.Text)
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("this cannot be backported:\n%w", errors.Join(errs...))
	}
	order, err := change.Order(b.graph)
	if err != nil {
		return err
	}
	for _, n := range order {
		c := *b.graph.Changes[n]
		b.named = append(b.named, c)
		if c.Status != change.Merged {
			b.picks = append(b.picks, c)
		}
	}
	return nil
}

// pin computes the tree as it will be.
func (b *backport) pin(ctx context.Context) (err error) {
	var parts []change.Part
	if b.base != nil {
		parts = b.base.Parts
	}
	b.pinned, err = b.pinner.Pin(ctx, b.heads, parts, b.picks, b.undo)
	if err == nil && !b.offline && !b.o.dryRun && !b.o.stop { // what is refused costs the hosts nothing
		b.early.begin(ctx, b.seen, b.from)
	}
	return err
}
