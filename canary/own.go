package canary

import (
	"fmt"
	"math"
	"slices"
)

// ownBook is the evidence of the last batch's own hosts against all that serve beside them, with either release. What is harm
// on these alone, in one data center or on one kind of host, would be lost among many earlier hosts that are well.
type ownBook struct {
	Wealth []float64 `json:"wealth,omitempty"` // E+ by alternative, begun with the batch
	Start  float64   `json:"start,omitempty"`  // the weight that it began with
	Own    total     `json:"own,omitzero"`
	Rest   total     `json:"rest,omitzero"` // in the same ticks
	Hosts  []ownHost `json:"hosts,omitempty"`
}

// ownHost is one of them with failures.
type ownHost struct {
	Host string `json:"host"`
	N    int64  `json:"n"` // since its first failure
	X    int64  `json:"x"`
}

// open begins a batch with a start of weight w: over any number of batches the weights' sum stays below 0.65, and with it what
// this test adds to the false alarms of the first.
func (o *ownBook) open(w float64) {
	*o = ownBook{Wealth: slices.Repeat([]float64{w}, len(harms.r1)), Start: w}
}

// add takes a tick. Without earlier hosts there is nothing that could hide the batch's own.
func (o *ownBook) add(c *Counts, phi float64) {
	var own, rest total
	earlier := false
	for i := range c.Canary {
		n, x := c.Canary[i].counts()
		if c.Canary[i].Earlier {
			rest.more(n, x)
			earlier = true
			continue
		}
		own.more(n, x)
		o.host(c.Canary[i].Host, n, x)
	}
	if !earlier || own.N == 0 || len(o.Wealth) == 0 {
		return
	}
	n, x := sum(c.Control)
	rest.more(n, x)
	o.Own.more(own.N, own.X)
	o.Rest.more(rest.N, rest.X)
	if t, ok := c.trials(); ok { // each machine against itself
		for _, s := range t.strata() {
			harms.step(o.Wealth, s.x, s.m, s.theta(), phi)
		}
		return
	}
	harms.step(o.Wealth, own.X, own.X+rest.X, float64(own.N)/float64(own.N+rest.N), phi)
}

func (o *ownBook) host(name string, n, x int64) {
	i := slices.IndexFunc(o.Hosts, func(h ownHost) bool { return h.Host == name })
	switch {
	case i >= 0:
		o.Hosts[i].N, o.Hosts[i].X = o.Hosts[i].N+n, o.Hosts[i].X+x
	case x > 0 && len(o.Hosts) < maxHosts:
		o.Hosts = append(o.Hosts, ownHost{name, n, x})
	}
}

// without is the e-value that is left when the host with the most failures is not counted, by the sums of all ticks.
func (o *ownBook) without(phi float64) float64 {
	if len(o.Hosts) == 0 {
		return 0
	}
	worst := slices.MaxFunc(o.Hosts, func(a, b ownHost) int { return int(min(1, max(-1, a.X-b.X))) })
	n, x := o.Own.N-worst.N, max(0, o.Own.X-worst.X)
	if n <= 0 || o.Rest.N == 0 {
		return 0
	}
	left := slices.Repeat([]float64{1}, len(harms.r1))
	harms.step(left, x, x+o.Rest.X, float64(n)/float64(n+o.Rest.N), phi)
	return harms.mean(left)
}

// byOwn: the last batch fails more often than what serves beside it. One host of it is the affair of byRatio.
func (b *Book) byOwn(r *Rule, _ View) finding {
	e := harms.mean(b.Own.Wealth)
	switch {
	case e < r.LeaveOut || b.Own.Own.X < r.MinFailing || len(b.Own.Hosts) < 2:
		return nothing
	case b.Red.red(r): // everybody fails: the controls are no measure of these hosts
		return nothing
	case e >= r.FailAt && b.Own.without(b.Phi.phi(r, b.Largest)) >= r.LeaveOut:
		return finding{verdict: Fail, rule: byOwn}
	}
	return finding{cause: Gathering, rule: byOwn}
}

func (b *Book) ownReason(r *Rule, f finding) string {
	o := &b.Own
	said := fmt.Sprintf("this batch's own hosts %s, all others %s", rates(o.Own), rates(o.Rest))
	if q := ratio(o.Own.X, o.Own.N, o.Rest.X, o.Rest.N); q > 0 {
		said += fmt.Sprintf(": ratio %.1f", q)
	}
	e := harms.mean(o.Wealth)
	if f.verdict == Fail {
		return said + fmt.Sprintf(", e-value %s >= %g", big(e), r.FailAt) + b.top()
	}
	return said + fmt.Sprintf(", e-value %s: too much to pass, too little to fail at %g", big(math.Floor(e)), r.FailAt) + b.top()
}

// drop forgets a host that was taken out.
func (o *ownBook) drop(host string, phi float64) {
	i := slices.IndexFunc(o.Hosts, func(h ownHost) bool { return h.Host == host })
	if i < 0 {
		return
	}
	h := o.Hosts[i]
	o.Hosts = slices.Delete(o.Hosts, i, i+1)
	o.Own.N, o.Own.X = max(0, o.Own.N-h.N), max(0, o.Own.X-h.X)
	o.Wealth = slices.Repeat([]float64{o.Start}, len(harms.r1))
	if o.Own.N > 0 && o.Rest.N > 0 {
		harms.step(o.Wealth, o.Own.X, o.Own.X+o.Rest.X, float64(o.Own.N)/float64(o.Own.N+o.Rest.N), phi)
	}
}
