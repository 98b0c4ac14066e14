package logs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"scap/canary"
)

// Gate rules by the canaries' own logs. It passes only when every canary's nonce was read back, at least MinRequests
// users' requests were served by the new runtimes, the window has been open for Dwell, and few enough of them failed.
//
// It fails when at least MinFailing distinct requests and more than Rate of all failed; or, for the traffic of a large
// site, when more than Threshold failed and these are more than a tenth of Rate, so that the background of errors that
// every large wiki has does not add up to a failure. When hosts that still run the old release were read as well, neither
// counts unless the canaries fail three times as often: else it holds, and says that it is not this release.
//
// The zero value of each limit is the default named at it.
type Gate struct {
	Reader Reader
	Hosts  []string // asked by Ready; the canaries and controls to be

	Threshold   int64         // distinct failing requests; 10
	Rate        float64       // of all requests; 0.01
	MinFailing  int64         // below it no rate means anything; 3
	MinRequests int64         // 100
	Dwell       time.Duration // since the last canary was proven; 30 s
	Controls    int           // hosts of the old release to read; 4, below zero none
	AskLimit    time.Duration // for one host; 20 s
}

var _ canary.Gate = (*Gate)(nil)

const (
	maxAsked   = 16 // hosts asked at once
	background = 10 // what Rate is divided by for the rule of Threshold
	worse      = 3  // times as often as the control
)

// limits returns g with its defaults filled in.
func (g *Gate) limits() Gate {
	l := *g
	def(&l.Threshold, 10)
	def(&l.Rate, 0.01)
	def(&l.MinFailing, 3)
	def(&l.MinRequests, 100)
	def(&l.Dwell, 30*time.Second)
	def(&l.Controls, 4)
	def(&l.AskLimit, 20*time.Second)
	return l
}

func def[T int | int64 | float64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Ready asks every host whether its logs can be read.
func (g *Gate) Ready(ctx context.Context) error {
	l := g.limits()
	if l.Reader == nil {
		return errors.New("logs: nobody reads them")
	}
	if l.Rate < 0 || l.Rate >= 1 || l.Threshold < 0 || l.MinRequests < 0 || l.MinFailing < 0 {
		return fmt.Errorf("logs: limits make no sense: threshold %d, rate %g, requests %d", l.Threshold, l.Rate, l.MinRequests)
	}
	q := make([]question, 0, len(l.Hosts))
	for _, h := range l.Hosts {
		q = append(q, question{host: h, q: Query{Since: time.Now()}})
	}
	var errs []error
	for _, a := range l.ask(ctx, q) {
		switch {
		case a.err != nil:
			errs = append(errs, fmt.Errorf("logs of %s: %w", a.host, a.err))
		case len(a.page.Problems) > 0:
			errs = append(errs, fmt.Errorf("logs of %s: %s", a.host, strings.Join(a.page.Problems, "; ")))
		}
	}
	return errors.Join(errs...)
}

type question struct {
	host string
	q    Query
}

type answer struct {
	host string
	page Page
	err  error
}

// ask asks all hosts, some at once, and returns their answers in order.
func (g *Gate) ask(ctx context.Context, qs []question) []answer {
	out := make([]answer, len(qs))
	slots := make(chan struct{}, maxAsked)
	var wg sync.WaitGroup
	for i, q := range qs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, g.AskLimit)
			defer cancel()
			p, err := g.Reader.Read(ctx, q.host, q.q)
			out[i] = answer{q.host, p, err}
		})
	}
	wg.Wait()
	return out
}

// evidence is kept between looks: the most that was ever seen, so that a log which vanishes takes no failure with it.
type evidence struct {
	Release string    `json:"release"`
	Opened  time.Time `json:"opened"`
	Looks   int       `json:"looks"`
	Failing int64     `json:"failing"`
	// Requests is of the look that Failing is from.
	Requests int64 `json:"requests"`
}

