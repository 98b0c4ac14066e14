package prom

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"scap/canary"
)

// read makes one host's reading of what was heard of it.
func (s *Source) read(r *canary.HostReading, h canary.Host, all *heard, w window) {
	since := never
	if !h.Since.IsZero() {
		since = h.Since.Add(time.Millisecond - time.Nanosecond).UnixMilli() // rounded up
	}
	if bad := broken(all); bad != "" {
		r.Problem, r.Cause = bad, canary.Contradict
		return
	}
	ts := targets(all.counts[0], all.alive)
	through, problem, cause := s.through(h, all, ts, w)
	if problem != "" {
		r.Problem, r.Cause = problem, cause
		return
	}
	if w.now != 0 && through > w.now+ahead.Milliseconds() {
		r.Problem, r.Cause = fmt.Sprintf("its newest sample is %s ahead of the time here", time.Duration(through-w.now)*time.Millisecond), canary.Skewed
		return
	}
	if holes(r, ts, w, since) {
		return
	}
	if bad := s.nameless(h, all, w); bad != "" {
		r.Problem, r.Cause = bad, canary.SourceDown
		return
	}
	pieces, problem, over := s.pieces(h, all, ts, since, w)
	if problem != "" {
		if r.Problem, r.Cause = problem, canary.Contradict; over > 0 {
			r.Lost = time.UnixMilli(over).UTC()
		}
		return
	}
	r.Through = time.UnixMilli(through - s.c.Settle.Milliseconds()).UTC()
	r.Ticks = s.ticks(pieces, w, r.Through.UnixMilli())
	r.Nonce = h.Nonce != "" && s.proven(h, all, since)
}

// holes says what will never be known of the window, and until when.
func holes(r *canary.HostReading, ts map[string]*target, w window, since int64) bool {
	last := never
	for _, name := range slices.Sorted(maps.Keys(ts)) {
		problem, over := ts[name].hole(w, since)
		if problem != "" && r.Problem == "" {
			r.Problem, r.Cause = problem, canary.Late
		}
		last = max(last, over)
	}
	if r.Problem != "" {
		r.Lost = time.UnixMilli(last).UTC()
	}
	return r.Problem != ""
}

// broken names a series that cannot be counted.
func broken(all *heard) string {
	for _, list := range all.counts {
		for _, x := range list {
			if x.bad != "" {
				return x.bad
			}
		}
	}
	return ""
}

// mine says whether a series counts for the host's release.
func (s *Source) mine(h canary.Host, x series) bool {
	return s.c.ReleaseLabel == "" || h.Release == "" || x.release == h.Release
}

// nameless names a series that counts what one of a host's two releases served without saying which.
func (s *Source) nameless(h canary.Host, all *heard, w window) string {
	for kind, list := range all.counts {
		for _, x := range list {
			if h.On == "" || x.release != "" {
				continue
			}
			for i, p := range x.samples {
				if was := int64(0); p.at > w.from {
					if i > 0 {
						was = x.samples[i-1].v
					}
					if p.v != was {
						return fmt.Sprintf("%s: Prometheus has counts of it without label %s, which may be of either of its two releases", s.counts[kind].what, s.c.ReleaseLabel)
					}
				}
			}
		}
	}
	return ""
}

// through is the time of the newest scrape that all targets of the host had, and that still had its requests.
func (s *Source) through(h canary.Host, all *heard, ts map[string]*target, w window) (at int64, problem string, cause canary.Cause) {
	newest := never
	for _, x := range all.counts[0] {
		if s.mine(h, x) && len(x.samples) > 0 {
			newest = max(newest, x.samples[len(x.samples)-1].at)
		}
	}
	switch scraped := lastOf(ts); {
	case newest == never && len(all.counts[0]) == 0:
		return 0, fmt.Sprintf("Prometheus has no sample of requests to this host since %s: is it scraped, or late?", clock(w.begin)), canary.SourceDown
	case newest == never && !h.Since.IsZero() && scraped < h.Since.UnixMilli(): // how late it is says more than that
		return scraped, "", ""
	case newest == never:
		return 0, fmt.Sprintf("Prometheus has no sample of requests that release %s served on it: is it in the pool?", clean(h.Release)), canary.NoTraffic
	}
	return min(newest, lastOf(ts)), "", ""
}

// lastOf is the newest scrape that all targets had.
func lastOf(ts map[string]*target) int64 {
	last := int64(math.MaxInt64)
	for _, t := range ts {
		last = min(last, t.scrapes[len(t.scrapes)-1])
	}
	return last
}

// pieces is all that the host's counters grew by. A problem is over at a time, after which there is none; 0: it goes on.
func (s *Source) pieces(h canary.Host, all *heard, ts map[string]*target, since int64, w window) (pieces []piece, problem string, over int64) {
	for kind, list := range all.counts {
		for _, x := range list {
			if !s.mine(h, x) || len(x.samples) == 0 {
				continue
			}
			t := ts[x.target]
			if t == nil {
				return nil, fmt.Sprintf("%s comes from another target than its requests: name a heartbeat of both", s.counts[kind].what), 0
			}
			fresh := s.c.ReleaseLabel != "" && h.Release != "" && t.fresh(h.Release, since, w.gap)
			grown, said, at := t.grown(x, kind, since, fresh, w)
			if said != "" && at > over {
				problem, over = fmt.Sprintf("%s: %s", s.counts[kind].what, said), at
			}
			pieces = append(pieces, grown...)
		}
	}
	if problem == "" {
		return pieces, s.tooMany(pieces), 0
	}
	return nil, problem, over
}

// tooMany refuses a counter that appears with far more than what its host served meanwhile: it was not born then.
func (s *Source) tooMany(pieces []piece) string {
	for _, p := range pieces {
		if p.kind == 0 || !p.born || p.d <= 100 {
			continue
		}
		var n int64
		for _, o := range pieces {
			if o.kind == 0 && o.b > p.a && o.a < p.b {
				n += o.d
			}
		}
		if p.d > 2*n+100 {
			return fmt.Sprintf("%s: a counter appeared at %s with %d, when the host had served %d", s.counts[p.kind].what, clock(p.b), p.d, n)
		}
	}
	return ""
}

// proven says whether the host's runtime was heard of: by its nonce, or else by a sample of its release.
func (s *Source) proven(h canary.Host, all *heard, since int64) bool {
	young := func(x series) bool {
		return len(x.samples) > 0 && x.samples[len(x.samples)-1].at >= since
	}
	if s.nonce != nil {
		return slices.ContainsFunc(all.nonce, func(x series) bool { return x.nonce == h.Nonce && young(x) })
	}
	return s.c.ReleaseLabel != "" && h.Release != "" &&
		slices.ContainsFunc(all.counts[0], func(x series) bool { return x.release == h.Release && young(x) })
}
