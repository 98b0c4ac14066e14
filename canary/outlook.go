package canary

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"
)

// Outlook is what the gate can do at the traffic of the last minutes.
type Outlook struct {
	PerSecond float64       // requests on the canaries
	Share     float64       // of all requests that are compared
	BaseRate  float64       // share that fails with the old release
	Phi       float64       // how much failures cluster
	NeedsFor  time.Duration // until a Pass of a release without harm, in the mean; -1: it does not come

	byDwell, bySample, byHarm float64 // seconds
}

// String says it in a sentence for a plan.
func (o Outlook) String() string {
	at := fmt.Sprintf("at this traffic (%s/s on the canaries, %s of all, %s failing)", count(o.PerSecond), percent(o.Share), percent(o.BaseRate))
	if o.NeedsFor < 0 {
		return at + " the gate would never pass"
	}
	return at + " the gate needs about " + about(o.NeedsFor) + " to pass"
}

// setting names what keeps a Pass from coming within limit, the worst first.
func (o Outlook) setting(r *Rule, limit time.Duration) string {
	var list []string
	for _, s := range []struct {
		needs float64
		name  string
	}{
		{o.byHarm, fmt.Sprintf("raise harm_rate (%s)", percent(r.HarmRate))},
		{o.bySample, fmt.Sprintf("lower min_requests (%s)", number(r.MinRequests))},
		{o.byDwell, fmt.Sprintf("lower dwell (%v)", r.Dwell)},
	} {
		if !(s.needs <= limit.Seconds()) {
			list = append(list, s.name)
		}
	}
	return strings.Join(append(list, "raise max_wait, judge more canaries, or judge these hosts by probes alone"), ", ")
}

// Outlook reads the last History of all hosts.
func (t *Traffic) Outlook(ctx context.Context) (Outlook, error) {
	g, err := t.full()
	if err != nil {
		return Outlook{}, err
	}
	s, err := g.survey(ctx)
	if err != nil {
		return Outlook{}, fmt.Errorf("gate %q: %w", g.From, err)
	}
	if s.hosts == 0 && len(s.problems) > 0 {
		return Outlook{}, fmt.Errorf("gate %q: %w", g.From, s.problems[0])
	}
	return s.outlook(g), nil
}

// outlook is when the mean of the evidence reaches the line, for a release that is as good as the old one.
func (s *survey) outlook(t *Traffic) Outlook {
	r := &s.rule
	all := s.book.Past
	all.more(s.minute.N, s.minute.X)
	var largest float64
	if t.Memory != nil {
		largest, _ = t.Memory.Largest()
	}
	o := Outlook{BaseRate: all.rate(), Phi: s.book.Phi.phi(r, largest), Share: 1}
	if s.canary.span > 0 {
		o.PerSecond = float64(s.canary.N) / s.canary.span.Seconds()
	}
	if n := s.canary.N + s.others.N; n > 0 {
		o.Share = float64(s.canary.N) / float64(n)
	}
	if t.Share > 0 {
		o.PerSecond, o.Share = o.PerSecond*t.Share, t.Share
	}
	goal := math.Log(r.PassAt) * o.Phi
	byRate := o.PerSecond * (r.HarmRate - r.cleanRate() - o.BaseRate*math.Log(r.HarmRate/r.cleanRate()))
	byRatio := o.PerSecond * o.BaseRate * (math.Log(1-o.Share+o.Share*r.HarmRatio)/o.Share - math.Log(r.HarmRatio))
	if o.Share <= 0 || o.Share >= 1 {
		byRatio = o.PerSecond * o.BaseRate * (r.HarmRatio - 1 - math.Log(r.HarmRatio))
	}
	o.byHarm = goal / max(byRate, byRatio, 0)
	o.bySample = float64(r.MinRequests) / o.PerSecond
	o.byDwell = r.Dwell.Seconds()
	o.NeedsFor = -1
	if needs := max(o.byHarm, o.bySample, o.byDwell); needs < 1e8 {
		o.NeedsFor = time.Duration(math.Ceil(needs)) * time.Second
	}
	return o
}
