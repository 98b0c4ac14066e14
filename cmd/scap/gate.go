package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"scap/canary"
	"scap/canary/sim"
	"scap/cmd/internal/ui/chart"
	"scap/phases/journal"
)

func newGateCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gate",
		Short: "look into the canary gate: explain a deploy, simulate, backtest",
		Long: `The gate fails a release on evidence that its hosts fail more often than those that still run the old one, passes it on
evidence of no harm, and holds on anything else, saying what is missing.

What its words mean:
  canary       hosts that run the new release; control: those that still run the
               old one and serve the same traffic at the same time
  harm         failing harm_ratio times as often as the control (3), in at least
               harm_rate of all requests (0.03 %)
  evidence     an e-value: how many times better harm (or no harm) explains what
               was seen. Fails at 200: a good release gets there once in 200
               deploys at the most, however often one looks. Passes at 40
  clustering   how much more errors vary than if each came alone (phi); evidence
               is divided by it
  tick         the seconds that are counted as one; closed: all has arrived
  dwell        so long of closed ticks, since the last host was proven, before a
               pass
`,
		Args: verbOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newExplainCommand(a), newSimulateCommand(a), newRecordCommand(a), newReplayLogCommand(a), newBacktestCommand(a))
	return cmd
}

// ruleFlags are the settings of a gate that can be tried out.
func ruleFlags(f *pflag.FlagSet) *canary.Rule {
	r := &canary.Rule{}
	f.Float64Var(&r.HarmRatio, "harm-ratio", 3, "harm: failing at least `N` times as often as the control")
	r.HarmRate = 3e-4
	f.Var((*share)(&r.HarmRate), "harm-rate", "and in at least this `SHARE` of all requests")
	f.Int64Var(&r.MinRequests, "min-requests", 1000, "`N` requests of the canaries, before a pass")
	f.DurationVar(&r.Dwell, "dwell", time.Minute, "this `TIME` of closed ticks, before a pass")
	f.Float64Var(&r.FailAt, "fail-at", 200, "evidence `N` of a fail; false alarms: at most one deploy in N")
	f.DurationVar(&r.Tick, "tick", 5*time.Second, "`TIME` that is counted as one")
	return r
}

// given refuses a 0 that was asked for: inside it stands for the default.
func given(f *pflag.FlagSet, names ...string) error {
	var errs []error
	for _, name := range append(names, "harm-ratio", "min-requests", "dwell", "fail-at", "tick") {
		if v := f.Lookup(name).Value.String(); f.Changed(name) && (v == "0" || v == "0s") {
			errs = append(errs, fmt.Errorf("--%s %s: want more than 0", name, v))
		}
	}
	return errors.Join(errs...)
}

func newExplainCommand(a *app) *cobra.Command {
	var svg string
	cmd := &cobra.Command{
		Use:   "explain [DEPLOY]",
		Short: "draw a deploy's evidence over time, and why its gates ruled so",
		Long: `Draws what the gates of a deploy saw, from its journal: evidence of harm and against it, the counts of both arms, phases and
batches, and the ruling that changed each verdict, with its reason. DEPLOY is its name or the beginning of it; the last one by
default. --svg writes the same as a picture that a browser shows. With --json: the rulings, one a line.`,
		Example: `  scap gate explain
  scap gate explain 20230117T1833 --svg gate.svg`,
		Args: argCount(0, 1),
		RunE: func(_ *cobra.Command, args []string) error { return a.explain(strings.Join(args, ""), svg) },
	}
	cmd.Flags().StringVar(&svg, "svg", "", "write a picture to this `FILE` in place of drawing in the terminal")
	return cmd
}

