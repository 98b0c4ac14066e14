package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"scap/cmd/internal/config"
	"scap/sync/release"
	"scap/targets/fpm/namespace"
)

func newRunCommand(a *app) *cobra.Command {
	var name, group string
	cmd := &cobra.Command{
		Use:   "run [--release RELEASE] -- COMMAND [ARGUMENT…]",
		Short: "run a command on this machine that sees one release until its end",
		Long: `Runs COMMAND, such as a maintenance script, in a mount namespace in which the served path leads to the release that this
machine serves now and to no other, as its php-fpm does with strategy handover. A deploy in the middle changes nothing of
what the command reads, and the release stays on the disk for as long as it runs. It runs as you; outside of the releases
it sees the machine as it is. The exit code is the command's.

It is for a target, such as a maintenance host, that has scap and its configuration; on any other target ` + "`scap-agent run`" + `
does the same. ` + "`scap mwscript`" + ` runs a script out of a release that only this deploy host has.`,
		Example: `  scap run -- php /srv/mediawiki/multiversion/MWScript.php showJobs.php --wiki=enwiki
  scap run --release 3f1c -- ls /srv/mediawiki`,
		Args: argCount(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runInside(cmd.Context(), name, group, args) },
	}
	cmd.Flags().StringVar(&name, "release", "", "see this `RELEASE`; its first digits are enough")
	cmd.Flags().StringVar(&group, "group", "", "this machine has the paths of this `GROUP`; by default of the group that names it, else those under targets")
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// runInside is scap run.
func (a *app) runInside(ctx context.Context, name, group string, argv []string) error {
	conf, err := a.load()
	if err != nil {
		return err
	}
	g, err := ownGroup(conf, group)
	if err != nil {
		return err
	}
	if to, err := os.Readlink(g.Served); err != nil || to != filepath.Join(g.Root, "current") {
		return fmt.Errorf("this machine serves nothing at %s (it must be a link to %s/current): run it on a target, or `scap mwscript` here", g.Served, g.Root)
	}
	spec := namespace.Spec{Root: g.Root, Served: g.Served, Owner: namespace.AnyOwner}
	if name != "" {
		if spec.Release, err = keptThere(g.Root, name); err != nil {
			return err
		}
	}
	code, err := namespace.Run(ctx, spec, argv, a.stdin, a.stdout, a.stderr)
	if err == nil && code != 0 {
		return coded{code, errQuiet}
	}
	return err
}

// ownGroup is the group whose paths this machine has.
func ownGroup(c *config.Config, name string) (*config.Group, error) {
	if name != "" {
		if g := c.Group(name); g != nil {
			return g, nil
		}
		return nil, usage(fmt.Errorf("--group: there is no group %q in %s", name, c.File))
	}
	own := hostName()
	if g, err := groupOf(c, own); err == nil {
		return g, nil
	}
	paths := map[[2]string]*config.Group{}
	for i := range c.Groups {
		g := &c.Groups[i]
		paths[[2]string{g.Root, g.Served}] = g
	}
	if len(paths) != 1 {
		return nil, usage(fmt.Errorf("no group of %s names this machine (%s), and their paths differ: say --group GROUP", c.File, own))
	}
	for _, g := range paths {
		return g, nil
	}
	return nil, errors.New("the configuration has no group")
}

// keptThere finds the one release in a store's directory whose name begins so.
func keptThere(root, name string) (release.ID, error) {
	all, err := filepath.Glob(filepath.Join(root, "releases", "*"))
	if err != nil {
		return release.ID{}, err
	}
	var found []release.ID
	for _, path := range all {
		if id, err := release.ParseID(filepath.Base(path)); err == nil && len(name) <= len(id.String()) && id.String()[:len(name)] == name {
			found = append(found, id)
		}
	}
	if len(found) != 1 {
		return release.ID{}, usage(fmt.Errorf("--release %s: %d releases in %s begin so", name, len(found), root))
	}
	return found[0], nil
}
