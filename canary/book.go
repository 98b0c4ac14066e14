package canary

import (
	"math"
	"time"
)

// Book is the whole evidence of one deploy, of a size that does not grow with time or traffic: a few sums a metric, two
// totals for each of a bounded number of hosts. It has no clock and reads nothing, so that a simulation drives the code that
// judges deploys. Its JSON form is exact: another process goes on with it and rules alike. The zero Book is empty, and holds.
type Book struct {
	// Next is the end of the last tick: where the next one may begin.
	Next        time.Time    `json:"next,omitzero"`
	Opened      time.Time    `json:"opened,omitzero"` // when the last batch was proven
	Batches     int          `json:"batches,omitempty"`
	Activations []activation `json:"activations,omitempty"` // the last of them
	Closed      int          `json:"closed,omitempty"`      // ticks since Opened
	Sample      int64        `json:"sample,omitempty"`      // requests of the last batch's hosts since Opened

	Wealth  []float64  `json:"wealth,omitempty"` // E+ by alternative
	Hosts   []hostBook `json:"hosts,omitempty"`
	Refuted refutation `json:"refuted,omitzero"`
	Canary  total      `json:"canary,omitzero"`  // in ticks with a control arm
	Control total      `json:"control,omitzero"` // in the same ticks
	Lone    total      `json:"lone,omitzero"`    // the canary in ticks without
	Batch   total      `json:"batch,omitzero"`   // the canary since the batch opened
	Against total      `json:"against,omitzero"` // the control since
	Hard    *hardStop  `json:"hard,omitempty"`

	Past    total      `json:"past,omitzero"` // the control before the deploy
	Phi     Dispersion `json:"phi,omitzero"`
	Largest float64    `json:"largest,omitempty"` // phi, the largest seen on this fleet; 0: none
	Red     drift      `json:"red,omitzero"`      // the control against its past
	Own     ownBook    `json:"own,omitzero"`      // the last batch against all others
	Rise    drift      `json:"rise,omitzero"`     // the canary without control, against the frozen rate

	CanaryHosts  int     `json:"canary_hosts,omitempty"` // in the last tick
	ControlHosts int     `json:"control_hosts,omitempty"`
	Fleet        int     `json:"fleet,omitempty"`    // all hosts, read or not; 0: those that are read
	Canaries     int     `json:"canaries,omitempty"` // all hosts with the release, seen in the last tick or not; 0: those that were
	Off          int     `json:"off,omitempty"`      // ticks in a row with too small a share
	Theta        float64 `json:"theta,omitempty"`    // the share in the last tick
	Expected     float64 `json:"expected,omitempty"`
	Short        total   `json:"short,omitzero"`   // requests of the machines with two releases since the share was looked at, and those of the trials
	Strays       int64   `json:"strays,omitempty"` // failures since the batch opened that are of neither of a machine's releases
	Trials       hashes  `json:"trials,omitempty"` // hosts that are one of two releases of a machine

	Kinds  []printBook `json:"kinds,omitempty"`
	More   int         `json:"more,omitempty"` // kinds that found no place
	Known  hashes      `json:"known,omitempty"`
	Forgot bool        `json:"forgot,omitempty"` // Known is full

	Signals []signalBook `json:"signals,omitempty"`

	from time.Time // where the ticks begin whose fingerprints are added; zero: with Next
}

// sound says whether a book that was read has the form of one that was written.
func (b *Book) sound() bool {
	ok := (len(b.Wealth) == len(harms.r1)) == (b.Batches > 0) && b.Batches >= 0 && len(b.Hosts) <= maxHosts && len(b.Signals) <= maxSignals &&
		len(b.Kinds) <= maxPrints && b.Canary.sound() && b.Control.sound() && b.Lone.sound() && b.Past.sound() && b.Phi.Chi2 >= 0 && b.Phi.DF >= 0
	for i := range b.Hosts {
		ok = ok && len(b.Hosts[i].Wealth) == len(harms.r1)
	}
	for i := range b.Signals {
		s := &b.Signals[i]
		ok = ok && len(s.Wealth) == len(drops.r1) && s.Canary.sound() && s.Control.sound() && s.Past.sound() && len(s.Hosts) <= maxLone &&
			(i == 0 || b.Signals[i-1].Name < s.Name)
	}
	return ok
}

// total counts requests and what is counted among them.
type total struct {
	N     int64 `json:"n"`
	X     int64 `json:"x"`
	Hosts int64 `json:"hosts,omitempty"` // hosts x ticks
}

func (t total) sound() bool { return t.N >= 0 && t.X >= 0 && t.Hosts >= 0 }

func (t *total) more(n, x int64) { t.N, t.X = t.N+n, t.X+x }
func (t *total) less(n, x int64) { t.N, t.X = max(0, t.N-n), max(0, t.X-x) }

func (t total) rate() float64 {
	if t.N <= 0 {
		return 0
	}
	return float64(t.X) / float64(t.N)
}

// upper is a rate that the true one is unlikely to exceed: two standard deviations above what was counted. What was counted of
// few failures must not make a rise of what is only known badly.
func (t total) upper(phi float64) float64 {
	if t.N <= 0 {
		return 0
	}
	x := float64(t.X) + 1
	return (x + 2*math.Sqrt(phi*x)) / float64(t.N)
}

// Open says that a batch was proven at that time: dwell and sample count anew, the refutation of harm carries over, and the
// test of harm gets a new start of weight 1/j^2 for the j-th batch.
func (b *Book) Open(at time.Time) { b.OpenFrom(at, at) }

