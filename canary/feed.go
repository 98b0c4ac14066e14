package canary

import (
	"context"
	"fmt"
	"time"
)

// feed adds the ticks up to through to acc, and their fingerprints.
func (l *glance) feed(ctx context.Context, acc *account, a *answer, ok []bool, through time.Time) error {
	from, step := l.next(), a.q.Step
	if from.Before(a.q.From) {
		from = a.q.From
	}
	to := from
	cells := a.cells()
	for at := from; !at.Add(step).After(through); at = at.Add(step) {
		c := l.tick(a, cells, ok, at)
		if len(c.Canary) == 0 && acc.Book.CanaryHosts == 0 && at.Before(acc.Opened) {
			// No runtime had begun, though by the clock of a host that is behind one had: there is nothing to compare with.
			acc.Book.Learn(c.Control)
			acc.Book.skip(at.Add(step))
			from = at.Add(step)
			continue
		}
		acc.Book.Add(l.r, c)
		acc.last(c)
		to = at.Add(step)
		if v, _, _ := acc.Book.Verdict(l.r); v == Fail {
			break
		}
	}
	if !to.After(from) {
		return nil
	}
	return l.prints(ctx, acc, a, ok, from, to)
}

// cells are each host's ticks by their beginning.
func (a *answer) cells() []map[int64]*Tick {
	list := make([]map[int64]*Tick, len(a.hosts))
	for i := range a.hosts {
		list[i] = make(map[int64]*Tick, len(a.hosts[i].Ticks))
		for j := range a.hosts[i].Ticks {
			list[i][a.hosts[i].Ticks[j].At.UnixNano()] = &a.hosts[i].Ticks[j]
		}
	}
	return list
}

// cell is a host's count of the tick that begins at that time. One that is not listed had no request.
func (a *answer) cell(cells []map[int64]*Tick, i int, at time.Time) Cell {
	c := Cell{Host: a.hosts[i].Host, On: a.q.Hosts[i].On, Workers: a.hosts[i].Workers}
	if k := cells[i][at.UnixNano()]; k != nil {
		c.N, c.X, c.Good, c.Stray = k.Requests, k.Failing, k.Good, k.Stray
	}
	return c
}

// tick puts together the counts of one tick: of each host that can be judged and whose runtime had begun.
func (l *glance) tick(a *answer, cells []map[int64]*Tick, ok []bool, at time.Time) Counts {
	c := Counts{At: at.UTC()}
	for i := range a.hosts {
		h := &a.hosts[i]
		cell := a.cell(cells, i, at)
		cell.Earlier = l.earlier[h.Host]
		switch {
		case !ok[i]:
		case i < len(l.canary):
			if l.since(l.canary[i], h.Skew).Before(at.Add(a.q.Step)) {
				c.Canary = append(c.Canary, cell)
			}
		case !l.control[i-len(l.canary)].Since.Add(-h.Skew).After(at):
			c.Control = append(c.Control, cell)
		}
	}
	return c
}

// maxLast hosts are read again.
const maxLast = 48

// last notes a tick as the one that was judged last.
func (a *account) last(c Counts) {
	a.Last = a.Last[:0]
	for _, arm := range [][]Cell{c.Canary, c.Control} {
		for i := range arm {
			if len(a.Last) < maxLast {
				n, x := arm[i].counts()
				a.Last = append(a.Last, seen{arm[i].Host, n, x})
			}
		}
	}
}

// prints reads the kinds of failure of exactly the ticks that were added, of hosts with failures in them.
func (l *glance) prints(ctx context.Context, acc *account, a *answer, ok []bool, from, to time.Time) error {
	var hosts []Host
	var arms []Arm
	all := append(append([]Host{}, l.canary...), l.control...)
	for i := range a.hosts {
		if !ok[i] || !fails(&a.hosts[i], from, to) {
			continue
		}
		hosts = append(hosts, all[i])
		arm := OnCanary
		if i >= len(l.canary) {
			arm = OnControl
		}
		arms = append(arms, arm)
	}
	if len(hosts) == 0 {
		return nil
	}
	r, err := l.t.read(ctx, Query{Hosts: hosts, From: from, To: to, Step: a.q.Step, Now: l.w.Now, Prints: true})
	if err != nil {
		return err
	}
	acc.Book.from = from
	for _, arm := range []Arm{OnControl, OnCanary} { // what the control has is no news
		for i := range r.Hosts {
			if arms[i] != arm {
				continue
			}
			if p := r.Hosts[i].Problem; p != "" {
				return fmt.Errorf("errors of %s: %s", hosts[i].Name, p)
			}
			acc.Book.Prints(arm, hosts[i].Name, r.Hosts[i].Prints)
			if arm == OnControl {
				for _, p := range r.Hosts[i].Prints {
					l.usual = append(l.usual, p.Text)
				}
			}
		}
	}
	acc.Book.from = time.Time{}
	l.resolve(&acc.Book)
	return nil
}

func fails(h *HostReading, from, to time.Time) bool {
	for i := range h.Ticks {
		if k := &h.Ticks[i]; k.Failing > 0 && !k.At.Before(from) && k.At.Before(to) {
			return true
		}
	}
	return false
}
