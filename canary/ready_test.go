package canary

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func ready(s *script) *Traffic {
	g := &Traffic{From: "logs", Source: s, Clock: func() time.Time { return epoch }}
	for _, h := range hosts("a", 5, time.Time{}) {
		g.Canaries = append(g.Canaries, h.Name)
	}
	for _, h := range hosts("b", 20, time.Time{}) {
		g.Others = append(g.Others, h.Name)
	}
	return g
}

func TestReady(t *testing.T) {
	lately := func(v, other float64) func(string, time.Time) float64 {
		return func(_ string, at time.Time) float64 {
			if at.Before(epoch.Add(-time.Minute)) {
				return v
			}
			return other
		}
	}
	edits := func(_ string, at time.Time) int64 { return int64(lately(10, 2)("", at)) }
	for name, tt := range map[string]struct {
		source script
		change func(*Traffic)
		red    bool
		words  string // of the error; "" none
	}{
		"well":           {source: script{rate: flat(1e-4), good: func(string, time.Time) int64 { return 3 }}},
		"down":           {source: script{err: errors.New("refused")}, words: "refused"},
		"two hosts":      {source: script{problem: map[string]HostReading{"a1": {Problem: "no such log"}, "b2": {Problem: "denied"}}}, words: "a1: no such log|b2: denied"},
		"far behind":     {source: script{lag: map[string]time.Duration{"b3": 10 * time.Minute}}, words: "b3: is 10 min behind, more than late_hold 3m0s"},
		"nothing known":  {source: script{hostile: func(r *Reading) { r.Hosts[0].Through = time.Time{} }}, words: "a0: nothing is known"},
		"little traffic": {source: script{n: 10}, words: "at this traffic (10/s on the canaries|needs about 23 min to pass|max_wait is 10m0s|raise harm_rate"},
		"few for the sample": {
			source: script{n: 10}, change: func(g *Traffic) { g.Rule.HarmRate, g.Rule.MinRequests = 3e-2, 100_000 },
			words: "lower min_requests (100,000)",
		},
		"a long dwell": {source: script{}, change: func(g *Traffic) { g.Rule.Dwell = time.Hour }, words: "lower dwell (1h0m0s)"},
		"no traffic":   {source: script{serves: func(string, time.Time) int64 { return 0 }}, words: "would never pass"},
		"red edits":    {source: script{good: edits}, red: true, words: "edits |below 50 % of the usual"},
		"few edits": {
			source: script{good: func(string, time.Time) int64 { return 3 }}, red: true, words: "a minute on all hosts, below 1,000",
			change: func(g *Traffic) { g.Signals = []Signal{{Name: "edits", AtLeast: 1000}} },
		},
		"red despite":  {source: script{good: edits}, change: func(g *Traffic) { g.DespiteRed = "the revert" }},
		"errors now":   {source: script{rate: lately(1e-4, 1e-2)}, red: true, words: "failing (|in the last minute, usual is"},
		"always had":   {source: script{rate: flat(1e-2)}},
		"wrong rule":   {source: script{}, change: func(g *Traffic) { g.Rule.HarmRatio = 1 }, words: "harm_ratio 1: want more than 1.25"},
		"nobody":       {source: script{}, change: func(g *Traffic) { g.Canaries = nil }, words: "no hosts to judge"},
		"coarse ticks": {source: script{step: 30 * time.Second, rate: flat(1e-4)}},
	} {
		t.Run(name, func(t *testing.T) {
			s := tt.source
			g := ready(&s)
			if tt.change != nil {
				tt.change(g)
			}
			err := g.Ready(t.Context())
			if tt.words == "" && err != nil || errors.Is(err, ErrRed) != tt.red {
				t.Fatalf("error %v, red %v", err, errors.Is(err, ErrRed))
			}
			for w := range strings.SplitSeq(tt.words, "|") {
				if w != "" && (err == nil || !strings.Contains(err.Error(), w)) {
					t.Errorf("error says nothing of %q: %v", w, err)
				}
			}
		})
	}
	if err := (&Traffic{}).Ready(t.Context()); err == nil {
		t.Error("a gate without a source is ready")
	}
}

func TestOutlook(t *testing.T) {
	o, err := ready(&script{rate: flat(1e-4)}).Outlook(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if o.PerSecond != 1000 || o.Share != .2 || o.BaseRate < .9e-4 || o.BaseRate > 1.1e-4 || o.Phi > 1.2 {
		t.Errorf("%+v", o)
	}
	// 1,000 clean requests a second refute harm by its rate in 14 s; at 1e-4 failing the mean of L0 grows by 4e-5 a request, that of
	// L- by 5.8e-5.
	if o.NeedsFor < time.Minute || o.NeedsFor > 90*time.Second {
		t.Errorf("%s", o)
	}
	if s := o.String(); !strings.HasPrefix(s, "at this traffic (1,000/s on the canaries, 20 % of all, 0.0") || !strings.HasSuffix(s, " s to pass") {
		t.Error(s)
	}
}
