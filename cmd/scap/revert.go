package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"scap/phases/journal"
	"scap/sync/change"
	"scap/sync/change/pin"
	"scap/sync/release"
)

// runRevert is scap backport --revert.
func (b *backport) runRevert(ctx context.Context) error {
	began := time.Now()
	if err := b.prepareRevert(ctx); err != nil {
		return err
	}
	b.did(journal.LookUp, began, "%s", b.about())
	reason, err := b.why(ctx)
	if err != nil {
		return err
	}
	if err := b.agree(ctx); err != nil {
		return err
	}
	b.picks, err = b.openReverts(ctx, b.undo, reason)
	if err == nil {
		err = b.revertAs(ctx, reason)
	}
	if err != nil && len(b.picks) > 0 && !b.landed {
		fmt.Fprintf(b.stderr, "scap: the reverts stay in Gerrit: %s. `scap backport --revert` with the same changes takes them up again\n", numbers(numbersOf(b.picks)))
	}
	return err
}

// revertAs deploys the reverts that were made, if they are what was confirmed.
func (b *backport) revertAs(ctx context.Context, reason string) error {
	confirmed := b.pinned
	b.named, b.undo, b.undone = b.picks, nil, b.undo
	if err := b.pin(ctx); err != nil {
		return err
	}
	if err := samePins(confirmed, b.pinned); err != nil {
		return err
	}
	if b.o.now {
		return b.revertNow(ctx, reason)
	}
	return b.ship(ctx)
}

// prepareRevert finds out what a revert would come to, before there is one.
func (b *backport) prepareRevert(ctx context.Context) error {
	if err := b.lookUp(ctx); err != nil {
		return err
	}
	var errs []error
	for _, n := range b.asked {
		c := *b.graph.Changes[n]
		switch {
		case c.Status != change.Merged:
			errs = append(errs, fmt.Errorf("%s is not merged: there is nothing to revert", title(c)))
		case len(b.layout.Paths(c.Project, c.Branch)) == 0:
			errs = append(errs, fmt.Errorf("%s is on no branch that is deployed", title(c)))
		}
		b.undo = append(b.undo, c)
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	b.undo = childrenFirst(b.undo)
	return b.pin(ctx)
}

// childrenFirst puts a change before what it stands on: whoever names another as its parent goes before that, and of the
// others the later number.
func childrenFirst(list []change.Change) (order []change.Change) {
	rest := slices.Clone(list)
	slices.SortStableFunc(rest, func(x, y change.Change) int { return cmp.Compare(y.Number, x.Number) })
	for len(rest) > 0 {
		next := max(0, slices.IndexFunc(rest, func(x change.Change) bool {
			return !slices.ContainsFunc(rest, func(y change.Change) bool { return slices.Contains(y.Parents, x.Revision) })
		}))
		order = append(order, rest[next])
		rest = slices.Delete(rest, next, next+1)
	}
	return order
}

// why is the reason that the reverts give.
func (b *backport) why(ctx context.Context) (string, error) {
	if b.o.reason != "" {
		return b.o.reason, nil
	}
	if _, interactive := b.terminal(); !interactive {
		return "", usage(errors.New("--revert without a terminal needs --reason: the reverts say why"))
	}
	fmt.Fprint(b.stderr, "Why are they reverted? (the reverts say it) ")
	line, err := readLine(ctx, b.stdin)
	if err != nil {
		return "", err
	}
	if line = strings.TrimSpace(line); line == "" {
		return "", errDeclined
	}
	return line, nil
}

// openReverts makes a revert of each change in Gerrit, in the order given, and returns them. One that is open already is
// taken instead of a second one.
func (w *workshop) openReverts(ctx context.Context, undo []change.Change, reason string) ([]change.Change, error) {
	var made []change.Change
	for _, c := range undo {
		r, err := w.revertOf(ctx, c, reason)
		if err != nil {
			return made, fmt.Errorf("revert %s: %w", title(c), err)
		}
		made = append(made, r)
	}
	return made, nil
}

func (w *workshop) revertOf(ctx context.Context, c change.Change, reason string) (change.Change, error) {
	have, err := w.gerrit.Reverts(ctx, c.Number)
	if err != nil {
		return change.Change{}, err
	}
	for _, r := range have {
		if r.Status == change.New && r.Branch == c.Branch && !r.WIP {
			return r, nil
		}
	}
	return w.gerrit.Revert(ctx, c, revertMessage(c, reason))
}

func revertMessage(c change.Change, reason string) string {
	var t strings.Builder
	fmt.Fprintf(&t, "Revert %q\n\nThis reverts commit %s.\n\nReason for revert: %s\n", c.Subject, c.Revision, reason)
	bugs := change.Bugs(c)
	if len(bugs) > 0 {
		fmt.Fprintln(&t)
	}
	for _, bug := range bugs {
		fmt.Fprintf(&t, "Bug: %s\n", bug)
	}
	return t.String()
}

// samePins holds what is to be deployed to what was confirmed.
func samePins(confirmed, now *pin.Pinned) error {
	trees := map[string]string{}
	for _, p := range confirmed.Parts {
		trees[p.Path] = p.Tree
	}
	for _, p := range now.Parts {
		if trees[p.Path] != p.Tree {
			return fmt.Errorf("the revert that Gerrit made in %s is not what was confirmed: tree %.12s was shown, %.12s is there", p.Project, trees[p.Path], p.Tree)
		}
		delete(trees, p.Path)
	}
	if len(trees) > 0 {
		return errors.New("the reverts change other repositories than was confirmed")
	}
	return nil
}

// revertNow deploys the reverted tree and has the reverts merged afterwards.
func (b *backport) revertNow(ctx context.Context, reason string) error {
	if err := b.compose(ctx); err != nil {
		return err
	}
	o := b.planOptions()
	o.verb, o.confirm = journal.VerbRevert+" --now", false
	good, err := b.wasGood(b.built.Release.ID)
	if err != nil {
		return err
	}
	if good { // what is on the hosts already, and was well: the way back of every rollback
		o.back, o.noGate = true, "the reverted tree is the release that was good before"
	} else if o.despite == "" {
		o.despite = "revert: " + reason
	}
	if err := b.roll(ctx, b.built.Release, o); err != nil {
		return err
	}
	tell := func(text string) {
		b.progress(text)
		if _, err := b.journal.Append(journal.Record{Kind: journal.Note, Act: journal.Merge, Text: text, At: time.Now()}); err != nil {
			b.progress(err.Error())
		}
	}
	if err := b.merge(ctx, testedAll, tell); err != nil {
		tell(fmt.Sprintf("the fleet is on the reverted tree, the branch is not yet: %v", err))
	}
	return nil
}

// wasGood says that id needs no gate.
func (b *backport) wasGood(id release.ID) (bool, error) {
	past, err := journal.List(journalDir(b.conf))
	return err == nil && good(past, id), err
}

// good says that a deploy of past left id proven everywhere, or found it so, that no gate has failed it, and that nobody
// has taken the fleet away from it since: by a rollback, or by a revert.
func good(past []journal.Deploy, id release.ID) bool {
	return slices.Contains(keep(past, len(past)*2, 0, time.Now()), id) && !slices.ContainsFunc(past, func(d journal.Deploy) bool {
		return d.Failed && d.To == id.String() || d.Outline.Away() && d.Changed && d.From == id.String()
	})
}
