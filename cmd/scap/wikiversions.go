package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"scap/cmd/internal/config"
	"scap/sync/release"
)

func newWikiversionsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "wikiversions [RELEASE]",
		Aliases: []string{"wikiversions-inuse"},
		Short:   "say which versions of MediaWiki are in use, by how many wikis",
		Long: `Reads wikiversions.json (staging.wikiversions) of RELEASE, or of the release that was deployed last. The compiled
wikiversions.php is a part of every release: a host has it when it has the code, so there is nothing to compile or to
sync for itself.`,
		Args: argCount(0, 1),
		RunE: func(_ *cobra.Command, args []string) error { return a.runWikiversions(strings.Join(args, "")) },
	}
}

// runWikiversions is scap wikiversions.
func (a *app) runWikiversions(name string) error {
	conf, err := a.load()
	if err != nil {
		return err
	}
	tree, err := a.tree(conf, name)
	if err != nil {
		return err
	}
	file := "wikiversions.json"
	if conf.Staging != nil {
		file = conf.Staging.Wikiversions
	}
	b, err := os.ReadFile(filepath.Join(tree, file))
	if err != nil {
		return err
	}
	var wikis map[string]string
	if err := json.Unmarshal(b, &wikis); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	count := map[string]int{}
	for _, version := range wikis {
		count[version]++
	}
	if a.json {
		return json.NewEncoder(a.stdout).Encode(count)
	}
	for _, version := range slices.Sorted(maps.Keys(count)) {
		fmt.Fprintf(a.stdout, "%s  %s\n", harmless(version), some(count[version], "wiki"))
	}
	return nil
}

// tree is the directory of a release that this deploy host keeps: by the first digits of its name, or the one that was
// deployed last.
func (a *app) tree(conf *config.Config, name string) (string, error) {
	st, err := openKept(conf)
	if err != nil {
		return "", fmt.Errorf("no release is kept on this deploy host: %w", err)
	}
	defer st.Close() //nolint:errcheck // nothing was written
	var id release.ID
	if name == "" {
		if id, err = latest(conf); err != nil {
			return "", err
		}
		if id.IsZero() {
			return "", errors.New("no deploy was made from this deploy host: name a release")
		}
	} else {
		r, err := (&deploy{conf: conf, store: st}).lookup(name)
		if err != nil {
			return "", err
		}
		id = r.ID
	}
	if !st.Has(id) {
		return "", fmt.Errorf("%s is not kept on this deploy host", id.Short())
	}
	return st.Path(id), nil
}
