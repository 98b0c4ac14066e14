package logs

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	// slack is how long after its time a line may come into a log that is well.
	slack = 5 * time.Second
	// maxDisorder is the most that lines are waited for which come late; a line that is later is not of a log, but of a broken
	// clock or of somebody's making.
	maxDisorder = 3 * time.Minute
	// disorderFor is how long a late line keeps ticks from being closed as soon as before.
	disorderFor = 10 * time.Minute

	beatAgent    = "scap-agent heartbeat "
	beatLimit    = 2 * time.Second
	beatPatience = 500 * time.Millisecond
	// beatLate is the age of the last heartbeat read back at which the log counts as stuck.
	beatLate  = 30 * time.Second
	maxEchoes = 16
)

// beat asks a page of the host's own web server.
func beat(ctx context.Context, url, host, agent string) error {
	ctx, cancel := context.WithTimeout(ctx, beatLimit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", agent)
	r.Host, r.Close = host, true
	t := &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 1 << 16} // no proxy stands between a host and itself
	defer t.CloseIdleConnections()
	a, err := t.RoundTrip(r) // a redirect is an answer too
	if err != nil {
		return err
	}
	return a.Body.Close()
}

func token() string { return strings.ToLower(rand.Text()[:16]) }

// echo is a heartbeat's line that was read back.
type echo struct {
	token string
	at    time.Time
}

// disorder is how late lines come, by the lines before them.
type disorder struct {
	most time.Duration
	at   time.Time
}

// note takes a line that is by late behind the newest line, which is of at.
func (d *disorder) note(late time.Duration, at time.Time) {
	if late > maxDisorder || late < 0 {
		late = 0
	}
	if late >= d.most && late > 0 || at.Sub(d.at) > disorderFor {
		d.most, d.at = late, at
	}
}

// timely notes how far a log has come, and says whether a line is of a time that can be counted.
func (l *ledger) timely(s *source, at time.Time) bool {
	if at.After(l.now.Add(slack)) {
		if at.After(l.ahead) {
			l.ahead = at
		}
		l.odd = l.now
		if at.After(l.now.Add(oddFuture)) {
			return false
		}
	}
	if s.newest.After(l.sound) { // against a line of another clock nothing is late
		s.disorder.note(s.newest.Sub(at), s.newest)
	}
	if at.After(s.newest) {
		s.newest = at
	}
	s.found(at)
	return true
}

// settle takes the time since which the host's clock has not been set.
func (l *ledger) settle(sound time.Time) {
	if sound.Equal(l.sound) {
		return
	}
	l.sound = sound
	for _, s := range l.sources {
		s.disorder = disorder{}
	}
}

// heard takes the line of a heartbeat.
func (l *ledger) heard(e event) bool {
	token, ok := strings.CutPrefix(e.agent, beatAgent)
	if !ok {
		return false
	}
	if e.at.After(l.beat) {
		l.beat = e.at
	}
	if len(token) < maxText {
		if len(l.echoes) >= maxEchoes {
			l.echoes = l.echoes[1:]
		}
		l.echoes = append(l.echoes, echo{strings.Clone(token), e.at})
	}
	return true
}

// echoed finds the line of a heartbeat.
func (l *ledger) echoed(token string) (time.Time, bool) {
	for _, e := range l.echoes {
		if e.token == token {
			return e.at, true
		}
	}
	return time.Time{}, false
}

// close moves the watermark as far as what was read allows.
func (l *ledger) closed() time.Time {
	t := l.beat
	late := l.c.Delay
	if late == 0 {
		late = slack
	}
	for _, s := range l.sources {
		late = max(late, s.disorder.most)
		if l.c.Heartbeat == "" && s.access() && s.newest.After(t) {
			t = s.newest
		}
	}
	for _, s := range l.sources {
		if !s.ended && s.newest.Before(t) {
			t = s.newest
		}
	}
	if t = earliest(t.Add(-late), l.clock()); t.Unix() > 0 && t.After(l.through) {
		l.through = t
	}
	return l.through
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Bounds of a wrong clock.
const (
	skewNone = 2 * time.Second
	skewMost = 10 * time.Minute
	// wayMost is the longest that a question is on its way, through a connection that has to be opened first and a host that is
	// busy. It makes a clock look ahead, never behind, so that no smaller lead is believed: counts of a clock that is
	// really so much ahead fall a few ticks late, those of a good one that was corrected would change after the fact.
	wayMost = 30 * time.Second
)

// clock compares the host's clock with those of its askers.
type clock struct {
	ahead time.Duration // whole seconds; it does not follow what a question takes on its way
	known bool
	set   time.Time // when the clock was set while it was watched, by itself afterwards
	sound time.Time // nothing that was logged before has a time after it
}

// compare returns how far the host is ahead of an asker, zero when it is so little that it does not count. What it has once
// measured it keeps for as long as the way of the questions may explain the difference.
func (c *clock) compare(host, asker time.Time) time.Duration {
	if asker.IsZero() {
		return c.ahead
	}
	d := host.Sub(asker)
	if c.known {
		low := c.ahead - skewNone
		if c.ahead > 0 { // it may have been measured on a long way
			low = c.ahead - wayMost
		}
		if d > low && d < c.ahead+wayMost {
			return c.ahead
		}
	}
	if d > -skewNone && d < wayMost {
		d = 0
	}
	d = d.Round(time.Second)
	if c.known {
		c.set = host
		if c.sound = asker.Add(c.ahead + wayMost); host.After(c.sound) {
			c.sound = host
		}
		c.sound = c.sound.Add(slack)
	}
	c.ahead, c.known = d, true
	return d
}

// wrong says in words how far a clock is off.
func wrong(d time.Duration) string {
	if d < 0 {
		return fmt.Sprintf("%s behind", said(int64(-d/time.Second)))
	}
	return fmt.Sprintf("%s ahead", said(int64(d/time.Second)))
}
