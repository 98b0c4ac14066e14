package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

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
it sees the machine as it is. Signals are the command's, Ctrl-C too. The exit code is the command's, 125 when it was not
started.

It is for a target, such as a maintenance host, that has scap and its configuration; on any other target ` + "`scap-agent run`" + `
does the same. ` + "`scap mwscript`" + ` runs a script out of a release that only this deploy host has.`,
		Example: `  scap run -- php /srv/mediawiki/multiversion/MWScript.php showJobs.php --wiki=enwiki
  scap run --release 3f1c -- ls /srv/mediawiki`,
		Args: argCount(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("release") && name == "" {
				return usage(errors.New("--release: say which, or leave it out for the one that is served"))
			}
			return a.runInside(cmd.Context(), name, group, args)
		},
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
	stderr := a.commands()
	code, err := namespace.Run(context.WithoutCancel(ctx), spec, argv, a.stdin, a.stdout, stderr)
	switch {
	case err != nil:
		return coded{namespace.NotStarted, fmt.Errorf("%s was not started: %w", argv[0], err)}
	case code != 0:
		return coded{code, errQuiet}
	}
	return nil
}

// commands gives the terminal and the signals to the command that runs in this process's place: it is nothing that could be
// taken back. It returns where errors go.
func (a *app) commands() io.Writer {
	if a.deaf != nil {
		a.deaf()
	}
	quiet := []os.Signal{syscall.SIGPIPE}
	if !a.nohup {
		quiet = append(quiet, syscall.SIGHUP)
	}
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, quiet...) // they are ignored for a deploy's sake, and what is ignored is inherited
	signal.Stop(heard)
	if p, ok := a.stderr.(*patient); ok {
		return p.w
	}
	return a.stderr
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
	switch len(found) {
	case 0:
		return release.ID{}, usage(fmt.Errorf("--release %s: no release in %s/releases begins so", name, root))
	case 1:
		return found[0], nil
	}
	return release.ID{}, usage(fmt.Errorf("--release %s: %d releases in %s/releases begin so: give more digits", name, len(found), root))
}
