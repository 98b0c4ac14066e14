package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"scap/cmd/internal/config"
	"scap/phases/journal"
	"scap/sync/change"
	"scap/sync/change/staging"
	"scap/sync/release"
)

// ahead says what the branches have, as of the last fetch, that the fleet does not serve, and what the fleet serves that
// is on no branch yet. It asks nobody. Without a record of the release it says nothing.
func (a *app) ahead(ctx context.Context, w io.Writer, conf *config.Config, fleet release.ID) {
	if conf.Staging == nil || fleet.IsZero() {
		return
	}
	if _, err := os.Stat(stagingDir(conf)); err != nil {
		return
	}
	err := a.tellAhead(ctx, w, conf, fleet)
	if err != nil && !errors.Is(err, staging.ErrNoRecord) {
		fmt.Fprintf(w, "whether the branches are ahead of the fleet is not known: %s\n", harmless(err.Error()))
	}
}

func (a *app) tellAhead(ctx context.Context, w io.Writer, conf *config.Config, fleet release.ID) error {
	st, err := openKept(conf)
	if err != nil {
		return err
	}
	defer st.Close() //nolint:errcheck // nothing was written
	shop, err := openWorkshop(conf, st, "")
	if err != nil {
		return err
	}
	r, err := shop.stager.Record(fleet)
	if err != nil {
		return err
	}
	extra, err := shop.pinner.Ahead(ctx, r.Parts)
	if err != nil {
		return err
	}
	if count(extra) > 0 {
		b := &backport{deploy: &deploy{app: a, conf: conf}}
		fmt.Fprintf(w, "branch ahead of fleet: %s as of the last fetch that no host serves\n%s", amount(extra), harmless(b.histories(extra)))
	}
	for _, p := range r.Parts {
		for _, pick := range p.Picks {
			fmt.Fprintf(w, "fleet ahead of branch: change %d, patch set %d, is served and not merged\n", pick.Number, pick.PatchSet)
		}
	}
	return nil
}

// withoutPatches names the private patches and files that from has and to has not, or has as they were before.
func (d *deploy) withoutPatches(from, to release.ID) ([]string, error) {
	if from == to {
		return nil, nil
	}
	shop, err := openWorkshop(d.conf, d.store, "")
	if err != nil {
		return nil, err
	}
	was, err := shop.stager.Record(from)
	if errors.Is(err, staging.ErrNoRecord) && d.conf.Staging.Patches+d.conf.Staging.Private == "" {
		return nil, nil // there are none
	}
	if err != nil {
		return nil, err
	}
	will, err := shop.stager.Record(to)
	if errors.Is(err, staging.ErrNoRecord) {
		will, err = &staging.Record{}, nil
	}
	if err != nil {
		return nil, err
	}
	has := map[change.Patch]bool{}
	for _, p := range secrets(will) {
		has[p] = true
	}
	var lost []string
	for _, p := range secrets(was) {
		if !has[p] {
			lost = append(lost, p.Name)
		}
	}
	return lost, nil
}

// secrets are what of a release is not public: patches and private files. One of the same name and another content is
// another one.
func secrets(r *staging.Record) (all []change.Patch) {
	for _, p := range r.Parts {
		all = append(all, p.Patches...)
	}
	return append(all, r.Private...)
}

// latest is the release that users meet by the journals; zero when they do not say.
func latest(conf *config.Config) (release.ID, error) {
	past, err := journal.List(journalDir(conf))
	if err != nil {
		return release.ID{}, err
	}
	name := serving(past)
	if name == "" {
		return release.ID{}, nil
	}
	return release.ParseID(name)
}
