package sourcetest

import (
	"slices"
	"strings"
	"time"

	"scap/canary"
)

// open wants nothing of [from, to) to be called closed.
func (b *bench) open(h canary.HostReading, from time.Time) {
	b.t.Helper()
	if h.Problem == "" && h.Through.After(from) {
		b.t.Errorf("%q is closed through %s, but nobody said that anything after %s has arrived", h.Host, stamp(h.Through), stamp(from))
	}
}

func notClosed(b *bench) {
	// One has logged, two has not: neither is known to have said everything.
	b.log(b.traffic(2, 6, one)...)
	q := b.ask(2, 6, one, two)
	r, err := b.Source.Read(b.ctx, q)
	if err != nil {
		b.t.Log(err) // nothing was learned of any host: that is true
		return
	}
	b.form(q, r)
	for _, h := range r.Hosts {
		b.open(h, q.From)
	}
}

func notTooEarly(b *bench) {
	b.log(b.traffic(2, 6, one, two)...)
	b.beat(4)
	q := b.ask(2, 20, one, two)
	for range 2 {
		r := b.read(q)
		for i, h := range r.Hosts {
			b.open(h, b.at(4, 0))
			b.truth(q, r.Step, q.Hosts[i], h)
		}
		q.Now = b.at(60, 0) // that time goes by closes nothing
	}
	// What comes in late is counted once it has arrived, before its tick is closed.
	b.log(b.traffic(4, 6, one)...)
	b.beat(20 + settle)
	q = b.ask(2, 20, one, two)
	b.exact(q)
}

func knownZero(b *bench) {
	b.log(b.traffic(2, 6, one)...)
	b.beat(6 + settle)
	r := b.exact(b.ask(2, 6, one, two))
	if sum := got(r.Hosts[1], b.at(2, 0), b.at(6, 0)); sum.n != 0 || sum.x != 0 {
		b.t.Errorf("%s was counted on a host without traffic", sum)
	}
}

func ownWatermarks(b *bench) {
	b.log(b.traffic(2, 8, one, two, three)...)
	b.beat(3)
	b.beat(8+settle, one)
	q := b.ask(2, 8, one, two)
	r := b.read(q)
	if h := r.Hosts[0]; h.Problem != "" || h.Through.Before(q.To) {
		b.t.Errorf("%q is not closed by its own watermark: through %s, problem %q", one, stamp(h.Through), h.Problem)
	}
	b.open(r.Hosts[1], b.at(3, 0))
	for i, h := range r.Hosts {
		b.truth(q, r.Step, q.Hosts[i], h)
	}
}

func beforeSince(b *bench) {
	b.log(b.traffic(2, 8, one, two)...)
	b.beat(8 + settle)
	q := b.ask(2, 8, one, two)
	q.Hosts[0].Since = b.at(5, 0)
	b.exact(q)

	// In the middle of a tick: what was before does not count; what comes after in the same tick may be left out.
	middle := b.at(5, 1)
	if b.Step == time.Second {
		return
	}
	q.Hosts[0].Since = middle
	r := b.read(q)
	h := r.Hosts[0]
	if early := got(h, b.at(2, 0), b.at(5, 0)); early.n != 0 || early.x != 0 {
		b.t.Errorf("%s counted before the runtime began", early)
	}
	first, most := got(h, b.at(5, 0), b.at(6, 0)), b.want(q.Hosts[0], b.at(5, 0), b.at(6, 0))
	if first.n > most.n || first.x > most.x {
		b.t.Errorf("the tick in which the runtime began counts %s, at most %s were its own", first, most)
	}
	rest := q
	rest.From = b.at(6, 0)
	b.exact(rest)
}

// beside logs what the earlier release served from 2 to 8, and this one besides.
func beside(b *bench, from, to int) {
	if b.NoRelease {
		b.t.Skip("this source cannot tell releases apart")
	}
	old := b.traffic(2, 8, one)
	for i := range old {
		old[i].Release = Earlier
	}
	b.log(old...)
	b.log(b.traffic(from, to, one)...)
	b.beat(8 + settle)
}

func otherRelease(b *bench) {
	beside(b, 4, 8)
	q := b.ask(2, 8, one)
	b.exact(q)
	q.Hosts[0].Release = "" // anything
	b.exact(q)
}

func twoReleases(b *bench) {
	beside(b, 3, 5)
	q := b.ask(2, 8, one, one)
	q.Hosts[1].Release, q.Hosts[1].Nonce = Earlier, ""
	b.exact(q)
}

func hostOrder(b *bench) {
	b.log(b.traffic(2, 6, one, two, three)...)
	b.beat(6 + settle)
	b.exact(b.ask(2, 6, three, one, two))
	b.exact(b.ask(2, 6, two))
}

func unknownHost(b *bench) {
	b.log(b.traffic(2, 6, one, two)...)
	b.beat(6 + settle)
	q := b.ask(2, 6, one, "mw9999", two)
	r := b.read(q)
	b.open(r.Hosts[1], q.From)
	for _, i := range []int{0, 2} {
		if h := r.Hosts[i]; h.Problem != "" || h.Through.Before(q.To) {
			b.t.Errorf("%q is not answered beside an unknown host: through %s, problem %q", h.Host, stamp(h.Through), h.Problem)
		}
		b.truth(q, r.Step, q.Hosts[i], r.Hosts[i])
	}
}

