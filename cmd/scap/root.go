package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
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
	// deaf gives signals back to whoever takes them; nohup says that the program was started to ignore a hang-up.
	deaf  func()
	nohup bool
	// background starts this program with args, its words in the file at path, to outlive this process. Nil starts none.
	background func(path string, args []string) error
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
		Long: `scap makes a release of a staged tree, or of what git repositories and changes under review have. It puts it on every
target unseen, switches code and php-fpm together, reads the error rate only after the new runtime is proven, and goes
back to one release from any instant.

` + exitTable,
		SilenceUsage:      true,
		SilenceErrors:     true,
		Args:              verbOnly,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: a.checkJSON,
	}
	root.SetHelpCommand(newHelpCommand())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w; see `%s`", err, helpOf(cmd)))
	})
	f := root.PersistentFlags()
	f.StringVarP(&a.configPath, "conf", "c", config.DefaultFile, "the configuration `FILE`; nothing in the working directory overrides it")
	f.StringArrayVarP(&a.overrides, "define", "D", nil, "override one setting as `KEY:VALUE`, the key's parts joined by dots (ssh.user:deploy); may be repeated")
	f.BoolVar(&a.json, "json", false, "one line of JSON for each record or result, in place of the view")
	f.BoolVarP(&a.yes, "yes", "y", false, "answer yes to the questions that ask whether to go on; a gate that holds still rolls back")
	root.AddCommand(
		newBackportCommand(a), newSyncCommand(a), newPlanCommand(a), newRollbackCommand(a), newResumeCommand(a), newRepairCommand(a), newWatchCommand(a), newGateCommand(a), newReplayCommand(a),
		newStatusCommand(a), newAdoptCommand(a), newFPMCommand(a), newConfigCommand(a), newLockCommand(a), newHistoryCommand(a), newSayCommand(a),
		newDemoCommand(a), newVersionCommand(a),
		newLintCommand(a), newWikiversionsCommand(a), newMWScriptCommand(a), newRunCommand(a), newCleanCommand(a),
	)
	fitHelp(root)
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
	if err == nil {
		err = acceptable(c)
	}
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

// verbOnly is for a command that only has verbs below it.
func verbOnly(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	name := strings.TrimPrefix(verbOf(cmd)+" "+args[0], " ")
	return usage(fmt.Errorf("unknown verb %q; `%s` lists the verbs", name, helpOf(cmd)))
}

// argCount demands least to most arguments; most below 0 is any number. An empty one is a variable that a script forgot
// to set: it must not stand for a default.
func argCount(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		wrong := ""
		switch {
		case len(args) > 0 && most == 0:
			wrong = fmt.Sprintf("takes no arguments, have %q", args)
		case most >= 0 && len(args) > most:
			wrong = fmt.Sprintf("takes at most %s, have %q", strings.TrimPrefix(cmd.Use, cmd.Name()+" "), args)
		case len(args) < least:
			wrong = "wants " + strings.TrimPrefix(cmd.Use, cmd.Name()+" ")
		case slices.Contains(args, ""):
			wrong = "has an empty argument"
		}
		if wrong == "" {
			return nil
		}
		return usage(fmt.Errorf("%s %s; see `%s`", verbOf(cmd), wrong, helpOf(cmd)))
	}
}

// verbOf is what a command is called on the command line: "config check".
func verbOf(cmd *cobra.Command) string {
	return strings.TrimPrefix(strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()), " ")
}

// helpOf is how its manual is asked for.
func helpOf(cmd *cobra.Command) string { return strings.TrimSuffix("scap help "+verbOf(cmd), " ") }

// newHelpCommand is cobra's but for a verb that does not exist, which is an error.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [VERB]",
		Short: "explain a verb",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usage(fmt.Errorf("unknown verb %q; `scap help` lists the verbs", strings.Join(args, " ")))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// reason is a flag's value that must say something.
type reason string

func (r *reason) String() string { return string(*r) }

// Set refuses nothing but silence, which would also leave the flag without effect.
func (r *reason) Set(text string) error {
	if strings.TrimSpace(text) == "" {
		return errors.New("say why: the journal keeps it")
	}
	*r = reason(text)
	return nil
}

// Type is for help.
func (r *reason) Type() string { return "REASON" }

// speaksJSON names the verbs that --json changes. With any other it would be without effect.
var speaksJSON = []string{"sync", "backport", "wikiversions", "rollback", "resume", "status", "watch", "history", "gate explain", "gate simulate", "gate replay", "gate backtest"}

// checkJSON refuses --json where there is nothing to print as such.
func (a *app) checkJSON(cmd *cobra.Command, _ []string) error {
	if a.json && cmd.HasParent() && !slices.Contains(speaksJSON, verbOf(cmd)) {
		return usage(fmt.Errorf("--json: %s prints no JSON; it goes with %s", verbOf(cmd), strings.Join(speaksJSON, ", ")))
	}
	return nil
}
