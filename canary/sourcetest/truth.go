package sourcetest

import (
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode"

	"scap/canary"
)

// form refuses what no answer may be, whatever the world was.
func (b *bench) form(q canary.Query, r canary.Reading) {
	b.t.Helper()
	if len(r.Hosts) != len(q.Hosts) {
		b.t.Fatalf("%d hosts answered, %d were asked for", len(r.Hosts), len(q.Hosts))
	}
	if r.Step < q.Step || q.Step == 0 || r.Step%q.Step != 0 {
		b.t.Fatalf("ticks of %s answered, want a multiple of %s", r.Step, q.Step)
	}
	for i, h := range r.Hosts {
		if h.Host != q.Hosts[i].Name {
			b.t.Errorf("host %d is %q, want %q", i, h.Host, q.Hosts[i].Name)
		}
		if (h.Problem != "") != (h.Cause != "") {
			b.t.Errorf("%q: problem %q has the cause %q; one comes with the other", h.Host, h.Problem, h.Cause)
		}
		if len(h.Problem) > MaxText || !printable(h.Problem) {
			b.t.Errorf("%q: the problem is %d bytes long or holds control characters", h.Host, len(h.Problem))
		}
		b.ticksForm(q, r.Step, h)
		b.printsForm(h)
	}
}

func (b *bench) ticksForm(q canary.Query, step time.Duration, h canary.HostReading) {
	b.t.Helper()
	var last time.Time
	for _, k := range h.Ticks {
		if !k.At.After(last) {
			b.t.Errorf("%q: tick %s comes after %s", h.Host, stamp(k.At), stamp(last))
		}
		last = k.At
		if k.At.Before(q.From) || !k.At.Before(q.To) || k.At.UnixNano()%int64(step) != 0 {
			b.t.Errorf("%q: tick %s is outside of [%s, %s) or no multiple of %s", h.Host, stamp(k.At), stamp(q.From), stamp(q.To), step)
		}
		if k.Failing < 0 || k.Requests < 0 {
			b.t.Errorf("%q: tick %s counts %d of %d", h.Host, stamp(k.At), k.Failing, k.Requests)
		}
		for name, n := range k.Good {
			if n < 0 {
				b.t.Errorf("%q: tick %s counts %d of signal %q", h.Host, stamp(k.At), n, name)
			}
		}
	}
}

func (b *bench) printsForm(h canary.HostReading) {
	b.t.Helper()
	if len(h.Prints) > MaxPrints {
		b.t.Errorf("%q: %d fingerprints, at most %d are bearable", h.Host, len(h.Prints), MaxPrints)
	}
	seen := map[string]bool{}
	for _, p := range h.Prints {
		if p.Text == "" || p.Count < 1 || seen[p.Text] {
			b.t.Errorf("%q: fingerprint %.80q is empty, counts nothing or comes twice", h.Host, p.Text)
		}
		seen[p.Text] = true
		for _, s := range []string{p.Text, p.File, p.ID} {
			if len(s) > MaxText || !printable(s) {
				b.t.Errorf("%q: fingerprint %.80q is %d bytes long or holds control characters", h.Host, s, len(s))
			}
		}
	}
}

func printable(s string) bool { return !strings.ContainsFunc(s, unicode.IsControl) }

// count is what one tick of a host holds in truth, or by an answer.
type count struct {
	n, x  int64
	good  map[string]int64
	stray int64 // of neither of two releases
}

func (c count) String() string {
	return fmt.Sprintf("%d of %d failing, %d strays, good %v", c.x, c.n, c.stray, c.good)
}

// want is the truth of one tick [from, to): all that was logged, seen as the question demands.
func (b *bench) want(h canary.Host, from, to time.Time) count {
	c := count{good: map[string]int64{}}
	served, failed := map[string]bool{}, map[string]bool{}
	for i, e := range b.past {
		if e.Host != h.Machine() || e.At.Before(from) || !e.At.Before(to) || e.At.Before(h.Since) || h.Release != "" && e.Release != h.Release && (!e.Stray || h.On == "") {
			continue
		}
		if e.Stray && h.On != "" {
			c.stray++
			continue
		}
		id := e.ID
		if id == "" || b.NoIDs {
			id = fmt.Sprint("record ", i)
		}
		served[id] = true
		if e.Failing {
			failed[id] = true
		}
		for _, s := range e.Good {
			c.good[s]++
		}
	}
	c.n, c.x = int64(len(served)), int64(len(failed))
	return c
}

// got is what an answer says of [from, to).
func got(h canary.HostReading, from, to time.Time) count {
	c := count{good: map[string]int64{}}
	for _, k := range h.Ticks {
		if !k.At.Before(from) && k.At.Before(to) {
			c.n += k.Requests
			c.x += k.Failing
			c.stray += k.Stray
			for name, n := range k.Good {
				if n != 0 {
					c.good[name] += n
				}
			}
		}
	}
	return c
}

// same compares as far as the kind of source can tell.
func (b *bench) same(x, y count) bool {
	return (b.NoRequests || x.n == y.n) && x.x == y.x && x.stray == y.stray && (b.NoGood || maps.Equal(x.good, y.good))
}

// truth wants every closed tick of a host to be what was logged.
func (b *bench) truth(q canary.Query, step time.Duration, asked canary.Host, h canary.HostReading) {
	b.t.Helper()
	if h.Problem != "" {
		return
	}
	for from := floor(q.From, step); from.Before(q.To); from = from.Add(step) {
		to := from.Add(step)
		if to.After(h.Through) {
			return
		}
		lo, hi := later(from, q.From), earlier(to, q.To)
		if w, g := b.want(asked, lo, hi), got(h, from, to); !b.same(w, g) {
			b.t.Errorf("%q in closed tick %s: %s; want %s", h.Host, stamp(from), g, w)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
