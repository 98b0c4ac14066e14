package canary

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// maxStep is the coarsest tick that anything can be judged by.
const maxStep = time.Minute

// read asks the source, within the limit for one question, and refuses an answer that is not in its form. What is wrong with one
// host's part becomes that host's Problem.
func (t *Traffic) read(ctx context.Context, q Query) (Reading, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, t.AskLimit, fmt.Errorf("no answer within %v", t.AskLimit))
	defer cancel()
	var r Reading
	err := guard(func() (err error) {
		r, err = t.Source.Read(ctx, q)
		return err
	})
	switch {
	case err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return Reading{}, context.Cause(ctx)
	case err != nil:
		return Reading{}, err
	case len(r.Hosts) != len(q.Hosts):
		return Reading{}, fmt.Errorf("%d hosts were asked for and %d answered", len(q.Hosts), len(r.Hosts))
	}
	if r.Step == 0 {
		r.Step = q.Step
	}
	if r.Step < q.Step || r.Step%q.Step != 0 || r.Step > maxStep {
		return Reading{}, fmt.Errorf("ticks of %v were asked for, and those of %v are no whole multiple up to %v", q.Step, r.Step, maxStep)
	}
	for i := range r.Hosts {
		h := &r.Hosts[i]
		if h.Host != q.Hosts[i].Name {
			return Reading{}, fmt.Errorf("host %d is %q, not %q", i, clean(h.Host, maxText), q.Hosts[i].Name)
		}
		h.Problem, h.Note = clean(h.Problem, 2*maxText), clean(h.Note, 2*maxText)
		if h.Problem == "" || !h.Lost.After(q.From) { // what is over before the question is no reason to give up its ticks
			h.Lost = time.Time{}
		}
		if h.Problem == "" {
			if h.Problem = sense(h, &q, r.Step); h.Problem != "" {
				h.Cause = Contradict
			}
		}
	}
	return r, nil
}

// sense says what makes none in a host's ticks.
func sense(h *HostReading, q *Query, step time.Duration) string {
	var last time.Time
	for i := range h.Ticks {
		k := &h.Ticks[i]
		switch {
		case k.At.Before(q.From) || !k.At.Before(q.To):
			return fmt.Sprintf("a tick at %s, which was not asked for", clock(k.At))
		case !k.At.Equal(align(k.At, step)):
			return fmt.Sprintf("a tick at %s, which is no multiple of %v", clock(k.At), step)
		case i > 0 && !k.At.After(last):
			return fmt.Sprintf("ticks out of order at %s", clock(k.At))
		case k.Requests < 0 || k.Failing < 0 || k.Requests > maxCell || k.Failing > maxCell:
			return fmt.Sprintf("%d of %d requests failing at %s", k.Failing, k.Requests, clock(k.At))
		case k.Stray < 0 || k.Stray > maxCell:
			return fmt.Sprintf("%d failing requests of neither release at %s", k.Stray, clock(k.At))
		case len(k.Good) > 4*maxSignals:
			return fmt.Sprintf("%d signals at %s", len(k.Good), clock(k.At))
		}
		for name, g := range k.Good {
			if g < 0 || g > maxCell {
				return fmt.Sprintf("%d successes of %q at %s", g, clean(name, 40), clock(k.At))
			}
		}
		last = k.At
	}
	for i := range h.Prints {
		if c := h.Prints[i].Count; c < 0 || c > maxCell {
			return fmt.Sprintf("%d times %q", c, clean(h.Prints[i].Text, 40))
		}
	}
	return ""
}

// stepped is read with the ticks that the source can see: when these are coarser than was asked for, it is asked again in
// them, and from now on. span gives the range for a step.
func (l *glance) stepped(ctx context.Context, q Query, span func(step time.Duration) (from, to time.Time)) (Query, Reading, error) {
	for range 2 {
		q.Step = l.acc.Step
		q.From, q.To = span(q.Step)
		if !q.From.Before(q.To) {
			return q, Reading{}, errNoTick
		}
		r, err := l.t.read(ctx, q)
		if err != nil || r.Step == q.Step {
			return q, r, err
		}
		if l.acc.Book.CanaryHosts > 0 {
			return q, Reading{}, fmt.Errorf("ticks of %v were judged, and now they are of %v", q.Step, r.Step)
		}
		l.acc.Step, l.r.Tick = r.Step, r.Step
		l.acc.Start = align(l.acc.Start, r.Step)
	}
	return q, Reading{}, fmt.Errorf("the length of its ticks changes from one answer to the next")
}

// align is the beginning of the tick that t is in: a whole multiple of step, which is whole seconds, since the Unix epoch.
func align(t time.Time, step time.Duration) time.Time {
	s := int64(step / time.Second)
	past := (t.Unix()%s + s) % s
	return time.Unix(t.Unix()-past, 0).UTC()
}

// errNoTick says that no tick can have closed.
var errNoTick = errors.New("no tick has closed yet")
