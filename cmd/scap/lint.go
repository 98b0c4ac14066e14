package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"scap/sync/change/staging"
	"scap/sync/store"
)

func newLintCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "lint [CHANGE…]",
		Short: "check the tree with these changes, or the branches as they are",
		Long: `Composes the tree as ` + "`scap backport --dry-run`" + ` does and checks what differs from the release that was deployed last: php -l,
JSON, what extension.json and skin.json name, whether every security patch applies. Configured steps are named and not
run. No host is asked and nothing is written. Exit code 1: something would stop a deploy.`,
		Example: `  scap lint 1234567`,
		RunE:    func(cmd *cobra.Command, args []string) error { return a.runLint(cmd.Context(), args) },
	}
}

// runLint is scap lint.
func (a *app) runLint(ctx context.Context, args []string) (err error) {
	b, done, err := a.openTree(args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if b.from, err = latest(b.conf); err != nil {
		return err
	}
	b.offline = true
	if err := b.prepare(ctx); err != nil {
		return err
	}
	b.built, err = b.stager.Build(ctx, b.base, b.pinned.Parts, staging.BuildOptions{Dry: true, Tell: b.progress})
	if err != nil {
		return err
	}
	for _, f := range b.built.Findings {
		fmt.Fprintln(a.stdout, harmless(f.String()))
	}
	b.showPending()
	fmt.Fprintf(a.stdout, "%s, %s; nothing that would stop a deploy\n", changedPaths(b.built, b.base), some(len(b.built.Findings), "warning"))
	return nil
}

// openTree is a backport that writes nothing outside a scratch directory, which done removes.
func (a *app) openTree(args []string) (b *backport, done func() error, err error) {
	conf, err := a.load()
	if err != nil {
		return nil, nil, err
	}
	if conf.Staging == nil {
		return nil, nil, noStaging(conf)
	}
	b = &backport{deploy: &deploy{app: a, conf: conf}}
	if b.asked, err = parseChanges(args, conf.Gerrit.URL); err != nil {
		return nil, nil, usage(err)
	}
	scratch, err := os.MkdirTemp("", "scap-dry-")
	if err != nil {
		return nil, nil, err
	}
	b.store, err = openKept(conf)
	if errors.Is(err, os.ErrNotExist) {
		b.store, err = store.Open(filepath.Join(scratch, "store"))
	}
	if err == nil {
		b.workshop, err = openWorkshop(conf, b.store, filepath.Join(scratch, "git"))
	}
	done = func() error {
		if b.store != nil {
			_ = b.store.Close() // nothing was written that a close could lose
		}
		return os.RemoveAll(scratch)
	}
	if err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return b, done, nil
}
