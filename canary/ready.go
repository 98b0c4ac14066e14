package canary

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// Ready says whether the source answers for all hosts, whether a Pass is possible within MaxWait at this traffic, and whether
// users are failing already: that error wraps ErrRed, and DespiteRed lets it be. All that is wrong is reported at once.
func (t *Traffic) Ready(ctx context.Context) error {
	g, err := t.full()
	if err != nil {
		return err
	}
	if len(g.Canaries) == 0 {
		return fmt.Errorf("gate %q: no hosts to judge", g.From)
	}
	s, err := g.survey(ctx)
	if err != nil {
		return fmt.Errorf("gate %q: %w", g.From, err)
	}
	errs := s.problems
	if src, ok := g.Source.(interface {
		Ready(ctx context.Context, now time.Time) error
	}); ok { // it knows more about itself than what it counts
		if err := src.Ready(ctx, s.now); err != nil {
			errs = append(errs, err)
		}
	}
	if len(s.problems) == 0 {
		errs = append(errs, s.slow(g))
	}
	if g.DespiteRed == "" {
		errs = append(errs, s.red(g)...)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("gate %q: %w", g.From, err)
	}
	return nil
}

// survey is what the last History says of the hosts, all with the old release.
type survey struct {
	rule     Rule // with the tick that the source can see
	now      time.Time
	book     Book   // learned from all of it
	hosts    int    // that were read
	canary   recent // of late
	others   recent
	minute   recent // both, in the last minute
	strays   int64  // failures of neither of two releases
	goods    map[string]int64
	problems []error
}

// recent counts a last stretch of time.
type recent struct {
	total
	span time.Duration
}

const stretch = 5 * time.Minute

// maxAlike hosts are named one by one that have the same problem.
const maxAlike = 3

// survey reads the last History of all hosts.
func (t *Traffic) survey(ctx context.Context) (*survey, error) {
	s := &survey{rule: t.Rule, now: t.Clock(), goods: map[string]int64{}}
	l := &glance{t: t, r: t.Rule, acc: &account{Step: t.Rule.Tick}}
	var hosts []Host
	on := map[string]bool{}
	names := slices.Concat(t.Canaries, t.Others)
	if t.Share > 0 {
		names = t.Canaries
	}
	for _, n := range names {
		if !on[n] {
			on[n] = true
			hosts = append(hosts, Host{Name: n})
			if t.Share > 0 { // as the old release is asked for beside the new one: who cannot tell the two apart says so now
				hosts[len(hosts)-1].On = n
			}
		}
	}
	q, r, err := l.past(ctx, Query{Hosts: hosts, Now: s.now}, func(step time.Duration) (from, to time.Time) {
		to = align(s.now, step)
		return align(to.Add(-t.Rule.History), step), to
	}, func(r Reading) bool {
		return !slices.ContainsFunc(r.Hosts, func(h HostReading) bool { return !h.Lost.IsZero() })
	})
	if err != nil {
		return nil, err
	}
	s.rule.Tick = q.Step
	l.r = s.rule
	_, hold := l.limits()
	said := map[string]int{}
	for i := range r.Hosts {
		h := &r.Hosts[i]
		if h.Problem != "" {
			if said[h.Problem]++; said[h.Problem] > maxAlike {
				continue
			}
		}
		switch lag := s.now.Sub(h.Through); {
		case h.Problem != "":
			s.problems = append(s.problems, fmt.Errorf("%s: %s", h.Host, h.Problem))
		case h.Through.IsZero():
			s.problems = append(s.problems, fmt.Errorf("%s: nothing is known of it", h.Host))
		case lag > hold:
			s.problems = append(s.problems, fmt.Errorf("%s: is %s behind, more than late_hold %v", h.Host, about(lag), hold))
		default:
			s.hosts++
		}
	}
	for _, p := range slices.Sorted(maps.Keys(said)) {
		if n := said[p]; n > maxAlike {
			s.problems = append(s.problems, fmt.Errorf("and %d more hosts: %s", n-maxAlike, p))
		}
	}
	s.count(t, q, r)
	s.stray(t)
	return s, nil
}

