package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"scap/canary"
)

const (
	maxRange = time.Hour // the longest range of one Query
	// readFor is how long one question may read on in logs that are far behind: the first one wants most of an hour.
	readFor = 8 * time.Second
	// minNonce keeps a nonce from being found by chance.
	minNonce = 8
)

// span is a time of which lines were lost.
type span struct {
	from, to time.Time
	open     bool // no line was read since; the first one may bring its end forward
}

func (q Query) check() error {
	switch {
	case q.Step < time.Second || q.Step%time.Second != 0 || q.Step > maxRange:
		return fmt.Errorf("read the logs: a step of %s: want whole seconds, an hour at most", q.Step)
	case q.From.Unix() <= 0 || !q.To.After(q.From):
		return errors.New("read the logs: the range is empty")
	case q.From.UnixNano()%int64(q.Step) != 0 || q.To.UnixNano()%int64(q.Step) != 0:
		return fmt.Errorf("read the logs: the range does not begin or end at whole steps of %s", q.Step)
	case q.To.Sub(q.From) > maxRange:
		return fmt.Errorf("read the logs: a range of %s: at most %s are read at once", q.To.Sub(q.From), maxRange)
	case q.Arm != "" && q.Arm != Main && q.Arm != Trial:
		return fmt.Errorf("read the logs: %q is none of two releases: want %s or %s", clean(string(q.Arm), maxText), Main, Trial)
	case q.Nonce != "" && (len(q.Nonce) < minNonce || len(q.Nonce) > maxText):
		return fmt.Errorf("read the logs: a nonce of %d characters proves nothing", len(q.Nonce))
	}
	return nil
}

// Read reads on and returns the closed ticks of q's range. It goes on for a few seconds at most when the logs are far behind;
// Page.Behind says what is left.
func (f *Files) Read(ctx context.Context, q Query) (Page, error) {
	now := f.world.Now() // before anything is waited for: it is compared with the asker's
	if err := q.check(); err != nil {
		return Page{}, err
	}
	asked := f.world.Now()
	pulse := token()
	var dead error
	if f.c.Heartbeat != "" {
		dead = f.world.Beat(ctx, f.c.Heartbeat, f.c.HeartbeatHost, beatAgent+pulse)
	}
	wait := time.NewTimer(0)
	defer wait.Stop()
	const first = 10 * time.Millisecond
	begun := time.Now() // not the host's clock: that may be set
	for pause, waited := first, time.Duration(0); ; {
		p, echoed, err := f.look(ctx, q, now, asked, pulse, dead)
		switch {
		case err != nil:
			return Page{}, err
		case p.Behind > 0 && time.Since(begun) < f.reads:
			continue
		case echoed || p.Behind > 0 || waited >= f.patience:
			nonce := ""
			if p.Nonce {
				nonce = q.Nonce
			}
			if err := f.ship.beat(f.world.Now(), q.Arm, nonce, q.Release); err != nil {
				p.Note = clean(err.Error(), maxProblem)
			}
			return p, nil
		}
		wait.Reset(pause)
		pause *= 2
		select {
		case <-wait.C:
			waited += pause / 2
		case <-ctx.Done():
			return Page{}, context.Cause(ctx)
		}
	}
}

