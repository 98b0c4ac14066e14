package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"scap/cmd/internal/config"
	"scap/phases"
	"scap/phases/journal"
	"scap/sync/change"
	"scap/sync/change/pin"
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

// patches holds what is private to the deployer's word: a patch that is new and that nobody named is asked about, and one
// that is gone too.
func (b *backport) patches(ctx context.Context) error {
	text, public, err := b.privately()
	switch {
	case err != nil || text == "":
		return err
	case b.yes:
		return coded{exitError, fmt.Errorf("--yes does not confirm it. %s", text)}
	}
	return b.put(ctx, text+"\nShip it so?", public+". Ship it so?") // their names are nobody else's business
}

// privately says what is private, differs from what is served and was not named: with names, and for everybody.
func (b *backport) privately() (text, public string, err error) {
	if b.base == nil {
		return "", "", nil
	}
	fresh, missing := slices.Clone(b.built.NewPatches), []string{}
	for _, path := range b.o.private {
		name := privateName(b.conf.Staging, path)
		if sum, ok := sumOf(b.built.Record, name); ok && b.sums[path] != "" && sum != b.sums[path] {
			return "", "", fmt.Errorf("%s has changed since it was confirmed: begin again", path)
		}
		i := slices.Index(fresh, name)
		if i < 0 {
			missing = append(missing, path)
			continue
		}
		fresh = slices.Delete(fresh, i, i+1)
	}
	if len(missing) > 0 {
		return "", "", usage(fmt.Errorf("--private: %s: nothing new of that name is in the tree. A patch belongs below staging.patches (%s), a file below staging.private (%s)",
			strings.Join(missing, ", "), orText(b.conf.Staging.Patches, "none"), orText(b.conf.Staging.Private, "none")))
	}
	var doubt []string
	if len(fresh) > 0 {
		doubt = append(doubt, "new, and not named with --private: "+strings.Join(fresh, ", "))
	}
	if len(b.built.GonePatches) > 0 {
		doubt = append(doubt, "served now, and not in the new tree: "+strings.Join(b.built.GonePatches, ", "))
	}
	if len(doubt) == 0 {
		return "", "", nil
	}
	const differ = "Private patches and files differ from those that are served"
	return differ + ":\n  " + strings.Join(doubt, "\n  "), fmt.Sprintf("%s: %d new, %d gone", differ, len(fresh), len(b.built.GonePatches)), nil
}

// seal notes what the private files that were named hold now: nothing else of their names may ship.
func (b *backport) seal() error {
	b.sums = map[string]string{}
	for _, path := range b.o.private {
		if st, err := os.Lstat(path); err == nil && !st.Mode().IsRegular() {
			continue // whether it may be in a tree is for the composing to say
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return usage(fmt.Errorf("--private: %w", err))
		}
		sum := sha256.Sum256(text)
		b.sums[path] = hex.EncodeToString(sum[:])
	}
	return nil
}

// sumOf is what a record has of a private patch or file.
func sumOf(r *staging.Record, name string) (sum string, ok bool) {
	for _, p := range secrets(r) {
		if p.Name == name {
			return p.Sum, true
		}
	}
	return "", false
}

// privateName is what a record calls the private patch or file at path.
func privateName(s *config.Staging, path string) string {
	for _, dir := range []string{s.Patches, s.Private} {
		if full, err := filepath.Abs(path); err == nil && dir != "" {
			if name, ok := strings.CutPrefix(full, strings.TrimSuffix(dir, "/")+"/"); ok {
				return name
			}
		}
	}
	return path
}

// betaOnly says that nothing but files which production does not read is changed.
func (b *backport) betaOnly() bool {
	return len(b.o.private) == 0 && change.BetaOnly(b.named, b.layout, change.RiskOptions{BetaOnly: b.conf.Staging.BetaOnly})
}

// mergeNow is merge before any host is touched.
func (b *backport) mergeNow(ctx context.Context) error {
	began := time.Now()
	err := b.merge(ctx, testedNowhere, func(text string) {
		b.progress(text)
		b.before = append(b.before, journal.Record{Kind: journal.Note, Act: journal.Merge, Text: text, At: time.Now()})
	})
	if err != nil {
		return fmt.Errorf("%w; no host was touched", err)
	}
	b.did(journal.Merge, began, "%s", b.about())
	return nil
}

