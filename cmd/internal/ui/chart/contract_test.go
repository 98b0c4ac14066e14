package chart

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"scap/canary"
	"scap/phases/journal"
)

// TestCanaryWritesWhatIsRead drives the real book of a deploy and a combined gate, and reads their rulings.
func TestCanaryWritesWhatIsRead(t *testing.T) {
	b := &canary.Book{}
	at := time.Date(2026, 11, 20, 6, 0, 0, 0, time.UTC)
	b.Open(at)
	var rule canary.Rule
	var records []journal.Record
	for i := range 20 {
		tick := canary.Counts{At: at.Add(time.Duration(i) * 5 * time.Second)}
		for _, h := range []string{"mw1", "mw2", "mw3"} {
			tick.Canary = append(tick.Canary, canary.Cell{Host: h, N: 400, X: 8})
		}
		for _, h := range []string{"mw4", "mw5", "mw6"} {
			tick.Control = append(tick.Control, canary.Cell{Host: h, N: 4000, X: 1})
		}
		b.Add(rule, tick)
		now := tick.At.Add(10 * time.Second)
		own := b.Rule(rule, now)
		all := canary.All(gate{name: "logs", r: own}, gate{r: canary.Ruling{Verdict: canary.Pass, Reason: "probes", Numbers: json.RawMessage(`{"probes":3}`)}})
		r, err := all.Judge(context.Background(), canary.Window{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, journal.Record{Kind: journal.Ruled, At: now, Phase: "canaries", Verdict: r.Verdict.String(), Text: r.Reason, Data: data})
	}
	s := Evidence(slices.Values(records))
	if len(s.panels) != 2 || s.broken != 0 || s.panels[1].name != "probes" || s.panels[1].sawStatistic {
		t.Fatalf("have %d panels, %d broken: %+v", len(s.panels), s.broken, s.panels)
	}
	p := s.panels[0]
	n := b.Numbers(rule)
	if p.last.harm != n.E || p.failAt != 200 || p.passAt != 40 || p.phi != n.Phi || p.last.canary != (arm{n.Canary.Requests + n.Lone.Requests, n.Canary.Failing + n.Lone.Failing}) ||
		p.last.control != (arm{n.Control.Requests, n.Control.Failing}) || p.last.harm < 200 || p.points[len(p.points)-1].state.verdict != "fail" {
		t.Errorf("read %+v of %+v", p.last, n)
	}
	if p.total[0] != p.last.canary {
		t.Errorf("the increments make %+v, the book has %+v", p.total[0], p.last.canary)
	}
	var out strings.Builder
	if err := s.Render(&out, Look{Width: 100}); err != nil || !strings.Contains(out.String(), "fail after 20 looks") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

type gate struct {
	name string
	r    canary.Ruling
}

func (g gate) Name() string                { return g.name }
func (g gate) Ready(context.Context) error { return nil }
func (g gate) Judge(context.Context, canary.Window, canary.Evidence) (canary.Ruling, error) {
	return g.r, nil
}
