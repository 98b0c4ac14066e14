package canary

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// tick is one tick of hosts that all do the same, but for those that change says otherwise of.
func tick(i, canaries, controls int, change func(arm string, c *Cell)) Counts {
	c := Counts{At: epoch.Add(time.Duration(i) * 5 * time.Second)}
	for k := range canaries {
		c.Canary = append(c.Canary, Cell{Host: fmt.Sprint("a", k), N: 1000})
		change("canary", &c.Canary[k])
	}
	for k := range controls {
		c.Control = append(c.Control, Cell{Host: fmt.Sprint("b", k), N: 1000})
		change("control", &c.Control[k])
	}
	return c
}

// book opens a batch and adds as many ticks.
func book(ticks, canaries, controls int, change func(arm string, c *Cell)) *Book {
	b := &Book{Largest: 1}
	b.Open(epoch)
	for i := range ticks {
		b.Add(Rule{}, tick(i, canaries, controls, change))
	}
	return b
}

func quiet(string, *Cell) {}

func want(t *testing.T, b *Book, v Verdict, c Cause) {
	t.Helper()
	if got, cause, _ := b.Verdict(Rule{}); got != v || cause != c {
		t.Errorf("%s %s, want %s %s: %s", got, cause, v, c, b.Rule(Rule{}, epoch).Reason)
	}
}

func TestHardStop(t *testing.T) {
	failing := func(on ...string) func(string, *Cell) {
		return func(_ string, c *Cell) {
			for _, h := range on {
				if strings.HasPrefix(c.Host, h) {
					c.N, c.X = 30, 20
				}
			}
		}
	}
	for name, tt := range map[string]struct {
		canaries, controls int
		change             func(string, *Cell)
		want               bool
	}{
		"one canary host": {1, 5, failing("a"), true},
		"all of five":     {5, 5, failing("a"), true},
		"control alike":   {5, 5, failing("a", "b"), false},
		"no control":      {5, 0, failing("a"), true},
		"one host of two": {2, 5, failing("a0"), false},
		"too few":         {1, 5, func(arm string, c *Cell) { c.N, c.X = 19, map[string]int64{"canary": 19}[arm] }, false},
		"one that fails for all": {5, 5, func(arm string, c *Cell) {
			if c.Host == "a0" {
				c.N, c.X = 90_000, 80_000
			}
		}, false},
	} {
		b := book(1, tt.canaries, tt.controls, tt.change)
		if v, _, _ := b.Verdict(Rule{}); (b.Hard != nil) != tt.want || tt.want && v != Fail {
			t.Errorf("%s: hard %v, %s", name, b.Hard, v)
		}
		if tt.want {
			b.Add(Rule{}, tick(1, tt.canaries, tt.controls, quiet))
			want(t, b, Fail, "") // it stands
		}
	}
	b := book(20, 5, 0, quiet)
	b.Add(Rule{}, tick(20, 5, 0, failing("a")))
	if b.Hard != nil {
		t.Error("without a control, and not close to an activation: stopped")
	}
}

func TestDrop(t *testing.T) {
	b := book(12, 5, 10, func(_ string, c *Cell) {
		c.X = 1
		if c.Host == "a3" {
			c.X = 30
		}
	})
	want(t, b, Suspect, "")
	b.Drop("a3")
	if e := harms.mean(b.Wealth); e > 2 {
		t.Errorf("e-value %g without the host", e)
	}
	if b.Canary.X != 12*4 || b.Canary.N != 12*4000 {
		t.Errorf("canary %+v", b.Canary)
	}
	for _, h := range b.Hosts {
		if e := harms.mean(h.Wealth); h.Host == "a3" || e > 20 {
			t.Errorf("%s: %g", h.Host, e)
		}
	}
	b.Drop("nobody")
	for i := range 12 {
		b.Add(Rule{}, tick(12+i, 4, 10, func(arm string, c *Cell) { c.X = map[string]int64{"canary": 9, "control": 1}[arm] }))
	}
	want(t, b, Fail, "") // and what the others do counts
}

