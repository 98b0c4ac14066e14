package canary

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawTicks makes a deploy of any kind: batches, hosts that come late, bursts, nothing at all.
func drawTicks(t *rapid.T) []Counts {
	canaries, controls := rapid.IntRange(1, 6).Draw(t, "canaries"), rapid.IntRange(0, 6).Draw(t, "controls")
	n := rapid.Int64Range(0, 2000).Draw(t, "requests")
	arm := func(name string, hosts int, most int64) []Cell {
		cells := make([]Cell, hosts)
		for i := range cells {
			cells[i] = Cell{Host: fmt.Sprint(name, i), N: n, X: max(0, rapid.Int64Range(-5*most, most).Draw(t, name))}
		}
		return cells
	}
	most, most2 := rapid.Int64Range(1, 20).Draw(t, "canary failing"), rapid.Int64Range(1, 20).Draw(t, "control failing")
	list := make([]Counts, rapid.IntRange(1, 40).Draw(t, "ticks"))
	for i := range list {
		list[i] = Counts{At: epoch.Add(time.Duration(i) * 5 * time.Second), Canary: arm("a", canaries, most), Control: arm("b", controls, most2)}
	}
	return list
}

// feed adds ticks, with a new batch at some.
func feedBook(ticks []Counts, again int, change func(*Book, *Counts)) *Book {
	b := &Book{}
	for range 70 {
		b.Learn([]Cell{{Host: "b0", N: 1000, X: 1}, {Host: "b1", N: 1000}})
	}
	for i, c := range ticks {
		if i == 0 || again > 0 && i%again == 0 {
			b.Open(c.At)
		}
		if change != nil {
			change(b, &c)
		}
		b.Add(Rule{}, c)
	}
	return b
}

func verdict(b *Book) string {
	v, c, hosts := b.Verdict(Rule{})
	return fmt.Sprint(v, c, hosts)
}

// near compares figures that are sums of the same terms in another order.
func nearly(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(1, math.Abs(a), math.Abs(b)) }

func TestHostOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ticks := drawTicks(t)
		again := rapid.IntRange(0, 10).Draw(t, "batch")
		one := feedBook(ticks, again, nil)
		two := feedBook(ticks, again, func(_ *Book, c *Counts) {
			c.Canary = rapid.Permutation(c.Canary).Draw(t, "canary")
			c.Control = rapid.Permutation(c.Control).Draw(t, "control")
		})
		a, b := one.Numbers(Rule{}), two.Numbers(Rule{})
		if verdict(one) != verdict(two) || a.Canary != b.Canary || !nearly(a.E, b.E) || !nearly(a.Without, b.Without) || !nearly(a.PassBy, b.PassBy) {
			t.Fatalf("%s %+v\n%s %+v", verdict(one), a, verdict(two), b)
		}
	})
}

func TestJSONRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ticks := drawTicks(t)
		again := rapid.IntRange(0, 10).Draw(t, "batch")
		stop := rapid.IntRange(0, len(ticks)).Draw(t, "stop")
		n := 0
		one := feedBook(ticks, again, nil)
		two := feedBook(ticks, again, func(b *Book, _ *Counts) {
			if n++; n < stop {
				return
			}
			raw, err := json.Marshal(b)
			if err != nil {
				t.Fatal(err)
			}
			*b = Book{}
			if err := json.Unmarshal(raw, b); err != nil || !b.sound() {
				t.Fatalf("%v, sound %v: %s", err, b.sound(), raw)
			}
		})
		x, err1 := json.Marshal(one)
		y, err2 := json.Marshal(two)
		if err1 != nil || err2 != nil || string(x) != string(y) {
			t.Fatalf("%v %v\n%s\n%s", err1, err2, x, y)
		}
		r, q := one.Rule(Rule{}, epoch), two.Rule(Rule{}, epoch)
		if r.Reason != q.Reason || string(r.Numbers) != string(q.Numbers) {
			t.Fatalf("%s\n%s", r.Reason, q.Reason)
		}
	})
}

