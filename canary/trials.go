package canary

import (
	"slices"
	"strings"
	"time"
)

// paired says that the arms are releases of the same machines.
func (l *glance) paired() bool { return l.w.Share > 0 }

// pair makes each machine's releases known to each other. Only machines that both arms are of can be compared with themselves;
// and a look is at all of them, so that both arms stay of the same machines.
func (l *glance) pair() {
	if !l.paired() {
		for _, arm := range [][]Host{l.canary, l.control} {
			for i := range arm {
				arm[i] = alone(arm[i])
			}
		}
		return
	}
	if s := l.w.Share; s < 1 {
		l.r.Share = s / (1 - s) // what a trial gets, as a multiple of what stays with the old release of its machine
	}
	tried := map[string]string{}
	for i := range l.canary {
		if h := &l.canary[i]; h.On != "" && !l.earlier[h.Name] {
			h.Trial, h.Beside = true, l.w.From
			tried[h.On] = h.Release
			l.acc.Tried.put(h.Name + "\x00" + h.On)
		} else {
			early := l.earlier[h.Name]
			*h = alone(*h) // it was promoted
			l.earlier[h.Name] = early
		}
	}
	beside := map[string]string{}
	l.control = slices.DeleteFunc(l.control, func(h Host) bool {
		_, ok := tried[h.On]
		if _, twice := beside[h.On]; h.On == "" || !ok || twice {
			return true
		}
		beside[h.On] = h.Release
		return false
	})
	for i := range l.control {
		l.control[i].Beside = tried[l.control[i].On]
	}
	for i := range l.canary {
		if r := beside[l.canary[i].On]; l.canary[i].Trial && r != "" {
			l.canary[i].Beside = r
		}
	}
}

// alone is a host that has its machine for itself.
func alone(h Host) Host {
	h.Name, h.On = h.Machine(), ""
	return h
}

// unpaired holds while a machine's old release is missing, or nobody says which machines the trial is on.
func (l *glance) unpaired() {
	if !l.paired() {
		return
	}
	trials := 0
	var alone []string
	for _, h := range l.canary {
		if !h.Trial {
			continue
		}
		trials++
		if !slices.ContainsFunc(l.control, func(c Host) bool { return c.On == h.On }) {
			alone = append(alone, h.Name)
		}
	}
	switch {
	case trials == 0:
		l.lack(SourceDown, "%s of the requests are to go to the release, and on which machines is not said", percent(l.w.Share))
	case len(alone) > 0:
		l.lack(SourceDown, "nothing of the old release is known on the machine of %s", few(alone, 2))
	}
}

// there says which hosts are still in the window. A release that was tried and then became all that its machine serves is.
func (l *glance) there() func(name string) bool {
	return func(name string) bool {
		return slices.ContainsFunc(l.canary, func(h Host) bool {
			return h.Name == name || !h.Trial && l.acc.Tried.has(name+"\x00"+h.Machine())
		})
	}
}

// meet lets both releases of a machine be known equally far: what is missing of one is missing of the comparison.
func (l *glance) meet(a *answer) {
	for i := range l.canary {
		for j := len(l.canary); j < len(a.hosts) && l.canary[i].Trial; j++ {
			if a.q.Hosts[j].On == l.canary[i].On {
				meet(&a.hosts[i], &a.hosts[j])
			}
		}
	}
}

func meet(trial, old *HostReading) {
	if trial.Through.After(old.Through) {
		trial.Through = old.Through
	}
	old.Through = trial.Through
	switch {
	case trial.Problem == "" && old.Problem == "":
		return
	case trial.Problem == "":
		trial.Problem, trial.Cause, trial.Lost = "its old release: "+strings.TrimPrefix(old.Problem, old.Host+": "), old.Cause, old.Lost
	case old.Problem == "":
		old.Problem, old.Cause, old.Lost = trial.Problem, trial.Cause, trial.Lost
	case trial.Lost.IsZero() || old.Lost.IsZero():
		trial.Lost, old.Lost = time.Time{}, time.Time{}
	case trial.Lost.After(old.Lost):
		old.Lost = trial.Lost
	default:
		trial.Lost = old.Lost
	}
}