// explain is scap gate explain.
func (a *app) explain(name, svg string) error {
	conf, err := a.load()
	if err != nil {
		return err
	}
	d, err := deployNamed(journalDir(conf), name)
	if err != nil {
		return err
	}
	past, err := journal.Load(d.Path)
	if err != nil {
		return err
	}
	if a.json {
		if svg != "" {
			return usage(errors.New("--json and --svg are two ways to show a deploy: ask for one"))
		}
		enc := json.NewEncoder(a.stdout)
		for _, r := range past {
			if r.Kind == journal.Ruled || r.Kind == journal.Watched {
				if err := enc.Encode(r); err != nil {
					return err
				}
			}
		}
		return nil
	}
	story := chart.Evidence(slices.Values(past))
	if svg == "" {
		return story.Render(a.stdout, chart.LookOf(os.Getenv, a.columns()))
	}
	f, err := renameio.NewPendingFile(svg, renameio.WithPermissions(0o644))
	if err != nil {
		return usage(fmt.Errorf("write --svg %s: %w", svg, err))
	}
	defer f.Cleanup() //nolint:errcheck // nothing is left to be told once it was replaced
	if err := story.SVG(f); err != nil {
		return fmt.Errorf("write %s: %w", svg, err)
	}
	return f.CloseAtomicallyReplace()
}

// deployNamed finds the one deploy whose name begins with name; the last one that changed something when there is none.
func deployNamed(dir, name string) (journal.Deploy, error) {
	past, err := journal.List(dir)
	if err != nil {
		return journal.Deploy{}, err
	}
	var found []journal.Deploy
	for _, d := range past {
		switch {
		case name == "" && d.Changed:
			return d, nil
		case name == d.Name:
			return d, nil
		case name != "" && strings.HasPrefix(d.Name, name):
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return journal.Deploy{}, usage(fmt.Errorf("%d deploys begin with %q, the last of them %s: give more of the name", len(found), name, found[0].Name))
	case name == "":
		return journal.Deploy{}, fmt.Errorf("no deploy has changed anything yet: there is no journal of one in %s", dir)
	}
	return journal.Deploy{}, usage(fmt.Errorf("no deploy begins with %q; their journals are in %s", name, dir))
}

// show prints a result for people, or as JSON.
func (a *app) show(v fmt.Stringer, err error) error {
	if err != nil {
		return err
	}
	if a.json {
		return json.NewEncoder(a.stdout).Encode(v)
	}
	_, err = io.WriteString(a.stdout, strings.TrimRight(v.String(), "\n")+"\n")
	return err
}

func newBacktestCommand(a *app) *cobra.Command {
	o := sim.BacktestOptions{}
	cmd := &cobra.Command{
		Use:   "backtest [LOG]",
		Short: "try settings on this fleet's past: false alarms, time to pass",
		Long: `Replays recorded counts of hosts that all ran good releases (` + "`scap gate record`" + ` writes such a LOG; - or nothing is stdin): in
each window some hosts play canary, so that each fail is a false alarm; then tenfold harm is put on them, to see whether it is
caught. For each setting it says how often that happened, with 95 % bounds, and how long a pass took at this fleet's traffic.`,
		Args: argCount(0, 1),
	}
	f := cmd.Flags()
	f.IntVar(&o.Canaries, "canaries", 5, "`N` hosts play canary")
	f.IntVar(&o.Controls, "controls", 40, "`N` hosts play control, at most")
	f.IntVar(&o.Splits, "splits", 10, "`N` trials in each window, with other canaries")
	f.DurationVar(&o.MaxWait, "max-wait", 10*time.Minute, "`TIME` of a window")
	f.Float64Var(&o.Ratio, "ratio", 10, "harm put on the canaries: `N` times the old rate; 1: none")
	f.Uint64Var(&o.Seed, "seed", 1, "`N`: the same one gives the same numbers")
	rule := ruleFlags(f)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := errors.Join(given(f, "canaries", "controls", "splits", "max-wait", "ratio"), rule.Check()); err != nil {
			return usage(err)
		}
		in, done, err := a.input(args)
		if err != nil {
			return err
		}
		defer done()
		o.Settings = sim.Settings(*rule)
		report, err := sim.Backtest(cmd.Context(), sim.Read(in), o)
		return a.show(report, err)
	}
	return cmd
}

// input opens the file that args name, or stdin.
func (a *app) input(args []string) (in io.Reader, done func(), err error) {
	if len(args) == 0 || args[0] == "-" {
		if _, interactive := a.terminal(); interactive {
			return nil, nil, usage(errors.New("a LOG is wanted: a file, or something on stdin; `scap gate record` writes one"))
		}
		return a.stdin, func() {}, nil
	}
	f, err := os.Open(args[0])
	if err != nil {
		return nil, nil, usage(err)
	}
	return f, func() { _ = f.Close() }, nil
}
