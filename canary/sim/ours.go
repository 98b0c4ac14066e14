package sim

import (
	"maps"
	"slices"
	"time"

	"scap/canary"
)

func tickOf(r canary.Rule) time.Duration { return r.Full().Tick }

// ours is our rule under test: the Book that judges deploys, fed with made-up or past ticks.
type ours struct {
	rule  canary.Rule
	book  canary.Book
	cause canary.Cause
}

// newJudge begins a deploy at the given time, with phi as it is known then. phi 0 leaves it to what the book learns.
func newJudge(rule canary.Rule, phi float64, at time.Time) *ours {
	o := &ours{rule: rule.Full()}
	if phi > 0 {
		o.rule = pinned(o.rule, phi)
		o.book.Phi = certain(phi)
	}
	o.book.Open(at)
	return o
}

// pinned is the rule with phi given, whatever the ticks say: a Book bounds it from above, certain from below.
func pinned(r canary.Rule, phi float64) canary.Rule {
	r.PhiMax, r.PhiUnknown = phi, phi
	return r
}

// certain is a dispersion that no deploy moves.
func certain(phi float64) canary.Dispersion {
	const long = 1 << 40
	return canary.Dispersion{Chi2: 2 * phi * long, DF: long, Ticks: long}
}

// see takes a tick and gives the verdict after it.
func (o *ours) see(c canary.Counts) canary.Verdict {
	o.book.Add(o.rule, c)
	v, cause, _ := o.book.Verdict(o.rule)
	o.cause = cause
	return v
}

func (o *ours) why() canary.Cause { return o.cause }

// fromTraffic is ours in a race: it looks at the hosts of the traffic, and learns from a history before each run.
type fromTraffic struct {
	ours
	t     *traffic
	base  canary.Rule
	phi   float64
	tick  time.Duration
	late  bool // telemetry never is what a verdict may rest on
	blind bool // the control arm is left out, to see what it is good for
}

var _ judge = (*fromTraffic)(nil)

func newOurs(t *traffic, rule canary.Rule, tick time.Duration) *fromTraffic {
	rule = rule.Full()
	// What a canary host gets is known on a real fleet; here it follows from the scenario.
	rule.Share = t.s.Share / float64(t.s.Canaries) / ((1 - t.s.Share) / float64(t.s.Controls))
	return &fromTraffic{t: t, base: rule, phi: t.s.Phi, tick: tick, late: t.s.Lag > rule.LateStop}
}

func (f *fromTraffic) begin(float64) {
	f.ours = *newJudge(f.base, f.phi, epoch)
	if f.phi > 0 { // what the control failed before, in one draw: only phi needs its ticks
		n, x := f.t.past(f.base.History)
		f.book.Past.N, f.book.Past.X = n, x
		return
	}
	for range f.base.History / f.tick {
		f.book.Learn(f.t.learn())
	}
}

func (f *fromTraffic) look(age time.Duration, _, _ arm) canary.Verdict {
	if f.late {
		f.cause = canary.Late
		return canary.Hold
	}
	from := age - f.tick
	c := canary.Counts{At: epoch.Add(from), Canary: f.t.canaries, Control: f.t.control}
	if f.blind {
		c.Control = nil
	}
	return f.see(c)
}

// sortedCauses are the causes by their share, the largest first, and by name.
func sortedCauses(m map[canary.Cause]float64) []canary.Cause {
	list := slices.Sorted(maps.Keys(m))
	slices.SortStableFunc(list, func(a, b canary.Cause) int {
		switch {
		case m[a] > m[b]:
			return -1
		case m[a] < m[b]:
			return 1
		}
		return 0
	})
	return list
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
