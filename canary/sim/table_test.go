package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"scap/canary"
)

const runs = 2000

// The bounds that the gate must hold, whatever the fleet.
const (
	maxFalseFail = .005 // at ratio 1, also when failures are clustered and phi is estimated
	maxFalsePass = .05  // at the ratio that is harm
)

// usual is what the rule took when it was designed, in seconds, with the hosts left out of it: median and 95 %. The median of
// tenfold harm must be no later. Else a tick more is allowed: that a fail keeps when any one host is left out costs up to that.
var usual = []struct {
	pass        Times
	passed      float64 // at least this share of the good releases
	five, tenth Times
}{
	{pass: Times{90, 255}, passed: .99, five: Times{55, 130}, tenth: Times{15, 40}},
	{pass: Times{155, 450}, passed: .94, five: Times{115, 275}, tenth: Times{35, 85}},
	{pass: Times{60, 60}, passed: .99, five: Times{10, 15}, tenth: Times{5, 5}},
	{pass: Times{345, 560}, passed: .37, tenth: Times{195, 450}},
}

func TestTheGateHoldsItsBoundsBesideItsPeers(t *testing.T) {
	g, err := Table(context.Background(), canary.Rule{}, runs, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", g)
	for i, row := range g.Rows {
		at := map[string]Result{}
		for j, c := range g.Columns {
			at[c.Name] = row.Results[j]
		}
		good, bursts, harm, tenfold := at["r=1"].Of(Ours), at["r=1 bursts"].Of(Ours), at["r=3"].Of(Ours), at["r=10"].Of(Ours)
		most(t, row.Name+": false fail", good.Fail, maxFalseFail)
		most(t, row.Name+": false fail with bursts, phi estimated", bursts.Fail, maxFalseFail)
		most(t, row.Name+": false pass at ratio 3", harm.Pass, maxFalsePass)
		const tick = 5
		u := usual[i]
		most(t, row.Name+": median to pass", good.PassAfter.T50, u.pass.T50+tick)
		most(t, row.Name+": 95 % to pass", good.PassAfter.T95, u.pass.T95+tick)
		most(t, row.Name+": good ones not passed", 1-good.Pass, 1-u.passed)
		most(t, row.Name+": median to find ratio 10", tenfold.FailAfter.T50, u.tenth.T50)
		most(t, row.Name+": ratio 10 not failed", 1-tenfold.Fail, .05)
		most(t, row.Name+": ratio 10 passed", tenfold.Pass, .002)
		most(t, row.Name+": ratio 100 passed", at["r=100"].Of(Ours).Pass, 0)
		if u.five.T50 > 0 { // two hosts' worth of evidence may be two ticks away
			most(t, row.Name+": median to find ratio 5", at["r=5"].Of(Ours).FailAfter.T50, u.five.T50+2*tick)
		}
		clustered := Fleets()[i]
		clustered.Ratio, clustered.Clustering, clustered.Runs, clustered.Seed = 3, 5, runs, 1
		r, err := Run(context.Background(), clustered, canary.Rule{})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s, r=3 bursts: %.2f %% let through", row.Name, 100*r.Of(Ours).Pass)
		most(t, row.Name+": false pass at ratio 3 with bursts, phi estimated", r.Of(Ours).Pass, maxFalsePass)
		for _, r := range row.Results {
			for _, o := range r.Outcomes {
				near(t, row.Name+": all shares of "+o.Rule, o.Fail+o.Pass+o.Suspect+o.Hold, 1, 1e-9)
			}
		}
	}
	peersMiss(t, g)
}

func most(t *testing.T, what string, got, limit float64) {
	t.Helper()
	if !(got <= limit) {
		t.Errorf("%s: %.4g, want at most %g", what, got, limit)
	}
}

// peersMiss holds what is said of the others: a fixed count is right on neither side, a ratio to what was before and a fixed
// share miss a tenfold rate, ranks of buckets take minutes and let a threefold one through.
func peersMiss(t *testing.T, g Grid) {
	t.Helper()
	quiet, noisy, small := g.Rows[1].Results, g.Rows[2].Results, g.Rows[3].Results
	for _, c := range []struct {
		what      string
		got       float64
		low, high float64
	}{
		{"a count of 10 blocks good deploys of a busy fleet", noisy[0].Of(Counting).Fail, .28, .38},
		{"and passes a tenfold rate on a quiet one", quiet[4].Of(Counting).Pass, .95, 1},
		{"before/after passes a tenfold rate", quiet[4].Of(Increase).Pass, .95, 1},
		{"1 % passes a tenfold rate", quiet[4].Of(Threshold).Pass, 1, 1},
		{"Mann-Whitney passes a threefold rate", quiet[2].Of(MannWhitney).Pass, .9, 1},
		{"and a tenfold one on a small fleet", small[4].Of(MannWhitney).Pass, .3, .8},
		{"after this many seconds", quiet[4].Of(MannWhitney).FailAfter.T50, 500, 500},
	} {
		if c.got < c.low || c.got > c.high {
			t.Errorf("%s: %.3g, want %g to %g", c.what, c.got, c.low, c.high)
		}
	}
}

// The checks above can fail: each of these rules is broken in one place and leaves a bound far behind.
func TestABrokenRuleBreaksABound(t *testing.T) {
	for _, c := range []struct {
		name   string
		fleet  int
		change func(*Scenario)
		rule   canary.Rule
		blind  bool
		bad    func(Outcome) float64
		limit  float64
	}{
		{
			"an e-value of 5 is a fail, and no host is left out", 1,
			func(s *Scenario) { s.Phi = 1 },
			canary.Rule{FailAt: 5, LeaveOut: 1.01},
			false,
			func(o Outcome) float64 { return o.Fail },
			maxFalseFail,
		},
		{
			"bursts are taken for independent, and no host is left out", 1,
			func(s *Scenario) { s.Phi, s.Clustering = 1, 5 },
			canary.Rule{LeaveOut: 1.01},
			false,
			func(o Outcome) float64 { return o.Fail },
			maxFalseFail,
		},
		{
			"the control arm is ignored when both get worse", 0,
			func(s *Scenario) { s.Phi, s.Surge = 1, 5 },
			canary.Rule{},
			true,
			func(o Outcome) float64 { return o.Fail },
			maxFalseFail,
		},
		{
			"harm is taken for refuted at 2", 1,
			func(s *Scenario) { s.Phi, s.Ratio = 1, 3 },
			canary.Rule{PassAt: 2},
			false,
			func(o Outcome) float64 { return o.Pass },
			maxFalsePass,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Fleets()[c.fleet]
			s.Seed, s.Runs = 7, runs
			c.change(&s)
			broken, err := run(context.Background(), s, c.rule, c.blind)
			if err != nil {
				t.Fatal(err)
			}
			if s.Clustering > 1 {
				s.Phi = 0
			}
			whole, err := Run(context.Background(), s, canary.Rule{})
			if err != nil {
				t.Fatal(err)
			}
			b, w := c.bad(broken.Of(Ours)), c.bad(whole.Of(Ours))
			t.Logf("broken %.4f, whole %.4f, limit %g", b, w, c.limit)
			most(t, "the whole rule", w, c.limit)
			if b < 2*c.limit {
				t.Errorf("the broken rule stays at %.4f: the bound of %g would not tell", b, c.limit)
			}
		})
	}
}

