package canary

import "math"

// refutation is the evidence against harm, as logarithms of likelihood ratios. Harm means to fail at least HarmRatio times as
// often as the control, and in at least HarmRate of the requests; a Pass refutes either one.
//
// Both are e-processes under harm, so each crosses ln PassAt with probability at most 1/PassAt when there is harm
// (Ville's inequality).
type refutation struct {
	Ratio float64 `json:"ratio"` // L-: against r >= HarmRatio
	Rate  float64 `json:"rate"`  // L0: against a rate >= HarmRate
}

// minLog bounds both from below: JSON knows no infinity.
const minLog = -1e6

// add takes a tick with both arms: x of nc failing on the canary, and of each part that is compared for itself x and, on both arms, m,
// with theta the canary's share. What is of neither arm counts as the canary's.
//
//	L-: x ln(1/r_h) + m ln(1 - theta + theta r_h)       r = 1 against r = r_h, binomial given m
//	L0: x ln(l1/delta) + n_c (delta - l1)               rate l1 = delta/10 against delta, Poisson
func (f *refutation) add(r *Rule, list []stratum, x, nc int64, phi float64) {
	var sum float64
	for _, s := range list {
		x += s.stray
		if theta := s.theta(); s.m > 0 && theta > 0 && theta < 1 {
			sum += (float64(s.m)*math.Log(1-theta+theta*r.HarmRatio) - float64(s.x+s.stray)*math.Log(r.HarmRatio)) / phi
		}
	}
	f.Ratio = r.bound(f.Ratio + sum)
	f.addRate(r, x, nc, phi)
}

// addAlone takes a tick without a control arm, whose rate was frozen before; 0: not known.
//
//	L-: x ln(1/r_h) + n_c rate (r_h - 1)                r = 1 against r = r_h, Poisson
func (f *refutation) addAlone(r *Rule, x, nc int64, rate, phi float64) {
	if rate > 0 {
		f.Ratio = r.bound(f.Ratio + (float64(nc)*rate*(r.HarmRatio-1)-float64(x)*math.Log(r.HarmRatio))/phi)
	}
	f.addRate(r, x, nc, phi)
}

func (f *refutation) addRate(r *Rule, x, nc int64, phi float64) {
	f.Rate = r.bound(f.Rate + (float64(nc)*(r.HarmRate-r.cleanRate())-float64(x)*math.Log(r.HarmRate/r.cleanRate()))/phi)
}

// open begins a batch: harm that was refuted stays refuted, but there is no credit beyond that. One failing request of the
// new batch more than the control's rate explains asks for evidence anew.
func (f *refutation) open(r *Rule) {
	f.Ratio = min(f.Ratio, math.Log(r.PassAt))
	f.Rate = min(f.Rate, math.Log(r.PassAt))
}

func (f *refutation) done(r *Rule) bool { return max(f.Ratio, f.Rate) >= math.Log(r.PassAt) }

// bound keeps l from growing beyond twice what a Pass needs: harm that begins late in a long batch must not have an hour of
// credit to use up before it is no longer refuted.
func (r *Rule) bound(l float64) float64 { return max(minLog, min(l, 2*math.Log(r.PassAt))) }
