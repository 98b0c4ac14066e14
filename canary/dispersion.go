package canary

import "math"

// Dispersion measures how much failures cluster: Pearson's chi-squared of the control hosts x ticks table with the tick
// totals as margins, E_hk = X_k n_hk / N_k, over its degrees of freedom. Given a tick's total, independent failures fall on
// hosts in proportion to their requests, and each tick's sum has the mean H-1 however few they are; a burst of b
// failures on one host multiplies it by b. What all hosts share is in the margins and stays out.
//
// Both sums are weighted by the failures of the tick. Where failures are so rare that a tick has one burst or none, ticks with
// small bursts are as many as those with large ones, while it is the large ones that make evidence look strong: an even mean
// would find the mean size of bursts, E[b], where variance over mean is E[b^2]/E[b]. Given the tick totals the weights are
// fixed, so that without bursts the mean is 1 all the same.
type Dispersion struct {
	Chi2  float64 `json:"chi2"`
	DF    int     `json:"df"`
	Ticks int     `json:"ticks"` // with requests on several hosts, with failures or without
}

// maxWeight bounds what one tick weighs.
const maxWeight = 1 << 20

// minTicks of history are needed for an estimate.
const minTicks = 60

// Add takes one tick of the control hosts.
func (d *Dispersion) Add(cells []Cell) {
	n, x := sum(cells)
	var chi2 float64
	df := -1
	for i := range cells {
		cn, cx := cells[i].counts()
		if cn == 0 {
			continue
		}
		df++
		if x > 0 {
			e := float64(x) * float64(cn) / float64(n)
			chi2 += (float64(cx) - e) * (float64(cx) - e) / e
		}
	}
	if df < 1 {
		return // nothing to compare
	}
	d.Ticks++
	if x == 0 {
		return
	}
	d.Chi2 = min(d.Chi2+chi2*float64(min(x, maxWeight)), math.MaxFloat64/4)
	d.DF = min(d.DF+df*int(min(x, maxWeight)), math.MaxInt/4)
}

// Phi is what evidence is divided by, from 1 to r.PhiMax. With fewer than 60 ticks it is largest,
// the largest seen on this fleet, or r.PhiUnknown when that is not known (0).
func (d Dispersion) Phi(r Rule, largest float64) float64 {
	def(&r.PhiMax, 20)
	def(&r.PhiUnknown, 3)
	return d.phi(&r, largest)
}

func (d *Dispersion) phi(r *Rule, largest float64) float64 {
	phi, ok := d.estimate()
	if !ok {
		phi = largest
		if largest < 1 {
			phi = r.PhiUnknown
		}
	}
	return min(r.PhiMax, max(1, phi))
}

// estimate is the raw chi2/df, if there is history enough for one. No failure at all is no sign of clusters.
func (d *Dispersion) estimate() (float64, bool) {
	if d.Ticks < minTicks {
		return 0, false
	}
	if d.DF < 1 {
		return 1, true
	}
	return d.Chi2 / float64(d.DF), true
}
