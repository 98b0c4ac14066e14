package canary

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Joined is a Source made of two: all requests from Exposure, those that failed with their fingerprints from Failures. A host is
// known as far as both know it, and not at all when either has a problem with it: where a machine serves two releases both must be
// able to tell them apart. Stray is of Failures.
type Joined struct {
	Exposure Source // Requests and Good
	Failures Source // Failing, Prints, and Good of signals that Exposure does not count; its Nonce is the host's, for it is failures that must not be lost
}

var _ Source = Joined{}

// Read asks both at once. When one cannot see as finely as the other, that one is asked again for coarser ticks.
func (j Joined) Read(ctx context.Context, q Query) (Reading, error) {
	e, f, err := j.both(ctx, q)
	if err == nil && e.Step != f.Step {
		q.Step = max(e.Step, f.Step)
		e, f, err = j.both(ctx, q)
	}
	switch {
	case err != nil:
		return Reading{}, err
	case e.Step != f.Step:
		return Reading{}, fmt.Errorf("requests come in ticks of %s, failures in ticks of %s, which do not fit", e.Step, f.Step)
	case len(e.Hosts) != len(q.Hosts) || len(f.Hosts) != len(q.Hosts):
		return Reading{}, fmt.Errorf("asked for %d hosts, requests are of %d and failures of %d", len(q.Hosts), len(e.Hosts), len(f.Hosts))
	}
	r := Reading{Step: e.Step}
	for i := range q.Hosts {
		r.Hosts = append(r.Hosts, joinHosts(e.Hosts[i], f.Hosts[i], e.Step))
	}
	return r, nil
}

func (j Joined) both(ctx context.Context, q Query) (e, f Reading, err error) {
	if ctx.Err() != nil {
		return e, f, context.Cause(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	end := func(what string, err error) {
		if err != nil {
			cancel(fmt.Errorf("%s: %w", what, err)) // the first error ends both: nothing can come of the other half
		}
	}
	wg.Go(func() {
		of := q
		of.Prints = false
		var err error
		e, err = j.Exposure.Read(ctx, of)
		end("requests", err)
	})
	wg.Go(func() {
		var err error
		f, err = j.Failures.Read(ctx, q)
		end("failures", err)
	})
	wg.Wait()
	return e, f, context.Cause(ctx)
}

func joinHosts(e, f HostReading, step time.Duration) HostReading {
	r := HostReading{Host: e.Host, Workers: max(e.Workers, f.Workers), Through: e.Through, Prints: f.Prints, Nonce: f.Nonce, Skew: e.Skew, Note: e.Note}
	if f.Through.Before(r.Through) {
		r.Through = f.Through
	}
	if r.Note == "" {
		r.Note = f.Note
	}
	if f.Skew.Abs() > r.Skew.Abs() {
		r.Skew = f.Skew
	}
	var problems []string
	wait := false // for what one of them may still learn
	for _, h := range []struct {
		of string
		HostReading
	}{{"requests", e}, {"failures", f}} {
		if h.Problem != "" {
			problems = append(problems, h.of+": "+h.Problem)
			if r.Cause == "" {
				r.Cause = h.Cause
			}
			wait = wait || h.Lost.IsZero()
			if h.Lost.After(r.Lost) {
				r.Lost = h.Lost
			}
		}
	}
	r.Problem = strings.Join(problems, "; ")
	if wait {
		r.Lost = time.Time{}
	}
	r.Ticks = joinTicks(e.Ticks, f.Ticks)
	if n, x := closed(r, step); r.Problem == "" && n == 0 && x > 0 {
		r.Problem, r.Cause = fmt.Sprintf("%d requests failed on it, but it is said to have served none", x), Contradict
	}
	return r
}

// joinTicks lists every tick that either knows of.
func joinTicks(e, f []Tick) []Tick {
	at := map[time.Time]*Tick{}
	var order []time.Time
	get := func(t time.Time) *Tick {
		t = t.UTC()
		if at[t] == nil {
			at[t] = &Tick{At: t}
			order = append(order, t)
		}
		return at[t]
	}
	good := func(k *Tick, from map[string]int64) {
		for name, n := range from {
			if k.Good == nil {
				k.Good = map[string]int64{}
			}
			k.Good[name] = max(k.Good[name], n) // one success that both know of is one
		}
	}
	for _, t := range e {
		k := get(t.At)
		k.Requests += t.Requests
		good(k, t.Good)
	}
	for _, t := range f {
		k := get(t.At)
		k.Failing += t.Failing
		k.Stray += t.Stray
		good(k, t.Good)
	}
	slices.SortFunc(order, time.Time.Compare)
	ticks := make([]Tick, 0, len(order))
	for _, t := range order {
		ticks = append(ticks, *at[t])
	}
	return ticks
}

// closed adds up what is known for good.
func closed(h HostReading, step time.Duration) (n, x int64) {
	for _, t := range h.Ticks {
		if !t.At.Add(step).After(h.Through) {
			n, x = n+t.Requests, x+t.Failing
		}
	}
	return n, x
}
