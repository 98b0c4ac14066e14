package canary

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

// Every verdict and every cause, each by what brings it about on a fleet.
func TestTraffic(t *testing.T) {
	problem := func(host, text string, c Cause) map[string]HostReading {
		return map[string]HostReading{host: {Problem: text, Cause: c}}
	}
	tests := map[string]struct {
		canaries, controls int
		source             script
		change             func(*deploy)
		until              time.Duration
		want               Verdict
		cause              Cause
		by                 time.Duration // latest, of a verdict
		words              string        // in its reason, apart by |
	}{
		"a good release passes": {
			5, 20, script{rate: flat(1e-4)}, nil, 10 * time.Minute, Pass, "", 5 * time.Minute, "harm refuted",
		},
		"without an error too": {
			5, 20, script{}, nil, 10 * time.Minute, Pass, "", 75 * time.Second, "canary 0 of |harm refuted (less than 0.03 %)",
		},
		"errors that everybody has always had pass": {
			5, 20, script{rate: flat(1e-3), prints: typeError("a", "b")}, nil, 10 * time.Minute, Pass, "", 65 * time.Second, "harm refuted (less than 3 times the control)|top error: TypeError",
		},
		"a bad one fails": {
			5, 20,
			script{rate: worse(1e-3, 8, "a"), prints: typeError("a", "b")},
			nil, 10 * time.Minute, Fail, "", 30 * time.Second,
			"canary |control |ratio |evidence of harm |>= 200|top error: TypeError",
		},
		"and at once when nothing works": {
			5, 20, script{rate: worse(1e-4, 6e3, "a"), prints: typeError("a")}, nil, 10 * time.Minute, Fail, "", 10 * time.Second, "stopped at once",
		},
		"a new error fails before the rate does, and says that the change has it": {
			5, 20,
			script{rate: worse(2e-3, 1.05, "a"), prints: func(h string, from, to time.Time, x int64) []Print {
				if h[:1] == "a" && x > 1 {
					return append(typeError("a")(h, from, to, 1), typeError("b")(h, from, to, x-1)...)
				}
				return typeError("-")(h, from, to, x)
			}},
			func(d *deploy) {
				d.gate.Changed = func(from, to string) ([]string, error) {
					if from != "old" || to != "new" {
						return nil, errors.New("other releases")
					}
					return []string{"a.php", "includes/Foo.php"}, nil
				}
			},
			10 * time.Minute, Fail, "", 30 * time.Second, "new error|0 on control|TypeError in includes/Foo.php:88|, in this change",
		},
		"or that it has not": {
			5, 20,
			script{rate: worse(1e-4, 12, "a"), prints: typeError("a")},
			func(d *deploy) {
				d.gate.Changed = func(string, string) ([]string, error) { return []string{"a.php"}, nil }
			},
			10 * time.Minute, Fail, "", 40 * time.Second, "TypeError in includes/Foo.php:88|in no file of this change",
		},
		"edits that drop fail it without any error": {
			5, 20,
			script{good: func(h string, at time.Time) int64 {
				if h[:1] == "a" && !at.Before(epoch) {
					return 5
				}
				return 10
			}},
			nil, 10 * time.Minute, Fail, "", 30 * time.Second, "edits dropped: canary |control |ratio 0.",
		},
		"edits that drop everywhere hold it": {
			5, 20,
			script{good: func(_ string, at time.Time) int64 {
				if !at.Before(epoch) {
					return 3
				}
				return 10
			}},
			nil, 10 * time.Minute, Hold, BothRed, 0, "not this release: edits |both arms|below 50 % of the usual",
		},
		"or pass, for a deployer who knows": {
			5, 20,
			script{good: func(_ string, at time.Time) int64 {
				if !at.Before(epoch) {
					return 3
				}
				return 10
			}},
			func(d *deploy) { d.gate.DespiteRed = "this is the revert" }, 10 * time.Minute, Pass, "", 2 * time.Minute, "",
		},
		"edits below what was configured": {
			5, 20,
			script{good: func(string, time.Time) int64 { return 1 }},
			func(d *deploy) { d.gate.Signals = []Signal{{Name: "edits", AtLeast: 400}} }, 3 * time.Minute, Hold, BothRed, 0,
			"not this release: edits |a minute on all hosts, below 400",
		},
		"errors everywhere hold it": {
			5, 20, script{rate: worse(1e-3, 6, "")}, nil, 10 * time.Minute, Hold, BothRed, 0, "not this release: control had ",
		},
		"one bad host of five is suspected": {
			5, 20, script{rate: worse(1e-3, 30, "a3")}, nil, 10 * time.Minute, Suspect, "", time.Minute, "without a3|that host, not the release",
		},
		"one bad host of one proves nothing": {
			1, 20, script{rate: worse(1e-3, 30, "a")}, nil, 5 * time.Minute, Hold, OneHost, 0, "too few to tell host from release",
		},
		"no traffic": {
			5, 20,
			script{serves: func(h string, _ time.Time) int64 {
				if h[:1] == "a" {
					return 0
				}
				return 1000
			}},
			nil, 10 * time.Minute, Hold, NoTraffic, 0, "no request was served by the 5 canary hosts",
		},
		"no traffic anywhere": {
			5, 20, script{serves: func(string, time.Time) int64 { return 0 }}, nil, 10 * time.Minute, Hold, NoTraffic, 0, "no request",
		},
		"little traffic": {
			1, 4, script{n: 20}, nil, 10 * time.Minute, Hold, LowTraffic, 0, "of 13,6|clean requests; about |max_wait is 10m0s",
		},
		"off share": {
			5, 20,
			script{serves: func(h string, _ time.Time) int64 {
				if h[:1] == "a" {
					return 300
				}
				return 1000
			}},
			nil, 10 * time.Minute, Hold, OffShare, 0, "canaries get |and should get 20 %",
		},
		"the source is down": {
			5, 20, script{err: errors.New("connection refused")}, nil, 10 * time.Minute, Hold, SourceDown, 0, "logs does not answer: connection refused",
		},
		"one minute late": {
			5, 20, script{lag: map[string]time.Duration{"a2": 70 * time.Second}}, nil, 10 * time.Minute, Hold, Late, 0, "a2 is |behind, more than 1m0s",
		},
		"ten minutes late": {
			5, 20, script{lag: map[string]time.Duration{"a2": 10 * time.Minute}}, nil, 10 * time.Minute, Hold, Late, 0, "a2 is |behind, more than 3m0s",
		},
		"half a minute late is none": {
			5, 20, script{lag: map[string]time.Duration{"a2": 30 * time.Second}}, nil, 10 * time.Minute, Pass, "", 100 * time.Second, "",
		},
		"a late control host is left out": {
			5, 20,
			script{lag: map[string]time.Duration{"b2": 90 * time.Second}, problem: problem("b3", "permission denied", SourceDown)},
			nil, 10 * time.Minute, Pass, "", 100 * time.Second, "without control b2 is 90 s behind|b3: permission denied",
		},
		"but not all of them": {
			5, 1,
			script{problem: problem("b0", "permission denied", SourceDown)},
			nil, 5 * time.Minute, Hold, SourceDown, 0, "no control host can be compared with: b0: permission denied",
		},
		"a canary that cannot be read": {
			5, 20, script{problem: problem("a1", "permission denied", "")}, nil, 5 * time.Minute, Hold, SourceDown, 0, "a1: permission denied",
		},
		"a host whose clock is wrong": {
			5, 20, script{problem: problem("a1", "clock is 3m0s ahead", Skewed)}, nil, 5 * time.Minute, Hold, Skewed, 0, "a1: clock is 3m0s ahead",
		},
		"one that the source could correct": {
			5, 20,
			script{skew: map[string]time.Duration{"a1": 3 * time.Minute}},
			func(d *deploy) { d.Canary[1].Since = d.Canary[1].Since.Add(3 * time.Minute) }, 5 * time.Minute, Pass, "", 75 * time.Second, "",
		},
		"a nonce that is not read back": {
			5, 20, script{nonce: func(h string) bool { return h != "a4" }}, nil, 5 * time.Minute, Hold, Unproven, 0, "nonce of a4 not read back",
		},
		"no nonce": {
			5, 20, script{}, func(d *deploy) { d.Canary[0].Nonce = "" }, 5 * time.Minute, Hold, Unproven, 0, "a0 has no nonce",
		},
		"a source that reads none": {
			5, 20, script{nonce: func(string) bool { return false }}, nil, 5 * time.Minute, Hold, Unproven, 0, "not read back",
		},
		"a bad release fails though a host hangs": {
			5, 20,
			script{rate: worse(1e-3, 8, "a"), lag: map[string]time.Duration{"a1": 20 * time.Minute}},
			nil, 10 * time.Minute, Fail, "", time.Minute, "evidence of harm",
		},
		"and though its errors cannot be read": {
			5, 20, script{rate: worse(1e-3, 8, "a"), printed: errors.New("index missing")}, nil, 10 * time.Minute, Fail, "", time.Minute, "evidence of harm",
		},
		"but a good one does not pass without them": {
			5, 20, script{rate: flat(1e-3), printed: errors.New("index missing")}, nil, 5 * time.Minute, Hold, SourceDown, 0, "index missing",
		},
		"coarse ticks": {
			5, 20, script{step: 15 * time.Second, rate: flat(1e-3)}, nil, 10 * time.Minute, Pass, "", 90 * time.Second, "",
		},
		"coarse and bad": {
			5, 20, script{step: 15 * time.Second, rate: worse(1e-3, 8, "a")}, nil, 10 * time.Minute, Fail, "", time.Minute, "",
		},
		"nobody left to compare with, good": {
			25, 0, script{rate: flat(1e-3)}, nil, 10 * time.Minute, Pass, "", 65 * time.Second, "without control",
		},
		"nobody left, bad from the start": {
			25, 0, script{rate: worse(1e-3, 5, "")}, nil, 10 * time.Minute, Fail, "", 30 * time.Second, "no control left|beginning with an activation",
		},
		"nobody left, bad from later on": {
			25, 0,
			script{rate: func(_ string, at time.Time) float64 {
				if at.After(epoch.Add(50 * time.Second)) {
					return 5e-3
				}
				return 1e-3
			}},
			func(d *deploy) { d.gate.Rule.Dwell = 5 * time.Minute }, 3 * time.Minute, Hold, BothRed, 0, "not this release: no control left|not close to an activation",
		},
		"nobody left, one bad host": {
			25, 0, script{rate: worse(1e-4, 900, "a7")}, nil, 10 * time.Minute, Suspect, "", time.Minute, "mostly a7",
		},
		"nobody left, a new error": {
			25, 0,
			script{rate: worse(1e-3, 1.2, ""), prints: func(h string, from, to time.Time, x int64) []Print {
				if from.Before(epoch.Add(-time.Minute)) {
					return typeError("-")(h, from, to, x)
				}
				return typeError("a")(h, from, to, x)
			}},
			nil, 10 * time.Minute, Fail, "", time.Minute, "new error|never before: TypeError",
		},
		"nobody left, edits drop": {
			25, 0,
			script{good: func(_ string, at time.Time) int64 {
				if !at.Before(epoch) {
					return 4
				}
				return 10
			}},
			nil, 10 * time.Minute, Fail, "", 30 * time.Second, "no control left: edits |beginning with an activation",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := tt.source
			d := newDeploy(&s, tt.canaries, tt.controls)
			if tt.change != nil {
				tt.change(d)
			}
			r, at := d.run(t, tt.until)
			if r.Verdict != tt.want || r.Cause != tt.cause {
				t.Fatalf("%s %s at %v, want %s %s: %s", r.Verdict, r.Cause, at, tt.want, tt.cause, r.Reason)
			}
			if tt.want != Hold && at > tt.by {
				t.Errorf("%s at %v, want by %v: %s", r.Verdict, at, tt.by, r.Reason)
			}
			for w := range strings.SplitSeq(tt.words, "|") {
				if !strings.Contains(r.Reason, w) {
					t.Errorf("reason says nothing of %q: %s", w, r.Reason)
				}
			}
			var n Numbers
			if err := json.Unmarshal(r.Numbers, &n); err != nil {
				t.Errorf("numbers: %v", err)
			}
			t.Logf("%v: %s", at, r.Reason)
			if len(r.Evidence) > 100_000 {
				t.Errorf("evidence of %d bytes", len(r.Evidence))
			}
		})
	}
}

