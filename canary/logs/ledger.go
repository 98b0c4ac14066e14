package logs

import (
	"bytes"
	"context"
	"hash/maphash"
	"strings"
	"time"
)

const (
	maxKinds = 4000 // fingerprints known at once
	// oddFuture bounds the ring against lines of a far future.
	oddFuture = 15 * time.Minute
)

// source is one log being read.
type source struct {
	Log
	parse  parser
	follow follower

	newest   time.Time // of its lines
	disorder disorder
	lost     []span
	losses   int
	good     int64 // lines in its form
	odd      int64 // lines in a foreign form
	oddRun   int64 // of them, those since the last line in its form
	behind   int64
	ended    bool // read to its end
	err      error
}

// ledger counts what a host logged for one runtime, second by second. What it says of a second depends on the logs alone, not
// on when it was read nor on what was asked before.
type ledger struct {
	c       Config
	q       Query // Since, Release and Nonce
	begin   time.Time
	sources []*source
	side
	arms   *arms // with Query.Arm
	print  printer
	kinds  map[printKind]*printKind
	others *printKind
	swept  int64 // ring.top when kinds were last thinned out
	seed   maphash.Seed

	nonce   bool
	beat    time.Time // the newest line of a heartbeat
	echoes  []echo    // the last heartbeats that were read
	through time.Time // what was said to be closed
	now     time.Time // the host's clock when the lines in hand were read
	ahead   time.Time // the newest line that is in the host's future
	odd     time.Time // when it was read
	sound   time.Time // no line of a clock that was set meanwhile is of a time after it
	clock   func() time.Time
}

// newLedger counts lines from begin on; those of [begin + together, ∞) it knows fully.
func newLedger(c Config, q Query, begin time.Time, clock func() time.Time) *ledger {
	l := &ledger{
		c: c, q: q, begin: begin, side: newSide(c), print: printer{c.Roots},
		kinds: map[printKind]*printKind{}, others: &printKind{text: others}, seed: maphash.MakeSeed(), clock: clock,
	}
	if q.Arm != "" {
		l.arms = newArms(c)
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
	return l.q.Since.Equal(q.Since) && l.q.Release == q.Release && l.q.Nonce == q.Nonce && l.q.Arm == q.Arm && l.q.Beside == q.Beside &&
		!l.begin.After(from)
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
		l.sweep(l.horizon())
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
		s.lose(l.clock)
		l.line(i, line)
	})
	s.lose(l.clock)
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
	if l.arms != nil {
		l.split(i, e, line)
		return
	}
	if l.tried(e) {
		return
	}
	if e.release == "" {
		e.release, _, _ = cutRelease(e.fault.file)
	}
	if elsewhere(l.q.Release, e.release) {
		return
	}
	l.count(&l.side, i, e)
}

// elsewhere reports whether a line names another release than the one asked for; a short form of its name will do.
func elsewhere(asked, named string) bool {
	const short = 12
	if named == "" || asked == "" || named == asked {
		return false
	}
	return len(named) < short || !strings.HasPrefix(asked, named)
}