func TestSample(t *testing.T) {
	b := book(20, 5, 10, quiet)
	want(t, b, Pass, "")
	b.Open(epoch.Add(100 * time.Second))
	for i := range 20 { // the batch's own host serves little, the others much
		b.Add(Rule{}, tick(20+i, 6, 9, func(arm string, c *Cell) {
			c.Earlier = arm == "canary" && c.Host != "a5"
			if c.Host == "a5" {
				c.N = 40
			}
		}))
	}
	want(t, b, Hold, Gathering)
	if r := b.Rule(Rule{}, epoch); !strings.HasPrefix(r.Reason, "800 of 1,000 requests of this batch; about 25 s more") {
		t.Error(r.Reason)
	}
	b.Open(epoch.Add(200 * time.Second))
	b.Add(Rule{}, tick(40, 6, 9, func(arm string, c *Cell) {
		if c.Earlier = arm == "canary" && c.Host != "a5"; c.Host == "a5" {
			c.N = 0
		}
	}))
	want(t, b, Hold, NoTraffic)
}

// What was refuted carries over, but no credit does.
func TestRefutationCarriesOver(t *testing.T) {
	b := book(100, 5, 10, quiet)
	b.Open(epoch.Add(500 * time.Second))
	for i := range 12 {
		b.Add(Rule{}, tick(100+i, 5, 10, func(_ string, c *Cell) { c.N = 1 }))
	}
	r := Rule{}.Full()
	if got := b.Refuted.Rate; got < math.Log(r.PassAt) || got > math.Log(r.PassAt)+.1 {
		t.Errorf("refuted %g, want ln %g", got, r.PassAt)
	}
}

func TestPrintsRule(t *testing.T) {
	// 25 % of the requests, one kind watched: F theta^k <= .01 from k = ceil(ln 100 / ln 4) = 4 on.
	setup := func(canaries int) *Book { return book(3, canaries, 3*canaries, quiet) }
	add := func(b *Book, arm Arm, host string, n int64) {
		b.Prints(arm, host, []Print{{Text: "E in a.php:1: x", File: "a.php", Count: n}})
	}
	never := func(string) bool { return false }
	for name, tt := range map[string]struct {
		canaries int
		do       func(*Book)
		want     Verdict
		cause    Cause
	}{
		"four on two hosts": {4, func(b *Book) { add(b, OnCanary, "a0", 3); add(b, OnCanary, "a1", 1) }, Fail, ""},
		"three":             {4, func(b *Book) { add(b, OnCanary, "a0", 2); add(b, OnCanary, "a1", 1) }, Hold, Gathering},
		"on one of four":    {4, func(b *Book) { add(b, OnCanary, "a0", 9) }, Hold, Gathering},
		"on the only one":   {1, func(b *Book) { add(b, OnCanary, "a0", 9) }, Hold, OneHost},
		"on control before": {4, func(b *Book) { add(b, OnControl, "b0", 1); add(b, OnCanary, "a0", 9); add(b, OnCanary, "a1", 9) }, Hold, Gathering},
		"on control later":  {4, func(b *Book) { add(b, OnCanary, "a0", 9); add(b, OnCanary, "a1", 9); add(b, OnControl, "b0", 1) }, Hold, Gathering},
		"known":             {4, func(b *Book) { b.Know("E in a.php:1: x"); add(b, OnCanary, "a0", 9); add(b, OnCanary, "a1", 9) }, Hold, Gathering},
		"too many are known": {4, func(b *Book) {
			for i := range maxKnown + 1 {
				b.Know(fmt.Sprint(i))
			}
			add(b, OnCanary, "a0", 900)
			add(b, OnCanary, "a1", 900)
		}, Hold, Gathering},
		"seen lately": {4, func(b *Book) {
			add(b, OnCanary, "a0", 9)
			add(b, OnCanary, "a1", 9)
			b.Resolve(func(s string) bool { return s == "E in a.php:1: x" }, func(string) string { return "" })
		}, Hold, Gathering},
		"control characters": {4, func(b *Book) {
			b.Know("E in a.php:1: x")
			b.Prints(OnCanary, "a0", []Print{{Text: "E in a.php:1: x\x1b\u2028", Count: 9}})
			b.Prints(OnCanary, "a1", []Print{{Text: "\x07E in a.php:1: x", Count: 9}})
		}, Hold, Gathering},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(tt.canaries)
			tt.do(b)
			want(t, b, tt.want, tt.cause)
		})
	}
	b := setup(4)
	for i := range 10 * maxPrints { // many kinds: the table stays small and the line rises
		b.Prints(OnCanary, "a0", []Print{{Text: fmt.Sprint("kind ", i), File: "a.php", Count: 1}})
	}
	add(b, OnCanary, "a0", 9)
	add(b, OnCanary, "a1", 9)
	b.Resolve(never, func(f string) string { return map[bool]string{true: inside}[f == "a.php"] })
	if r := (Rule{}).Full(); len(b.Kinds) != maxPrints || b.enough(&r) != 8 { // ln(481/.01)/ln 4 = 7.8
		t.Errorf("%d kinds are kept, %d are enough", len(b.Kinds), b.enough(&r))
	}
	want(t, b, Fail, "")
	if r := b.Rule(Rule{}, epoch); !strings.Contains(r.Reason, "E in a.php:1: x, in this change") {
		t.Error(r.Reason)
	}
}

