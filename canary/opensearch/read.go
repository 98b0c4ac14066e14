package opensearch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"scap/canary"
)

// errNoRequests is what a source that counts only failures answers.
var errNoRequests = errors.New("this opensearch counts failing requests only, and without all requests there is no rate: name a query of all requests, or join it with a source that counts them")

// errTooLong ends a Read.
var errTooLong = errors.New("no answer within the timeout")

// Failures is s without totals of requests: its Ticks have Failing and Good, and Requests 0, which says nothing. It is for
// canary.Joined, which takes the requests from elsewhere.
func (s *Source) Failures() canary.Source { return canary.SourceFunc(s.failures) }

func (s *Source) failures(ctx context.Context, q canary.Query) (canary.Reading, error) {
	return s.read(ctx, q, "")
}

// Read counts requests, failures and successes. Without a query of all requests it is an error.
func (s *Source) Read(ctx context.Context, q canary.Query) (canary.Reading, error) {
	if s.c.Requests == "" {
		return canary.Reading{}, errNoRequests
	}
	return s.read(ctx, q, s.c.Requests)
}

func (s *Source) read(ctx context.Context, q canary.Query, requests string) (canary.Reading, error) {
	if ctx.Err() != nil {
		return canary.Reading{}, context.Cause(ctx)
	}
	if q.Step <= 0 || q.Step%time.Millisecond != 0 || !q.From.Before(q.To) {
		return canary.Reading{}, fmt.Errorf("asked for ticks of %s from %s to %s, want whole milliseconds and a range", q.Step, q.From, q.To)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.c.Timeout, errTooLong)
	defer cancel()
	b := s.begin(q)
	// The watermarks come first: all that was there before them is then in the counts.
	if err := b.watermarks(ctx); err != nil {
		return canary.Reading{}, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	b.series(ctx, g, s.c.Failing, s.mine, func(_ int, t *canary.Tick, n int64) { t.Failing = n })
	if requests != "" {
		b.series(ctx, g, requests, s.mine, func(_ int, t *canary.Tick, n int64) { t.Requests = n })
	}
	if b.arms {
		b.series(ctx, g, s.c.Failing, s.nobodys, func(_ int, t *canary.Tick, n int64) { t.Stray = n })
	}
	if b.arms && requests != "" {
		b.series(ctx, g, requests, s.nobodys, func(i int, _ *canary.Tick, n int64) { b.nobody[i] += n })
	}
	for name, lucene := range s.c.Good {
		b.series(ctx, g, lucene, s.mine, func(_ int, t *canary.Tick, n int64) {
			if t.Good == nil {
				t.Good = map[string]int64{}
			}
			t.Good[name] = n
		})
	}
	if q.Prints {
		b.prints(ctx, g)
	}
	if err := g.Wait(); err != nil {
		return canary.Reading{}, err
	}
	return b.reading(), nil
}

// batch is a Read at work.
type batch struct {
	*Source
	q        canary.Query
	from, to time.Time // whole ticks of step
	step     time.Duration

	arms bool // some hosts serve two releases at once

	mu     sync.Mutex
	hosts  []canary.HostReading
	ticks  []map[time.Time]*canary.Tick
	nobody []int64 // requests of which it is not known which of its two releases served them
}

func (s *Source) begin(q canary.Query) *batch {
	b := &batch{Source: s, q: q, step: q.Step}
	if b.step < s.c.Step {
		b.step = (s.c.Step + q.Step - 1) / q.Step * q.Step
	}
	b.to = floor(q.To, b.step)
	if b.from = floor(q.From, b.step); b.from.Before(q.From) {
		b.from = b.from.Add(b.step) // a tick that the range cuts cannot be told apart
	}
	fields := map[string]string{}
	for _, h := range q.Hosts {
		r := canary.HostReading{Host: h.Name}
		v := s.value(h.Machine())
		if other, taken := fields[v]; taken && other != h.Machine() {
			r.Problem, r.Cause = clean(fmt.Sprintf("its records cannot be told from those of %s: both are %q in field %s", other, v, s.c.Fields.Host)), canary.Contradict
		}
		fields[v] = h.Machine()
		if h.On != "" && s.c.Fields.Release == "" {
			r.Problem, r.Cause = "OpenSearch cannot tell two releases of one host apart: name field release", canary.SourceDown
		}
		b.arms = b.arms || h.On != "" && s.c.Fields.Release != ""
		b.hosts, b.nobody = append(b.hosts, r), append(b.nobody, 0)
		b.ticks = append(b.ticks, map[time.Time]*canary.Tick{})
	}
	return b
}

func floor(at time.Time, step time.Duration) time.Time {
	ms, d := at.UnixMilli(), step.Milliseconds()
	return time.UnixMilli(ms - (ms%d+d)%d).UTC()
}

// chunks are the indexes [lo, hi) of hosts that go into one search of so many buckets a host.
func (b *batch) chunks(buckets int, do func(lo, hi int)) {
	n := max(1, min(100, b.size/max(1, buckets)))
	for lo := 0; lo < len(b.q.Hosts); lo += n {
		do(lo, min(lo+n, len(b.q.Hosts)))
	}
}

// wrong notes why the counts of host i must not be used. The first reason stands.
func (b *batch) wrong(i int, cause canary.Cause, format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hosts[i].Problem == "" {
		b.hosts[i].Problem, b.hosts[i].Cause = clean(fmt.Sprintf(format, args...)), cause
	}
}

// past is how far back a heartbeat is looked for: a host that has been silent for longer is as good as unknown.
const past = time.Hour

func (b *batch) watermarks(ctx context.Context) error {
	var errs []error
	b.chunks(2, func(lo, hi int) { errs = append(errs, b.watermark(ctx, lo, hi)) })
	return errors.Join(errs...)
}

func (b *batch) watermark(ctx context.Context, lo, hi int) error {
	from := earliest(b.q.From, b.q.Now.Add(-past))
	for _, h := range b.q.Hosts[lo:hi] {
		if !h.Since.IsZero() && h.Nonce != "" { // where the nonce was written, a clock's error away
			from = earliest(from, h.Since.Add(-time.Minute))
		}
	}
	a, err := b.ask(ctx, b.beats(b.q.Hosts[lo:hi], from))
	if err != nil {
		return err
	}
	hosts, err := a.hosts(hi - lo)
	if err != nil {
		return fmt.Errorf("search %s: %w", b.place(), err)
	}
	nonces, err := exactly(a.Aggregations.Nonces, hi-lo)
	if err != nil {
		return fmt.Errorf("search %s: %w", b.place(), err)
	}
	for i, h := range hosts {
		at, err := h.newest()
		r := &b.hosts[lo+i]
		switch {
		case err != nil:
			b.wrong(lo+i, canary.Contradict, "%v", err)
		case at.IsZero():
			b.wrong(lo+i, canary.Late, "no heartbeat of it has arrived in %s since %s", b.c.Index, from.UTC().Format(time.RFC3339))
		case at.Sub(b.q.Now) > b.c.MaxSkew:
			b.wrong(lo+i, canary.Skewed, "a heartbeat of it is %s in the future: its clock is ahead", at.Sub(b.q.Now).Round(time.Second))
		default:
			r.Through = at.Add(-b.c.Settle)
		}
		r.Nonce = b.q.Hosts[lo+i].Nonce != "" && *nonces[i].Count > 0
	}
	return nil
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// series counts the requests that lucene finds, into the ticks of each host.
func (b *batch) series(ctx context.Context, g *errgroup.Group, lucene string, of func(canary.Host) object, put func(int, *canary.Tick, int64)) {
	if !b.from.Before(b.to) {
		return
	}
	b.chunks(int(b.to.Sub(b.from)/b.step)+1, func(lo, hi int) {
		g.Go(func() error {
			a, err := b.ask(ctx, b.counts(lucene, b.q.Hosts[lo:hi], of, b.from, b.to, b.step))
			if err != nil {
				return err
			}
			hosts, err := a.hosts(hi - lo)
			if err != nil {
				return fmt.Errorf("search %s: %w", b.place(), err)
			}
			for i, h := range hosts {
				ticks, err := h.ticks(question{b.from, b.to, b.step, b.c.Fields.Request != "", int64(b.c.Precision)})
				if err == nil && *h.Count > *a.Hits.Total.Value {
					err = contradicts("%d records of one host, %d of all", *h.Count, *a.Hits.Total.Value)
				}
				if err != nil {
					b.wrong(lo+i, canary.Contradict, "%v", err)
					continue
				}
				b.add(lo+i, ticks, put)
			}
			return nil
		})
	})
}

func (b *batch) add(i int, ticks []canary.Tick, put func(int, *canary.Tick, int64)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range ticks {
		if b.ticks[i][t.At] == nil {
			b.ticks[i][t.At] = &canary.Tick{At: t.At}
		}
		put(i, b.ticks[i][t.At], t.Requests)
	}
}

// nameless refuses a host with two releases whose requests do not say which of them served them.
func (b *batch) nameless(i int) {
	const few, share = 3, 100
	all := b.nobody[i]
	for _, t := range b.ticks[i] {
		all += t.Requests
	}
	if n := b.nobody[i]; n >= few && n*share > all {
		b.wrong(i, canary.SourceDown, "%d of %d requests have no field %s: they may be of either of its two releases", n, all, b.c.Fields.Release)
	}
}

// reading is what was learned. A host with a problem gets no counts, lest somebody use them.
func (b *batch) reading() canary.Reading {
	r := canary.Reading{Hosts: b.hosts, Step: b.step}
	for i := range r.Hosts {
		h := &r.Hosts[i]
		b.nameless(i)
		if h.Problem != "" {
			h.Through, h.Prints = time.Time{}, nil
			continue
		}
		for _, t := range b.ticks[i] {
			h.Ticks = append(h.Ticks, *t)
		}
		slices.SortFunc(h.Ticks, func(x, y canary.Tick) int { return x.At.Compare(y.At) })
	}
	return r
}
