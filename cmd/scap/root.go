package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"scap/cmd/internal/config"
	"scap/phases"
	"scap/phases/journal"
)

// app is what every verb is given: the streams, the global flags and the signal that means "leave at once".
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	leave          context.Context
	// through is what records go through on their way into a journal. It is nil but in tests, which die there.
	through func(*journal.Writer) phases.Appender

	mu    sync.Mutex
	aside func() // the view steps aside for a message; nil while there is none

	configPath string
	overrides  []string
	json       bool
	yes        bool
}

func newRootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "scap",
		Short: "deploy MediaWiki so that code, data files and php-fpm change as one",
		Long: `scap snapshots a staged tree as a release, puts it on every target unseen, switches code and php-fpm together,
reads the error rate only after the new runtime is proven, and goes back to one release from any instant.

` + exitTable,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(fmt.Errorf("unknown verb %q; `scap help` lists the verbs", args[0]))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w; see `scap help %s`", err, cmd.Name()))
	})
	f := root.PersistentFlags()
	f.StringVarP(&a.configPath, "conf", "c", config.DefaultFile, "the configuration `FILE`; nothing in the working directory overrides it")
	f.StringArrayVarP(&a.overrides, "define", "D", nil, "override one setting as `KEY:VALUE`, the key's parts joined by dots (ssh.user:deploy); may be repeated")
	f.BoolVar(&a.json, "json", false, "print the journal's records, one line of JSON each, in place of the view")
	f.BoolVarP(&a.yes, "yes", "y", false, "answer yes to the questions that ask whether to go on; a gate that holds still rolls back")
	root.AddCommand(
		newSyncCommand(a), newPlanCommand(a), newRollbackCommand(a), newResumeCommand(a), newRepairCommand(a),
		newStatusCommand(a), newAdoptCommand(a), newConfigCommand(a), newDemoCommand(a), newVersionCommand(a),
	)
	return root
}

// announce prints a message that does not come from the journal, below what the view shows.
func (a *app) announce(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.aside != nil {
		a.aside()
	}
	fmt.Fprintf(a.stderr, "\nscap: %s\n", text)
}

// stepAside is what announce calls from now on.
func (a *app) stepAside(aside func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.aside = aside
}

// load reads the configuration; its mistakes are usage errors.
func (a *app) load() (*config.Config, error) {
	c, err := config.Load(a.configPath, a.overrides)
	if err != nil {
		return nil, usage(err)
	}
	return c, nil
}

// terminal reports whether a person can see stdout and answer on stdin.
func (a *app) terminal() (out *os.File, interactive bool) {
	o, ok := a.stdout.(*os.File)
	if !ok || !term.IsTerminal(int(o.Fd())) {
		return nil, false
	}
	i, ok := a.stdin.(*os.File)
	return o, ok && term.IsTerminal(int(i.Fd()))
}

// oneArg wraps cobra's argument checks so that a wrong count is a usage error that says what was expected.
func argCheck(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usage(fmt.Errorf("%s: %w; see `scap help %s`", cmd.Name(), err, cmd.Name()))
		}
		return nil
	}
}
