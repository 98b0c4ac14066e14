package sim

import "math"

// Interval is a share of trials with the bounds within which the true one lies with 95 % confidence.
type Interval struct {
	Share float64 `json:"share"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// binomial is the exact interval of Clopper and Pearson (Biometrika 26, 1934, 404-413) for k of n, where neither need be
// whole: n may be what correlated trials are worth. Without trials nothing is known: 0 to 1.
func binomial(k, n float64) Interval {
	if !(n > 0) {
		return Interval{High: 1}
	}
	const tail = .025
	k = min(max(k, 0), n)
	i := Interval{Share: k / n, High: 1}
	if k > 0 {
		i.Low = bisect(func(p float64) bool { return 1-betaCDF(p, k, n-k+1) > 1-tail })
	}
	if k < n {
		i.High = bisect(func(p float64) bool { return 1-betaCDF(p, k+1, n-k) > tail })
	}
	return i
}

// bisect is where below, true of small p, turns false.
func bisect(below func(p float64) bool) float64 {
	lo, hi := 0., 1.
	for range 60 {
		if mid := (lo + hi) / 2; below(mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return (lo + hi) / 2
}

// betaCDF is the regularised incomplete beta function I_p(a, b), by its continued fraction (DLMF 8.17.22).
func betaCDF(p, a, b float64) float64 {
	switch {
	case p <= 0:
		return 0
	case p >= 1:
		return 1
	case p > (a+1)/(a+b+2): // where the fraction is slow
		return 1 - betaCDF(1-p, b, a)
	}
	lab, _ := math.Lgamma(a + b)
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	front := math.Exp(lab - la - lb + a*math.Log(p) + b*math.Log1p(-p))
	return front * fraction(p, a, b) / a
}

// fraction evaluates the continued fraction of betaCDF by the method of Lentz.
func fraction(p, a, b float64) float64 {
	const tiny = 1e-300
	c, d := 1., 1-(a+b)*p/(a+1)
	if d == 0 {
		d = tiny
	}
	d = 1 / d
	f := d
	for i := 1; i < 10_000; i++ {
		m := float64(i)
		for _, step := range [2]float64{
			m * (b - m) * p / ((a + 2*m - 1) * (a + 2*m)),
			-(a + m) * (a + b + m) * p / ((a + 2*m) * (a + 2*m + 1)),
		} {
			d = 1 + step*d
			if d == 0 {
				d = tiny
			}
			c = 1 + step/c
			if c == 0 {
				c = tiny
			}
			d = 1 / d
			f *= d * c
		}
		if math.Abs(d*c-1) < 1e-14 {
			break
		}
	}
	return f
}
