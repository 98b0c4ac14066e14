package logs

import (
	"bytes"
	"context"
	"hash/maphash"
	"slices"
	"strings"
	"time"
)

const (
	maxKinds = 4000 // fingerprints known at once
	// oddFuture bounds the ring against lines of a far future.
	oddFuture = 15 * time.Minute
)

// ledger counts what a host logged for one runtime, second by second. What it says of a second depends on the logs alone, not
// on when it was read nor on what was asked before.
type ledger struct {
	c       Config
	q       Query // Since, Release and Nonce
	begin   time.Time
	sources []*source
	ring    *ring
	ids     *idset
	print   printer
	kinds   map[printKind]*printKind
	others  *printKind
	swept   int64 // ring.top when kinds were last thinned out
	seed    maphash.Seed

	nonce   bool
	beat    time.Time // the newest line of a heartbeat
	echoes  []echo    // the last heartbeats that were read
	through time.Time // what was said to be closed
	now     time.Time // the host's clock when the lines in hand were read
	ahead   time.Time // the newest line that is in the host's future
	odd     time.Time // when it was read
	clock   func() time.Time
}

// newLedger counts lines from begin on; those of [begin + together, ∞) it knows fully.
func newLedger(c Config, q Query, begin time.Time, clock func() time.Time) *ledger {
	l := &ledger{
		c: c, q: q, begin: begin, ring: newRing(len(c.Sources), len(c.Signals)), ids: newIDs(), print: printer{c.Roots},
		kinds: map[printKind]*printKind{}, others: &printKind{text: others}, seed: maphash.MakeSeed(), clock: clock,
	}
	for _, s := range c.Sources {
		src := &source{Log: s, parse: parserOf(s.Kind)}
		since := begin
		if q.Nonce != "" && !s.access() && !q.Since.IsZero() && q.Since.Before(since) {
			since = q.Since // that is where its nonce is
		}
		src.follow = follower{path: s.Path, since: since, when: func(line []byte) (time.Time, bool) {
			e, _ := src.parse(line)
			return e.at, !e.at.IsZero()
		}}
		l.sources = append(l.sources, src)
	}
	return l
}

// serves reports whether l can answer q, whose range begins at from.
func (l *ledger) serves(q Query, from time.Time) bool {
	return l.q.Since.Equal(q.Since) && l.q.Release == q.Release && l.q.Nonce == q.Nonce && !l.begin.After(from)
}

func (l *ledger) close() {
	for _, s := range l.sources {
		s.follow.close()
	}
}