// look reads on and answers q by what was read. echoed says that there is no heartbeat to wait for.
func (f *Files) look(ctx context.Context, q Query, now, asked time.Time, pulse string, dead error) (p Page, echoed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() != nil {
		return Page{}, false, context.Cause(ctx)
	}
	skew := f.clock.compare(now, q.Now)
	l := f.ledger(q, q.From.Add(skew))
	l.settle(f.clock.sound)
	if err := l.read(ctx, f.page); err != nil {
		return Page{}, false, err
	}
	at, echoed := l.echoed(pulse)
	p = Page{Arm: q.Arm, Nonce: l.nonce, Skew: skew}
	for _, s := range l.sources {
		if !s.ended {
			p.Behind += max(1, s.behind)
		}
	}
	through := l.closed()
	if through.Unix() > 0 {
		p.Through = through.Add(-skew)
	}
	l.fill(&p, q)
	goesOn := false
	says := func(c canary.Cause, until time.Time, format string, args ...any) {
		if p.Cause == "" {
			p.Cause = c
		}
		goesOn = goesOn || until.IsZero()
		if sound := until.Add(-skew); !until.IsZero() && sound.After(p.Lost) {
			p.Lost = sound
		}
		p.Problems = append(p.Problems, clean(fmt.Sprintf(format, args...), maxProblem))
	}
	f.clocks(l, q, says)
	l.problems(q, skew, says)
	l.anonymous(q, skew, says)
	if echoed && (at.Before(asked.Add(-slack)) || at.After(f.world.Now().Add(slack))) {
		says(canary.Contradict, time.Time{}, "its access log says %s of a request made at %s: are its times in another zone?", stamp(at), stamp(asked))
	}
	if age := f.world.Now().Sub(l.beat); f.c.Heartbeat != "" && !echoed && p.Behind == 0 && age > beatLate {
		said, ask := "no heartbeat was ever read back from its access log", "is it logged there?"
		switch newest := l.served(); {
		case !l.beat.IsZero():
			said, ask = fmt.Sprintf("the last heartbeat read back from its access log is %s old", saidOf(age)), "what holds its lines back?"
		case !newest.IsZero(): // heartbeats begin with the first question: where lines lag there is none for that long
			said += fmt.Sprintf(", whose newest line is %s old", saidOf(f.world.Now().Sub(newest)))
		}
		if dead != nil {
			said += fmt.Sprintf(": %v", dead)
		} else {
			said += fmt.Sprintf(": %s answers; %s", f.c.Heartbeat, ask)
		}
		says(canary.Late, time.Time{}, "%s", said)
	}
	if goesOn {
		p.Lost = time.Time{}
	}
	return p, echoed || f.c.Heartbeat == "" || dead != nil, nil
}

// maxProblem bounds the words of one problem.
const maxProblem = 250

func saidOf(d time.Duration) string { return said(int64(d / time.Second)) }

func stamp(t time.Time) string { return t.UTC().Format(time.DateTime) }

// ledger finds what was read for q, whose range begins at from by the host's clock, or begins to read.
func (f *Files) ledger(q Query, from time.Time) *ledger {
	begin := from.Add(-together)
	if q.Since.After(begin) {
		begin = q.Since
	}
	for i, l := range f.ledgers {
		if l.serves(q, begin) {
			f.ledgers = append(slices.Delete(f.ledgers, i, i+1), l)
			return l
		}
	}
	// One of the same runtime that begins later is of no more use.
	f.ledgers = slices.DeleteFunc(f.ledgers, func(l *ledger) bool {
		if l.serves(q, l.begin) {
			l.close()
			return true
		}
		return false
	})
	if len(f.ledgers) >= maxOpen {
		f.ledgers[0].close()
		f.ledgers = slices.Delete(f.ledgers, 0, 1)
	}
	l := newLedger(f.c, q, begin, f.world.Now)
	f.ledgers = append(f.ledgers, l)
	return l
}

// fill puts what was counted in the closed ticks of q into p.
func (l *ledger) fill(p *Page, q Query) {
	skew, step := int64(p.Skew/time.Second), int64(q.Step/time.Second)
	from, to := q.From.Unix(), q.From.Unix()
	for ; to+step <= q.To.Unix() && to+step <= p.Through.Unix(); to += step {
		t := l.ring.tick(to+skew, to+step+skew, l.c.Signals)
		t.Stray = l.strays(to+skew, to+step+skew)
		if t.Requests != 0 || t.Failing != 0 || t.Good != nil || t.Stray != 0 {
			t.At = time.Unix(to, 0).UTC()
			p.Ticks = append(p.Ticks, t)
		}
	}
	l.noteStrays(p, q, to+skew)
	p.Workers = l.ring.workers(min(from+skew, q.Since.Unix()), to+skew)
	if q.Prints {
		p.Prints = l.ring.list(from+skew, to+skew)
	}
}

// says takes one reason not to trust what was counted, and until when it was one by the host's clock; zero: it goes on.
type says func(c canary.Cause, until time.Time, format string, args ...any)

