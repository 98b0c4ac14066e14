package logs

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"scap/canary"
	"scap/canary/sourcetest"
)

// judged is a gate over the log files of two canaries and three control hosts, looked at every five seconds.
type judged struct {
	*site
	w        canary.Window
	gate     *canary.Traffic
	evidence canary.Evidence
	id       int
}

func newJudged(t *testing.T) *judged {
	j := &judged{w: canary.Window{Deploy: "d", Phase: "p", Release: sourcetest.Release, From: "old", Opened: sec(0)}}
	for i := range 5 {
		h := canary.Host{Name: fmt.Sprint("mw", i), Since: sec(-3600), Release: "old", Nonce: fmt.Sprint("scap-nonce-", i)}
		if i < 2 {
			h.Since, h.Release = sec(0), sourcetest.Release
			j.w.Canary = append(j.w.Canary, h)
		} else {
			j.w.Control = append(j.w.Control, h)
		}
	}
	all := append(append([]canary.Host{}, j.w.Canary...), j.w.Control...)
	j.site = newSite(t, jsonForm(), all)
	rig := j.rig()
	for _, h := range all {
		rig.Nonce(t, h)
	}
	j.gate = &canary.Traffic{From: "logs", Source: rig.Source, Rule: canary.Rule{HarmRate: 0.03, MinRequests: 100}}
	return j
}

// serve lets every host serve what users ask in the five seconds before s.
func (j *judged) serve(t *testing.T, s int, failing bool) {
	for _, h := range append(append([]canary.Host{}, j.w.Canary...), j.w.Control...) {
		for i := range 20 {
			j.id++
			e := sourcetest.Event{Host: h.Name, Release: h.Release, At: sec(float64(s-5) + float64(i/4)), ID: fmt.Sprint("id", j.id)}
			e.Failing = failing && i < 6 && h.Release == sourcetest.Release
			e.Print.Text = "TypeError in src/Hook.php:12: Too few"
			j.log(t, e)
		}
	}
}

func (j *judged) look(t *testing.T, s int) (canary.Ruling, canary.Numbers) {
	for name := range j.hosts {
		j.beat(t, sec(float64(s)), name)
	}
	w := j.w
	w.Now = sec(float64(s))
	r, err := j.gate.Judge(t.Context(), w, j.evidence)
	if err != nil {
		t.Fatal(err)
	}
	j.evidence = r.Evidence
	var n canary.Numbers
	if err := json.Unmarshal(r.Numbers, &n); err != nil {
		t.Fatal(err)
	}
	return r, n
}

// lost is when the last damage was over.
func (j *judged) lost(t *testing.T) time.Time {
	var e struct {
		Gap struct {
			Until time.Time `json:"until"`
		} `json:"gap"`
	}
	if err := json.Unmarshal(j.evidence, &e); err != nil {
		t.Fatal(err)
	}
	return e.Gap.Until
}

// A log that loses its lines, and a clock that is set, in the middle of a gate: it holds, says what is lost and goes on.
func TestGateGoesOnAfterDamage(t *testing.T) {
	for name, damage := range map[string]func(j *judged, h *siteHost){
		"the access log is cut off with unread lines": func(j *judged, h *siteHost) { j.truncate(h) },
		"the error log is cut off": func(j *judged, h *siteHost) {
			if err := os.Truncate(h.path("php"), 0); err != nil {
				j.t.Fatal(err)
			}
		},
		"the clock is set forward": func(_ *judged, h *siteHost) { h.skew = 40 * time.Second },
		"the clock is set back":    func(_ *judged, h *siteHost) { h.skew = -100 * time.Second },
		"the form of the log changes for a while": func(j *judged, h *siteHost) {
			j.write(h, "access", strings.Repeat("what is this?\n", 40))
		},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJudged(t)
			passed, held, begun := 0, false, time.Time{}
			for s := 5; s <= 300 && passed == 0; s += 5 {
				j.serve(t, s, false)
				if s == 40 {
					damage(j, j.hosts["mw1"])
				}
				r, n := j.look(t, s)
				if s < 40 {
					begun = n.Ticks
				}
				told := strings.Contains(strings.Join(n.Missing, "\n"), "are lost, so 1m0s of them must close again (mw1: ")
				held = held || told
				switch {
				case r.Verdict == canary.Pass:
					passed = s
					ticks := n.Ticks.Sub(sec(0)) / (5 * time.Second)
					lost := j.lost(t).Sub(begun) / (5 * time.Second)
					if want := 20 * int64(2*ticks-lost); n.Canary.Requests != want || lost < 2 {
						t.Errorf("%d requests of the canaries, want all %d but those of %d ticks of one", n.Canary.Requests, want, lost)
					}
				case r.Verdict != canary.Hold:
					t.Fatalf("%d s: %s: %s", s, r.Verdict, r.Reason)
				}
				if n.Canary.Failing+n.Control.Failing > 0 {
					t.Errorf("%d s: %+v, %+v", s, n.Canary, n.Control)
				}
			}
			if !held || passed < 100 || passed > 260 {
				t.Errorf("passed after %d s, said what is lost: %v", passed, held)
			}
		})
	}
}

func TestGateKeepsWhatItSawBeforeDamage(t *testing.T) {
	j := newJudged(t)
	verdict := canary.Hold
	for s := 5; s <= 120; s += 5 {
		j.serve(t, s, s <= 40)
		if s == 45 {
			j.truncate(j.hosts["mw0"])
			j.truncate(j.hosts["mw1"])
		}
		r, n := j.look(t, s)
		if verdict == canary.Fail && r.Verdict != canary.Fail {
			t.Fatalf("%d s: %s: %s", s, r.Verdict, r.Reason)
		}
		if verdict = r.Verdict; s >= 40 && n.Canary.Failing == 0 {
			t.Errorf("%d s: failures are forgotten: %s", s, r.Reason)
		}
	}
	if verdict != canary.Fail {
		t.Error(verdict)
	}
}
