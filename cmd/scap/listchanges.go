package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"scap/sync/change"
	"scap/sync/change/gerrit"
)

// mostListed bounds what --list asks for; of merged changes the last ten are enough to revert one.
const (
	mostListed       = 500
	mostMergedListed = 10
)

// listed asks for the changes on branches that are deployed, the newest first.
func (w *workshop) listed(ctx context.Context, layout change.Layout, merged bool) ([]change.Change, error) {
	repos := []gerrit.Where{gerrit.Where(layout.Config)}
	for _, v := range layout.Versions {
		if v.Live { // in whatever project: extensions branch with core
			repos = append(repos, gerrit.Where{Project: "*", Branch: v.Branch})
		}
	}
	most := mostListed
	if merged {
		most = mostMergedListed
	}
	list, err := w.gerrit.List(ctx, repos, gerrit.ListOptions{Merged: merged, Most: most})
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(c change.Change) bool {
		return c.WIP || len(layout.Paths(c.Project, c.Branch)) == 0
	})
	return list[:min(len(list), most)], nil
}

// tabulate prints changes as scap users know them.
func tabulate(w io.Writer, list []change.Change) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no changes")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "#\tPROJECT\tBRANCH\tSUBJECT\tMERGEABLE")
	for _, c := range list {
		can := map[change.Tri]string{change.Yes: "yes", change.No: "no", change.Unknown: "?"}[c.Mergeable]
		if c.Status == change.Merged {
			can = "merged"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\n", c.Number, harmless(c.Project), harmless(c.Branch), harmless(c.Subject), can)
	}
	return t.Flush()
}
