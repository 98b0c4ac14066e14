package logs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"scap/canary"
)

// Source counts by the logs of the hosts themselves, read through their agents.
type Source struct {
	Reader   Reader
	AskLimit time.Duration // for one host's answer; 20 s
	Width    int           // hosts asked at once; 40
	// Clock is what Query.Now is by, for the time that a host waits for its turn; nil: the machine's. Who asks in another time
	// than the machine's must set it.
	Clock func() time.Time
}

var _ canary.Source = (*Source)(nil)

// maxSaid bounds the words of one host's problems, in bytes.
const maxSaid = 800

// Read asks every host of q. One that does not answer has a Problem; the others' answers stand.
func (s *Source) Read(ctx context.Context, q canary.Query) (canary.Reading, error) {
	if s.Reader == nil {
		return canary.Reading{}, errors.New("logs: nobody reads them")
	}
	if err := ctx.Err(); err != nil {
		return canary.Reading{}, context.Cause(ctx)
	}
	if err := (Query{From: q.From, To: q.To, Step: q.Step}).check(); err != nil {
		return canary.Reading{}, err
	}
	limit, width := s.AskLimit, s.Width
	if limit <= 0 {
		limit = 20 * time.Second
	}
	if width <= 0 {
		width = 40
	}
	r := canary.Reading{Step: q.Step, Hosts: make([]canary.HostReading, len(q.Hosts))}
	clock := s.Clock
	if clock == nil {
		clock = time.Now
	}
	begun := clock()
	slots := make(chan struct{}, width)
	var wg sync.WaitGroup
	for i, h := range q.Hosts {
		r.Hosts[i] = canary.HostReading{Host: h.Name}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			r.Hosts[i].Problem, r.Hosts[i].Cause = "was not asked: "+clean(context.Cause(ctx).Error(), maxProblem), canary.SourceDown
			continue
		}
		wg.Go(func() {
			defer func() { <-slots }()
			ask := Query{
				Since: h.Since, Release: h.Release, Nonce: h.Nonce, Arm: armOf(h), Beside: h.Beside,
				From: q.From, To: q.To, Step: q.Step, Prints: q.Prints, Now: q.Now,
			}
			if !q.Now.IsZero() {
				ask.Now = q.Now.Add(clock().Sub(begun)) // the host compares its clock with the time at which it is asked
			}
			r.Hosts[i] = s.host(ctx, limit, h.Machine(), ask)
			r.Hosts[i].Host = h.Name
		})
	}
	wg.Wait()
	if ctx.Err() != nil && !answered(r) {
		return canary.Reading{}, context.Cause(ctx)
	}
	return r, nil
}

// armOf is the side of its machine that a host of a question is.
func armOf(h canary.Host) Arm {
	switch {
	case h.On == "":
		return ""
	case h.Trial:
		return Trial
	}
	return Main
}

// host asks one host.
func (s *Source) host(ctx context.Context, limit time.Duration, name string, q Query) canary.HostReading {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", limit))
	defer cancel()
	p, err := s.Reader.Read(ctx, name, q)
	h := canary.HostReading{Host: name}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.DeadlineExceeded) {
			err = cause
		}
		h.Problem, h.Cause = clean("its logs could not be read: "+err.Error(), maxSaid), canary.SourceDown
		return h
	}
	if p.Arm != q.Arm {
		h.Problem, h.Cause = "its agent cannot tell two releases of one host apart: let this version of scap install its own", canary.SourceDown
		return h
	}
	h.Through, h.Nonce, h.Skew, h.Workers = p.Through, p.Nonce, p.Skew, max(0, p.Workers)
	h.Note = clean(p.Note, maxProblem)
	h.Ticks, err = ticksOf(q, p)
	h.Prints = printsOf(p)
	if h.Cause = p.Cause; h.Cause == "" && len(p.Problems) > 0 {
		h.Cause = canary.SourceDown
	}
	h.Problem, h.Lost = clean(strings.Join(p.Problems, "; "), maxSaid), p.Lost
	if h.Problem == "" {
		h.Cause = ""
	}
	switch {
	case err != nil:
		h.Problem, h.Cause, h.Lost = clean(err.Error(), maxSaid), canary.SourceDown, time.Time{}
	case p.Skew.Abs() > skewMost:
		h.Problem, h.Cause = fmt.Sprintf("clock of %s is %s: set it", clean(name, maxClass), wrong(p.Skew)), canary.Skewed
		h.Lost = time.Time{}
	}
	return h
}

// ticksOf refuses what no host may answer: a host that is broken, or another's, must not count for much.
func ticksOf(q Query, p Page) ([]canary.Tick, error) {
	last := q.From.Add(-q.Step)
	for _, t := range p.Ticks {
		if !t.At.After(last) || t.At.Add(q.Step).After(q.To) || t.At.UnixNano()%int64(q.Step) != 0 || t.Requests < 0 || t.Failing < 0 || t.Stray < 0 {
			return nil, fmt.Errorf("its agent answered a tick of %s that was not asked for", stamp(t.At))
		}
		last = t.At
	}
	return p.Ticks, nil
}

// printsOf cleans and bounds the fingerprints once more: an agent is not trusted with a terminal.
func printsOf(p Page) []canary.Print {
	list := make([]canary.Print, 0, min(len(p.Prints), pagePrints))
	seen := map[string]bool{}
	for _, f := range p.Prints[:min(len(p.Prints), pagePrints)] {
		const most = maxClass + maxFile + maxMessage + 64
		f.Text, f.File, f.ID = clean(f.Text, most), clean(f.File, maxFile), clip(f.ID)
		if f.Text != "" && f.Count > 0 && !seen[f.Text] {
			seen[f.Text] = true
			list = append(list, f)
		}
	}
	return list
}

// answered reports whether anything was learned of any host.
func answered(r canary.Reading) bool {
	for _, h := range r.Hosts {
		if h.Problem == "" || !h.Through.IsZero() {
			return true
		}
	}
	return false
}
