package prom

import (
	"math/bits"
	"time"

	"scap/canary"
)

// ticks places pieces into the ticks of a window, as far as those are closed: they end at or before through.
func (s *Source) ticks(pieces []piece, w window, through int64) []canary.Tick {
	step := w.step.Milliseconds()
	first := (w.from + step - 1) / step
	end := min(w.to, through) / step // not included
	if end <= first {
		return nil
	}
	served := map[[2]int64]int64{} // requests by interval
	for _, p := range pieces {
		if p.kind == 0 {
			served[[2]int64{p.a, p.b}] += p.d
		}
	}
	counts := map[int64][]int64{} // by tick and kind
	for _, p := range pieces {
		n := served[[2]int64{p.a, p.b}]
		for k := max(first, p.a/step); k < end && k*step < p.b; k++ {
			d := p.upTo(min((k+1)*step, p.b), n) - p.upTo(max(k*step, p.a), n)
			if d == 0 {
				continue
			}
			if counts[k] == nil {
				counts[k] = make([]int64, len(s.counts))
			}
			counts[k][p.kind] += d
		}
	}
	var list []canary.Tick
	for k := first; k < end; k++ {
		if c := counts[k]; c != nil {
			list = append(list, s.tick(time.UnixMilli(k*step).UTC(), c))
		}
	}
	return list
}

func (s *Source) tick(at time.Time, c []int64) canary.Tick {
	t := canary.Tick{At: at, Requests: c[0], Failing: c[1]}
	for i, n := range c[2:] {
		if n > 0 {
			if t.Good == nil {
				t.Good = map[string]int64{}
			}
			t.Good[s.counts[i+2].good] = n
		}
	}
	return t
}

// upTo is how much of a piece lies before the time at, in whole requests: evenly over its time, and what is a part of n requests
// evenly among those, so that no tick has more failures than requests. A tick's count is the difference of two of these, so
// whichever way a range is cut, the sum is the same.
func (p piece) upTo(at, n int64) int64 {
	if p.kind != 0 && p.d <= n {
		return share(p.d, share(n, at-p.a, p.b-p.a), n)
	}
	return share(p.d, at-p.a, p.b-p.a)
}

// share is d * part / whole, rounded down, for 0 <= part <= whole.
func share(d, part, whole int64) int64 {
	if whole <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(d), uint64(part))
	q, _ := bits.Div64(hi, lo, uint64(whole))
	return int64(q)
}
