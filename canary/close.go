package canary

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// answer is what the source said of every host.
type answer struct {
	q      Query
	hosts  []HostReading // canaries, then controls
	lasted time.Time     // beginning of the tick that was judged before and is read once more; zero: none
}

// maxBehind is how far back a look goes that nobody took for long.
const maxBehind = 45 * time.Minute

// next is where the ticks that were not judged begin.
func (l *glance) next() time.Time {
	if l.acc.Book.Next.IsZero() {
		return l.acc.Start
	}
	return l.acc.Book.Next
}

// answers reads the ticks since the last look, of all hosts. It returns nil when there is nothing to go on with, and has said why.
func (l *glance) answers(ctx context.Context) *answer {
	a := &answer{}
	q, r, err := l.stepped(ctx, Query{Hosts: append(append([]Host{}, l.canary...), l.control...), Now: l.w.Now}, func(step time.Duration) (from, to time.Time) {
		from, to = l.next(), align(l.w.Now, step)
		if early := to.Add(-maxBehind); from.Before(early) {
			from = early
			l.acc.Last = nil
		}
		if len(l.acc.Last) > 0 {
			from = from.Add(-step)
			a.lasted = from
		}
		return from, to
	})
	switch {
	case errors.Is(err, errNoTick):
		if next := l.acc.Book.Next; !next.IsZero() { // our clock went back: what was missing in the last look may be missing still
			l.lack(Gathering, "no tick after %s has closed, and it is %s", clock(next), clock(l.w.Now))
		} // else the book says that it gathers
		return nil
	case err != nil:
		l.lack(SourceDown, "%s does not answer: %v", l.from(), err)
		return nil
	}
	a.q, a.hosts = q, r.Hosts
	l.meet(a)
	for i := range a.hosts {
		if n := a.hosts[i].Note; n != "" {
			l.notes = append(l.notes, a.hosts[i].Host+": "+n)
		}
	}
	return a
}

func (l *glance) from() string {
	if l.t.From == "" {
		return "the source"
	}
	return l.t.From
}

// nonces notes which canaries' nonces were read back through the path of their events, so that it is their log that
// is read. A source looks for it from the runtime's beginning on.
func (l *glance) nonces(ctx context.Context, a *answer) {
	var again []Host
	for i, h := range l.canary {
		switch {
		case h.Nonce == "":
			l.lack(Unproven, "%s has no nonce to read back", h.Name)
		case l.acc.Proven.has(id(h)):
		case a.hosts[i].tellsNonce():
			l.acc.Proven.put(id(h))
		case a.hosts[i].Problem != "": // said already
		case h.Since.Before(a.q.From):
			again = append(again, h)
		default:
			l.unproven(h)
		}
	}
	if len(again) == 0 {
		return
	}
	q := Query{Hosts: again, Step: a.q.Step, From: a.q.From, To: a.q.To, Now: l.w.Now}
	for _, h := range again {
		if at := align(h.Since, q.Step); at.Before(q.From) {
			q.From = at
		}
	}
	if early := q.To.Add(-maxBehind); q.From.Before(early) {
		q.From = early
	}
	r, err := l.t.read(ctx, q)
	for i, h := range again {
		if err == nil && r.Hosts[i].tellsNonce() {
			l.acc.Proven.put(id(h))
		} else {
			l.unproven(h)
		}
	}
}

// tellsNonce says that the nonce was read back. Lines that were lost say nothing against one that was found.
func (h *HostReading) tellsNonce() bool { return h.Nonce && (h.Problem == "" || !h.Lost.IsZero()) }

func (l *glance) unproven(h Host) {
	l.lack(Unproven, "nonce of %s not read back %s after it was proven: is it its log that is read?", h.Name, about(max(0, l.w.Now.Sub(l.w.Opened))))
}

// sameAgain compares the last judged tick with what the source says of it now. A closed tick never changes.
func (l *glance) sameAgain(a *answer) {
	if a.lasted.IsZero() {
		return
	}
	cells := a.cells()
	for _, was := range l.acc.Last {
		for i := range a.hosts {
			h := &a.hosts[i]
			// A host that has come to run the release since then had other requests counted at that time.
			if h.Host != was.Host || h.Problem != "" || h.Through.Before(a.lasted.Add(a.q.Step)) || a.q.Hosts[i].Since.After(a.lasted) {
				continue
			}
			now := a.cell(cells, i, a.lasted)
			n, x := now.counts()
			if n == was.N && x == was.X {
				continue
			}
			l.acc.Doubt = l.acc.Book.Next
			l.acc.Told = fmt.Sprintf("%s had %d of %d requests failing at %s, and now %d of %d", was.Host, was.X, was.N, clock(a.lasted), x, n)
		}
	}
}

