package prom

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"scap/canary"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"
)

const (
	chunk    = 100 // hosts in one question
	parallel = 4   // questions at once
)

// sample is a counter's value at a time in milliseconds.
type sample struct{ at, v int64 }

// series is what one counter of one target said.
type series struct {
	host, release, target, nonce string
	samples                      []sample // in order
	bad                          string   // why they cannot be counted
}

// heard is all that was answered about one host.
type heard struct {
	counts [][]series // by the index of Source.counts
	alive  []series
	nonce  []series
}

// ask puts all questions. What says how far a host is known is asked before what is counted: a scrape that ends in between
// then adds to the counts of ticks that are not closed, and never closes ticks whose counts were read before it.
func (s *Source) ask(ctx context.Context, w window, labels []string) (map[string]*heard, error) {
	all := map[string]*heard{}
	var names []string
	for _, l := range labels {
		if l != "" && all[l] == nil {
			all[l] = &heard{counts: make([][]series, len(s.counts))}
			names = append(names, l)
		}
	}
	slices.Sort(names)
	first := []question{{s.counts[0].what, s.counts[0].sel, true, func(h *heard) *[]series { return &h.counts[0] }}}
	if s.alive != nil {
		first = append(first, question{"heartbeat", *s.alive, false, func(h *heard) *[]series { return &h.alive }})
	}
	if s.nonce != nil {
		first = append(first, question{"nonce", *s.nonce, false, func(h *heard) *[]series { return &h.nonce }})
	}
	var second []question
	for i, c := range s.counts[1:] {
		second = append(second, question{c.what, c.sel, true, func(h *heard) *[]series { return &h.counts[i+1] }})
	}
	for _, wave := range [][]question{first, second} {
		if err := s.put(ctx, w, wave, names, all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// question is one selector and where its answer belongs.
type question struct {
	what    string
	sel     selector
	counter bool
	into    func(*heard) *[]series
}

func (s *Source) put(ctx context.Context, w window, qs []question, names []string, all map[string]*heard) error {
	type reply struct {
		q    question
		list []series
	}
	var replies []*reply
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, q := range qs {
		for part := range slices.Chunk(names, chunk) {
			r := &reply{q: q}
			replies = append(replies, r)
			group.Go(func() (err error) {
				r.list, err = s.query(inner, w, q, part)
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("ask Prometheus at %s: %w", clean(s.c.URL), err)
	}
	for _, r := range replies {
		for _, x := range r.list {
			into := r.q.into(all[x.host])
			*into = append(*into, x)
		}
	}
	return nil
}

// query asks for the raw samples of one selector and some hosts.
func (s *Source) query(ctx context.Context, w window, q question, names []string) ([]series, error) {
	expr := q.sel.with(s.c.HostLabel, names, w.end-w.begin)
	value, warnings, infos, err := s.api.Query(ctx, expr, time.UnixMilli(w.end).UTC())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q.what, answerError(err))
	}
	if notes := append(warnings, infos...); len(notes) > 0 {
		return nil, fmt.Errorf("%s: the answer has reservations: %s", q.what, clean(notes[0]))
	}
	list, err := s.decode(value, w, q.counter, names)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q.what, err)
	}
	return list, nil
}

// answerError makes what the client says fit for people, and says what they can do.
func answerError(err error) error {
	var said *v1.Error
	switch {
	case errors.Is(err, errTooBig):
		return errTooBig
	case errors.As(err, &said) && said.Type == v1.ErrBadData:
		return fmt.Errorf("the question was refused: %s: look at the selector", clean(said.Msg))
	case errors.As(err, &said) && (said.Msg == "client error: 401" || said.Msg == "client error: 403"):
		return fmt.Errorf("%s: look at credentials_file", clean(said.Msg))
	case errors.As(err, &said):
		return fmt.Errorf("%s %s", clean(said.Error()), clean(said.Detail))
	}
	return errors.New(clean(err.Error()))
}

// decode reads an answer. An error means that it is none to this question; what is odd about one counter is said in series.bad.
func (s *Source) decode(value model.Value, w window, counter bool, names []string) ([]series, error) {
	matrix, ok := value.(model.Matrix)
	if !ok || matrix == nil {
		return nil, fmt.Errorf("the answer is no list of samples (%s)", kind(value))
	}
	list := make([]series, 0, len(matrix))
	seen := make(map[string]bool, len(matrix))
	for _, stream := range matrix {
		if stream == nil {
			return nil, errors.New("the answer has an empty place")
		}
		x := series{
			host: string(stream.Metric[model.LabelName(s.c.HostLabel)]), nonce: string(stream.Metric[model.LabelName(s.c.NonceLabel)]),
			target: string(stream.Metric[model.JobLabel]) + "\x00" + string(stream.Metric[model.InstanceLabel]),
		}
		if s.c.ReleaseLabel != "" {
			x.release = string(stream.Metric[model.LabelName(s.c.ReleaseLabel)])
		}
		if _, asked := slices.BinarySearch(names, x.host); !asked {
			return nil, fmt.Errorf("the answer has a series of %s=%q, which was not asked for", s.c.HostLabel, clean(x.host))
		}
		id := stream.Metric.String()
		if seen[id] {
			return nil, fmt.Errorf("the answer has %s twice", clean(id))
		}
		seen[id] = true
		var err error
		if x.samples, x.bad, err = samples(stream, w, counter); err != nil {
			return nil, fmt.Errorf("%s: %w", clean(id), err)
		}
		if x.bad != "" {
			x.bad = clean(id) + " " + x.bad
		}
		list = append(list, x)
	}
	return list, nil
}

func kind(v model.Value) string {
	if v == nil {
		return "nothing"
	}
	return clean(v.Type().String())
}

// samples turns a stream into counts. Of what is no counter only that it was there matters: its zeros and NaNs are left out.
func samples(stream *model.SampleStream, w window, counter bool) (list []sample, bad string, err error) {
	if len(stream.Histograms) > 0 {
		return nil, "is a histogram, not a counter", nil
	}
	list = make([]sample, 0, len(stream.Values))
	last := int64(math.MinInt64)
	for _, p := range stream.Values {
		at, v := int64(p.Timestamp), float64(p.Value)
		if at < w.begin || at > w.end {
			return nil, "", fmt.Errorf("a sample of time %d is outside of what was asked for", at)
		}
		if at <= last {
			return nil, "", errors.New("its samples are not in the order of time")
		}
		last = at
		if !counter {
			if v != 0 && !math.IsNaN(v) {
				list = append(list, sample{at, 1})
			}
			continue
		}
		if !(v >= 0 && v <= 1<<53) || v != math.Trunc(v) { // also NaN
			return nil, fmt.Sprintf("counts %g, which is no count", v), nil
		}
		list = append(list, sample{at, int64(v)})
	}
	return list, "", nil
}

// Ready says whether every selector of a counter has matched anything in the last week, on any host, so that a
// misspelt one is noticed: what matches nothing counts nothing for ever.
func (s *Source) Ready(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.c.Timeout, fmt.Errorf("no answer from %s within %s", s.c.URL, s.c.Timeout))
	defer cancel()
	var errs []error
	for _, c := range s.counts {
		sets, _, _, err := s.api.Series(ctx, []string{c.sel.narrow("")}, now.Add(-7*24*time.Hour), now, v1.WithLimit(1))
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("ask Prometheus at %s: %w", clean(s.c.URL), context.Cause(ctx))
		case errors.Is(err, errTooBig): // there is something
		case err != nil:
			errs = append(errs, fmt.Errorf("ask Prometheus at %s: %s: %w", clean(s.c.URL), c.what, answerError(err)))
		case len(sets) == 0:
			errs = append(errs, fmt.Errorf("prometheus: %s: no series has matched in the last week: look at the selector, or let the exporter begin the counter at 0", c.what))
		}
	}
	return errors.Join(errs...)
}

var _ interface {
	Read(context.Context, canary.Query) (canary.Reading, error)
	Ready(context.Context, time.Time) error
} = (*Source)(nil)
