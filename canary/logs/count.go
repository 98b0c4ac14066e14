package logs

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds of what is remembered for one query, whatever the logs say. Beyond maxIDs failing requests are counted one by
// one: no threshold is that high.
const (
	maxIDs    = 20_000
	maxPrints = 500
	others    = "other failures"
)

// count is what was read for one query.
type count struct {
	c       Config
	q       Query
	sources []*source

	requests, vouched int64
	lines             int64
	ids               map[string]*tally // failing requests by id, and what they are counted under
	over              int64
	prints            map[string]*tally
	newest            time.Time
	nonce             bool
	cuts              int
}

// tally counts one fingerprint.
type tally struct {
	text string
	n    int64
	id   string
}

// source is one log being read.
type source struct {
	Log
	parse    parser
	follow   follower
	nameless int64 // failing lines without a request id
	odd      int64 // lines in a foreign form
	good     int64

	// Of a ledger.
	newest   time.Time // of its lines
	disorder disorder
	lost     []span
	losses   int
	oddRun   int64 // of them, those since the last line in its form
	behind   int64
	ended    bool // read to its end
	err      error
}

func newCount(c Config, q Query) *count {
	n := &count{c: c, q: q, ids: map[string]*tally{}, prints: map[string]*tally{}}
	for _, s := range c.Sources {
		src := &source{Log: s, parse: parserOf(s.Kind)}
		src.follow = follower{path: s.Path, since: q.Since, when: func(line []byte) (time.Time, bool) {
			e, _ := src.parse(line)
			return e.at, !e.at.IsZero()
		}}
		n.sources = append(n.sources, src)
	}
	return n
}

func (n *count) close() {
	for _, s := range n.sources {
		s.follow.close()
	}
}

// read reads on in every source, most bytes in all or a little more, and sums up. One that cannot be read is a problem of the page, so that the others' counts
// are still seen.
func (n *count) read(ctx context.Context, most int64) (Page, error) {
	var p Page
	budget := most / int64(max(1, len(n.sources)))
	for _, s := range n.sources {
		if ctx.Err() != nil {
			return Page{}, context.Cause(ctx)
		}
		_, behind, err := s.follow.next(budget, func(line []byte) { n.line(s, line) })
		if err != nil {
			p.Problems = append(p.Problems, fmt.Sprintf("read %s: %v", s.Path, err))
		}
		p.Behind += behind
		p.Problems = append(p.Problems, s.problems()...)
	}
	cuts := 0
	for _, s := range n.sources {
		cuts += s.follow.cuts
	}
	if cuts > n.cuts {
		// Lines may be lost: what was counted so far still counts as failing, but no longer vouches for the release.
		n.cuts, n.vouched = cuts, 0
	}
	p.Requests, p.Vouched, p.Lines, p.Nonce, p.Newest = n.requests, n.vouched, n.lines, n.nonce, n.newest
	p.Failing, p.Top = n.failing(), n.top()
	return p, nil
}

// problems says why a source's counts cannot be trusted.
func (s *source) problems() []string {
	list := slices.Clone(s.follow.notes)
	if len(s.follow.gens) == 0 && s.access() {
		list = append(list, fmt.Sprintf("%s: no such access log, so nothing says what was served", s.Path))
	}
	if s.odd > 0 && (s.odd >= s.good || s.odd >= 10) {
		list = append(list, fmt.Sprintf("%s: %d of %d lines are not in the form %q: is its kind right?", s.Path, s.odd, s.odd+s.good, s.Kind))
	}
	if s.follow.skipped > 0 {
		list = append(list, fmt.Sprintf("%s: %d lines longer than %d bytes were not read", s.Path, s.follow.skipped, maxLine))
	}
	return list
}

func (n *count) line(s *source, line []byte) {
	if !n.nonce && n.q.Nonce != "" && bytes.Contains(line, []byte(n.q.Nonce)) {
		n.nonce = true
	}
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	e, form := s.parse(line)
	if form == foreign {
		s.odd++
		return
	}
	s.good++
	if e.at.After(n.newest) {
		n.newest = e.at
	}
	if form != telling || e.at.Before(n.q.Since) {
		return
	}
	if e.web {
		n.lines++
	}
	if n.c.own(e) || elsewhere(n.q.Release, e.release) {
		return
	}
	if e.served {
		n.requests++
		n.vouched++
	}
	if e.fails {
		n.fail(s, e)
	}
}

// elsewhere reports whether a line names another release than the one asked for; a short form of its name will do.
func elsewhere(asked, named string) bool {
	const short = 12
	if named == "" || asked == "" || named == asked {
		return false
	}
	return len(named) < short || !strings.HasPrefix(asked, named)
}

func (n *count) fail(s *source, e event) {
	t := n.print(e)
	if e.id == "" {
		s.nameless++
		t.n++
		return
	}
	before, seen := n.ids[e.id]
	switch {
	case !seen && len(n.ids) >= maxIDs:
		n.over++
		t.n++
	case !seen:
		n.ids[e.id] = t
		t.n++
		if t.id == "" {
			t.id = clip(e.id)
		}
	case strings.HasPrefix(before.text, "HTTP ") && !strings.HasPrefix(t.text, "HTTP "):
		// The same request is known as "HTTP 500"; its exception says more.
		before.n--
		t.n++
		t.id = clip(e.id)
		n.ids[e.id] = t
	}
}

func (n *count) print(e event) *tally {
	t, ok := n.prints[e.print]
	if !ok && len(n.prints) >= maxPrints {
		e.print = others
		t, ok = n.prints[others]
	}
	if !ok {
		t = &tally{text: e.print}
		n.prints[e.print] = t
	}
	return t
}

// failing is how many distinct requests failed at least: those with an id, or the nameless of one log, whichever is more.
func (n *count) failing() int64 {
	most := int64(len(n.ids)) + n.over
	for _, s := range n.sources {
		most = max(most, s.nameless)
	}
	return most
}

// top lists the most frequent fingerprints; at equal counts an exception says more than a status.
func (n *count) top() []Fingerprint {
	list := make([]Fingerprint, 0, len(n.prints))
	for _, t := range n.prints {
		if t.n > 0 {
			list = append(list, Fingerprint{Text: t.text, Count: t.n, ID: t.id})
		}
	}
	rank(list)
	return list[:min(len(list), maxTop)]
}

func rank(list []Fingerprint) {
	plain := func(f Fingerprint) int {
		if strings.HasPrefix(f.Text, "HTTP ") {
			return 1
		}
		return 0
	}
	slices.SortFunc(list, func(a, b Fingerprint) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(plain(a), plain(b)), cmp.Compare(a.Text, b.Text))
	})
}