// What an approval says of where the change was before it.
const (
	testedThere   = "tested on the test servers"
	testedNowhere = "to be merged before it is on any server"
	testedAll     = "deployed already"
)

// merge has the changes merged, and compares what the branches have then with what was composed.
func (b *backport) merge(ctx context.Context, tested string, tell func(string)) error {
	m := &merging{gerrit: b.gerrit, conf: b.conf.Gerrit, clock: phases.System{}, changes: b.picks, who: who() + "@" + hostName(), tested: tested, deploy: voteTag}
	if err := m.run(ctx, tell); err != nil {
		return err
	}
	b.landed = true
	parts, err := b.compare(ctx)
	if err != nil {
		list := numbersOf(b.picks)
		again := strings.ReplaceAll(numbers(list), ",", "")
		return fmt.Errorf("%w\n%s merged. `scap backport %s` shows and deploys what is on the branch now, `scap backport --revert %s` takes it out again", err, numbers(list), again, again)
	}
	b.built.Record.Parts = parts
	if err := b.stager.Save(b.built.Record); err != nil {
		tell(fmt.Sprintf("which commits the release is made of could not be written down: %v", err))
	}
	return nil
}

// voteTag marks what scap says on a change, so that Gerrit can fold it away.
const voteTag = "autogenerated:scap"

// errDiffers says that a branch is not what was tested.
var errDiffers = errors.New("the branches are not what was tested")

// compare returns what the tree is made of now that all is merged.
func (b *backport) compare(ctx context.Context) ([]change.Part, error) {
	parts, diffs, err := b.pinner.Merged(ctx, b.pinned, b.picks)
	if err != nil {
		return nil, fmt.Errorf("merged; compare the branches with what was tested: %w", err)
	}
	if len(diffs) > 0 {
		return nil, fmt.Errorf("%w:\n%s", errDiffers, strings.TrimRight(differences(diffs), "\n"))
	}
	composed := map[string]change.Part{}
	for _, p := range b.built.Record.Parts {
		composed[p.Path] = p
	}
	for i, p := range parts {
		parts[i].Patches, parts[i].Patched = composed[p.Path].Patches, composed[p.Path].Patched
	}
	return parts, nil
}

// differences says for each repository what its branch has that was not tested.
func differences(diffs []pin.Difference) string {
	var t strings.Builder
	for _, d := range diffs {
		fmt.Fprintf(&t, "  %s %s: tree %.12s was tested, %.12s is merged\n", d.Project, d.Branch, d.Want, d.Have)
		for _, c := range d.Commits {
			fmt.Fprintf(&t, "      %.12s  %s (%s)\n", c.ID, c.Subject, c.Author)
		}
		for i, f := range d.Files {
			if i == mostFiles {
				fmt.Fprintf(&t, "      … and %d more files\n", len(d.Files)-i)
				break
			}
			fmt.Fprintf(&t, "      differs: %s\n", f)
		}
	}
	return t.String()
}

// offerRevert is for a deploy that was taken back after the merge: the branch still has what the fleet does not.
func (b *backport) offerRevert(ctx context.Context, why error) {
	list := numbersOf(b.picks)
	again := strings.ReplaceAll(numbers(list), ",", "")
	if exitCode(why) == exitInconsistent {
		fmt.Fprintf(b.stderr, "\nscap: %s merged. Once `scap resume` has brought the fleet to one release, `scap status` says whether the branch is ahead of it\n", numbers(list))
		return
	}
	fmt.Fprintf(b.stderr, "\nscap: the branch is ahead of the fleet: %s merged, and served by no host\n", numbers(list))
	_, interactive := b.terminal()
	if ctx.Err() == nil && interactive && !b.yes {
		letter, err := b.question(ctx, "Open the reverts in Gerrit now, so that the next deploy does not ship it? [y/N] ", 'n')
		if err == nil && letter == 'y' {
			reverts, err := b.openReverts(ctx, b.picks, "the deploy was rolled back")
			for _, c := range reverts {
				fmt.Fprintf(b.people(), "%d  %s\n", c.Number, harmless(c.URL))
			}
			if err != nil {
				fmt.Fprintf(b.stderr, "scap: %s\n", harmless(err.Error()))
			}
			return
		}
	}
	fmt.Fprintf(b.stderr, "scap: `scap backport --revert %s` takes it out of the branch\n", again)
}
