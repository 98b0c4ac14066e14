package canary

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// The largest deploy that is meant: 300 canary hosts in two batches, every bounded list of the evidence full of texts that JSON makes long,
// three sources. What one look writes down is well below half a line of the journal (512 KiB), and another process reads it back.
func TestEvidenceOfALargeFleet(t *testing.T) {
	s := &script{rate: flat(2e-2), n: 200}
	s.prints = func(h string, from, _ time.Time, x int64) []Print {
		var list []Print
		for i := range 100 {
			text := fmt.Sprintf("%s<&>\"%03d %s", h[:1], i, strings.Repeat("<\"&>", 60))
			list = append(list, Print{Text: text, File: strings.Repeat("\"<&/", 50), ID: strings.Repeat("<", 64), Count: 1 + int64(i%2)})
		}
		return list
	}
	s.hostile = func(r *Reading) {
		for i := range r.Hosts {
			for j := range r.Hosts[i].Ticks {
				good := map[string]int64{}
				for k := range maxSignals + 1 {
					good[fmt.Sprintf("signal-%02d-%s", k, strings.Repeat("<", 140))] = 20
				}
				r.Hosts[i].Ticks[j].Good = good
			}
		}
	}
	d := newDeploy(s, 300, 20)
	d.gate.Rule.MinFailing = math.MaxInt32 // nothing is failed: the lists fill up
	d.gate.Rule.History = 5 * time.Minute
	gates := make([]Gate, 3)
	for i := range gates {
		g := *d.gate
		own := *s
		g.From, g.Source = fmt.Sprint("source", i), &own
		gates[i] = &g
	}
	all := All(gates...)
	var prior Evidence
	largest := 0
	for batch := range 2 {
		for i := range d.Canary {
			if i >= 150 && batch == 1 {
				d.Canary[i].Nonce = "again"
			}
		}
		d.Opened = epoch.Add(time.Duration(batch) * 2 * time.Minute)
		for after := 30 * time.Second; after <= time.Minute; after += 30 * time.Second {
			w := d.Window
			w.Now = d.Opened.Add(after)
			r, err := all.Judge(t.Context(), w, prior)
			if err != nil {
				t.Fatal(err)
			}
			line, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			largest = max(largest, len(line))
			var back struct{ Evidence Evidence }
			if err := json.Unmarshal(line, &back); err != nil || len(back.Evidence) == 0 {
				t.Fatalf("read back: %v", err)
			}
			prior = back.Evidence
		}
	}
	var kept map[string]account
	if err := json.Unmarshal(prior, &kept); err != nil {
		t.Fatal(err)
	}
	a := kept["source1"]
	if a.Book.Batches != 2 || len(a.Book.Kinds) != maxPrints || len(a.Book.Hosts) != maxHosts || len(a.Book.Signals) != maxSignals || len(a.Proven) < 300 {
		t.Errorf("not full: %d batches, %d kinds, %d hosts, %d signals, %d proven", a.Book.Batches, len(a.Book.Kinds), len(a.Book.Hosts), len(a.Book.Signals), len(a.Proven))
	}
	t.Logf("%d KiB a look, %d KiB of evidence", largest>>10, len(prior)>>10)
	if largest > 512<<10 {
		t.Errorf("a ruling of %d bytes", largest)
	}
}

// A reason fits two lines of 100 columns also when the foremost error is as long as any that is kept, and what was cut off is
// in the figures.
func TestAReasonIsTwoLinesLong(t *testing.T) {
	long := "RuntimeException in extensions/Collection/includes/Specials/SpecialCollection.php:88: " + strings.Repeat("äβ", 40)
	s := &script{rate: worse(1e-3, 8, "a"), prints: func(h string, _, _ time.Time, x int64) []Print {
		return []Print{{Text: long, File: "a.php", Count: x}}
	}}
	d := newDeploy(s, 5, 20)
	for after := 5 * time.Second; ; after += 5 * time.Second {
		r := d.look(t, after)
		var n Numbers
		if err := json.Unmarshal(r.Numbers, &n); err != nil {
			t.Fatal(err)
		}
		if c := len([]rune(r.Reason)); c > twoLines || strings.Contains(r.Reason, "error: ") && !strings.Contains(r.Reason, "RuntimeException in extensions/Collection") {
			t.Errorf("%d columns: %s", c, r.Reason)
		}
		if len(n.Errors) > 0 && n.Errors[0].Text != clean(long, maxText) {
			t.Errorf("figures: %q", n.Errors[0].Text)
		}
		if r.Verdict == Fail {
			return
		}
	}
}

// Harm that comes with a later batch is told by the counts since then: in those of all batches together nobody sees it.
func TestTheReasonOfHarmThatComesLater(t *testing.T) {
	s := &script{rate: func(h string, at time.Time) float64 {
		if at.After(epoch.Add(290*time.Second)) && (h[:1] == "a" || len(h) == 2 && h < "b5") {
			return 8e-3
		}
		return 1e-3
	}}
	d := newDeploy(s, 20, 25)
	if r, at := d.run(t, 4*time.Minute); r.Verdict != Pass {
		t.Fatalf("%s at %v: %s", r.Verdict, at, r.Reason)
	}
	d.look(t, 285*time.Second)
	for i := range 5 { // of 25, those whose names sort first
		h := &d.Control[i]
		h.Since, h.Nonce = epoch.Add(5*time.Minute-4*time.Second), "again"
	}
	d.Earlier, d.Canary, d.Control = d.Canary, d.Control[:5:5], d.Control[5:]
	d.Opened = epoch.Add(5 * time.Minute)
	r, at := d.runFrom(t, 5*time.Minute+5*time.Second, 6*time.Minute)
	if r.Verdict != Fail || !strings.Contains(r.Reason, "since the batch canary ") {
		t.Fatalf("%s at %v: %s", r.Verdict, at, r.Reason)
	}
	if _, after, _ := strings.Cut(r.Reason, ": ratio "); after < "3" {
		t.Errorf("nobody can check it: %s", r.Reason)
	}
}
