package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
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
		Short: "look into the canary gate: explain a deploy, simulate, replay, backtest",
		Long: `The gate fails a release on evidence that its hosts fail more often than those that still run the old one (an e-value of
200: valid however often one looks), passes it on evidence against harm, and holds on anything else, saying what is missing.`,
		Args: verbOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newExplainCommand(a), newSimulateCommand(a), newRecordCommand(a), newReplayLogCommand(a), newBacktestCommand(a))
	return cmd
}

// ruleFlags are the settings of a gate that can be tried out.
func ruleFlags(f *pflag.FlagSet) *canary.Rule {
	r := &canary.Rule{}
	f.Float64Var(&r.HarmRatio, "harm-ratio", 3, "failing this many `TIMES` as often is harm")
	r.HarmRate = 3e-4
	f.Var((*share)(&r.HarmRate), "harm-rate", "in at least this `SHARE` of requests")
	f.Int64Var(&r.MinRequests, "min-requests", 1000, "of the canaries, before a pass, at least `N`")
	f.DurationVar(&r.Dwell, "dwell", time.Minute, "before a pass at least this `TIME`")
	f.Float64Var(&r.FailAt, "fail-at", 200, "the `E-VALUE` of a fail; its false alarms are at most one in so many")
	f.DurationVar(&r.Tick, "tick", 5*time.Second, "count by this `TIME`")
	return r
}

func newExplainCommand(a *app) *cobra.Command {
	var svg string
	cmd := &cobra.Command{
		Use:   "explain [DEPLOY]",
		Short: "show the gates' evidence in a deploy over time, and why they ruled as they did",
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
		return usage(fmt.Errorf("--svg: %w", err))
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

func newSimulateCommand(a *app) *cobra.Command {
	s := sim.Scenario{Seed: 1}
	var table bool
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "try the gate and four other tools' rules on made-up traffic, as often as you like",
		Long: `Simulates deploys on made-up traffic and says how often each rule fails, passes or holds, and when. The rules beside this gate's
are scap's (10 errors in 20 s), a tenfold rise over before, an error rate over 1 % in three checks, and Kayenta's Mann-Whitney.
The same seed gives the same traffic. --table tries four sizes of fleets with six kinds of releases in place of one.`,
		Example: `  scap gate simulate --rate 2000 --share 10% --base 1e-4 --ratio 5
  scap gate simulate --table --runs 2000`,
		Args: argCount(0, 0),
		RunE: nil,
	}
	f := cmd.Flags()
	f.Float64Var(&s.Rate, "rate", 2000, "requests a second of the whole fleet, `N`")
	f.Var((*share)(&s.Share), "share", "of them that the canaries get, a `SHARE`")
	f.Var((*share)(&s.Base), "base", "the old release's error rate, a `SHARE`")
	f.Float64Var(&s.Ratio, "ratio", 1, "the new release fails this many `TIMES` as often")
	f.Float64Var(&s.Clustering, "clustering", 1, "variance over mean of a host's errors in a tick, `N`; 1: they come alone")
	f.Float64Var(&s.Shock, "shock", 0.3, "`SIGMA` of what shakes both arms alike")
	f.DurationVar(&s.Lag, "lag", 0, "`TIME` from a request to its count")
	f.IntVar(&s.Canaries, "canaries", 5, "`N` hosts")
	f.IntVar(&s.Controls, "controls", 20, "`N` hosts")
	f.DurationVar(&s.MaxWait, "max-wait", 10*time.Minute, "without a verdict by this `TIME` it is inconclusive")
	f.Float64Var(&s.Phi, "phi", 0, "give the rule this overdispersion, `N`; 0: it estimates it from a history")
	f.IntVar(&s.Runs, "runs", 2000, "`N` deploys")
	f.Uint64Var(&s.Seed, "seed", 1, "`N`")
	f.BoolVar(&table, "table", false, "the table of fleets and releases")
	s.Share, s.Base = 0.1, 1e-4
	rule := ruleFlags(f)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := rule.Check(); err != nil {
			return usage(err)
		}
		if table {
			g, err := sim.Table(cmd.Context(), *rule, s.Runs, s.Seed)
			return a.show(g, err)
		}
		r, err := sim.Run(cmd.Context(), s, *rule)
		return a.show(simulated(r), err)
	}
	return cmd
}

// simulated is one scenario's result as people read it.
type simulated sim.Result

// String is a table with a line for each rule.
func (r simulated) String() string {
	var b strings.Builder
	s := r.Scenario
	fmt.Fprintf(&b, "%g requests/s, %g %% on the canaries, %g failing, the new release %g times as often; %d deploys, seed %d\n",
		s.Rate, 100*s.Share, s.Base, s.Ratio, s.Runs, s.Seed)
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "RULE\tFAIL\tPASS\tSUSPECT\tNEITHER\tFAIL AFTER, S\tPASS AFTER, S\tWRONG")
	for _, o := range r.Outcomes {
		fmt.Fprintf(t, "%s\t%.2f %%\t%.2f %%\t%.2f %%\t%.2f %%\t%s\t%s\t%s\n", o.Rule, 100*o.Fail, 100*o.Pass, 100*o.Suspect, 100*o.Inconclusive,
			o.FailAfter, o.PassAfter, wrong(o))
	}
	_ = t.Flush() // a Builder does not fail
	b.WriteString("AFTER: the median and what 95 % stayed within. WRONG: false alarms, or passes of a release that does harm.\n")
	return b.String()
}

// MarshalJSON is that of the result.
func (r simulated) MarshalJSON() ([]byte, error) { return json.Marshal(sim.Result(r)) }

func wrong(o sim.Outcome) string {
	switch {
	case o.FalseAlarm > 0:
		return fmt.Sprintf("%.2f %% false alarms", 100*o.FalseAlarm)
	case o.Miss > 0:
		return fmt.Sprintf("%.2f %% missed", 100*o.Miss)
	}
	return "-"
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
		Short: "try settings of the gate on past days of this fleet: false alarms, time to pass",
		Long: `Replays recorded counts of hosts that all ran good releases (` + "`scap gate record`" + ` writes such a LOG; - or nothing is stdin): in
each window some hosts play canary, so that each fail is a false alarm; then tenfold harm is put on them, to see whether it is
caught. For each setting it says how often that happened, with 95 % bounds, and how long a pass took at this fleet's traffic.`,
		Args: argCount(0, 1),
	}
	f := cmd.Flags()
	f.IntVar(&o.Canaries, "canaries", 5, "`N` hosts play canary")
	f.IntVar(&o.Controls, "controls", 40, "`N` hosts play control, at most")
	f.IntVar(&o.Splits, "splits", 10, "`N` trials in each window, with other canaries")
	f.DurationVar(&o.MaxWait, "max-wait", 10*time.Minute, "a window's `TIME`")
	f.Float64Var(&o.Ratio, "ratio", 10, "harm put on the canaries, `TIMES` the old rate; 1: none")
	f.Uint64Var(&o.Seed, "seed", 1, "`N`")
	rule := ruleFlags(f)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := rule.Check(); err != nil {
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
