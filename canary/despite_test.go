package canary

import (
	"encoding/json"
	"testing"
	"time"
)

// Who deploys although users fail already says so of what fails everywhere. What the release makes worse still fails it.
func TestDespiteRedHidesNoHarm(t *testing.T) {
	edits := func(times float64) func(string, time.Time) int64 {
		return func(h string, at time.Time) int64 {
			switch {
			case at.Before(epoch.Add(-5 * time.Minute)):
				return 20
			case h[:1] == "a" && !at.Before(epoch):
				return int64(6 * times)
			}
			return 6
		}
	}
	red := func(times float64) func(string, time.Time) float64 { // for five minutes all fail ten times as often; the canaries more
		return func(h string, at time.Time) float64 {
			switch {
			case at.Before(epoch.Add(-5 * time.Minute)):
				return 1e-3
			case h[:1] == "a" && !at.Before(epoch):
				return 1e-2 * times
			}
			return 1e-2
		}
	}
	for name, tt := range map[string]struct {
		controls int
		source   script
		want     Verdict
	}{
		"errors everywhere, as many":                 {20, script{rate: red(1)}, Pass},
		"errors everywhere, more with the release":   {20, script{rate: red(6)}, Fail},
		"all fail with the release":                  {20, script{rate: red(95)}, Fail},
		"edits low everywhere":                       {20, script{good: edits(1)}, Pass},
		"edits low, lower with the release":          {20, script{good: edits(0.2)}, Fail},
		"nobody left, errors begin with the release": {0, script{rate: worse(1e-3, 8, "")}, Fail},
		"nobody left, edits fall with the release": {0, script{good: func(_ string, at time.Time) int64 {
			if at.Before(epoch) {
				return 20
			}
			return 6
		}}, Fail},
		"a new error of the release": {20, script{rate: worse(2e-3, 1.05, "a"), prints: func(h string, from, to time.Time, x int64) []Print {
			if h[:1] == "a" && x > 1 {
				return append(typeError("a")(h, from, to, 1), typeError("b")(h, from, to, x-1)...)
			}
			return typeError("-")(h, from, to, x)
		}}, Fail},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDeploy(&tt.source, 5, tt.controls)
			d.gate.DespiteRed = "it is the cure"
			if r, at := d.run(t, 10*time.Minute); r.Verdict != tt.want {
				t.Errorf("%s %s at %v: %s", r.Verdict, r.Cause, at, r.Reason)
			}
		})
	}
}

// What was seen of another deploy, or another release, says nothing of this one: it neither passes nor fails it.
func TestEvidenceOfSomethingElse(t *testing.T) {
	for name, change := range map[string]func(*deploy){
		"another deploy":  func(d *deploy) { d.Deploy = "d2" },
		"another release": func(d *deploy) { d.Release = "newer" },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDeploy(&script{}, 5, 20)
			if r, at := d.run(t, 10*time.Minute); r.Verdict != Pass {
				t.Fatalf("%s at %v: %s", r.Verdict, at, r.Reason)
			}
			change(d)
			r := d.look(t, 2*time.Minute)
			var a account
			if err := json.Unmarshal(r.Evidence, &a); err != nil || a.Deploy != d.Deploy || a.Release != d.Release || a.Book.Batches != 1 {
				t.Errorf("evidence of %q, %q, %d batches: %v", a.Deploy, a.Release, a.Book.Batches, err)
			}
		})
	}
}
