package canary

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// learn reads, in the first look of a deploy, what the old release did before it: how failures cluster, how many are
// usual, which kinds, and the usual rates of the signals. It is of the control hosts, or at 100 % of the canaries
// themselves before they changed. Without it nothing passes; it is tried again in the next look.
func (l *glance) learn(ctx context.Context) {
	if l.acc.Learned {
		return
	}
	if err := l.history(ctx); err != nil && !errors.Is(err, errNoTick) {
		l.lack(SourceDown, "history of the last %v: %s does not answer: %v", l.r.History, l.from(), err)
		return
	}
	l.acc.Learned = true
	if l.t.Memory == nil {
		return
	}
	err := guard(func() error {
		if phi, ok := l.t.Memory.Largest(); ok && phi >= 1 {
			l.acc.Book.Largest = min(phi, 1e6)
		}
		return nil
	})
	if err != nil {
		l.notes = append(l.notes, fmt.Sprintf("memory: %v", err))
	}
}

func (l *glance) history(ctx context.Context) error {
	hosts := l.control
	if len(hosts) == 0 {
		for _, h := range l.canary[:min(len(l.canary), l.t.Controls)] {
			hosts = append(hosts, Host{Name: h.Name, Release: l.w.From})
		}
	}
	whole := func(h HostReading) bool { return h.Problem == "" && !h.Through.IsZero() }
	q, r, err := l.past(ctx, Query{Hosts: hosts, Now: l.w.Now, Prints: true}, func(step time.Duration) (from, to time.Time) {
		to = align(l.acc.Start, step)
		return align(to.Add(-l.r.History), step), to
	}, func(r Reading) bool { return slices.ContainsFunc(r.Hosts, whole) })
	if err != nil {
		return err
	}
	for i := range r.Hosts {
		h := &r.Hosts[i]
		if !whole(*h) {
			continue
		}
		for _, p := range h.Prints {
			l.acc.Book.Know(p.Text)
			l.usual = append(l.usual, p.Text)
		}
	}
	if !slices.ContainsFunc(r.Hosts, whole) {
		return fmt.Errorf("%s: %s", r.Hosts[0].Host, cmp.Or(r.Hosts[0].Problem, "nothing is known of it"))
	}
	for _, cells := range ticks(q, r) {
		l.acc.Book.Learn(cells)
	}
	return nil
}

// ticks are the closed ticks of a range, each with the hosts that can be judged in it: those without a problem whose runtime had begun
// and that are known so far.
func ticks(q Query, r Reading) (list [][]Cell) {
	a := &answer{q: q, hosts: r.Hosts}
	cells := a.cells()
	for at := q.From; !at.Add(q.Step).After(q.To); at = at.Add(q.Step) {
		var row []Cell
		for i := range r.Hosts {
			h := &r.Hosts[i]
			if h.Problem != "" || h.Through.Before(at.Add(q.Step)) || q.Hosts[i].Since.Add(-h.Skew).After(at) {
				continue
			}
			row = append(row, a.cell(cells, i, at))
		}
		if len(row) > 0 {
			list = append(list, row)
		}
	}
	return list
}