func TestTrafficRefuses(t *testing.T) {
	ms := func(i, x int64) Tick {
		return Tick{At: epoch.Add(time.Duration(i) * time.Second), Requests: 10, Failing: x}
	}
	for name, hostile := range map[string]func(*Reading){
		"panics":                     func(*Reading) { panic("index out of range") },
		"fewer hosts than asked":     func(r *Reading) { r.Hosts = r.Hosts[1:] },
		"other hosts":                func(r *Reading) { r.Hosts[0].Host = "x\x1b[2J" },
		"ticks of no multiple":       func(r *Reading) { r.Step = 7 * time.Second },
		"ticks of a negative length": func(r *Reading) { r.Step = -time.Second },
		"ticks of a day":             func(r *Reading) { r.Step = 24 * time.Hour },
		"a negative count":           func(r *Reading) { r.Hosts[0].Ticks = []Tick{ms(0, -1)} },
		"a huge one":                 func(r *Reading) { r.Hosts[0].Ticks = []Tick{ms(0, math.MaxInt64)} },
		"a tick between ticks":       func(r *Reading) { r.Hosts[0].Ticks = []Tick{ms(1, 0)} },
		"a tick twice":               func(r *Reading) { r.Hosts[0].Ticks = []Tick{ms(0, 0), ms(0, 0)} },
		"a tick of long ago":         func(r *Reading) { r.Hosts[0].Ticks = []Tick{ms(-86400, 0)} },
		"negative successes": func(r *Reading) {
			r.Hosts[0].Ticks = []Tick{{At: epoch, Requests: 1, Good: map[string]int64{"edits": -1}}}
		},
		"a fingerprint minus once": func(r *Reading) { r.Hosts[0].Prints = []Print{{Text: "x", Count: -1}} },
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{}
			d := newDeploy(s, 3, 5)
			d.look(t, 5*time.Second)
			s.hostile = hostile
			for after := 10 * time.Second; after < 3*time.Minute; after += 5 * time.Second {
				if r := d.look(t, after); r.Verdict != Hold || r.Cause != SourceDown && r.Cause != Contradict {
					t.Fatalf("%s %s: %s", r.Verdict, r.Cause, r.Reason)
				} else if strings.Contains(r.Reason, "\x1b") {
					t.Errorf("a control character: %q", r.Reason)
				}
			}
			s.hostile = nil
			if r := d.look(t, 3*time.Minute); r.Verdict != Pass {
				t.Errorf("afterwards %s: %s", r.Verdict, r.Reason)
			}
		})
	}
}

