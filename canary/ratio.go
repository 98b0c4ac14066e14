package canary

import "math"

// maxUnharmed is r0: a release that fails up to this many times as often is never failed by the ratio.
const maxUnharmed = 1.25

// maxWealth caps an e-process. A smaller process is still an e-process, and JSON knows no infinity.
const maxWealth = 1e100

// mixture is a composite alternative: ratios of the canary's rate to the control's, weighted, against r0. The weights are at
// most 1 in sum: any such mean of e-processes is one.
type mixture struct {
	r0     float64
	r1     []float64
	weight []float64
	ln     []float64 // ln(r1/r0)
}

func newMixture(r0 float64, r1, weight []float64) mixture {
	m := mixture{r0: r0, r1: r1, weight: weight}
	for _, r := range r1 {
		m.ln = append(m.ln, math.Log(r/r0))
	}
	return m
}

// The alternatives: harm, by errors, and a drop of successes. Nothing changes them. Harm of five to ten times is the one
// whose detection takes minutes that count, so it has more than half of the weight; a hundredfold is found in a tick or two
// with any weight.
var (
	harms = newMixture(maxUnharmed, []float64{2, 3, 5, 10, 30, 100}, []float64{0.1, 0.15, 0.25, 0.3, 0.15, 0.05})
	drops = newMixture(0.9, []float64{0.7, 0.5, 0.2, 0.02}, []float64{0.25, 0.25, 0.25, 0.25})
)

// step multiplies each wealth by the likelihood ratio of one tick.
//
// Given the m events of a tick on both arms together, the x on the canary are binomial with p(r) = theta r / (1 - theta +
// theta r): theta is the canary's share of the tick's requests and r the ratio of rates, so what moves both arms alike
// (traffic, a slow database) cancels. The likelihood ratio of r1 against r0 is
//
//	exp[ x ln(r1/r0) + m ln((1-theta+theta r0)/(1-theta+theta r1)) ]
//
// Its product over the ticks, in the weighted mean over the alternatives, is an e-process for r <= r0: by Ville's inequality it exceeds
// 1/alpha at any time with probability at most alpha, however often one looks (Lindon & Malek 2020, arXiv 2011.03567;
// Turner, Ly & Gruenwald 2021, arXiv 2106.02693). The exponent is divided by phi for clustered events, which is a
// heuristic: the guarantee is exact at phi = 1.
func (a mixture) step(wealth []float64, x, m int64, theta, phi float64) {
	if m == 0 || theta <= 0 || theta >= 1 {
		return // says nothing of the ratio
	}
	fx, fm := float64(x)/phi, float64(m)/phi
	null := 1 - theta + theta*a.r0
	for i, r1 := range a.r1 {
		lr := fx*a.ln[i] + fm*math.Log(null/(1-theta+theta*r1))
		wealth[i] = min(wealth[i]*math.Exp(min(lr, 700)), maxWealth) // finite, so that zero stays zero
	}
}

// inject gives each wealth a new start of weight w. The sum of e-processes that begin at given times, with weights, is
// one for the sum of the weights: a batch that opens late is tested from its own beginning.
func inject(wealth []float64, w float64) {
	for i := range wealth {
		wealth[i] = min(wealth[i]+w, maxWealth)
	}
}

// trickle is the weight of a start in every tick. Over a long batch without harm the wealth sinks without end, and harm that
// begins late would have to make all of that up first; with a start of its own it needs less than three times the evidence of
// harm that begins with a batch. A hundred minutes of ticks add 0.12 to the weights' sum.
const trickle = 1e-4

// mean is the e-value: the wealth of all alternatives by their weights.
func (a mixture) mean(wealth []float64) float64 {
	var s float64
	for i := range min(len(wealth), len(a.weight)) {
		s += a.weight[i] * wealth[i]
	}
	return s
}

// ratio is the canary's rate over the control's; 0 when there is nothing to divide.
func ratio(x, n, y, m int64) float64 {
	if n <= 0 || m <= 0 || y <= 0 {
		return 0
	}
	return float64(x) / float64(n) / (float64(y) / float64(m))
}
