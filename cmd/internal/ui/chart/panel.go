package chart

import (
	"math"
	"slices"
	"time"

	"scap/phases/journal"
)

// panel is one gate over time.
type panel struct {
	name         string
	points       []point
	changes      []change
	failAt       float64 // as last seen; 0: no statistics
	passAt       float64
	last         figures
	total        [2]arm // of all increments
	phi          float64
	sawStatistic bool
	sawSignal    bool
}

// point is one look.
type point struct {
	at      time.Time
	state   state
	seen    bool    // there are figures
	harm    float64 // log10 of the evidence of harm
	drop    float64 // log10 of the evidence of a signal's drop
	watched bool    // there is a signal
	safe    float64 // log10 of the evidence of no harm
	canary  arm     // since the look before
	control arm
}

// change is a look whose verdict or cause is another than before.
type change struct {
	at     time.Time
	phase  string
	state  state
	reason string
}

// state is a verdict as it is drawn.
type state struct{ verdict, cause string }

// rank orders states by how much they matter when several share a column.
func (s state) rank() int {
	switch s.verdict {
	case "fail":
		return 5
	case "suspect":
		return 4
	case "pass":
		return 1
	case "hold":
		if s.cause == "gathering" || s.cause == "" {
			return 2
		}
		return 3
	}
	return 0
}

// Ends of the axes: beyond them a curve runs along the edge.
const (
	lowHarm, highHarm = -3.0, 12.0
	lowSafe, highSafe = -3.0, 6.0
)

// add takes up a look.
func (p *panel) add(r journal.Record, l look) {
	pt := point{at: r.At, state: state{l.verdict, l.cause}, seen: l.seen}
	if l.seen {
		f := l.figures
		pt.harm, pt.safe = power10(f.harm), min(power10(f.safe), highSafe)
		pt.drop, pt.watched = power10(f.drop), f.drop > 0
		pt.canary, pt.control = f.canary.since(p.last.canary), f.control.since(p.last.control)
		for i, a := range []arm{pt.canary, pt.control} {
			p.total[i].n = addUp(p.total[i].n, a.n)
			p.total[i].x = addUp(p.total[i].x, a.x)
		}
		if f.failAt > 1 {
			p.failAt = f.failAt
		}
		if f.passAt > 1 {
			p.passAt = f.passAt
		}
		p.last, p.phi, p.sawStatistic, p.sawSignal = f, f.phi, true, p.sawSignal || f.drop > 0
	}
	phase := r.Phase
	if n := len(p.points); n == 0 || p.points[n-1].state != pt.state {
		p.changes = append(p.changes, change{at: r.At, phase: phase, state: pt.state, reason: l.reason})
	}
	p.points = append(p.points, pt)
}

// power10 is the logarithm of evidence within the axis.
func power10(e float64) float64 {
	if e <= 0 {
		return lowHarm
	}
	return clamp(math.Log10(e), lowHarm, highHarm)
}

// since is what an arm counted since it stood at before; all of it when counting began anew.
func (a arm) since(before arm) arm {
	if a.n < before.n || a.x < before.x {
		return a
	}
	return arm{a.n - before.n, a.x - before.x}
}

func addUp(a, b int64) int64 {
	if b > math.MaxInt64-a {
		return math.MaxInt64
	}
	return a + b
}

func clamp(v, low, high float64) float64 { return max(low, min(v, high)) }

// harms and safes are the ends of the panel's own axes, with room for the line at which it fails or passes.
func (p *panel) harms() (low, high float64) {
	low, high = -1, math.Ceil(p.failLine())+1
	for _, pt := range p.points {
		if pt.seen {
			low, high = min(low, math.Floor(pt.harm)), max(high, math.Ceil(pt.harm))
		}
		if pt.watched {
			low, high = min(low, math.Floor(pt.drop)), max(high, math.Ceil(pt.drop))
		}
	}
	return low, high
}

func (p *panel) safes() (low, high float64) {
	low, high = -1, math.Ceil(p.passLine())+1
	for _, pt := range p.points {
		if pt.seen {
			low, high = min(low, math.Floor(pt.safe)), max(high, math.Ceil(pt.safe))
		}
	}
	return low, high
}

// failLine is where evidence of harm fails a release, passLine where evidence of no harm passes it, as log10.
func (p *panel) failLine() float64 {
	return clamp(math.Log10(orNumber(p.failAt, 200)), lowHarm, highHarm)
}

func (p *panel) passLine() float64 {
	return clamp(math.Log10(orNumber(p.passAt, 40)), lowSafe, highSafe)
}

func orNumber(v, otherwise float64) float64 {
	if v > 0 {
		return v
	}
	return otherwise
}

// column is what falls into one column of a chart.
type column struct {
	filled             bool
	state              state
	seen               bool
	harmLow, harmHigh  float64
	safeLow, safeHigh  float64
	harmLast, safeLast float64
	watched            bool
	dropLow, dropHigh  float64
	dropLast           float64
	canary, control    arm
}

// columns gathers the points into n columns by where the axis puts them.
func (p *panel) columns(a *axis, n int) []column {
	cols := make([]column, n)
	for _, pt := range p.points {
		c := &cols[a.column(pt.at, n)]
		if !c.filled || pt.state.rank() >= c.state.rank() {
			c.state = pt.state
		}
		c.filled = true
		if !pt.seen {
			continue
		}
		if !c.seen {
			c.harmLow, c.harmHigh, c.safeLow, c.safeHigh = pt.harm, pt.harm, pt.safe, pt.safe
		}
		c.seen = true
		c.harmLow, c.harmHigh, c.harmLast = min(c.harmLow, pt.harm), max(c.harmHigh, pt.harm), pt.harm
		c.safeLow, c.safeHigh, c.safeLast = min(c.safeLow, pt.safe), max(c.safeHigh, pt.safe), pt.safe
		if pt.watched {
			if !c.watched {
				c.dropLow, c.dropHigh, c.watched = pt.drop, pt.drop, true
			}
			c.dropLow, c.dropHigh, c.dropLast = min(c.dropLow, pt.drop), max(c.dropHigh, pt.drop), pt.drop
		}
		c.canary = arm{addUp(c.canary.n, pt.canary.n), addUp(c.canary.x, pt.canary.x)}
		c.control = arm{addUp(c.control.n, pt.control.n), addUp(c.control.x, pt.control.x)}
	}
	return cols
}

// rate is the share that failed; ok is false when nothing was counted.
func (a arm) rate() (rate float64, ok bool) {
	if a.n <= 0 {
		return 0, a.x > 0
	}
	return clamp(float64(a.x)/float64(a.n), 0, 1), true
}

// changesShown are the changes for a table: all, or the first and last of too many, with how many are left out between.
func (p *panel) changesShown() (shown []change, left int) {
	const most = 40
	if len(p.changes) <= most {
		return p.changes, 0
	}
	return slices.Concat(p.changes[:most/2], p.changes[len(p.changes)-most/2:]), len(p.changes) - most
}