func TestSignals(t *testing.T) {
	edits := func(drops ...string) func(string, *Cell) {
		return func(_ string, c *Cell) {
			c.Good = map[string]int64{"edits": 20}
			for _, d := range drops {
				if strings.HasPrefix(c.Host, d) {
					c.Good["edits"] = 2
				}
			}
		}
	}
	want(t, book(20, 5, 20, edits()), Pass, "")
	want(t, book(20, 5, 20, edits("a")), Fail, "")
	want(t, book(20, 3, 20, edits("a1")), Suspect, "")
	want(t, book(20, 2, 20, edits("a1")), Hold, OneHost)
	want(t, book(20, 2, 20, edits("a")), Fail, "")
	want(t, book(20, 1, 20, edits("a")), Hold, OneHost)
	b := book(20, 3, 20, edits("a1"))
	b.Drop("a1")
	b.Add(Rule{}, tick(20, 2, 20, edits()))
	want(t, b, Pass, "")
}

// One canary host that fails cannot be told from the release; when more than one of its workers does, that is taken for the
// release: going back is the safe side. A second canary host that is well speaks for the release.
func TestTheOnlyCanaryByItsWorkers(t *testing.T) {
	on := func(workers int) func(string, *Cell) {
		return func(arm string, c *Cell) {
			if c.Host == "a0" {
				c.X, c.Workers = 9, workers
			}
		}
	}
	for name, tt := range map[string]struct {
		canaries, workers int
		want              Verdict
		cause             Cause
	}{
		"not known":  {1, 0, Hold, OneHost},
		"one":        {1, 1, Hold, OneHost},
		"two":        {1, 2, Fail, ""},
		"one of two": {2, 9, Hold, OneHost},
	} {
		b := book(20, tt.canaries, 10, on(tt.workers))
		want(t, b, tt.want, tt.cause)
		if r := b.Rule(Rule{}, epoch); tt.want == Fail && !strings.Contains(r.Reason, "on 2 workers of a0, the only canary") {
			t.Errorf("%s: %s", name, r.Reason)
		}
		b = book(3, tt.canaries, 3*tt.canaries, func(arm string, c *Cell) {
			if c.Host == "a0" {
				c.X, c.Workers = 1, tt.workers
			}
		})
		b.Prints(OnCanary, "a0", []Print{{Text: "E in a.php:1: x", File: "a.php", Count: 9}})
		want(t, b, tt.want, tt.cause)
	}
}
