// Package prom reads requests and failures by host and tick from Prometheus. It asks for the raw samples of counters and
// does the arithmetic itself, because what PromQL's increase() gives is an estimate that misses what a gate must not miss.
//
// What increase() misses: what happened between the last sample of one window and the first of the next, and all that a
// counter says at its first sample, so the first failures of a host whose counter of failures is born with them. Its
// results are extrapolated and fractional, and an instant query takes a sample that is five minutes old for news. Raw
// samples have times of their own, so an old one is old, and the sum of their differences is exact.
//
// Two releases that one host serves at once are told apart by Config.ReleaseLabel alone. Without it both are a problem, and so they
// are when series without that label go on counting: whose these requests are nobody knows.
//
// What is between two samples is placed evenly between them, in whole requests: a tick's border may displace an event
// by less than the scrape interval, and no event is lost or counted twice. A counter that falls has begun anew at 0, as
// in PromQL. What a process counted between its last scrape and its end is known to nobody.
package prom

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"scap/canary"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
)

const (
	// memory is how far back a series is looked for before its sample counts as its first.
	memory = 3 * time.Minute
	// maxRange is the longest range that one Read answers.
	maxRange = 24 * time.Hour
	// maxHosts is how many hosts one Read answers.
	maxHosts = 5000
	// ahead is how far the newest sample may be ahead of the asker's clock.
	ahead = 10 * time.Second
)

// Source is a Prometheus as a canary.Source. It knows no fingerprints. It may be used by several goroutines at once.
type Source struct {
	c      Config
	web    *http.Client
	api    v1.API
	host   hostTemplate
	counts []counter // requests first, then failing, then the signals by name
	alive  *selector // Config.Heartbeat
	nonce  *selector // Config.Nonce
}

// counter is one selector whose series are counted.
type counter struct {
	what string // for errors: the key of the configuration
	good string // the signal, when it is one
	sel  selector
}

var _ canary.Source = (*Source)(nil)

// New checks the configuration, reads its files and makes a Source. It asks nothing yet.
func New(c Config) (*Source, error) {
	s := &Source{c: c.withDefaults()}
	if err := s.c.check(); err != nil {
		return nil, err
	}
	if err := s.parse(); err != nil {
		return nil, err
	}
	var err error
	if s.web, s.api, err = dial(s.c); err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends connections that are kept for later. The Source can still be used.
func (s *Source) Close() { s.web.CloseIdleConnections() }

// Read answers q. An error is one of the whole: no answer, or one that is not complete.
func (s *Source) Read(ctx context.Context, q canary.Query) (canary.Reading, error) {
	w, err := s.window(q)
	if err != nil {
		return canary.Reading{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.c.Timeout, fmt.Errorf("no answer from %s within %s", s.c.URL, s.c.Timeout))
	defer cancel()
	labels, refused := s.labels(q.Hosts)
	heard, err := s.ask(ctx, w, labels)
	if err != nil {
		return canary.Reading{}, err
	}
	r := canary.Reading{Step: w.step, Hosts: make([]canary.HostReading, len(q.Hosts))}
	for i, h := range q.Hosts {
		r.Hosts[i] = canary.HostReading{Host: h.Name}
		if refused[i] != "" {
			r.Hosts[i].Problem, r.Hosts[i].Cause = refused[i], canary.SourceDown
			continue
		}
		s.read(&r.Hosts[i], h, heard[labels[i]], w)
	}
	return r, nil
}

// window is a question in the terms of a Prometheus, whose samples have times in milliseconds.
type window struct {
	from, to   int64 // the ticks asked for lie in [from, to)
	begin, end int64 // samples are wanted in (begin, end]
	now        int64 // 0: not known
	step       time.Duration
	gap        int64 // two samples that are farther apart leave a hole
}

func (s *Source) window(q canary.Query) (window, error) {
	switch {
	case q.Step <= 0 || q.Step%time.Millisecond != 0:
		return window{}, fmt.Errorf("read Prometheus by ticks of %s: want whole milliseconds", q.Step)
	case q.To.Before(q.From) || q.To.Sub(q.From) > maxRange:
		return window{}, fmt.Errorf("read Prometheus from %s to %s: at most %s can be asked for at once", q.From, q.To, maxRange)
	case q.From.UnixMilli() < 0 || q.To.Year() > 9999:
		return window{}, errors.New("read Prometheus: the range is outside of the years 1970 to 9999")
	case len(q.Hosts) > maxHosts:
		return window{}, fmt.Errorf("read Prometheus for %d hosts: at most %d can be asked for at once", len(q.Hosts), maxHosts)
	}
	w := window{from: q.From.UnixMilli(), to: q.To.UnixMilli()}
	w.step = (s.c.Step + q.Step - 1) / q.Step * q.Step
	w.gap = (2 * s.c.Step).Milliseconds()
	back := max(memory.Milliseconds(), w.gap)
	w.begin, w.end = w.from-2*back-1, w.to+back
	if !q.Now.IsZero() {
		w.now = q.Now.UnixMilli()
	}
	return w, nil
}

// labels gives each host the value of its label, or the reason why it has none.
func (s *Source) labels(hosts []canary.Host) (labels, refused []string) {
	const mixed = "Prometheus cannot tell two releases of one host apart: name release_label"
	labels, refused = make([]string, len(hosts)), make([]string, len(hosts))
	owners := map[string]string{}
	clash := map[string]string{} // who else claims a label
	for i, h := range hosts {
		label, err := s.host.of(h.Machine())
		if err != nil {
			refused[i] = err.Error()
			continue
		}
		labels[i] = label
		if h.On != "" && s.c.ReleaseLabel == "" {
			refused[i] = mixed
		}
		if o, taken := owners[label]; taken && o != h.Machine() {
			clash[label] = fmt.Sprintf("%s and %s would both be %s=%q: set host so that they differ", clean(o), clean(h.Machine()), s.c.HostLabel, clean(label))
		}
		owners[label] = h.Machine()
	}
	for i, label := range labels { // of those that are refused one asks in vain, which does no harm
		if refused[i] == "" && clash[label] != "" {
			refused[i] = clash[label]
		}
	}
	return labels, refused
}
