package canary

import (
	"slices"
	"testing"
	"time"
)

// A host that comes over from the control: what it served before its new runtime began is not counted any more, and that is
// no contradiction.
func TestTrafficTakesAHostThatComesOver(t *testing.T) {
	s := &script{}
	d := newDeploy(s, 5, 20)
	r, at := d.run(t, 10*time.Minute)
	if r.Verdict != Pass {
		t.Fatalf("%s at %v: %s", r.Verdict, at, r.Reason)
	}
	since := epoch.Add(at + 4*time.Second)
	moved := d.Control[:5:5]
	for i := range moved {
		moved[i].Since, moved[i].Nonce = since, "nonce2"
	}
	d.Earlier, d.Canary, d.Control, d.Opened = d.Canary, moved, d.Control[5:], since
	s.hostile = func(r *Reading) {
		for i := range r.Hosts {
			h := &r.Hosts[i]
			if slices.ContainsFunc(moved, func(m Host) bool { return m.Name == h.Host }) {
				h.Ticks = slices.DeleteFunc(h.Ticks, func(t Tick) bool { return t.At.Before(since) })
			}
		}
	}
	if r := d.look(t, at+15*time.Second); r.Verdict != Hold || r.Cause != Gathering {
		t.Errorf("%s %s: %s", r.Verdict, r.Cause, r.Reason)
	}
}

// Both arms fail alike, a little more than half of the requests on one and a little less than half on the other.
func TestHardStopSparesAReleaseThatFailsAsTheControlDoes(t *testing.T) {
	cells := func(arm string, hosts, n, x int) (list []Cell) {
		for i := range hosts {
			list = append(list, Cell{Host: arm + string(rune('0'+i)), N: int64(n), X: int64(x)})
		}
		return list
	}
	for name, tt := range map[string]struct {
		failing int // of 20 on each of two control hosts
		want    bool
	}{"as the control does": {9, false}, "alone": {0, true}} {
		b := &Book{}
		for range 100 {
			b.Learn(cells("b", 2, 20, 0))
		}
		b.Add(Rule{}, Counts{At: epoch, Canary: cells("a", 5, 20, 12), Control: cells("b", 2, 20, tt.failing)})
		if (b.Hard != nil) != tt.want {
			t.Errorf("%s: hard %v", name, b.Hard)
		}
	}
}