// Judge asks every canary, and some controls, for their totals.
func (g *Gate) Judge(ctx context.Context, w canary.Window, prior canary.Evidence) (canary.Ruling, error) {
	l := g.limits()
	if l.Reader == nil {
		return canary.Ruling{}, errors.New("logs: nobody reads them")
	}
	qs := make([]question, 0, len(w.Canary)+len(w.Control))
	for _, h := range w.Canary {
		qs = append(qs, question{h.Name, Query{Since: h.Since, Release: h.Release, Nonce: h.Nonce}})
	}
	for i, h := range w.Control {
		if i < l.Controls && !w.Opened.IsZero() {
			qs = append(qs, question{h.Name, Query{Since: w.Opened, Release: h.Release}})
		}
	}
	answers := l.ask(ctx, qs)
	s := l.sum(w, answers)
	e := s.carry(w, prior)
	v, why := l.rule(w, s)
	compared := s.Control.Hosts > 0 || len(qs) == len(w.Canary)
	if ctx.Err() != nil && (v != canary.Fail || !compared) { // failures that were read stand, though a host hung
		return canary.Ruling{}, context.Cause(ctx)
	}
	r := canary.Ruling{Verdict: v, Reason: why}
	var err1, err2 error
	r.Numbers, err1 = json.Marshal(s)
	r.Evidence, err2 = json.Marshal(e)
	if err := errors.Join(err1, err2); err != nil {
		return canary.Ruling{}, fmt.Errorf("write down the counts: %w", err)
	}
	return r, nil
}

// sums are the figures of one look.
type sums struct {
	Hosts    int           `json:"hosts"`
	Requests int64         `json:"requests"`
	Vouched  int64         `json:"vouched"`
	Failing  int64         `json:"failing"`
	Top      []Fingerprint `json:"top,omitempty"`
	// Control is zero when no control host was read.
	Control struct {
		Hosts    int   `json:"hosts"`
		Requests int64 `json:"requests"`
		Failing  int64 `json:"failing"`
	} `json:"control"`
	// Missing says what keeps the evidence from being complete.
	Missing []string `json:"missing,omitempty"`
}

func (g *Gate) sum(w canary.Window, answers []answer) *sums {
	s := &sums{Hosts: len(w.Canary)}
	for i, a := range answers {
		p := a.page
		if i >= len(w.Canary) {
			if a.err == nil && len(p.Problems) == 0 && p.Behind == 0 {
				s.Control.Hosts++
				s.Control.Requests += p.Requests
				s.Control.Failing += p.Failing
			}
			continue
		}
		if a.err != nil {
			s.Missing = append(s.Missing, fmt.Sprintf("could not read the logs of %s: %v", a.host, a.err))
			continue
		}
		s.Requests += p.Requests
		s.Vouched += p.Vouched
		s.Failing += p.Failing
		s.Top = merge(s.Top, p.Top)
		s.Missing = append(s.Missing, lacks(w, w.Canary[i], p)...)
	}
	rank(s.Top)
	s.Top = s.Top[:min(len(s.Top), maxTop)]
	return s
}

// lacks says what a canary's page does not prove.
func lacks(w canary.Window, h canary.Host, p Page) []string {
	var list []string
	switch {
	case h.Nonce == "":
		list = append(list, fmt.Sprintf("%s has no nonce to read back", h.Name))
	case !p.Nonce:
		age := w.Now.Sub(w.Opened).Round(time.Second)
		list = append(list, fmt.Sprintf("nonce not read back on %s after %s: is its log shipped?", h.Name, age))
	}
	if p.Behind > 0 {
		list = append(list, fmt.Sprintf("%d bytes of the logs of %s are still to be read", p.Behind, h.Name))
	}
	for _, problem := range p.Problems {
		list = append(list, h.Name+": "+problem)
	}
	if p.Lines == 0 {
		list = append(list, fmt.Sprintf("no line in the access log of %s since it was proven", h.Name))
	}
	return list
}

func merge(a, b []Fingerprint) []Fingerprint {
	for _, f := range b {
		if i := slices.IndexFunc(a, func(x Fingerprint) bool { return x.Text == f.Text }); i >= 0 {
			a[i].Count += f.Count
		} else {
			a = append(a, f)
		}
	}
	return a
}

// carry puts the worst look of this window into s and returns the evidence for the next one. Evidence of another window
// is none.
func (s *sums) carry(w canary.Window, prior canary.Evidence) evidence {
	var e evidence
	if json.Unmarshal(prior, &e) != nil || e.Release != w.Release || !e.Opened.Equal(w.Opened) {
		e = evidence{Release: w.Release, Opened: w.Opened}
	}
	e.Looks++
	if s.Failing >= e.Failing {
		e.Failing, e.Requests = s.Failing, s.Requests
	} else {
		s.Missing = append(s.Missing, fmt.Sprintf("%d failing requests were seen before, %d now: was a log removed?", e.Failing, s.Failing))
		s.Failing, s.Requests = e.Failing, max(s.Requests, e.Requests)
	}
	return e
}