// More clean traffic on the canary never makes a fail of a pass.
func TestCleanTrafficNeverFails(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ticks := drawTicks(t)
		b := feedBook(ticks, 0, nil)
		v, _, _ := b.Verdict(Rule{MinRequests: 1, Dwell: 5 * time.Second})
		if v == Fail {
			t.Skip()
		}
		e := harms.mean(b.Wealth)
		more := rapid.Int64Range(0, 1e6).Draw(t, "more")
		if rapid.Bool().Draw(t, "in the same ticks") {
			b = feedBook(ticks, 0, func(_ *Book, c *Counts) {
				c.Canary = slices.Clone(c.Canary)
				for i := range c.Canary {
					c.Canary[i].N += more
				}
			})
		} else {
			last := ticks[len(ticks)-1]
			for i := range 20 {
				c := Counts{At: last.At.Add(time.Duration(i+1) * 5 * time.Second)}
				for _, cell := range last.Canary {
					c.Canary = append(c.Canary, Cell{Host: cell.Host, N: more})
				}
				for _, cell := range last.Control {
					c.Control = append(c.Control, Cell{Host: cell.Host, N: 1000, X: cell.X})
				}
				b.Add(Rule{}, c)
			}
		}
		if now, _, _ := b.Verdict(Rule{MinRequests: 1, Dwell: 5 * time.Second}); now == Fail && b.Hard == nil && harms.mean(b.Wealth) > e {
			t.Fatalf("%s, then %s: %s", v, now, b.Rule(Rule{}, epoch).Reason)
		} else if v == Pass && now == Fail {
			t.Fatalf("pass, then fail: %s", b.Rule(Rule{}, epoch).Reason)
		}
	})
}

// Whatever is counted, figures stay figures, and a ruling can be written down.
func TestAnyCounts(t *testing.T) {
	wild := rapid.OneOf(rapid.Int64(), rapid.Int64Range(0, 10), rapid.Just(int64(math.MaxInt64)), rapid.Just(int64(math.MinInt64)))
	cells := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Cell {
		c := Cell{Host: rapid.SampledFrom([]string{"a", "b", "c", ""}).Draw(t, "host"), N: wild.Draw(t, "n"), X: wild.Draw(t, "x")}
		if rapid.Bool().Draw(t, "good") {
			c.Good = map[string]int64{"edits": wild.Draw(t, "g")}
		}
		return c
	}), 0, 5)
	broken := func(s string) bool {
		return strings.Contains(s, "NaN") || strings.Contains(s, "Inf") || strings.Contains(s, "%!")
	}
	rapid.Check(t, func(t *rapid.T) {
		b := &Book{}
		said := false // by an error's text
		for i := range rapid.IntRange(0, 20).Draw(t, "ticks") {
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0:
				b.Open(epoch.Add(time.Duration(i) * 5 * time.Second))
			case 1:
				b.Learn(cells.Draw(t, "past"))
			case 2:
				b.Drop(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "drop"))
			case 3:
				arm, text := Arm(rapid.IntRange(0, 1).Draw(t, "arm")), rapid.String().Draw(t, "text")
				said = said || broken(text)
				b.Prints(arm, "a", []Print{{Text: text, Count: wild.Draw(t, "k")}})
			default:
				b.Add(Rule{}, Counts{At: epoch.Add(time.Duration(i) * 5 * time.Second), Canary: cells.Draw(t, "canary"), Control: cells.Draw(t, "control")})
			}
			r := b.Rule(Rule{}, epoch)
			raw, err := json.Marshal(b)
			if err != nil || r.Numbers == nil || !b.sound() {
				t.Fatalf("%v, sound %v, numbers %s: %s", err, b.sound(), r.Numbers, r.Reason)
			}
			if len(raw) > 100_000 || r.Verdict == Pass {
				t.Fatalf("%d bytes, %s", len(raw), r.Verdict)
			}
			if broken(r.Reason) && !said {
				t.Fatal(r.Reason)
			}
		}
	})
}

// FuzzEvidence: evidence that is damaged is none, or is judged without a panic; it never passes at once.
func FuzzEvidence(f *testing.F) {
	s := &script{rate: flat(1e-3), good: func(string, time.Time) int64 { return 3 }, prints: typeError("a")}
	w := newDeploy(s, 3, 5)
	for _, at := range []time.Duration{5 * time.Second, 40 * time.Second} {
		win := w.Window
		win.Now = epoch.Add(at)
		r, err := w.gate.Judge(f.Context(), win, nil)
		if err != nil || len(r.Evidence) == 0 {
			f.Fatal(err)
		}
		f.Add([]byte(r.Evidence))
		f.Add([]byte(strings.Replace(string(r.Evidence), `"wealth":[`, `"wealth":[1e300,`, 1)))
	}
	f.Add([]byte(`null`))
	f.Add([]byte(`{"format":1,"deploy":"d1","release":"new","step":5000000000,"book":{"hosts":[{}]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		win := w.Window
		win.Now = epoch.Add(50 * time.Second)
		if _, err := w.gate.Judge(t.Context(), win, raw); err != nil && json.Valid(raw) {
			t.Error(err)
		}
	})
}
