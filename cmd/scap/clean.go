package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"scap/sync/change/staging"
	"scap/sync/release"
)

func newCleanCommand(a *app) *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use:   "clean",
		Short: "remove old releases and their records; pack mirrors",
		Long: `Removes the releases that no deploy may want to go back to (deploy.keep_releases, deploy.keep_for), and the records of what
they are made of, and packs the mirrors of the repositories, which can take minutes. Every deploy removes such releases at
its end, here and on the hosts. A version of MediaWiki that wikiversions.json no longer names is in no new release, so there
is no directory of it to remove.`,
		Args: argCount(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runClean(cmd.Context(), dry) },
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be removed")
	return cmd
}

// runClean is scap clean.
func (a *app) runClean(ctx context.Context, dry bool) error {
	d, ctx, err := a.openDeploy(ctx, "clean", inTurn)
	if err != nil {
		return err
	}
	defer d.close()
	if err := d.finished(); err != nil {
		return err
	}
	ids, err := d.keep()
	if err != nil {
		return err
	}
	served, err := latest(d.conf)
	if err != nil {
		return err
	}
	ids = append(ids, served)
	if dry {
		return d.tellClean(ids)
	}
	gone, err := d.store.Prune(ctx, ids)
	fmt.Fprintf(a.stdout, "removed %s\n", some(len(gone), "release"))
	if err != nil || d.conf.Staging == nil {
		return err
	}
	shop, err := openWorkshop(d.conf, d.store, "")
	if err != nil {
		return err
	}
	if err := shop.stager.Prune(ctx, ids); err != nil {
		return err
	}
	return shop.tidy(ctx, served)
}

// tidy packs the mirrors of what is served. It takes minutes, and keeps deploys waiting.
func (w *workshop) tidy(ctx context.Context, served release.ID) error {
	r, err := w.stager.Record(served)
	if errors.Is(err, staging.ErrNoRecord) {
		return nil
	}
	if err != nil {
		return err
	}
	done := map[string]bool{}
	for _, p := range r.Parts {
		if done[p.Project] {
			continue
		}
		done[p.Project] = true
		repo, err := w.mirrors.Repo(p.Project)
		if err == nil {
			err = repo.Tidy(ctx)
		}
		if err != nil {
			return fmt.Errorf("tidy the mirror of %s: %w", p.Project, err)
		}
	}
	return nil
}

func (d *deploy) tellClean(keep []release.ID) error {
	all, err := d.store.Releases()
	if err != nil {
		return err
	}
	gone := 0
	for _, r := range all {
		if !slices.Contains(keep, r.ID) {
			gone++
			fmt.Fprintf(d.stdout, "would remove %s of %s: %s\n", r.ID.Short(), r.Created.UTC().Format("2006-01-02 15:04"), harmless(r.Message))
		}
	}
	fmt.Fprintf(d.stdout, "would remove %s\n", some(gone, "release"))
	return nil
}
