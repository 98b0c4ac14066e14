package sim

import (
	"math"
	"slices"
)

// mannWhitney holds the memory of the test.
type mannWhitney struct {
	x, y, shifts []float64
}

// higher says whether the confidence interval of how far a lies above b begins above part times its estimate.
func (m *mannWhitney) higher(a, b []float64, confidence, part float64) bool {
	m.x, m.y = append(m.x[:0], a...), append(m.y[:0], b...)
	slices.Sort(m.x)
	slices.Sort(m.y)
	quantile := math.Sqrt2 * math.Erfinv(confidence)
	if !(m.z(0) > quantile) { // z falls as the shift grows, and the limit wanted is not below 0
		return false
	}
	return m.z(part*math.Abs(m.estimate())) > quantile
}

// estimate is the Hodges-Lehmann shift: the median of all differences.
func (m *mannWhitney) estimate() float64 {
	m.shifts = m.shifts[:0]
	for _, x := range m.x {
		for _, y := range m.y {
			m.shifts = append(m.shifts, x-y)
		}
	}
	return median(m.shifts)
}

// z is the normal score of the rank sum of x-shift against y, corrected for ties and continuity; NaN when all are tied. Both
// are sorted. (wilcox.test of R, asymptotic, which Kayenta follows.)
func (m *mannWhitney) z(shift float64) float64 {
	nx, ny := float64(len(m.x)), float64(len(m.y))
	var rank, ranksOfX, ties float64
	for i, j := 0, 0; i < len(m.x) || j < len(m.y); {
		v := math.Inf(1)
		if i < len(m.x) {
			v = m.x[i] - shift
		}
		if j < len(m.y) {
			v = min(v, m.y[j])
		}
		inX, inY := 0., 0.
		for ; i < len(m.x) && m.x[i]-shift <= v; i++ {
			inX++
		}
		for ; j < len(m.y) && m.y[j] <= v; j++ {
			inY++
		}
		t := inX + inY
		ranksOfX += inX * (rank + (t+1)/2)
		rank += t
		ties += t*t*t - t
	}
	d := ranksOfX - nx*(nx+1)/2 - nx*ny/2
	if d != 0 {
		d -= math.Copysign(.5, d)
	}
	return d / math.Sqrt(nx*ny/12*(nx+ny+1-ties/((nx+ny)*(nx+ny-1))))
}

// median reorders list, which is not empty, and gives its median (quickselect, Hoare 1961).
func median(list []float64) float64 {
	n := len(list)
	hi := nth(list, n/2)
	if n%2 == 1 {
		return hi
	}
	return (hi + slices.Max(list[:n/2])) / 2
}

// nth puts the k-th smallest of list at its place, nothing above it before it, and gives it.
func nth(list []float64, k int) float64 {
	lo, hi := 0, len(list)-1
	for lo < hi {
		pivot := list[lo+(hi-lo)/2]
		i, j := lo, hi
		for i <= j {
			for list[i] < pivot {
				i++
			}
			for list[j] > pivot {
				j--
			}
			if i <= j {
				list[i], list[j] = list[j], list[i]
				i++
				j--
			}
		}
		switch {
		case k <= j:
			hi = j
		case k >= i:
			lo = i
		default:
			return list[k]
		}
	}
	return list[k]
}
