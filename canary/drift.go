package canary

import (
	"math"
	"time"
)

// drift watches one rate against what it was before, for what has no control arm to be compared with: errors of the control
// itself, and errors and successes at 100 %. It is Page's cumulative sum (Page 1954, Biometrika 41) of Poisson log likelihood
// ratios: G = max(0, G + [x ln(r1/r0) - e (r1 - r0)] / phi), where e is expected. The tick at which G last left zero is the
// maximum-likelihood onset of the change, which says whether an activation brought it.
type drift struct {
	G    float64   `json:"g"`
	From time.Time `json:"from,omitzero"` // onset, while G > 0
	X    int64     `json:"x,omitempty"`   // counted since the onset
	E    float64   `json:"e,omitempty"`   // expected since
}

// maxDrift caps G at about twice what is red, so that what is over is seen to be over: G falls only by what is expected, which is
// little where few requests fail, and an hour of an outage must not take hours to forget.
const maxDrift = 11

func (d *drift) add(at time.Time, x int64, e, r0, r1, phi float64) {
	if d.G <= 0 {
		*d = drift{From: at}
	}
	d.G = min(maxDrift, d.G+(float64(x)*math.Log(r1/r0)-e*(r1-r0))/phi)
	d.X += x
	d.E += e
	if d.G <= 0 {
		*d = drift{}
	}
}

func (d *drift) red(r *Rule) bool { return d.G >= math.Log(r.FailAt) }

// activation is a batch: its runtimes began between From and At.
type activation struct {
	From time.Time `json:"from"`
	At   time.Time `json:"at"`
}

const (
	maxActivations = 16
	// A change is an activation's when it begins no more than these many ticks before its first runtime or after its last.
	ticksBefore = 2
	ticksAfter  = 6
)

// near says whether onset is close to an activation.
func (b *Book) near(r *Rule, onset time.Time) bool {
	for _, a := range b.Activations {
		if !onset.Before(a.From.Add(-ticksBefore*r.Tick)) && !onset.After(a.At.Add(ticksAfter*r.Tick)) {
			return true
		}
	}
	return false
}
