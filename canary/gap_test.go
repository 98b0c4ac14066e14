package canary

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func numbers(t *testing.T, r Ruling) (n Numbers) {
	t.Helper()
	if err := json.Unmarshal(r.Numbers, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// What is lost for good holds while it lasts, and for a dwell after. Then it passes: on what was there, and on nothing else.
func TestTrafficGap(t *testing.T) {
	const from, to, again = 30 * time.Second, 47 * time.Second, 50 * time.Second
	all := func(hosts string, s *script) {
		s.cut = map[string]cut{}
		for h := range strings.FieldsSeq(hosts) {
			s.cut[h] = cut{from, to}
		}
	}
	for name, tt := range map[string]struct {
		canaries, controls int
		hosts              string // that lose
		canary, control    int64  // ticks that are missing of each arm, in host x ticks, of those from 30 s to 50 s
	}{
		"of the only canary":       {1, 5, "a0", 4, 4 * 5},
		"of one canary of five":    {5, 5, "a1", 4, 0},
		"of all canaries":          {3, 5, "a0 a1 a2", 4 * 3, 4 * 5},
		"of all control hosts":     {3, 2, "b0 b1", 4 * 3, 4 * 2},
		"of a canary and controls": {3, 2, "a2 b0 b1", 4 * 3, 4 * 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{}
			d := newDeploy(s, tt.canaries, tt.controls)
			all(tt.hosts, s)
			for after := 5 * time.Second; after < again+60*time.Second; after += 5 * time.Second {
				r := d.look(t, after)
				if r.Verdict != Hold || after > from && r.Cause != SourceDown {
					t.Fatalf("%v: %s %s: %s", after, r.Verdict, r.Cause, r.Reason)
				}
				n := numbers(t, r)
				if after == again && n.PassBy0 > 40.001 {
					t.Errorf("harm was refuted by %g, which is credit beyond what is known", n.PassBy0)
				}
				if after >= again && !strings.Contains(strings.Join(n.Missing, "\n"), "ticks before "+clock(epoch.Add(again))+" are lost, so 1m0s of them must close again") {
					t.Errorf("%v: missing %q", after, n.Missing)
				}
			}
			r, at := d.runFrom(t, again+60*time.Second, 5*time.Minute)
			if r.Verdict != Pass || at > again+70*time.Second {
				t.Fatalf("%s at %v: %s", r.Verdict, at, r.Reason)
			}
			n := numbers(t, r)
			ticks := int64(n.Ticks.Sub(epoch) / (5 * time.Second))
			if want := 1000 * (ticks*int64(tt.canaries) - tt.canary); n.Canary.Requests+n.Lone.Requests != want {
				t.Errorf("%d requests of the canaries, want %d", n.Canary.Requests+n.Lone.Requests, want)
			}
			if want := 1000 * ((ticks+1)*int64(tt.controls) - tt.control); n.Control.Requests != want {
				t.Errorf("%d requests of the control hosts, want %d", n.Control.Requests, want)
			}
			if want := 1000 * int64(tt.canaries) * int64(n.Ticks.Sub(epoch.Add(again))/(5*time.Second)); n.Sample != want {
				t.Errorf("a sample of %d, want the %d since", n.Sample, want)
			}
		})
	}
}

// Ticks that may still come are not given up because others are lost.
func TestTrafficGapWaits(t *testing.T) {
	s := &script{cut: map[string]cut{"a1": {30 * time.Second, 47 * time.Second}}}
	d := newDeploy(s, 3, 5)
	d.look(t, 30*time.Second)
	s.problem = map[string]HostReading{"a2": {Problem: "no route to host", Cause: SourceDown}}
	for after := 35 * time.Second; after < 2*time.Minute; after += 5 * time.Second {
		if r := d.look(t, after); r.Verdict != Hold || !numbers(t, r).Ticks.Equal(epoch.Add(30*time.Second)) {
			t.Fatalf("%v: %s to %s", after, r.Verdict, numbers(t, r).Ticks)
		}
	}
	s.problem = nil
	r, _ := d.runFrom(t, 2*time.Minute, 5*time.Minute)
	n := numbers(t, r)
	ticks := int64(n.Ticks.Sub(epoch) / (5 * time.Second))
	if want := 1000 * (3*ticks - 4); r.Verdict != Pass || n.Canary.Requests != want {
		t.Errorf("%s, %d requests, want %d: %s", r.Verdict, n.Canary.Requests, want, r.Reason)
	}
}

// What does not end holds for ever.
func TestTrafficGapThatGoesOn(t *testing.T) {
	s := &script{cut: map[string]cut{"a1": {30 * time.Second, time.Hour}}}
	d := newDeploy(s, 3, 5)
	if r, _ := d.run(t, 15*time.Minute); r.Verdict != Hold || r.Cause != SourceDown {
		t.Errorf("%s %s: %s", r.Verdict, r.Cause, r.Reason)
	}
	// A source that calls it over and goes on with it is not believed.
	s = &script{}
	d = newDeploy(s, 3, 5)
	s.hostile = func(r *Reading) {
		h := &r.Hosts[min(1, len(r.Hosts)-1)]
		h.Problem, h.Lost = "the log was cut off", s.asked[len(s.asked)-1].Now.Add(-time.Second)
	}
	if r, _ := d.run(t, 15*time.Minute); r.Verdict != Hold {
		t.Errorf("%s %s: %s", r.Verdict, r.Cause, r.Reason)
	}
	// Nor does it keep the others from failing.
	s.rate, d.evidence = worse(1e-3, 8, "a"), nil
	s.hostile = func(r *Reading) {
		h := &r.Hosts[min(1, len(r.Hosts)-1)]
		h.Problem, h.Lost = "the log was cut off", s.asked[len(s.asked)-1].From
	}
	if r, at := d.run(t, time.Minute); r.Verdict != Fail {
		t.Errorf("%s %s at %v: %s", r.Verdict, r.Cause, at, r.Reason)
	}
}

// Failures are not lost with what others lose: not those before, not those of other hosts meanwhile.
func TestTrafficGapFails(t *testing.T) {
	lost := map[string]cut{"a1": {10 * time.Second, 47 * time.Second}}
	s := &script{rate: worse(1e-3, 8, "a"), cut: lost}
	d := newDeploy(s, 5, 20)
	if r, at := d.run(t, 10*time.Minute); r.Verdict != Fail || at > 45*time.Second {
		t.Errorf("meanwhile: %s at %v: %s", r.Verdict, at, r.Reason)
	}
	s = &script{rate: worse(1e-3, 8, "a")}
	d = newDeploy(s, 5, 20)
	r, at := d.run(t, 10*time.Minute)
	s.cut = map[string]cut{"a1": {at - 5*time.Second, at + 17*time.Second}}
	for range 10 {
		if at += 5 * time.Second; r.Verdict != Fail {
			t.Fatalf("before: %s at %v: %s", r.Verdict, at, r.Reason)
		}
		r = d.look(t, at)
	}
	// Evidence that is no verdict yet: the only canary fails a little, loses its log, and fails on.
	s = &script{rate: worse(1e-3, 4, "a"), cut: map[string]cut{"a0": {20 * time.Second, 33 * time.Second}}}
	d = newDeploy(s, 1, 20)
	before := numbers(t, d.look(t, 20*time.Second))
	for after := 25 * time.Second; after <= 35*time.Second; after += 5 * time.Second {
		n := numbers(t, d.look(t, after))
		if n.E != before.E || n.Canary != before.Canary || before.Canary.Failing == 0 {
			t.Errorf("%v: e-value %g of %+v, before %g of %+v", after, n.E, n.Canary, before.E, before.Canary)
		}
	}
}