// hostileNames are names that something takes for more than a name, and ones that contain each other.
func hostileNames() []string {
	return []string{
		"mw1", "mw10", "mw1.eqiad.wmnet", "mw1 OR mw10", "mw.*", "*", "mw?", `mw1"} or vector(1) #`, `mw1"}},{"match_all":{}}`,
		`mw\1`, "mw1\nmw10", "mw1|mw10", "-rf", "../mw1", "$(reboot)", "mw1\x1b[31m", "ＭＷ1", strings.Repeat("m", 250),
	}
}

func hostileHosts(b *bench) {
	names := hostileNames()
	for i, n := range names {
		b.log(b.traffic(2+i%4, 6, n)...)
	}
	b.beat(6 + settle)
	q := b.ask(2, 6, names...)
	r := b.read(q)
	for i, h := range r.Hosts {
		// A name may be refused. It may not stand for others, nor stand in their way.
		b.truth(q, r.Step, q.Hosts[i], h)
		if plain := i < 3; plain && (h.Problem != "" || h.Through.Before(q.To)) {
			b.t.Errorf("%q is not answered beside hostile names: through %s, problem %q", h.Host, stamp(h.Through), h.Problem)
		}
	}
	for i, n := range names { // and each alone
		q := b.ask(2, 6, n)
		r, err := b.Source.Read(b.ctx, q)
		if err != nil {
			if i < 3 {
				b.t.Errorf("%q alone: %v", n, err)
			}
			continue
		}
		b.form(q, r)
		b.truth(q, r.Step, q.Hosts[0], r.Hosts[0])
	}
}

func nonce(b *bench) {
	if b.NoNonce {
		b.t.Skip("this source reads no nonce back")
	}
	ask := func() canary.Query {
		q := b.ask(4, 8, one, two, three)
		for i := range q.Hosts {
			q.Hosts[i].Since = b.at(4, 0)
		}
		q.Hosts[2].Nonce = q.Hosts[0].Nonce // three wrote nothing: that one wrote it proves nothing of three
		return q
	}
	b.log(b.traffic(4, 8, one, two, three)...)
	b.beat(8 + settle)
	for _, h := range b.exact(ask()).Hosts {
		if h.Nonce {
			b.t.Errorf("%q: a nonce that nobody wrote was read back", h.Host)
		}
	}
	b.Nonce(b.t, ask().Hosts[0])
	b.beat(9 + settle)
	var read []bool
	for _, h := range b.exact(ask()).Hosts {
		read = append(read, h.Nonce)
	}
	if want := []bool{true, false, false}; !slices.Equal(read, want) {
		b.t.Errorf("nonces read back: %v, want %v: only the first host wrote one", read, want)
	}
}

func skew(b *bench) {
	if b.Skew == nil {
		b.t.Skip("the rig has no clocks to set")
	}
	ahead := 3 * time.Minute
	b.Skew(b.t, one, ahead)
	b.log(b.traffic(2, 8, one, two)...)
	b.beat(8 + settle)
	q := b.ask(2, 8, one, two)
	r := b.read(q)
	h := r.Hosts[0]
	switch {
	case h.Problem != "":
		b.t.Log(h.Problem)
		if h.Cause != canary.Skewed {
			b.t.Errorf("the cause is %q, want %q", h.Cause, canary.Skewed)
		}
	case h.Skew == 0 && h.Through.After(q.From):
		b.t.Errorf("a clock that is %s ahead is not noticed, and ticks are closed by it through %s", ahead, stamp(h.Through))
	case h.Skew != 0 && (h.Skew-ahead).Abs() > 2*b.Step:
		b.t.Errorf("a clock that is %s ahead is said to be %s ahead", ahead, h.Skew)
	default:
		if sum, all := got(h, q.From, q.To), b.want(q.Hosts[0], q.From, q.To); !h.Through.Before(q.To) && sum.x < all.x {
			b.t.Errorf("corrected by %s, %s are counted of %s", h.Skew, sum, all)
		}
	}
	if h := r.Hosts[1]; h.Problem != "" || h.Through.Before(q.To) {
		b.t.Errorf("%q is not answered beside a wrong clock: through %s, problem %q", h.Host, stamp(h.Through), h.Problem)
	}
	b.truth(q, r.Step, q.Hosts[1], r.Hosts[1])
}

func concurrent(b *bench) {
	b.log(b.traffic(2, 12, one, two, three)...)
	b.beat(12 + settle)
	type asked struct {
		q   canary.Query
		r   canary.Reading
		err error
	}
	var all []*asked
	for k := 2; k < 12; k++ {
		for _, hosts := range [][]string{{one}, {three, two}} {
			all = append(all, &asked{q: b.ask(k, 12, hosts...)})
		}
	}
	done := make(chan *asked, len(all))
	for _, a := range all {
		go func() {
			a.r, a.err = b.Source.Read(b.ctx, a.q)
			done <- a
		}()
	}
	for range all {
		a := <-done
		if a.err != nil {
			b.t.Errorf("one of %d at once: %v", len(all), a.err)
			continue
		}
		b.form(a.q, a.r)
		for i, h := range a.r.Hosts {
			if h.Problem != "" || h.Through.Before(a.q.To) {
				b.t.Errorf("%q, one of several at once: through %s, problem %q", h.Host, stamp(h.Through), h.Problem)
			}
			b.truth(a.q, a.r.Step, a.q.Hosts[i], h)
		}
	}
}