// read reads on in all logs, most bytes in all or a little more. They are read side by side, by the time of their lines, so that
// what several say of one request meets; and what says how requests failed last, so that it is as new as what was served.
func (l *ledger) read(ctx context.Context, most int64) error {
	for _, s := range l.sources {
		s.ended, s.err = false, nil
	}
	for most > 0 {
		s := l.oldest()
		if s < 0 {
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		most -= l.chunk(s)
		l.ids.sweep(l.horizon())
	}
	if l.oldest() >= 0 {
		return nil
	}
	for i, s := range l.sources {
		if !s.access() {
			l.chunk(i)
		}
	}
	return nil
}

// oldest is the log that was read the least far; -1 when all were read to their ends.
func (l *ledger) oldest() int {
	best := -1
	for i, s := range l.sources {
		if !s.ended && (best < 0 || s.newest.Before(l.sources[best].newest)) {
			best = i
		}
	}
	return best
}

// horizon is the time that no line to come is much older than, in Unix milliseconds.
func (l *ledger) horizon() int64 {
	if i := l.oldest(); i >= 0 {
		return l.sources[i].newest.UnixMilli()
	}
	return l.ring.top * 1000
}

// chunk reads a little of one log.
func (l *ledger) chunk(i int) int64 {
	s := l.sources[i]
	l.now = time.Time{}
	taken, behind, err := s.follow.next(chunk, func(line []byte) {
		if l.now.IsZero() {
			l.now = l.clock() // after the line was written
		}
		s.lose()
		l.line(i, line)
	})
	s.lose()
	s.err, s.behind = err, behind
	s.ended = err != nil || behind == 0
	return taken
}

// line takes one line of a log.
func (l *ledger) line(i int, line []byte) {
	s := l.sources[i]
	if !l.nonce && l.q.Nonce != "" && bytes.Contains(line, []byte(l.q.Nonce)) {
		l.nonce = true
	}
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	e, form := s.parse(line)
	if form == foreign {
		s.odd++
		s.oddRun++
		if n := l.ring.of(s.newest.Unix()); n != nil {
			n.read[i]++
			n.odd[i]++
		}
		return
	}
	s.good++
	s.oddRun = 0
	if e.at.IsZero() || !l.timely(s, e.at) {
		return
	}
	if n := l.ring.of(e.at.Unix()); n != nil {
		n.read[i]++
	}
	if form != telling {
		return
	}
	if e.web && l.heard(e) || e.at.Before(l.begin) || e.at.Before(l.q.Since) || l.c.own(e) {
		return
	}
	if e.release == "" {
		e.release, _, _ = cutRelease(e.fault.file)
	}
	if elsewhere(l.q.Release, e.release) {
		return
	}
	l.count(i, e)
}

// count counts a line of a user's request.
func (l *ledger) count(i int, e event) {
	s := l.ring.of(e.at.Unix())
	if s != nil && e.web {
		for n, g := range l.c.Signals {
			if g.matches(e) {
				s.good[n]++
			}
		}
	}
	if s != nil && e.served && !e.fails {
		s.n++
	}
	if !e.fails {
		return
	}
	if s != nil && e.worker != "" && len(s.workers) < secondHands {
		if h := (hand{i, maphash.String(l.seed, e.worker)}); !slices.Contains(s.workers, h) {
			s.workers = append(s.workers, h)
		}
	}
	if e.id == "" {
		l.nameless(i, s, e)
	} else {
		l.named(i, s, e)
	}
}

// nameless counts a failing line that names no request.
func (l *ledger) nameless(i int, s *second, e event) {
	if e.conn != "" {
		key, ms := l.ids.key(byte(i)+1, e.conn), e.at.UnixMilli()
		if k, ok := l.ids.m[key]; ok && k.last == ms {
			return // nginx tells of each upstream that it tried, in whole seconds
		}
		l.ids.m[key] = known{first: ms, last: ms}
	}
	if s == nil {
		return
	}
	s.by[i]++
	if e.web {
		s.n++
	}
	l.ring.print(s, l.kind(e), l.others).n++
}

// named counts a failing line of a request: in the second of the request's first line, whichever log has it and whichever is read
// first, and by the fingerprint that says most.
func (l *ledger) named(i int, s *second, e event) {
	ms, kind := e.at.UnixMilli(), l.kind(e)
	if s != nil {
		p := l.ring.print(s, kind, l.others)
		if id := clip(e.id); p.id == "" || id < p.id {
			p.id = strings.Clone(id)
		}
	}
	key := l.ids.key(0, e.id)
	k, ok := l.ids.m[key]
	far := together.Milliseconds()
	switch {
	case !ok || ms > k.last+far || ms < k.first-far:
		k = known{first: ms, last: ms, printed: ms, kind: kind, rank: rankOf(e)}
		l.book(k, +1)
	case ms < k.first:
		l.book(k, -1)
		k.first = ms
		l.book(k, +1)
	default:
		k.last = max(k.last, ms)
	}
	home := l.ring.get(k.first / 1000)
	if home != nil && k.logs&(1<<i) == 0 {
		k.logs |= 1 << i
		home.by[i]++
	}
	if home != nil && e.web && !k.served {
		k.served = true
		home.n++
	}
	if rank := rankOf(e); rank < k.rank || rank == k.rank && (ms < k.printed || ms == k.printed && kind.text < k.kind.text) {
		if home != nil {
			l.ring.print(home, k.kind, l.others).n--
			l.ring.print(home, kind, l.others).n++
		}
		k.rank, k.printed, k.kind = rank, ms, kind
	}
	l.ids.m[key] = k
}

// book adds a request to the second of its first line, or takes it out.
func (l *ledger) book(k known, sign int64) {
	s := l.ring.of(k.first / 1000)
	if s == nil {
		return
	}
	s.ids += sign
	if k.served {
		s.n += sign
	}
	for i := range s.by {
		if k.logs&(1<<i) != 0 {
			s.by[i] += sign
		}
	}
	l.ring.print(s, k.kind, l.others).n += sign
}

// kind returns the one copy of a line's fingerprint.
func (l *ledger) kind(e event) *printKind {
	p := l.print.of(e)
	if k := l.kinds[p]; k != nil {
		return k
	}
	const pause = 60
	if len(l.kinds) >= maxKinds && l.ring.top >= l.swept+pause {
		l.swept = l.ring.top
		l.thin()
	}
	if len(l.kinds) >= maxKinds {
		return l.others
	}
	k := &printKind{strings.Clone(p.text), strings.Clone(p.file)}
	l.kinds[*k] = k
	return k
}

// thin forgets the fingerprints that are in no second and of no known request.
func (l *ledger) thin() {
	used := map[*printKind]bool{}
	for i := range l.ring.slots {
		for _, p := range l.ring.slots[i].prints {
			used[p.kind] = true
		}
	}
	for _, k := range l.ids.m {
		used[k.kind] = true
	}
	for p, k := range l.kinds {
		if !used[k] {
			delete(l.kinds, p)
		}
	}
}
