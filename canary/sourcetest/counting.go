package sourcetest

import (
	"cmp"
	"slices"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"scap/canary"
)

// traffic logs a little of everything in ticks from to to.
func (b *bench) traffic(from, to int, hosts ...string) []Event {
	var es []Event
	for k := from; k < to; k++ {
		for i, h := range hosts {
			for n := range 2 + (k+i)%3 {
				es = append(es, b.ok(h, b.at(k, n%int(b.Step.Seconds()))))
			}
			if (k+i)%2 == 0 {
				es = append(es, b.bad(h, b.at(k, 0)))
			}
		}
	}
	return es
}

func placesByTime(b *bench) {
	// Everything arrives at once, long after it happened; the last tick arrives first.
	es := append(b.traffic(9, 10, one, two), b.traffic(2, 8, one, two)...)
	b.log(es...)
	b.beat(10 + settle)
	b.exact(b.ask(2, 10, one, two))
}

func anyOrder(b *bench) {
	es := b.traffic(2, 10, one, two)
	// Neighbours come in any order, as they do from several processes: late by up to three ticks, each tick turned round.
	slices.SortStableFunc(es, func(x, y Event) int {
		return cmp.Or(x.At.Truncate(3*b.Step).Compare(y.At.Truncate(3*b.Step)), y.At.Compare(x.At), cmp.Compare(y.ID, x.ID))
	})
	for part := range slices.Chunk(es, 7) {
		b.log(part...)
	}
	b.beat(10 + settle)
	b.exact(b.ask(2, 10, one, two))
}

func rangeBounds(b *bench) {
	last := int(b.Step.Seconds()) - 1
	b.log(
		b.ok(one, b.at(3, last)), b.bad(one, b.at(3, last)), // before
		b.ok(one, b.at(4, 0)), b.bad(one, b.at(4, 0)),
		b.ok(one, b.at(6, last)), b.bad(one, b.at(6, last)),
		b.ok(one, b.at(7, 0)), b.bad(one, b.at(7, 0)), // after
	)
	b.beat(8 + settle)
	b.exact(b.ask(4, 7, one))
	b.exact(b.ask(4, 5, one))
	b.exact(b.ask(5, 6, one))
	b.exact(b.ask(7, 8, one))
}

func halves(b *bench) {
	b.log(b.traffic(2, 12, one, two)...)
	// A request whose records lie on both sides of a border.
	straddles := b.bad(one, b.at(6, int(b.Step.Seconds())-1))
	again := straddles
	again.At = b.at(7, 0)
	if !b.NoIDs {
		b.log(straddles, again)
	}
	b.beat(12 + settle)
	whole := b.read(b.ask(2, 12, one, two))
	parts := []canary.Reading{b.read(b.ask(2, 7, one, two)), b.read(b.ask(7, 9, one, two)), b.read(b.ask(9, 12, one, two))}
	for i, h := range whole.Hosts {
		var ticks []canary.Tick
		for _, p := range parts {
			ticks = append(ticks, p.Hosts[i].Ticks...)
		}
		if diff := gocmp.Diff(h.Ticks, ticks, cmpopts.EquateEmpty()); diff != "" {
			b.t.Errorf("%q: asked at once (-) and in parts (+): %s", h.Host, diff)
		}
		if sum := got(h, b.at(2, 0), b.at(12, 0)); sum.x == 0 || !b.NoRequests && sum.n == 0 {
			b.t.Errorf("%q: nothing was counted", h.Host)
		}
	}
}

func again(b *bench) {
	b.log(b.traffic(2, 8, one, two)...)
	b.beat(8 + settle)
	q := b.ask(2, 8, one, two)
	first := b.exact(q)
	second := b.exact(q)
	b.Source = b.Again
	third := b.exact(q)
	// Later, when more has come in, what was closed is what it was.
	b.log(b.traffic(20, 24, one, two)...)
	b.beat(24 + settle)
	q.Now = b.now
	for _, r := range []canary.Reading{second, third, b.exact(q)} {
		for i := range first.Hosts {
			if diff := gocmp.Diff(first.Hosts[i].Ticks, r.Hosts[i].Ticks, cmpopts.EquateEmpty()); diff != "" {
				b.t.Errorf("%q: first (-) and asked again (+): %s", first.Hosts[i].Host, diff)
			}
		}
	}
}

func sameID(b *bench) {
	if b.NoIDs {
		b.t.Skip("this source knows no request ids")
	}
	e := b.bad(one, b.at(3, 0))
	second := e
	second.Print = print("ErrorException", "src/Other.php", "Undefined index")
	other := b.bad(one, b.at(3, 0))
	elsewhere := e // the id is a host's own affair
	elsewhere.Host = two
	b.log(e, second, e, other, elsewhere)
	b.beat(6 + settle)
	b.exact(b.ask(2, 6, one, two))
}

func noID(b *bench) {
	e := b.bad(one, b.at(3, 0))
	e.ID = ""
	later := e
	later.At = b.at(3, int(b.Step.Seconds())-1)
	b.log(e, later, b.bad(one, b.at(3, 0)))
	b.beat(6 + settle)
	b.exact(b.ask(2, 6, one))
}

// busyTick has more records than the page size that a careless reader stops at.
func busyTick(b *bench) {
	var es []Event
	for range 1100 {
		es = append(es, b.bad(one, b.at(3, 0)), b.ok(one, b.at(3, 0)))
	}
	b.log(es...)
	b.beat(6 + settle)
	b.exact(b.ask(2, 6, one))
}

func goods(b *bench) {
	if b.NoGood {
		b.t.Skip("this source knows no business signals")
	}
	e, both, in := b.ok(one, b.at(3, 0)), b.ok(one, b.at(4, 0)), b.ok(two, b.at(3, 0))
	e.Good, both.Good, in.Good = []string{Edits}, []string{Edits, Logins}, []string{Logins}
	b.log(e, both, in, b.ok(one, b.at(3, 0)), b.bad(one, b.at(4, 0)))
	b.beat(6 + settle)
	b.exact(b.ask(2, 6, one, two))
}

func coarser(b *bench) {
	b.log(b.traffic(0, 24, one)...)
	b.beat(24 + settle)
	for _, times := range []int{2, 4, 12} {
		q := b.ask(0, 24, one)
		q.Step *= time.Duration(times)
		b.exact(q)
	}
}

func finer(b *bench) {
	last := int(b.Step.Seconds()) - 1
	b.log(b.ok(one, b.at(3, 0)), b.bad(one, b.at(3, last)), b.ok(one, b.at(4, last)))
	b.beat(6 + settle)
	q := b.ask(0, 12, one)
	q.Step = b.Step / 5
	if q.Step*5 != b.Step || q.Step == 0 {
		b.t.Skip("the rig's step is not to be divided by five")
	}
	q.To = b.at(6, 0)
	b.exact(q)
}
