package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"scap/canary/sim"
)

func newSimulateCommand(a *app) *cobra.Command {
	s := sim.Scenario{Seed: 1, Share: 0.1, Base: 1e-4}
	var table bool
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "try the gate and four other tools' rules on made-up traffic",
		Long: `Simulates deploys on made-up traffic and says how often each rule fails, passes or holds, and when. The rules beside this gate's
are scap's (10 errors in 20 s), a tenfold rise over before, an error rate over 1 % in three checks, and Kayenta's Mann-Whitney.
SHARE is 0.05, 5% or 1e-4. ` + "`scap help gate`" + ` explains the words.`,
		Example: `  scap gate simulate --rate 2000 --share 10% --base 1e-4 --ratio 5
  scap gate simulate --table --runs 2000`,
		Args: argCount(0, 0),
	}
	f := cmd.Flags()
	f.Float64Var(&s.Rate, "rate", 2000, "`N` requests a second, of the whole fleet")
	f.Var((*share)(&s.Share), "share", "`SHARE` of them that the canaries get")
	f.Var((*share)(&s.Base), "base", "`SHARE` of requests that fail on the old release")
	f.Float64Var(&s.Ratio, "ratio", 1, "the new release fails `N` times as often")
	f.Float64Var(&s.Clustering, "clustering", 1, "variance over mean of a host's errors in a tick, `N`; 1: each comes alone")
	f.Float64Var(&s.Shock, "shock", 0.3, "what shakes canary and control alike: the logarithm of the error rate has this standard deviation `N`")
	f.DurationVar(&s.Lag, "lag", 0, "`TIME` from a request until it is counted")
	f.IntVar(&s.Canaries, "canaries", 5, "`N` canary hosts")
	f.IntVar(&s.Controls, "controls", 20, "`N` control hosts")
	f.DurationVar(&s.MaxWait, "max-wait", 10*time.Minute, "give up after this `TIME` without a verdict")
	f.Float64Var(&s.Phi, "phi", 0, "tell the rule that clustering is `N`; 0: it estimates it from a history")
	f.IntVar(&s.Runs, "runs", 2000, "`N` deploys, of each")
	f.Uint64Var(&s.Seed, "seed", 1, "`N`: the same one gives the same numbers")
	f.BoolVar(&table, "table", false, "in place of one: four sizes of fleets with six kinds of releases")
	rule := ruleFlags(f)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := errors.Join(given(f, "rate", "ratio", "clustering", "runs", "canaries", "controls", "max-wait"), rule.Check()); err != nil {
			return usage(err)
		}
		if table {
			g, err := sim.Table(cmd.Context(), *rule, s.Runs, s.Seed)
			return a.show(g, err)
		}
		r, err := sim.Run(cmd.Context(), s, *rule)
		if err != nil && cmd.Context().Err() == nil {
			err = usage(err)
		}
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
	fmt.Fprintf(&b, "%g requests/s, %g %% of them on the canaries; %g %% fail on the old release,\non the new one %g times as many; %d deploys, seed %d\n\n",
		s.Rate, 100*s.Share, 100*s.Base, s.Ratio, s.Runs, s.Seed)
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "RULE\tFAIL\tPASS\tSUSPECT\tHOLD\tFAIL AT\tPASS AT\tWRONG")
	for _, o := range r.Outcomes {
		fmt.Fprintf(t, "%s\t%.1f %%\t%.1f %%\t%.1f %%\t%.1f %%\t%s\t%s\t%.2f %%\n", o.Rule, 100*o.Fail, 100*o.Pass, 100*o.Suspect, 100*o.Hold,
			o.FailAfter, o.PassAfter, 100*max(o.FalseAlarm, o.Miss))
	}
	_ = t.Flush() // a Builder does not fail
	b.WriteString("\nAT: seconds after the switch, the median and what 95 % stayed within.\nHOLD: no verdict in time. WRONG: " + wrongly(r.Outcomes) + ".\n")
	return b.String()
}

// MarshalJSON is that of the result.
func (r simulated) MarshalJSON() ([]byte, error) { return json.Marshal(sim.Result(r)) }

// wrongly says what WRONG counts: a release does harm or it does not.
func wrongly(all []sim.Outcome) string {
	for _, o := range all {
		switch {
		case o.FalseAlarm > 0:
			return "fails of a release that does no harm"
		case o.Miss > 0:
			return "passes of a release that does harm"
		}
	}
	return "fails of a release that does no harm, or passes of one that does"
}