// stratum is a part of a tick in which the canary is compared with what ran beside it: given the m failures of both, the x of
// the canary are a draw by its share theta of the requests.
type stratum struct {
	host  string // of the canary, where it is one release of a machine
	x, m  int64
	n, of int64 // the canary's requests, and all
	stray int64 // of m; of neither arm
}

func (s *stratum) theta() float64 {
	if s.of <= 0 {
		return 0
	}
	return float64(s.n) / float64(s.of)
}

// without is the stratum without what a host counted that has its machine for itself.
func (s stratum) without(n, x int64) stratum {
	s.x, s.m, s.n, s.of = s.x-x, s.m-x, s.n-n, s.of-n
	return s
}

// strata are what is compared in a tick: all canaries with all controls, or where machines serve both, each machine with
// itself, so that neither a bad machine nor one with another share says anything of the release. Canaries that have their
// machines for themselves are compared with all these machines together: given the failures on a machine, how they fall on its
// releases is another draw than how many of all failures are on it, so that the product of both is as fair a bet as each.
func (c *Counts) strata() []stratum {
	var list []stratum
	var own, theirs, all total
	for i := range c.Canary {
		k := &c.Canary[i]
		n, x := k.counts()
		j := k.beside(c.Control)
		if j < 0 {
			own.more(n, x)
			continue
		}
		bn, y := c.Control[j].counts()
		s := min(max(k.Stray, 0), maxCell)
		list = append(list, stratum{k.Host, x, x + y + s, n, n + bn, s})
		all.more(n+bn, x+y+s)
	}
	if theirs.more(sum(c.Control)); len(list) == 0 {
		return []stratum{{x: own.X, m: own.X + theirs.X, n: own.N, of: own.N + theirs.N}}
	}
	if own.N > 0 {
		list = append(list, stratum{x: own.X, m: own.X + all.X, n: own.N, of: own.N + all.N})
	}
	return list
}

// beside is where the machine's other release is.
func (c *Cell) beside(control []Cell) int {
	if c.On == "" {
		return -1
	}
	return slices.IndexFunc(control, func(o Cell) bool { return o.On == c.On })
}

// trials are the cells of machines that serve both releases; none when no machine does.
func (c *Counts) trials() (t Counts, ok bool) {
	t.At = c.At
	for i := range c.Canary {
		if j := c.Canary[i].beside(c.Control); j >= 0 {
			t.Canary, t.Control = append(t.Canary, c.Canary[i]), append(t.Control, c.Control[j])
		}
	}
	return t, len(t.Canary) > 0
}

// Above one in strayPart of all failures, and from minStray on, those that are of neither release hold.
const (
	minStray  = 3
	strayPart = 10
)

// byStray: too many failures cannot be told to be of one of two releases.
func (b *Book) byStray(*Rule, View) finding {
	if b.Strays >= minStray && b.Strays*strayPart > b.Batch.X+b.Against.X+b.Strays {
		return finding{cause: SourceDown, rule: byStrays}
	}
	return nothing
}

// isTrial says that a host is one of two releases of a machine.
func (b *Book) isTrial(host string) bool { return b.Trials.has(host) }

// leastDue is how many requests a trial should have had before its share says anything.
const leastDue = 10

// trialShare compares the trials' share of their machines' requests with what it should be, over as many ticks as it takes.
func (b *Book) trialShare(r *Rule, t *Counts) {
	n, _ := sum(t.Canary)
	old, _ := sum(t.Control)
	b.Expected = r.Share / (r.Share + 1)
	if t.At.Before(b.Opened) {
		return
	}
	b.Short.more(n+old, n)
	if b.Theta = b.Short.rate(); float64(b.Short.N)*b.Expected < leastDue {
		return
	}
	if b.Off++; b.Theta >= b.Expected/2 {
		b.Off = 0
	}
	b.Short = total{}
}

// trial takes a tick of the machines that serve both releases: their share, whose failures are not known, and a tick that stops
// at once, which canaries that have machines of their own must not hide.
func (b *Book) trial(r *Rule, t *Counts) {
	for i := range t.Canary {
		b.Strays += min(max(t.Canary[i].Stray, 0), maxCell)
	}
	b.trialShare(r, t)
	nc, x := sum(t.Canary)
	nb, y := sum(t.Control)
	b.hard(r, t, nc, x, nb, y)
}

func failing(list []stratum) bool {
	return slices.ContainsFunc(list, func(s stratum) bool { return s.m > 0 })
}
