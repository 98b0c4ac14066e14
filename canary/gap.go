package canary

import (
	"context"
	"fmt"
	"time"
)

// gap is a time of which something is missing that will never be known.
type gap struct {
	Until time.Time `json:"until"` // the beginning of the first tick that can be judged again
	Cause Cause     `json:"cause"`
	Why   string    `json:"why"`
}

// lost says that every canary that cannot be judged now, or every control host, has lost what it is asked about, and up to when. It
// returns nil when anything is missing that may still come: ticks are not given up while they can be had.
func (l *glance) lost(a *answer, ok []bool) *gap {
	var g *gap
	for i := range l.canary {
		h := &a.hosts[i]
		switch {
		case ok[i]:
		case h.Problem == "" || h.Lost.IsZero():
			return nil
		case g == nil || h.Lost.After(g.Until):
			g = gapOf(h)
		}
	}
	if c := l.lostControl(a, ok); c != nil && (g == nil || c.Until.After(g.Until)) {
		g = c
	}
	if g != nil {
		g.Until = alignUp(g.Until, a.q.Step)
	}
	return g
}

// lostControl is when the first control host can be compared with again, if none can be now.
func (l *glance) lostControl(a *answer, ok []bool) (g *gap) {
	for i := len(l.canary); i < len(a.hosts); i++ {
		h := &a.hosts[i]
		switch {
		case ok[i]:
			return nil
		case h.Problem == "" || h.Lost.IsZero():
		case g == nil || h.Lost.Before(g.Until):
			g = gapOf(h)
		}
	}
	return g
}

func gapOf(h *HostReading) *gap {
	g := &gap{Until: h.Lost.UTC(), Cause: h.Cause, Why: fmt.Sprintf("%s: %s", h.Host, h.Problem)}
	if g.Cause == "" {
		g.Cause = SourceDown
	}
	return g
}

// bothArms says whether some canary can be judged, and compared with what there is.
func (l *glance) bothArms(ok []bool) bool {
	canaries, controls := 0, 0
	for i := range ok {
		switch {
		case !ok[i]:
		case i < len(l.canary):
			canaries++
		default:
			controls++
		}
	}
	return canaries > 0 && (controls > 0 || len(l.control) == 0)
}

// lose goes on without what is lost. What was seen before stands, and so does what hosts that could be read did meanwhile; but
// who was not seen for a while must be seen for a dwell again.
func (a *account) lose(r Rule, g *gap) {
	a.Gap = g
	a.Last = nil // else it would be read again, and the damage with it
	a.Book.renew(r)
}

// skip leaves out all ticks before at.
func (b *Book) skip(at time.Time) {
	if at = at.UTC(); at.After(b.Next) {
		b.Next = at
	}
}

// renew counts dwell and sample anew, and leaves no credit for what is not known.
func (b *Book) renew(r Rule) {
	r = r.Full()
	b.Closed, b.Sample = 0, 0
	b.Refuted.open(&r)
}

// leastPast is the least that anything can be learned from.
const leastPast = 2 * time.Minute

// past reads a span of the time before a deploy. When that is not enough, and something in it is lost for good, it is read from when
// that was over: a shorter past is no reason to wait until a longer one has gone by.
func (l *glance) past(ctx context.Context, q Query, span func(step time.Duration) (from, to time.Time), enough func(Reading) bool) (Query, Reading, error) {
	was, r, err := l.stepped(ctx, q, span)
	if err != nil || enough(r) {
		return was, r, err
	}
	var over time.Time
	for i := range r.Hosts {
		if h := &r.Hosts[i]; h.Lost.After(over) && was.To.Sub(h.Lost) >= leastPast {
			over = h.Lost
		}
	}
	if over.IsZero() {
		return was, r, nil
	}
	return l.stepped(ctx, q, func(step time.Duration) (from, to time.Time) {
		_, to = span(step)
		return alignUp(over, step), to
	})
}

// gone holds for a dwell after ticks were lost.
func (l *glance) gone() {
	if g := l.acc.Gap; g != nil && l.acc.Book.Next.Sub(g.Until) < l.r.Dwell {
		l.lack(g.Cause, "ticks before %s are lost, so %v of them must close again (%s)", clock(g.Until), l.r.Dwell, g.Why)
	}
}

// alignUp is the end of the tick that t is in, or t when it begins one.
func alignUp(t time.Time, step time.Duration) time.Time {
	if at := align(t, step); at.Before(t) {
		return at.Add(step)
	}
	return align(t, step)
}
