package canary

import "time"

// hardStop is a tick in which at least half of the canaries' requests failed.
type hardStop struct {
	At time.Time `json:"at"`
	N  int64     `json:"n"`
	X  int64     `json:"x"`
}

const (
	hardFailing = 20
	hardShare   = 0.5
	offTicks    = 3
)

// share compares the canary's share of the requests with what its hosts should get.
func (b *Book) share(r *Rule, c *Counts, nc, nb int64) {
	b.Theta, b.Expected = 1, 1
	if len(c.Control) == 0 {
		b.Off = 0
		return
	}
	w := r.Share * float64(len(c.Canary))
	b.Expected = w / (w + float64(len(c.Control)))
	if nc+nb == 0 {
		b.Theta = 0
		return
	}
	b.Theta = float64(nc) / float64(nc+nb)
	switch {
	case b.Theta >= b.Expected/2:
		b.Off = 0
	case !c.At.Before(b.Opened):
		b.Off++
	}
}

// hard notes the first tick in which at least 20 distinct requests and half of all fail on the canary, and not on the
// control. While the control is red as well the ratio judges: of the few requests of a small control soon less than half
// fail. With enough hosts to tell, the same must be so without the worst of them; without a control it must be close to an
// activation.
func (b *Book) hard(r *Rule, c *Counts, nc, x, nb, y int64) {
	half := func(x, n int64) bool { return float64(x) >= hardShare*float64(n) }
	if b.Hard != nil || x < hardFailing || !half(x, nc) || nb > 0 && (half(y, nb) || b.Red.red(r)) {
		return
	}
	if len(c.Control) == 0 && !b.near(r, c.At) {
		return
	}
	if max(len(c.Canary), b.Canaries) >= suspectHosts && !b.isTrial(c.Canary[0].Host) { // what a machine has, its old release has too
		for i := range c.Canary {
			if n, hx := c.Canary[i].counts(); x-hx == 0 || !half(x-hx, nc-n) {
				return
			}
		}
	}
	b.Hard = &hardStop{c.At, nc, x}
}
