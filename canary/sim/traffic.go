package sim

import (
	"math"
	"strconv"
	"time"

	"scap/canary"
)

// epoch is when every simulated deploy begins; only differences of time matter.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// arm is what one side served in one tick.
type arm struct{ n, x int64 }

func (a *arm) add(b arm) { a.n += b.n; a.x += b.x }

// traffic makes the ticks of one run. The totals of the arms come from one stream of random numbers, the hosts they fall on
// from another and what was before from a third, so that every rule judges the same totals however long another one looked at
// the hosts. It reuses its cells: a tick is good until the next.
type traffic struct {
	s                 Scenario
	totals, places    random
	history           random
	bursts            bursts
	tick              float64 // seconds
	canaries, control []canary.Cell
	sizes             []int64
}

func newTraffic(s Scenario, tick time.Duration) *traffic {
	t := &traffic{s: s, bursts: newBursts(s.Clustering), tick: tick.Seconds()}
	t.canaries, t.control = cells("canary", s.Canaries), cells("control", s.Controls)
	for i := range t.canaries {
		if s.Within {
			on := "machine" + strconv.Itoa(i+1)
			t.canaries[i].On, t.control[i].On = on, on
		}
	}
	return t
}

func cells(kind string, n int) []canary.Cell {
	list := make([]canary.Cell, n)
	for i := range list {
		list[i].Host = kind + strconv.Itoa(i+1)
	}
	return list
}

// begin starts a run.
func (t *traffic) begin(run int) {
	stream := 3 * uint64(run)
	t.totals, t.places, t.history = newRandom(t.s.Seed, stream), newRandom(t.s.Seed, stream+1), newRandom(t.s.Seed, stream+2)
}

// shock is the factor on both arms' error rates in one tick: log-normal of median 1, so that more than half of the failures
// come in bad ticks.
func (t *traffic) shock() float64 {
	if t.s.Shock <= 0 {
		return 1
	}
	return math.Exp(t.s.Shock * t.totals.NormFloat64())
}

// serve draws one arm's tick: share of the fleet's traffic, failing at rate. With cells it also says on which hosts.
func (t *traffic) serve(share, rate float64, hosts []canary.Cell, spread bool) arm {
	mean := t.s.Rate * share * t.tick
	a := arm{n: t.totals.poisson(mean)}
	t.sizes = t.sizes[:0]
	if t.bursts.p == 0 && !spread { // every burst is one failure: no need to list them
		a.x = min(t.totals.poisson(mean*min(rate, 1)), a.n)
		return a
	}
	for range t.totals.poisson(mean * min(rate, 1) * t.bursts.perMean) {
		size := min(t.bursts.size(t.totals), a.n-a.x)
		if size <= 0 {
			break
		}
		a.x += size
		t.sizes = append(t.sizes, size)
	}
	if spread {
		t.spread(a, hosts)
	}
	return a
}

// spread lays an arm's tick on its hosts: requests evenly, as a balancer does, each burst of failures on one host.
func (t *traffic) spread(a arm, hosts []canary.Cell) {
	each, rest := a.n/int64(len(hosts)), int(a.n%int64(len(hosts)))
	first := t.places.IntN(len(hosts))
	for i := range hosts {
		hosts[i].N, hosts[i].X = each, 0
		if (i+len(hosts)-first)%len(hosts) < rest {
			hosts[i].N++
		}
	}
	for _, size := range t.sizes {
		for size > 0 { // what a host cannot fail for want of requests, the next one does
			h := &hosts[t.places.IntN(len(hosts))]
			fits := min(size, h.N-h.X)
			h.X += fits
			size -= fits
		}
	}
}

// next draws a tick of both arms at the given ratio.
func (t *traffic) next(ratio float64, spread bool) (canaries, control arm) {
	rate := t.s.Base * t.s.Surge * t.shock()
	canaries = t.serve(t.s.Share, rate*ratio, t.canaries, spread)
	control = t.serve(1-t.s.Share, rate, t.control, spread)
	if t.s.Sick > 1 {
		more := rate * (t.s.Sick - 1)
		t.sicken(&canaries, more*ratio, t.canaries, spread)
		if t.s.Within {
			t.sicken(&control, more, t.control, spread)
		}
	}
	return canaries, control
}

// sicken lets the first machine of an arm fail more often.
func (t *traffic) sicken(a *arm, more float64, hosts []canary.Cell, spread bool) {
	n := a.n / int64(len(hosts))
	x := min(t.totals.poisson(float64(n)*min(more, 1)), n, a.n-a.x)
	a.x += x
	if spread {
		hosts[0].X = min(hosts[0].X+x, hosts[0].N)
	}
}

// before is what the canaries failed in the given time while they still ran the old release, drawn at once: the shocks of so
// many ticks leave their mean with a spread of Shock over the root of their number.
func (t *traffic) before(d time.Duration) int64 { return t.failed(t.totals, t.s.Share, d) }

// past is what the control served and failed in the given time before the deploy, in the same way.
func (t *traffic) past(d time.Duration) (n, x int64) {
	return int64(t.s.Rate * (1 - t.s.Share) * d.Seconds()), t.failed(t.history, 1-t.s.Share, d)
}

func (t *traffic) failed(r random, share float64, d time.Duration) (x int64) {
	ticks := max(1, d.Seconds()/t.tick)
	mean := t.s.Rate * share * d.Seconds() * t.s.Base * math.Exp(t.s.Shock*t.s.Shock/2) * max(0, 1+t.s.Shock/math.Sqrt(ticks)*r.NormFloat64())
	if t.bursts.p == 0 {
		return r.poisson(mean)
	}
	for range r.poisson(mean * t.bursts.perMean) {
		x += t.bursts.size(r)
	}
	return x
}

// learn draws one tick of the control hosts from before the deploy, from a stream of its own.
func (t *traffic) learn() []canary.Cell {
	totals, places := t.totals, t.places
	t.totals, t.places = t.history, t.history
	t.serve(1-t.s.Share, t.s.Base*t.shock(), t.control, true)
	t.totals, t.places = totals, places
	return t.control
}
