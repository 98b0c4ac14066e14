package canary

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Five new hosts beside twenty that have run the release for a while, with and without hosts of the old one: harm on the new ones
// alone, in another data center say, is lost in the sum of all and must not be.
func TestHarmOnTheBatchsOwnHosts(t *testing.T) {
	for name, tt := range map[string]struct {
		controls int
		x        func(host int) int64 // of a new host, in 1,000 requests a tick
		want     Verdict
		cause    Cause
	}{
		"well":                   {20, func(int) int64 { return 1 }, Pass, ""},
		"well, without control":  {0, func(int) int64 { return 1 }, Pass, ""},
		"worse":                  {20, func(int) int64 { return 5 }, Fail, ""},
		"worse, without control": {0, func(int) int64 { return 5 }, Fail, ""},
		"three times":            {20, func(int) int64 { return 3 }, Fail, ""},
		"one of them":            {20, func(h int) int64 { return map[bool]int64{true: 20, false: 1}[h == 0] }, Suspect, ""},
	} {
		b := &Book{Largest: 1}
		for range 100 {
			b.Learn(cellsOf("old", 20, func(int) int64 { return 1 }, false))
		}
		b.Open(epoch)
		at := epoch
		step := func(n, fresh, controls int) {
			for range n {
				c := Counts{At: at, Canary: cellsOf("early", 20, func(int) int64 { return 1 }, fresh > 0)}
				c.Canary = append(c.Canary, cellsOf("new", fresh, tt.x, false)...)
				c.Control = cellsOf("old", controls, func(int) int64 { return 1 }, false)
				b.Add(Rule{}, c)
				at = at.Add(5 * time.Second)
			}
		}
		step(24, 0, 25)
		want(t, b, Pass, "")
		b.Open(at)
		step(24, 5, tt.controls)
		if v, cause, _ := b.Verdict(Rule{}); v != tt.want || cause != tt.cause {
			t.Errorf("%s: %s %s, want %s %s: %s", name, v, cause, tt.want, tt.cause, b.Rule(Rule{}, at).Reason)
		}
		if r := b.Rule(Rule{}, at); tt.want == Fail && !strings.Contains(r.Reason, "this batch's own hosts") && !strings.Contains(r.Reason, "canary") {
			t.Errorf("%s: %s", name, r.Reason)
		}
	}
}

func cellsOf(name string, n int, x func(int) int64, earlier bool) (list []Cell) {
	for h := range n {
		list = append(list, Cell{Host: fmt.Sprintf("%s%02d", name, h), N: 1000, X: x(h), Earlier: earlier})
	}
	return list
}