// clocks says what is wrong with the host's clock.
func (f *Files) clocks(l *ledger, q Query, says says) {
	now, ahead := f.world.Now(), f.clock.ahead
	switch from := q.From.Add(ahead); {
	case ahead.Abs() > skewMost:
		says(canary.Skewed, time.Time{}, "its clock is %s: set it", wrong(ahead))
	case from.Before(f.clock.sound):
		says(canary.Skewed, f.clock.sound, "its clock was set at %s: what was logged before cannot be placed", stamp(f.clock.set))
	case q.Since.After(now.Add(slack)):
		says(canary.Skewed, time.Time{}, "its runtime began at %s by a clock that says %s now: was it set back?", stamp(q.Since), stamp(now))
	}
	if l.ahead.After(now.Add(slack)) && now.Sub(l.odd) < skewMost {
		says(canary.Skewed, time.Time{}, "its logs have lines of %s, its clock says %s: was it set back?", stamp(l.ahead), stamp(now))
	}
}

// problems says what is wrong with the logs, as far as it touches the range of q.
func (l *ledger) problems(q Query, skew time.Duration, says says) {
	from, to := q.From.Add(skew), q.To.Add(skew)
	for i, s := range l.sources {
		switch _, err := os.Stat(filepath.Dir(s.Path)); {
		case s.err != nil:
			says(canary.SourceDown, time.Time{}, "read %s: %v", s.Path, s.err)
		case len(s.follow.gens) > 0:
		case s.access():
			says(canary.SourceDown, time.Time{}, "%s: no such access log, so nothing says what was served", s.Path)
		case err != nil:
			says(canary.SourceDown, time.Time{}, "%s: there is no such directory to log to: %v", s.Path, err)
		}
		if odd, read, until := l.strange(i, from, to); odd > 0 {
			says(canary.SourceDown, until, "%s: %d of %d lines are not in the form %q: is its kind right?", s.Path, odd, read, s.Kind)
		}
		for _, old := range s.follow.packed {
			if old.until.After(from) {
				says(canary.SourceDown, old.until, "%s was rotated and compressed at %s: what is in it is not counted", old.path, stamp(old.until))
			}
		}
		for _, gap := range s.lost {
			if gap.from.Before(to) && gap.to.After(from) {
				says(canary.SourceDown, gap.to, "%s was cut off, or a line was too long to read: what it said from %s on is lost", s.Path, stamp(gap.from))
			}
		}
	}
	if floor := l.ring.floor(); l.begin.Unix() < floor && from.Unix() < floor {
		says(canary.SourceDown, time.Time{}, "only the last %s of its logs are kept, and %s is asked for", said(ringSeconds), stamp(from))
	}
}

// strange counts the lines of a log that are not in its form, as far as they say that [from, to) is not known; else it returns
// 0: some lines are torn by a crash. until is when they ended; zero: they may go on.
func (l *ledger) strange(i int, from, to time.Time) (odd, read int64, until time.Time) {
	const row, few, share = 3, 10, 100
	s := l.sources[i]
	if s.oddRun >= row && s.newest.Before(to) || s.good == 0 {
		return s.odd, s.odd + s.good, time.Time{}
	}
	read, odd, last := l.ring.forms(i, from.Add(-slack).Unix(), to.Unix())
	if 2*odd < read && (odd < few || share*odd <= read) {
		return 0, 0, time.Time{}
	}
	if s.oddRun == 0 {
		until = time.Unix(last+1, 0).Add(slack)
	}
	return odd, read, until
}

// served is the time of the newest line in the access logs; zero: none was read.
func (l *ledger) served() (at time.Time) {
	for _, s := range l.sources {
		if s.access() && s.newest.After(at) {
			at = s.newest
		}
	}
	return at
}

// lose notes that lines of a log are gone: after the newest that was read, and before now.
func (s *source) lose(now func() time.Time) {
	n := s.follow.cuts + int(s.follow.skipped)
	if n == s.losses {
		return
	}
	s.losses = n
	const most = 16
	if len(s.lost) >= most {
		s.lost = slices.Delete(s.lost, 0, 1)
	}
	s.lost = append(s.lost, span{s.newest.Add(-slack), now().Add(time.Second), true})
}

// found ends what was lost with the first line that is there again: lines come in so much disorder.
func (s *source) found(at time.Time) {
	n := len(s.lost)
	if n == 0 || !s.lost[n-1].open {
		return
	}
	s.lost[n-1].to, s.lost[n-1].open = earliest(s.lost[n-1].to, at.Add(time.Second+slack)), false
}