// count adds up the ticks. Spans end where the least known host ends, as far as that can be judged at all.
func (s *survey) count(t *Traffic, q Query, r Reading) {
	end := q.To
	for i := range r.Hosts {
		if h := &r.Hosts[i]; h.Problem == "" && !h.Through.IsZero() && h.Through.Before(end) && s.now.Sub(h.Through) <= s.rule.LateHold {
			end = align(h.Through, q.Step)
		}
	}
	canary := map[string]bool{}
	for _, n := range t.Canaries {
		canary[n] = true
	}
	r.Hosts = slices.Clone(r.Hosts)
	q.To = end
	at := q.From
	for _, cells := range ticks(q, r) {
		at = at.Add(q.Step)
		for i := range cells {
			s.strays += min(max(cells[i].Stray, 0), maxCell)
		}
		if end.Sub(at) < time.Minute {
			s.minute.add(cells, q.Step)
			for i := range cells {
				for name, g := range cells[i].Good {
					s.goods[name] += min(g, maxCell)
				}
			}
		} else {
			s.book.Learn(cells) // what is usual, so without the last minute
		}
		if n, _ := sum(cells); n == 0 && s.canary.N+s.others.N == 0 {
			continue // logs that begin in between say nothing of the time before
		}
		if end.Sub(at) < stretch {
			var mine, other []Cell
			for _, c := range cells {
				if canary[c.Host] {
					mine = append(mine, c)
				} else {
					other = append(other, c)
				}
			}
			s.canary.add(mine, q.Step)
			s.others.add(other, q.Step)
		}
	}
}

// stray refuses logs by which the failures of two releases of a machine could not be told apart.
func (s *survey) stray(t *Traffic) {
	if x := s.book.Past.X + s.minute.X; t.Share > 0 && s.strays >= minStray && s.strays*strayPart > x+s.strays {
		s.problems = append(s.problems, fmt.Errorf("%s of %s failing requests in the last %v could not be told to be of one of two releases: %s",
			number(s.strays), number(x+s.strays), t.Rule.History, tellApart))
	}
}

func (r *recent) add(cells []Cell, step time.Duration) {
	n, x := sum(cells)
	r.more(n, x)
	r.Hosts += int64(len(cells))
	r.span += step
}

// slow refuses traffic at which no Pass comes in time.
func (s *survey) slow(t *Traffic) error {
	o := s.outlook(t)
	if o.NeedsFor >= 0 && o.NeedsFor <= t.MaxWait {
		return nil
	}
	return fmt.Errorf("%v, and max_wait is %v: %s", o, t.MaxWait, o.setting(&s.rule, t.MaxWait))
}

// red says what fails already.
func (s *survey) red(t *Traffic) (errs []error) {
	if s.minute.span < time.Minute {
		return nil
	}
	for i := range s.book.Signals {
		b := &s.book.Signals[i]
		sig := Signal{Name: b.Name}
		if j := slices.IndexFunc(t.Signals, func(x Signal) bool { return x.Name == b.Name }); j >= 0 {
			sig = t.Signals[j]
		}
		b.Minute = []minute{{s.goods[b.Name], int(s.minute.Hosts)}}
		r := s.rule
		r.Tick = s.minute.span
		b.Minute[0].Hosts = int(s.minute.Hosts)
		if text := b.redness(&r, sig, 0); text != "" {
			errs = append(errs, fmt.Errorf("%w: %s", ErrRed, text))
		}
	}
	past := s.book.Past
	phi := s.book.Phi.phi(&s.rule, 0)
	usual := max(past.upper(phi), s.rule.cleanRate()) * float64(s.minute.N)
	if x := float64(s.minute.X); past.N > 0 && x >= s.rule.HarmRatio*usual && s.minute.rate() >= s.rule.HarmRate &&
		surprise(x, usual)/phi >= math.Log(s.rule.FailAt) {
		errs = append(errs, fmt.Errorf("%w: %s in the last minute, usual is %s", ErrRed, rates(s.minute.total), percent(past.rate())))
	}
	return errs
}