// OpenFrom is Open for a batch whose first runtime began at from.
func (b *Book) OpenFrom(from, at time.Time) {
	if from.After(at) {
		from = at
	}
	from, at = from.UTC(), at.UTC()
	b.Batches++
	b.Opened, b.Closed, b.Sample = at, 0, 0
	b.Batch, b.Against, b.Short, b.Strays = total{}, total{}, total{}, 0
	b.Activations = append(b.Activations, activation{from, at})
	if len(b.Activations) > maxActivations {
		b.Activations = b.Activations[len(b.Activations)-maxActivations:]
	}
	if b.Wealth == nil {
		b.Wealth = make([]float64, len(harms.r1))
	}
	w := 1 / float64(b.Batches) / float64(b.Batches)
	inject(b.Wealth, w)
	b.Own.open(w)
	for i := range b.Hosts {
		inject(b.Hosts[i].Wealth, w)
	}
	for i := range b.Signals {
		inject(b.Signals[i].Wealth, w)
	}
	b.Off = 0
}

// Learn takes a tick of the control hosts from before the deploy: how failures cluster, and what is usual.
func (b *Book) Learn(cells []Cell) {
	n, x := sum(cells)
	b.Past.more(n, x)
	b.Past.Hosts += int64(len(cells))
	b.Phi.Add(cells)
	b.signals(cells)
	for i := range b.Signals {
		b.Signals[i].learn(cells)
	}
}

// Add takes the next closed tick. A tick at or before one that was added is none and is left out.
func (b *Book) Add(r Rule, c Counts) {
	if c.At.Before(b.Next) {
		return
	}
	r = r.Full()
	if b.Batches == 0 {
		b.Open(c.At)
	}
	if b.Batches > 1 && b.Closed == 0 {
		b.Refuted.open(&r)
	}
	b.Next = c.At.UTC().Add(r.Tick)
	b.CanaryHosts, b.ControlHosts = len(c.Canary), len(c.Control)
	nc, x := sum(c.Canary)
	nb, y := sum(c.Control)
	phi := b.Phi.phi(&r, b.Largest) // of what was before: the wealth stays a fair bet
	t, trials := c.trials()
	for i := range t.Canary {
		b.Trials.put(t.Canary[i].Host)
	}
	if x > 0 {
		b.track(c.Canary, nc)
	}
	if len(c.Control) > 0 {
		b.both(&r, &c, nc, x, nb, y, phi)
	} else {
		b.alone(&r, &c, nc, x, phi)
	}
	b.Own.add(&c, phi)
	if trials {
		b.trial(&r, &t)
	} else {
		b.share(&r, &c, nc, nb)
		b.hard(&r, &c, nc, x, nb, y)
	}
	b.Batch.more(nc, x)
	b.Against.more(nb, y)
	if !c.At.Before(b.Opened) {
		b.Closed++
		for i := range c.Canary {
			if n, _ := c.Canary[i].counts(); !c.Canary[i].Earlier {
				b.Sample += n
			}
		}
	}
	b.signals(c.Canary)
	b.signals(c.Control)
	for i := range b.Signals {
		b.Signals[i].add(&r, &c, nc, nb)
	}
}

// both takes a tick with both arms.
func (b *Book) both(r *Rule, c *Counts, nc, x, nb, y int64, phi float64) {
	b.Canary.more(nc, x)
	b.Control.more(nb, y)
	inject(b.Wealth, trickle)
	for i := range b.Hosts {
		inject(b.Hosts[i].Wealth, trickle)
	}
	list := c.strata()
	if failing(list) {
		for _, s := range list {
			harms.step(b.Wealth, s.x, s.m, s.theta(), phi)
		}
		b.leaveOut(c.Canary, list, phi)
	}
	b.hostTotals(c.Canary)
	b.Refuted.add(r, list, x, nc, phi)
	if b.Past.N > 0 {
		b.Red.add(c.At, y, float64(nb)*max(b.Past.upper(phi), r.cleanRate()), maxUnharmed, r.HarmRatio, phi)
	}
	b.Rise = drift{}
	if len(c.Control) > 1 {
		b.Phi.Add(c.Control)
	}
}

// alone takes a tick without control hosts: at 100 %, and in the watch.
func (b *Book) alone(r *Rule, c *Counts, nc, x int64, phi float64) {
	b.Lone.more(nc, x)
	b.hostTotals(c.Canary)
	old := b.old(r)
	if b.Refuted.addAlone(r, x, nc, old.rate(), phi); old.N <= 0 {
		return
	}
	if b.Red.G > 0 { // what had begun on the control goes on here, with its onset
		b.Rise, b.Red = b.Red, drift{}
	}
	if b.Rise.G <= 0 {
		for j := range b.Hosts {
			b.Hosts[j].Alone = 0
		}
	}
	b.Rise.add(c.At, x, float64(nc)*max(old.upper(phi), r.cleanRate()), maxUnharmed, r.HarmRatio, phi)
	for j := range b.Hosts {
		if cell := b.Hosts[j].cell(c.Canary); cell != nil {
			_, hx := cell.counts()
			b.Hosts[j].Alone += hx
		}
	}
}

// hostTotals takes a tick that says nothing of the ratio.
func (b *Book) hostTotals(cells []Cell) {
	for j := range b.Hosts {
		if c := b.Hosts[j].cell(cells); c != nil {
			n, x := c.counts()
			b.Hosts[j].N += n
			b.Hosts[j].X += x
		}
	}
}

// old is what is known of the old release when none of its hosts is left: the control during this deploy, with its past when
// that was little.
func (b *Book) old(r *Rule) total {
	t := b.Control
	if t.N < 10*r.MinRequests {
		t.more(b.Past.N, b.Past.X)
	}
	return t
}
