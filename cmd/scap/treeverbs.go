package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"scap/cmd/internal/config"
	"scap/sync/change/staging"
	"scap/sync/release"
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
	for _, version := range sortedKeys(count) {
		fmt.Fprintf(a.stdout, "%s  %s\n", harmless(version), some(count[version], "wiki"))
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
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

func newMWScriptCommand(a *app) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "mwscript [--release RELEASE] SCRIPT [ARGUMENT…]",
		Short: "run a maintenance script out of a release, on this deploy host",
		Long: `Runs php multiversion/MWScript.php SCRIPT ARGUMENT… in a release that this deploy host keeps: the one that was deployed last, or
RELEASE, such as one that ` + "`scap backport --stop-before-sync`" + ` has composed and no host serves. Flags of scap come first. The
exit code is the script's.`,
		Example: `  scap mwscript showSiteStats.php --wiki=enwiki
  scap mwscript --release 3f1c eval.php --wiki=testwiki`,
		Args: argCount(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runMWScript(cmd.Context(), name, args) },
	}
	cmd.Flags().StringVar(&name, "release", "", "run it in this `RELEASE`; its first digits are enough")
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// mwscript is where the script that chooses a wiki's version is in a tree.
const mwscript = "multiversion/MWScript.php"

// runMWScript is scap mwscript.
func (a *app) runMWScript(ctx context.Context, name string, args []string) error {
	conf, err := a.load()
	if err != nil {
		return err
	}
	tree, err := a.tree(conf, name)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(tree, mwscript)); err != nil {
		return fmt.Errorf("this release has no %s: %w", mwscript, err)
	}
	php := []string{"/usr/bin/php"}
	if conf.Staging != nil {
		php = conf.Staging.PHP
	}
	if len(php) == 0 {
		return usage(errors.New("staging.php is none: there is no php on this deploy host"))
	}
	argv := append(slices.Clone(php), filepath.Join(tree, mwscript))
	cmd := exec.CommandContext(ctx, argv[0], append(argv[1:], args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.stdin, a.stdout, a.stderr
	cmd.Dir = tree
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return coded{exit.ExitCode(), errQuiet}
	}
	return err
}

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