// A closed tick that reads differently later, or a counter that shrinks: the source is not to be trusted for a dwell.
func TestTrafficContradiction(t *testing.T) {
	for name, shrink := range map[string]func(n int64) int64{
		"fewer": func(n int64) int64 { return n - 1 },
		"none":  func(int64) int64 { return 0 },
		"more":  func(n int64) int64 { return n + 1 },
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{}
			d := newDeploy(s, 3, 5)
			d.look(t, 50*time.Second)
			s.hostile = func(r *Reading) {
				for i := range r.Hosts[1].Ticks {
					r.Hosts[1].Ticks[i].Requests = shrink(r.Hosts[1].Ticks[i].Requests)
				}
			}
			if r := d.look(t, 55*time.Second); r.Verdict != Hold || r.Cause != Contradict || !strings.Contains(r.Reason, "a1 had 0 of 1000") {
				t.Fatalf("%s %s: %s", r.Verdict, r.Cause, r.Reason)
			}
			s.hostile = nil
			r, at := d.runFrom(t, 80*time.Second, 5*time.Minute)
			if r.Verdict != Pass || at < 110*time.Second {
				t.Errorf("%s at %v: %s", r.Verdict, at, r.Reason)
			}
		})
	}
}

// runFrom is run from a time on.
func (d *deploy) runFrom(t *testing.T, from, until time.Duration) (Ruling, time.Duration) {
	t.Helper()
	var r Ruling
	for after := from; after <= until; after += 5 * time.Second {
		if r = d.look(t, after); r.Verdict != Hold {
			return r, after
		}
	}
	return r, until
}

