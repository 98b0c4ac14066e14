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
