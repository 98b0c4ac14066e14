package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
)

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