// No tick is asked for twice, but for the last one, and none before the runtimes began.
func TestTrafficAsksOnce(t *testing.T) {
	s := &script{rate: flat(1e-3)}
	d := newDeploy(s, 3, 60)
	d.gate.Rule.Dwell = 5 * time.Minute
	var next time.Time
	for after := 5 * time.Second; after <= 2*time.Minute; after += 5 * time.Second {
		s.asked = nil
		d.look(t, after)
		for _, q := range s.asked {
			if q.Prints || len(q.Hosts) == 0 {
				continue
			}
			if len(q.Hosts) != 43 {
				t.Fatalf("%d hosts were asked, want 3 canaries and 40 controls", len(q.Hosts))
			}
			if !next.IsZero() && !q.From.Equal(next.Add(-5*time.Second)) {
				t.Errorf("at %v from %v, want the tick before %v", after, q.From, next)
			}
			if q.From.Before(epoch.Add(-5 * time.Second)) {
				t.Errorf("at %v from %v, before the runtimes began", after, q.From)
			}
			next = q.To
		}
	}
	if next.IsZero() {
		t.Error("nothing was asked")
	}
}

// Another process goes on with the evidence and rules the same, word for word.
func TestTrafficResumes(t *testing.T) {
	for name, s := range map[string]script{
		"good": {rate: flat(3e-4), prints: typeError("a", "b"), good: func(string, time.Time) int64 { return 4 }},
		"bad":  {rate: worse(1e-4, 6, "a"), prints: typeError("a")},
	} {
		t.Run(name, func(t *testing.T) {
			one, two := s, s
			d, e := newDeploy(&one, 5, 20), newDeploy(&two, 5, 20)
			for after := 5 * time.Second; after <= 5*time.Minute; after += 5 * time.Second {
				r := d.look(t, after)
				// The other one is a new process in every look, and reads its evidence as the journal keeps it.
				line, err := json.Marshal(Ruling{Evidence: e.evidence})
				var back struct{ Evidence Evidence }
				if err == nil && e.evidence != nil {
					err = json.Unmarshal(line, &back)
				}
				if err != nil {
					t.Fatal(err)
				}
				e.gate, e.evidence = &Traffic{From: "logs", Source: &two}, back.Evidence
				q := e.look(t, after)
				if r.Reason != q.Reason || r.Verdict != q.Verdict || string(r.Numbers) != string(q.Numbers) || string(r.Evidence) != string(q.Evidence) {
					t.Fatalf("at %v %s: %s\nand after a restart %s: %s", after, r.Verdict, r.Reason, q.Verdict, q.Reason)
				}
			}
			// One who comes late reads what was missed and comes to the same evidence of the ratio.
			three := s
			f := newDeploy(&three, 5, 20)
			r := f.look(t, 5*time.Minute)
			want := d.look(t, 5*time.Minute)
			if r.Verdict != want.Verdict {
				t.Errorf("one look at the end: %s: %s\nmany: %s: %s", r.Verdict, r.Reason, want.Verdict, want.Reason)
			}
		})
	}
}