func TestTheTableCanBeReadAndParsed(t *testing.T) {
	g, err := Table(context.Background(), canary.Rule{}, 20, 3)
	if err != nil {
		t.Fatal(err)
	}
	text := g.String()
	for _, line := range strings.Split(text, "\n") {
		if n := utf8.RuneCountInString(line); n > 100 || strings.TrimRight(line, " ") != line {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	for _, want := range []string{"20 runs a cell, seed 3", "8000/s, canaries 5 %, errors 0.0001", Ours, Counting, Increase, Threshold, MannWhitney, "r=1 bursts"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	data, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	var back Grid
	if err := json.Unmarshal(data, &back); err != nil || back.String() != text {
		t.Errorf("through JSON: %v\n%s", err, back)
	}
}

func TestSharesAreWrittenShort(t *testing.T) {
	for share, want := range map[float64]string{0: "0", .0005: ".05%", .00004: "<.01%", .0099: ".99%", .00996: "1.0%", .032: "3.2%", .41: "41%", .996: "99.6%", .99999: "99.9%", 1: "100%"} {
		if got := percent(share); got != want {
			t.Errorf("%g is %q, want %q", share, got, want)
		}
	}
	for times, want := range map[Times]string{{}: "-", {5, 5}: "5", {15, 40}: "15-40"} {
		if got := fmt.Sprint(times); got != want {
			t.Errorf("%v is %q, want %q", times, got, want)
		}
	}
}
