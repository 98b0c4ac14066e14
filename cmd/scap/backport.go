package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scap/phases"
	"scap/sync/change"
	"scap/sync/change/pin"
	"scap/sync/change/staging"
	"scap/sync/release"
)

// backportOptions are the flags of scap backport.
type backportOptions struct {
	syncOptions
	list       bool
	revert     bool
	now        bool
	reason     string
	mergeFirst bool
	stop       bool
	private    []string
}

func newBackportCommand(a *app) *cobra.Command {
	var o backportOptions
	cmd := &cobra.Command{
		Use:   "backport [CHANGE…]",
		Short: "deploy changes from Gerrit: test, approve, merge, deploy",
		Long: `Looks up the changes and what they need, shows exactly what will ship and asks. Then the tree as it will be after the
merge is put on the test servers (phases with test: true) and you look at it. Only then are the changes approved, in the
patch sets that were shown, and once they are merged the branches are compared with what was tested, tree by tree. The
tested release itself goes on to canaries and production, as with ` + "`scap sync`" + `. Nothing that was not confirmed ever ships.

CHANGE is a number or any URL of a change. Changes that depend on each other go in their order, whatever order they are
named in. A change that is merged already ships as it is on its branch.

Until the approval, Ctrl-C or a "no" leaves nothing behind. After it, the approval of what is not merged is taken back.
When the deploy is rolled back after the merge the branch is ahead of the fleet: ` + "`scap status`" + ` and the next backport say
so, and --revert mends it.

--revert makes reverts of merged changes, the last one first, and backports them. With --now the reverted tree is deployed
at once, and merged after that. ` + "`scap rollback`" + ` is faster still, and needs no Gerrit.

` + exitTable,
		Example: `  scap backport 1234567 1234568
  scap backport https://gerrit.wikimedia.org/r/c/mediawiki/core/+/1234567
  scap backport --dry-run 1234567                     # for CI: says all, writes nothing
  scap backport --revert --now --reason "T327196: logged-in users get errors" 1234567
  scap backport --private /srv/patches/1.41.0-wmf.5/core/07-T1234.patch
  scap backport --list`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.runBackport(cmd.Context(), args, o) },
	}
	f := cmd.Flags()
	f.Var((*reason)(&o.emergency), "emergency", "do not drain, do not wait for requests in flight, at full width; the `REASON` is journaled")
	f.BoolVar(&o.dryRun, "dry-run", false, "look up, judge, compose and plan; ask nobody, write nothing; the exit code tells")
	f.Var((*reason)(&o.despite), "despite-red", "deploy although probes or signals are red already, because this change is the cure; the `REASON` is journaled. Gates still judge the rest, and restarts stay safe")
	f.BoolVar(&o.noWatch, "no-watch", false, "do not go on looking after the end (deploy.watch)")
	f.Var((*reason)(&o.noGate), "no-gate", "ask no gate; the `REASON` is journaled and shown")
	f.BoolVar(&o.list, "list", false, "list the open changes of live branches; with --revert the last merged ones")
	f.BoolVar(&o.revert, "revert", false, "make and deploy reverts of these merged changes")
	f.BoolVar(&o.now, "now", false, "with --revert: deploy the reverted tree at once, merge afterwards")
	f.Var((*reason)(&o.reason), "reason", "with --revert: why, for the reverts' messages; asked for when left out")
	f.BoolVar(&o.mergeFirst, "merge-first", false, "approve and merge before anything is put on a host (staging.merge_first)")
	f.BoolVar(&o.stop, "stop-before-sync", false, "compose the tree and stop: no host is touched, nothing is merged (but with --merge-first)")
	f.StringArrayVar(&o.private, "private", nil, "this `FILE` below staging.patches or staging.private is new, and ships; no word of it leaves this host")
	return cmd
}