// A host that was suspected and taken out leaves no trace in what the others are judged by.
func TestTrafficDropsSuspects(t *testing.T) {
	s := &script{rate: worse(1e-3, 30, "a3")}
	d := newDeploy(s, 5, 20)
	r, at := d.run(t, time.Minute)
	if r.Verdict != Suspect || len(r.Suspects) != 1 || r.Suspects[0] != "a3" {
		t.Fatalf("%s %v: %s", r.Verdict, r.Suspects, r.Reason)
	}
	d.Canary = append(d.Canary[:3:3], d.Canary[4])
	var n Numbers
	if err := json.Unmarshal(d.look(t, at+5*time.Second).Numbers, &n); err != nil || n.E > 5 {
		t.Errorf("e-value %g at the first look without it (%v)", n.E, err)
	}
	if r, at := d.runFrom(t, 65*time.Second, 10*time.Minute); r.Verdict != Pass {
		t.Errorf("without it %s at %v: %s", r.Verdict, at, r.Reason)
	}
}

// The gate goes on through the batches: what was refuted stays, dwell and sample begin anew, and harm that comes with a
// later batch is found.
func TestTrafficBatches(t *testing.T) {
	bad := false
	s := &script{rate: func(h string, at time.Time) float64 {
		if bad && len(h) == 2 && h[:1] == "b" && h < "b5" && at.After(epoch.Add(5*time.Minute)) {
			return 2e-2
		}
		return 1e-3
	}}
	for _, bad = range []bool{false, true} {
		d := newDeploy(s, 5, 20)
		if r, at := d.run(t, 10*time.Minute); r.Verdict != Pass {
			t.Fatalf("%s at %v: %s", r.Verdict, at, r.Reason)
		}
		for i := range 5 { // of 20, those whose names sort first
			h := &d.Control[i]
			h.Since, h.Nonce = epoch.Add(5*time.Minute-4*time.Second), "nonce2"
		}
		d.Earlier, d.Canary, d.Control = d.Canary, d.Control[:5:5], d.Control[5:]
		d.Opened = epoch.Add(5 * time.Minute)
		r := d.look(t, 5*time.Minute+30*time.Second)
		if bad != (r.Verdict == Fail) {
			t.Fatalf("bad %v: %s: %s", bad, r.Verdict, r.Reason)
		}
		if bad {
			continue
		}
		if r.Verdict != Hold || r.Cause != Gathering || !strings.Contains(r.Reason, "30s of 1m0s") {
			t.Errorf("%s %s: %s", r.Verdict, r.Cause, r.Reason)
		}
		if r, at := d.runFrom(t, 335*time.Second, 10*time.Minute); r.Verdict != Pass || at < 6*time.Minute {
			t.Errorf("%s at %v: %s", r.Verdict, at, r.Reason)
		}
		// The watch opens later, of runtimes that all were judged: nothing begins anew.
		d.Watch, d.Opened, d.Canary, d.Earlier, d.Control = true, epoch.Add(7*time.Minute), append(d.Earlier, d.Canary...), nil, nil
		if r := d.look(t, 430*time.Second); r.Verdict != Pass || !strings.Contains(r.Reason, "without control") {
			t.Errorf("watch: %s: %s", r.Verdict, r.Reason)
		}
	}
}