// doubt holds for a dwell after the source contradicted itself.
func (l *glance) doubt() {
	if d := l.acc.Doubt; !d.IsZero() && l.acc.Book.Next.Sub(d) < l.r.Dwell {
		l.lack(Contradict, "%s says two things of one time: %s", l.from(), l.acc.Told)
	}
}

// maxAhead is the least by which a host's clock must be ahead to be told from ours.
const maxAhead = 30 * time.Second

// early finds the canaries whose runtimes began, by clocks that the source cannot place, after they were proven: what is before that
// is not counted, which is no zero.
func (l *glance) early(a *answer) {
	for i, c := range l.canary {
		h := &a.hosts[i]
		since := c.Since.Add(-h.Skew)
		if h.Problem != "" || since.Sub(l.w.Opened) <= maxAhead || !a.q.From.Before(since) {
			continue
		}
		h.Problem, h.Cause = fmt.Sprintf("its clock is ahead: its runtime began at %s by it, and was proven by %s: set it, or take the host out",
			clock(since), clock(l.w.Opened)), Skewed
		if !since.After(l.w.Now) {
			h.Lost = since
		}
	}
}

// limits are how far telemetry may lag, in no less than a few of its ticks.
func (l *glance) limits() (stop, hold time.Duration) {
	return max(l.r.LateStop, 2*l.r.Tick), max(l.r.LateHold, 3*l.r.Tick)
}

// usable says which hosts can be judged now, canaries then controls, up to which time all of these are known, and whether any
// canary is missing. Controls that are missing are left out.
func (l *glance) usable(a *answer) (ok []bool, through time.Time, all bool) {
	stop, hold := l.limits()
	ok, through, all = make([]bool, len(a.hosts)), a.q.To, true
	controls := 0
	for i := range a.hosts {
		h := &a.hosts[i]
		lag := l.w.Now.Sub(h.Through)
		why, cause := "", Late
		switch {
		case h.Problem != "":
			why, cause = fmt.Sprintf("%s: %s", h.Host, h.Problem), h.Cause
			if cause == "" {
				cause = SourceDown
			}
		case h.Through.IsZero():
			why = fmt.Sprintf("nothing is known of %s", h.Host)
		case lag > hold:
			why = fmt.Sprintf("%s is %s behind, more than %v", h.Host, about(lag), hold)
		case lag > stop:
			why = fmt.Sprintf("%s is %s behind, more than %v", h.Host, about(lag), stop)
		}
		if h.Problem == "" && !h.Through.IsZero() && (i < len(l.canary) || lag <= stop) {
			l.lag = max(l.lag, lag)
		}
		switch {
		case why == "":
			ok[i] = true
			if i >= len(l.canary) {
				controls++
			}
			if h.Through.Before(through) {
				through = h.Through
			}
		case i < len(l.canary):
			all = false
			l.lack(cause, "%s", why)
		case a.q.Hosts[i].On != "": // its machine's other release lacks for the same reason
		default:
			l.leftOut = append(l.leftOut, why)
		}
	}
	if controls == 0 && len(l.control) > 0 {
		all = false
		if len(l.leftOut) > 0 {
			l.lack(SourceDown, "no control host can be compared with: %s", few(l.leftOut, 2))
		}
		l.leftOut = nil
	}
	return ok, align(through, a.q.Step), all
}

// close judges the ticks that are closed on every canary, into the account, and then those that are closed on the canaries that can be
// read, into a copy: what these fail stands, though another host hangs. When what is missing is lost for good, the account goes on
// without it.
func (l *glance) close(ctx context.Context, a *answer) *account {
	l.early(a)
	ok, fast, all := l.usable(a)
	var lost *gap
	if !all {
		lost = l.lost(a, ok)
	}
	if lost != nil && lost.Until.Before(fast) {
		fast = lost.Until
	}
	tested, err := l.acc.clone()
	if err == nil && (lost == nil || l.bothArms(ok)) {
		err = l.feed(ctx, tested, a, ok, fast)
	}
	if err != nil {
		l.lack(SourceDown, "%s does not answer: %v", l.from(), err)
	}
	if err == nil && lost != nil {
		if !l.bothArms(ok) {
			tested.Book.skip(fast)
		}
		tested.lose(l.r, lost)
	}
	if err == nil && (all || lost != nil) {
		l.acc = tested
		return tested
	}
	if tested == nil {
		return l.acc
	}
	return tested // not kept unless it fails: the ticks are judged again when all canaries are known
}
