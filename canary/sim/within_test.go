package sim

import (
	"fmt"
	"strings"
	"testing"

	"scap/canary"
)

// A twentieth of the requests goes to the new release: of five whole hosts of a hundred, of one of twenty, or of each of twenty
// machines. The figures that the table shows, with this seed: what is within machines is found as soon, is never blamed on a bad
// machine, and needs no second host.
func TestACanaryWithinMachinesBesideWholeHosts(t *testing.T) {
	const runs = 300
	whole := Scenario{Rate: 4000, Share: .05, Base: 1e-4, Shock: .3, Canaries: 5, Controls: 95, Phi: 1, Runs: runs, Seed: 11}
	one, within := whole, whole
	one.Canaries, one.Controls = 1, 19
	within.Within, within.Canaries = true, 20
	type key struct {
		arms string
		r    float64
		sick float64
	}
	got := map[key]Outcome{}
	var table strings.Builder
	fmt.Fprintf(&table, "%-22s %-20s %-7s %-7s %-7s %-7s %s\n", "canary", "release", "fail", "pass", "one host", "hold", "seconds to fail; to pass")
	for _, a := range []struct {
		name string
		s    Scenario
	}{{"5 whole hosts of 100", whole}, {"1 whole host of 20", one}, {"5 % of 20 machines", within}} {
		for _, c := range []struct{ r, sick float64 }{{1, 1}, {1, 100}, {3, 1}, {5, 1}, {10, 1}, {100, 1}} {
			s := a.s
			s.Ratio, s.Sick = c.r, c.sick
			res, err := Run(t.Context(), s, canary.Rule{})
			if err != nil {
				t.Fatal(err)
			}
			o := res.Of(Ours)
			got[key{a.name, c.r, c.sick}] = o
			name := fmt.Sprintf("r=%g", c.r)
			if c.sick > 1 {
				name += ", a bad machine"
			}
			fmt.Fprintf(&table, "%-22s %-20s %-7s %-7s %-8s %-7s %s; %s\n", a.name, name, percent(o.Fail), percent(o.Pass), percent(o.Suspect), percent(o.Hold), o.FailAfter, o.PassAfter)
		}
	}
	t.Logf("\n%s", &table)
	in := func(r, sick float64) Outcome { return got[key{"5 % of 20 machines", r, sick}] }
	hosts := func(r, sick float64) Outcome { return got[key{"5 whole hosts of 100", r, sick}] }
	most(t, "false fail within machines", in(1, 1).Fail, maxFalseFail)
	most(t, "false pass at ratio 3", in(3, 1).Pass, maxFalsePass)
	most(t, "alarms for a bad machine", in(1, 100).Fail+in(1, 100).Suspect, maxFalseFail)
	most(t, "machines suspected", in(1, 100).Suspect+in(10, 1).Suspect, 0)
	most(t, "ratio 10 not failed", 1-in(10, 1).Fail, .01)
	most(t, "seconds to find ratio 10", in(10, 1).FailAfter.T50, hosts(10, 1).FailAfter.T50+5)
	most(t, "seconds to pass", in(1, 1).PassAfter.T50, hosts(1, 1).PassAfter.T50+5)
	if o := hosts(1, 100); o.Suspect < .9 {
		t.Errorf("of whole hosts a bad one is found in %.2f of the runs only: the comparison says nothing", o.Suspect)
	}
	if o := got[key{"1 whole host of 20", 10, 1}]; o.Fail > 0 {
		t.Errorf("one host alone fails a release in %.2f of the runs", o.Fail)
	}
}
