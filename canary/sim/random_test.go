package sim

import (
	"math"
	"testing"
)

// moments are the mean and the variance over the mean of n draws.
func moments(n int, draw func() int64) (mean, varOverMean float64) {
	var sum, squares float64
	for range n {
		x := float64(draw())
		sum += x
		squares += x * x
	}
	mean = sum / float64(n)
	return mean, (squares/float64(n) - mean*mean) / mean
}

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if !(math.Abs(got-want) <= within) {
		t.Errorf("%s is %g, want %g within %g", what, got, want, within)
	}
}

func TestPoissonHasItsMeanAndVariance(t *testing.T) {
	r := newRandom(1, 1)
	for _, mean := range []float64{.04, .9, 9.9, 10, 37, 40_000} {
		const n = 40_000
		m, v := moments(n, func() int64 { return r.poisson(mean) })
		near(t, "the mean", m, mean, 5*math.Sqrt(mean/n))
		near(t, "variance over mean", v, 1, 5*math.Sqrt((2+1/mean)/n))
	}
	for _, none := range []float64{0, -1, math.NaN()} {
		if got := r.poisson(none); got != 0 {
			t.Errorf("a mean of %g gave %d", none, got)
		}
	}
}

func TestPoissonHasItsTail(t *testing.T) {
	r := newRandom(2, 1)
	const n = 200_000
	for mean, at := range map[float64]float64{3: 8, 12: 20} { // P(X >= 8 | 3) = .0119, P(X >= 20 | 12) = .0213
		k := 0
		for range n {
			if float64(r.poisson(mean)) >= at {
				k++
			}
		}
		want := 1 - betaLikePoisson(mean, at)
		near(t, "the tail", float64(k)/n, want, 5*math.Sqrt(want/n))
	}
}

// betaLikePoisson is P(X < k) of a Poisson variable, summed.
func betaLikePoisson(mean, k float64) float64 {
	sum, p := 0., math.Exp(-mean)
	for i := 0.; i < k; i++ {
		sum += p
		p *= mean / (i + 1)
	}
	return sum
}

func TestBurstsGiveTheClusteringOfOneHost(t *testing.T) {
	r := newRandom(3, 1)
	for _, c := range []float64{1, 2, 5, 20} {
		b := newBursts(c)
		const mean, n = 3, 60_000
		m, v := moments(n, func() (x int64) {
			for range r.poisson(mean * b.perMean) {
				x += b.size(r)
			}
			return x
		})
		near(t, "the mean", m, mean, 5*math.Sqrt(mean*c/n))
		near(t, "variance over mean", v, c, c*.08)
	}
}

func TestTrafficKeepsItsSums(t *testing.T) {
	s, err := Scenario{Rate: 30, Share: .2, Base: .3, Ratio: 5, Clustering: 20, Shock: .3, Canaries: 3, Controls: 7}.filled()
	if err != nil {
		t.Fatal(err)
	}
	spread, only := newTraffic(s, 5e9), newTraffic(s, 5e9)
	spread.begin(4)
	only.begin(4)
	for range 500 {
		c, b := spread.next(s.Ratio, true)
		if c2, b2 := only.next(s.Ratio, false); c != c2 || b != b2 {
			t.Fatalf("hosts looked at: %v %v; not: %v %v", c, b, c2, b2)
		}
		for i, a := range []arm{c, b} {
			var sum arm
			for _, h := range [][]struct{ n, x int64 }{pairs(spread, i)}[0] {
				if h.x < 0 || h.x > h.n {
					t.Fatalf("a host fails %d of %d", h.x, h.n)
				}
				sum.n, sum.x = sum.n+h.n, sum.x+h.x
			}
			if sum != a {
				t.Fatalf("the hosts have %v, their arm %v", sum, a)
			}
		}
	}
}

func pairs(t *traffic, side int) (list []struct{ n, x int64 }) {
	cells := t.canaries
	if side == 1 {
		cells = t.control
	}
	for _, c := range cells {
		list = append(list, struct{ n, x int64 }{c.N, c.X})
	}
	return list
}