// The batch's own hosts serve nothing: what those of earlier batches serve is no sample.
func TestTrafficQuietBatch(t *testing.T) {
	s := &script{serves: func(h string, _ time.Time) int64 {
		if h == "b0" || h == "b1" {
			return 0
		}
		return 1000
	}}
	for name, inPhase := range map[string]bool{"of the phase before": false, "of this phase": true} {
		t.Run(name, func(t *testing.T) {
			d := newDeploy(s, 5, 20)
			if r, at := d.run(t, 10*time.Minute); r.Verdict != Pass {
				t.Fatalf("%s at %v: %s", r.Verdict, at, r.Reason)
			}
			batch := d.Control[:2:2]
			for i := range batch {
				batch[i].Since, batch[i].Nonce = epoch.Add(3*time.Minute-4*time.Second), "nonce2"
			}
			d.Control, d.Opened = d.Control[2:], epoch.Add(3*time.Minute)
			if inPhase {
				d.Canary = append(d.Canary, batch...)
			} else {
				d.Earlier, d.Canary = d.Canary, batch
			}
			if r, at := d.runFrom(t, 185*time.Second, 6*time.Minute); r.Verdict != Hold || r.Cause != NoTraffic {
				t.Errorf("%s %s at %v: %s", r.Verdict, r.Cause, at, r.Reason)
			}
		})
	}
}

// Who looks late sees the harm that came and went.
func TestTrafficLooksBack(t *testing.T) {
	s := &script{rate: func(h string, at time.Time) float64 {
		if h[:1] == "a" && at.After(epoch) && at.Before(epoch.Add(time.Minute)) {
			return 5e-3
		}
		return 1e-3
	}}
	d := newDeploy(s, 5, 20)
	if r := d.look(t, 10*time.Minute); r.Verdict != Fail {
		t.Errorf("%s: %s", r.Verdict, r.Reason)
	}
}

func TestTrafficCancelled(t *testing.T) {
	s := &script{rate: flat(1e-4)}
	d := newDeploy(s, 5, 20)
	d.look(t, 5*time.Second)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	d.Now = epoch.Add(10 * time.Second)
	if r, err := d.gate.Judge(ctx, d.Window, d.evidence); !errors.Is(err, gone) {
		t.Errorf("%s, %v", r.Verdict, err)
	}
	if _, err := (&Traffic{}).Judge(t.Context(), d.Window, nil); err == nil {
		t.Error("a gate without a source judges")
	}
	if _, err := (&Traffic{Source: s, Rule: Rule{PassAt: math.NaN()}}).Judge(t.Context(), d.Window, nil); err == nil || !strings.Contains(err.Error(), "pass_at") {
		t.Errorf("NaN as a limit: %v", err)
	}
	r, err := d.gate.Judge(t.Context(), Window{Deploy: "d1", Opened: epoch, Now: epoch.Add(time.Hour)}, nil)
	if err != nil || r.Verdict != Hold || r.Cause != NoTraffic {
		t.Errorf("an empty window: %s %s %v", r.Verdict, r.Cause, err)
	}
}