// check says which flags do not go together.
func (o *backportOptions) check(changes int) error {
	switch {
	case o.list && (changes > 0 || o.now || o.dryRun || o.mergeFirst || o.stop || o.noWatch || o.reason+o.emergency+o.despite+o.noGate != "" || len(o.private) > 0):
		return errors.New("--list takes no changes, and goes with --revert alone")
	case o.list:
		return nil
	case o.now && !o.revert:
		return errors.New("--now goes with --revert")
	case o.reason != "" && !o.revert:
		return errors.New("--reason goes with --revert")
	case o.now && (o.mergeFirst || o.stop):
		return errors.New("--now deploys first: it does not go with --merge-first or --stop-before-sync")
	case o.revert && len(o.private) > 0:
		return errors.New("--revert does not go with --private: remove the patch, then `scap sync`")
	case changes == 0 && len(o.private) == 0:
		return errors.New("name a change, a number or a URL; --list lists those that are open")
	}
	return nil
}

// backport is one run of scap backport: what it found out, step by step.
type backport struct {
	*deploy
	*workshop
	o backportOptions

	asked  []int
	from   release.ID      // what the fleet serves
	seen   []phases.Seen   // what it answered
	base   *staging.Record // what that is made of
	heads  *pin.Heads
	layout change.Layout
	graph  *change.Graph
	named  []change.Change // all that were asked for, in the order in which they go
	picks  []change.Change // those of named that are not merged yet
	undo   []change.Change // that a revert takes back, before it exists
	undone []change.Change // the same, once it does
	pinned *pin.Pinned
	built  *staging.Built
	began  time.Time // when the composing did

	landed bool // the picks were merged

	sums map[string]string // of the private files that were named, when they were confirmed

	offline  bool     // no host is asked: what was deployed last is what the fleet serves
	title    string   // the message, where no change gives one
	warnings []string // to be shown
	doubts   []string // each to be asked about
}

// runBackport is scap backport.
func (a *app) runBackport(ctx context.Context, args []string, o backportOptions) error {
	conf, err := a.load()
	if err != nil {
		return err
	}
	if err := o.check(len(args)); err != nil {
		return usage(err)
	}
	if conf.Staging == nil {
		return noStaging(conf)
	}
	asked, err := parseChanges(args, conf.Gerrit.URL)
	if err != nil {
		return usage(err)
	}
	switch {
	case o.list:
		return a.listChanges(ctx, o.revert)
	case o.dryRun:
		return a.planBackport(ctx, args, o)
	}
	d, ctx, err := a.openDeploy(ctx, lockReason("backport", args, o), inTurn)
	if err != nil {
		return err
	}
	defer d.close()
	b := &backport{deploy: d, o: o, asked: asked}
	if err := b.ready(ctx); err != nil {
		return err
	}
	if o.revert {
		return b.runRevert(ctx)
	}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	if err := b.agree(ctx); err != nil {
		return err
	}
	return b.ship(ctx)
}

// lockReason is what those who wait for the lock read.
func lockReason(verb string, args []string, o backportOptions) string {
	switch {
	case o.revert:
		verb += " --revert"
	case len(args) == 0:
		return verb + " of a private change"
	}
	return verb + " " + strings.Join(args, " ")
}

// parseChanges reads the numbers and URLs of the command line.
func parseChanges(args []string, url string) ([]int, error) {
	var list []int
	var errs []error
	for _, text := range args {
		n, err := change.ParseNumber(text, url)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	return list, errors.Join(errs...)
}

// about is what a step is about, in few words.
func (b *backport) about() string {
	switch {
	case len(b.undo) > 0:
		return "reverts of " + numbers(numbersOf(b.undo))
	case len(b.named) > 0:
		return numbers(numbersOf(b.named))
	}
	return "the branches' heads"
}

func numbersOf(cs []change.Change) []int {
	list := make([]int, len(cs))
	for i, c := range cs {
		list[i] = c.Number
	}
	return list
}

// mergesFirst says whether the deployer, or the configuration, wants it the old way.
func (b *backport) mergesFirst() bool { return b.o.mergeFirst || b.conf.Staging.MergeFirst }
