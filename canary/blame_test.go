package canary

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// withWorkers makes a source say that failures of a host came from that many of its workers.
func withWorkers(n int) func(*Reading) {
	return func(r *Reading) {
		for i := range r.Hosts {
			for _, k := range r.Hosts[i].Ticks {
				if k.Failing > 0 {
					r.Hosts[i].Workers = n
				}
			}
		}
	}
}

// A bad host of five is told from the release also where for some ticks it is the only one that is seen: because it was the
// first of its batch to be activated, or because the others cannot be read.
func TestOneBadHostSeenAloneIsNotTheRelease(t *testing.T) {
	first := func(d *deploy) {
		for i := range d.Canary {
			if d.Canary[i].Name != "a3" {
				continue
			}
			d.Canary[i].Since = epoch.Add(-40 * time.Second)
		}
	}
	bad := func(rate float64) func(string, time.Time) float64 {
		return func(h string, at time.Time) float64 {
			if h == "a3" && !at.Before(epoch.Add(-45*time.Second)) {
				return rate
			}
			return 1e-3
		}
	}
	crash := func(h string, _, _ time.Time, x int64) []Print {
		if h != "a3" || x == 0 {
			return nil
		}
		return []Print{{Text: "Error: Bus error", Count: x}}
	}
	blind := map[string]HostReading{}
	for _, h := range []string{"a0", "a1", "a2", "a4"} {
		blind[h] = HostReading{Problem: "permission denied"}
	}
	for name, tt := range map[string]struct {
		source script
		change func(*deploy)
		want   Verdict
	}{
		"first, and fails often":          {script{rate: bad(3e-2), hostile: withWorkers(4)}, first, Suspect},
		"first, and fails always":         {script{rate: bad(0.9)}, first, Suspect},
		"first, with an error of its own": {script{rate: bad(3e-2), prints: crash, hostile: withWorkers(4)}, first, Suspect},
		"others not read, often":          {script{rate: bad(3e-2), problem: blind, hostile: withWorkers(4)}, nil, Hold},
		"others not read, always":         {script{rate: bad(0.9), problem: blind}, nil, Hold},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDeploy(&tt.source, 5, 20)
			if tt.change != nil {
				tt.change(d)
			}
			r, at := d.run(t, 3*time.Minute)
			if r.Verdict != tt.want || tt.want == Suspect && strings.Join(r.Suspects, "") != "a3" {
				t.Errorf("%s %v at %v: %s", r.Verdict, r.Suspects, at, r.Reason)
			}
		})
	}
}

// The asker's clock that goes back closes no tick: nothing was looked at, so what was missing in the look before may be missing still.
func TestAClockThatGoesBackPassesNothing(t *testing.T) {
	for name, s := range map[string]*script{
		"a nonce not read": {nonce: func(h string) bool { return h != "a4" }},
		"errors not read":  {},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDeploy(s, 5, 20)
			if name == "errors not read" {
				d.run(t, 60*time.Second)
				s.err = errors.New("connection refused")
			}
			if r := d.look(t, 2*time.Minute); r.Verdict != Hold {
				t.Fatalf("%s: %s", r.Verdict, r.Reason)
			}
			for _, back := range []time.Duration{115, 100, 30, 1} {
				if r := d.look(t, back*time.Second); r.Verdict != Hold {
					t.Errorf("at %v: %s: %s", back*time.Second, r.Verdict, r.Reason)
				}
			}
		})
	}
}

// A suspect that was taken out leaves nothing behind, whichever gate named it: neither its failures nor its errors.
func TestASuspectTakenOutLeavesNothingBehind(t *testing.T) {
	crash := Print{Text: "Error: Bus error", Count: 1}
	s := &script{rate: worse(1e-3, 30, "a3"), prints: func(h string, from, _ time.Time, x int64) []Print {
		switch {
		case h == "a3" && x > 0:
			p := crash
			p.Count = x
			return []Print{p}
		case h == "a1" && from.After(epoch.Add(2*time.Minute)) && from.Before(epoch.Add(130*time.Second)) && x > 0:
			return []Print{crash}
		}
		return typeError("-")(h, from, from, x)
	}}
	for name, named := range map[string]bool{"by this gate": true, "by another": false} {
		t.Run(name, func(t *testing.T) {
			d := newDeploy(s, 5, 20)
			r, at := d.run(t, time.Minute)
			if r.Verdict != Suspect {
				t.Fatalf("%s: %s", r.Verdict, r.Reason)
			}
			if !named { // this gate had something to wait for
				var a account
				if err := json.Unmarshal(d.evidence, &a); err != nil {
					t.Fatal(err)
				}
				a.Suspect = nil
				d.evidence, _ = json.Marshal(a)
			}
			d.gate.Rule.Dwell = 4 * time.Minute
			d.Canary = append(d.Canary[:3:3], d.Canary[4])
			if r, at := d.runFrom(t, at+5*time.Second, 10*time.Minute); r.Verdict != Pass {
				t.Errorf("without it %s at %v: %s", r.Verdict, at, r.Reason)
			}
		})
	}
}

// A source that knew of no host in the first look has given no history: without it old errors look new.
func TestAHistoryOfWhichNothingIsKnownIsReadAgain(t *testing.T) {
	s := &script{rate: flat(2e-3), prints: func(h string, from, to time.Time, x int64) []Print {
		if h[:1] == "a" || from.Before(epoch.Add(-time.Minute)) {
			return typeError("a", "b")(h, from, to, x)
		}
		return typeError("-")(h, from, to, x)
	}}
	s.hostile = func(r *Reading) {
		for i := range r.Hosts {
			r.Hosts[i] = HostReading{Host: r.Hosts[i].Host}
		}
	}
	d := newDeploy(s, 5, 20)
	if r := d.look(t, 5*time.Second); r.Verdict != Hold {
		t.Fatalf("%s: %s", r.Verdict, r.Reason)
	}
	s.hostile = nil
	if r, at := d.runFrom(t, 10*time.Second, 5*time.Minute); r.Verdict != Pass {
		t.Errorf("%s at %v: %s", r.Verdict, at, r.Reason)
	}
}

// Phases may look in ticks of their own: what was counted in the ticks of an earlier one goes on in them.
func TestEvidenceOutlivesAPhaseWithOtherTicks(t *testing.T) {
	s := &script{rate: flat(1e-3)}
	for _, ticks := range [][2]time.Duration{{5 * time.Second, 2 * time.Second}, {5 * time.Second, 10 * time.Second}} {
		d := newDeploy(s, 5, 20)
		d.gate.Rule.Tick = ticks[0]
		if r, at := d.run(t, 10*time.Minute); r.Verdict != Pass {
			t.Fatalf("%s at %v: %s", r.Verdict, at, r.Reason)
		}
		var before, after Numbers
		_ = json.Unmarshal(d.look(t, 3*time.Minute).Numbers, &before)
		d.gate.Rule.Tick = ticks[1]
		s.asked = nil
		r := d.look(t, 3*time.Minute+5*time.Second)
		for _, q := range s.asked { // what is usual was learned of the old release; now half of the fleet may have the new one
			if q.From.Before(epoch) {
				t.Errorf("%v: asked again from %v on", ticks, q.From)
			}
		}
		if err := json.Unmarshal(r.Numbers, &after); err != nil || after.Batch != before.Batch || after.Canary.Requests <= before.Canary.Requests || after.Dwelt <= before.Dwelt {
			t.Errorf("%v: %s: %s", ticks, r.Verdict, r.Reason)
		}
	}
}
