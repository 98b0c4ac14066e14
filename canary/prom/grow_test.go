package prom

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/common/model"
	"pgregory.net/rapid"

	"scap/canary"
)

// t0 is a whole number of all steps used here.
var t0 = time.Date(2023, 1, 17, 20, 0, 0, 0, time.UTC)

// labelled is a series that a table writes as value by second after t0; -1 is none.
func labelled(metric, release string, every int, values ...float64) *model.SampleStream {
	s := &model.SampleStream{Metric: model.Metric{"__name__": model.LabelValue(metric), "job": "app", "instance": "mw1", "release": model.LabelValue(release)}}
	for i, v := range values {
		if v != -1 {
			s.Values = append(s.Values, model.SamplePair{Timestamp: model.TimeFromUnixNano(t0.Add(time.Duration(i*every) * time.Second).UnixNano()), Value: model.SampleValue(v)})
		}
	}
	return s
}

func source(t interface{ Fatal(...any) }, change func(*Config)) *Source {
	c := Config{URL: "http://127.0.0.1:1", Requests: "r", Failing: "f", Step: 10 * time.Second}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// answer is a reading of one host, from the streams of each kind.
func answer(s *Source, q canary.Query, requests, failing model.Matrix) (canary.HostReading, error) {
	w, err := s.window(q)
	if err != nil {
		return canary.HostReading{}, err
	}
	all := &heard{counts: make([][]series, len(s.counts))}
	for i, m := range []model.Matrix{requests, failing} {
		if m == nil {
			m = model.Matrix{}
		}
		in := model.Matrix{} // what a server would give
		for _, x := range m {
			y := &model.SampleStream{Metric: x.Metric, Histograms: x.Histograms}
			for _, p := range x.Values {
				if int64(p.Timestamp) >= w.begin && int64(p.Timestamp) <= w.end {
					y.Values = append(y.Values, p)
				}
			}
			if len(y.Values)+len(y.Histograms) > 0 {
				in = append(in, y)
			}
		}
		if all.counts[i], err = s.decode(in, w, true, []string{"mw1"}); err != nil {
			return canary.HostReading{}, err
		}
	}
	r := canary.HostReading{Host: "mw1"}
	s.read(&r, q.Hosts[0], all, w)
	return r, nil
}

func at(sec int) time.Time { return t0.Add(time.Duration(sec) * time.Second) }

// TestGrowth is the arithmetic of counters, with scrapes every 5 s and ticks of 10 s.
func TestGrowth(t *testing.T) {
	type ticks = map[int][2]int64 // failing of requests, by second
	release := func(c *Config) { c.ReleaseLabel = "release" }
	for _, c := range []struct {
		name              string
		change            func(*Config)
		requests, failing model.Matrix
		from, to, since   int // since 0: none
		want              ticks
		through           int
		cause             canary.Cause
		says              string // the problem, in part
		lost              int    // when it is over; 0: it may go on
	}{
		{
			name:     "what lies between two ticks' samples counts",
			requests: model.Matrix{labelled("r", "", 5, 0, 3, 10, 12, 20)}, failing: model.Matrix{labelled("f", "", 5, 0, 0, 1, 1, 3)},
			to: 20, want: ticks{0: {1, 10}, 10: {2, 10}}, through: 20,
		},
		{
			name:     "a counter is born with its first failures",
			requests: model.Matrix{labelled("r", "", 5, 0, 10, 20, 30, 40)}, failing: model.Matrix{labelled("f", "", 5, -1, -1, -1, 4, 4)},
			to: 20, want: ticks{0: {0, 20}, 10: {4, 20}}, through: 20,
		},
		{
			name:     "a counter that does not grow is a known zero",
			requests: model.Matrix{labelled("r", "", 5, 7, 7, 7, 7, 7)}, to: 20, want: ticks{}, through: 20,
		},
		{
			name:     "a fall is a new beginning",
			requests: model.Matrix{labelled("r", "", 5, 90, 100, 4, 10, 10)}, to: 20, want: ticks{0: {0, 14}, 10: {0, 6}}, through: 20,
		},
		{
			name:     "what began anew with its process counts in full, although it is higher",
			requests: model.Matrix{labelled("r", "", 5, 90, 100, 40, 40, 40)}, failing: model.Matrix{labelled("f", "", 5, 2, 2, 9, 9, 9)},
			to: 20, want: ticks{0: {9, 50}}, through: 20,
		},
		{
			name:     "a counter that comes back higher is a contradiction",
			requests: model.Matrix{labelled("r", "", 5, 10, 20, 30, 40, 50)}, failing: model.Matrix{labelled("f", "", 5, 2, -1, -1, 9, 9)},
			to: 20, cause: canary.Contradict, says: "failing: a counter was away from 20:00:00 to 20:00:15", lost: 15,
		},
		{
			name:     "which is none of what comes after",
			requests: model.Matrix{labelled("r", "", 5, 10, 20, 30, 40, 50, 60, 70, 80)}, failing: model.Matrix{labelled("f", "", 5, 2, -1, -1, 9, 9, 10, 10, 10)},
			from: 20, to: 30, want: ticks{20: {1, 20}}, through: 35,
		},
		{
			name:     "failures that fall alone begin anew as well",
			requests: model.Matrix{labelled("r", "", 5, 10, 20, 30, 40, 50)}, failing: model.Matrix{labelled("f", "", 5, 5, 5, 1, 1, 2)},
			to: 20, want: ticks{0: {1, 20}, 10: {1, 20}}, through: 20,
		},
		{
			name:     "one missing sample displaces and loses nothing",
			requests: model.Matrix{labelled("r", "", 5, 10, 20, 30, 40, 50)}, failing: model.Matrix{labelled("f", "", 5, 2, 2, -1, 9, 9)},
			to: 20, want: ticks{0: {0, 20}, 10: {7, 20}}, through: 20,
		},
		{
			name:     "a counter that appears with an old life's count is none",
			requests: model.Matrix{labelled("r", "", 5, 10, 20, 30, 40, 50)}, failing: model.Matrix{labelled("f", "", 5, -1, -1, -1, 5000, 5000)},
			to: 20, cause: canary.Contradict,
		},
		{
			name:     "nothing is closed beyond the newest sample",
			requests: model.Matrix{labelled("r", "", 5, 0, 10, 20, 30)}, to: 40, want: ticks{0: {0, 20}}, through: 15,
		},
		{
			name:     "a short hole is bridged",
			requests: model.Matrix{labelled("r", "", 5, 0, 10, -1, -1, -1, 50, 50)}, to: 30, want: ticks{0: {0, 20}, 10: {0, 20}, 20: {0, 10}}, through: 30,
		},
		{
			name:     "a long hole is a problem",
			requests: model.Matrix{labelled("r", "", 5, 0, 10, -1, -1, -1, -1, 50)}, to: 30, cause: canary.Late, lost: 30,
		},
		{
			name:     "but not of ticks that it does not touch",
			requests: model.Matrix{labelled("r", "", 5, 0, 10, -1, -1, -1, -1, 50, 60, 70)}, from: 30, to: 40, want: ticks{30: {0, 20}}, through: 40,
		},
		{
			name:     "nor of ticks before it",
			requests: model.Matrix{labelled("r", "", 5, 0, 10, 20, 30, 40, -1, -1, -1, -1, -1, 50)}, to: 20, want: ticks{0: {0, 20}, 10: {0, 20}}, through: 50,
		},
		{
			name:     "a tick that the range cuts is left out",
			requests: model.Matrix{labelled("r", "", 5, 0, 10, 20, 30, 40, 50)}, from: 5, to: 25, want: ticks{10: {0, 20}}, through: 25,
		},
		{
			name:     "what was before the first sample is not known",
			requests: model.Matrix{labelled("r", "", 5, -1, -1, 20, 30, 40)}, to: 20, cause: canary.Late, says: "no sample from before 20:00:10", lost: 10,
		},
		{
			name:     "since, on a sample",
			requests: model.Matrix{labelled("r", "", 5, 0, 10, 20, 30, 40)}, failing: model.Matrix{labelled("f", "", 5, 0, 1, 2, 3, 4)},
			to: 20, since: 10, want: ticks{10: {2, 20}}, through: 20,
		},
		{
			name:     "since, between samples: whose it was is not known",
			requests: model.Matrix{labelled("r", "", 5, 0, 10, 20, 30, 40)}, failing: model.Matrix{labelled("f", "", 5, -1, -1, -1, 3, 4)},
			to: 20, since: 12, want: ticks{10: {1, 10}}, through: 20,
		},
		{
			name:     "since, between samples, with a new beginning: all of it is the runtime's",
			requests: model.Matrix{labelled("r", "", 5, 0, 10, 20, 3, 40)}, failing: model.Matrix{labelled("f", "", 5, -1, -1, -1, 2, 4)},
			to: 20, since: 12, want: ticks{10: {4, 40}}, through: 20,
		},
		{
			name:     "since, with a sample missing behind it: what is closed stays as it was",
			requests: model.Matrix{labelled("r", "", 5, 0, 10, 20, 3, 40)}, failing: model.Matrix{labelled("f", "", 5, 2, 2, -1, 9, 9)},
			to: 20, since: 8, want: ticks{10: {9, 40}}, through: 20,
		},
		{
			name: "the release's counters begin with it", change: release,
			requests: model.Matrix{labelled("r", "old", 5, 0, 10, 20), labelled("r", "new", 5, -1, -1, -1, 8, 20)},
			failing:  model.Matrix{labelled("f", "old", 5, 0, 10, 20), labelled("f", "new", 5, -1, -1, -1, 2, 2)},
			to:       20, since: 12, want: ticks{10: {2, 20}}, through: 20,
		},
		{
			name: "the release's counters begin with it, on a host that was not read before", change: release,
			requests: model.Matrix{labelled("r", "new", 5, -1, -1, -1, 8, 20)}, to: 20, since: 12, want: ticks{10: {0, 20}}, through: 20,
		},
		{
			name: "the same release again, not begun anew", change: release,
			requests: model.Matrix{labelled("r", "new", 5, 0, 10, 20, 30, 40)}, failing: model.Matrix{labelled("f", "new", 5, -1, -1, -1, 3, 4)},
			to: 20, since: 12, want: ticks{10: {1, 10}}, through: 20,
		},
		{
			name: "another release", change: release, requests: model.Matrix{labelled("r", "old", 5, 0, 10, 20)}, to: 10, cause: canary.NoTraffic,
		},
		{name: "no series", to: 10, cause: canary.SourceDown},
		{name: "NaN", requests: model.Matrix{labelled("r", "", 5, 0, math.NaN(), 20)}, to: 10, cause: canary.Contradict},
		{name: "infinite", requests: model.Matrix{labelled("r", "", 5, 0, math.Inf(1), 20)}, to: 10, cause: canary.Contradict},
		{name: "negative", requests: model.Matrix{labelled("r", "", 5, 0, -2, 20)}, to: 10, cause: canary.Contradict},
		{name: "a fraction", requests: model.Matrix{labelled("r", "", 5, 0, 1.5, 20)}, to: 10, cause: canary.Contradict},
		{name: "more than a float counts", requests: model.Matrix{labelled("r", "", 5, 0, 1<<54, 1<<54)}, to: 10, cause: canary.Contradict},
		{
			name: "what cannot be counted among the failing", requests: model.Matrix{labelled("r", "", 5, 0, 10, 20)},
			failing: model.Matrix{labelled("f", "", 5, 0, math.NaN(), 0)}, to: 10, cause: canary.Contradict,
		},
		{
			name: "a histogram", requests: model.Matrix{{Metric: labelled("r", "", 5).Metric, Histograms: []model.SampleHistogramPair{{}}}},
			to: 10, cause: canary.Contradict,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := source(t, c.change)
			h := canary.Host{Name: "mw1", Release: "new"}
			if c.since > 0 {
				h.Since = at(c.since)
			}
			q := canary.Query{Hosts: []canary.Host{h}, From: at(c.from), To: at(c.to), Step: time.Second * 5}
			r, err := answer(s, q, c.requests, c.failing)
			if err != nil {
				t.Fatal(err)
			}
			if r.Cause != c.cause || (r.Problem != "") != (c.cause != "") {
				t.Fatalf("cause %q, problem %q; want %q", r.Cause, r.Problem, c.cause)
			} else if !strings.Contains(r.Problem, c.says) {
				t.Errorf("problem %q, want %q", r.Problem, c.says)
			}
			if c.cause != "" {
				if !r.Through.IsZero() || len(r.Ticks) > 0 {
					t.Error("a host with a problem has counts")
				}
				if r.Lost.IsZero() == (c.lost > 0) || c.lost > 0 && !r.Lost.Equal(at(c.lost)) {
					t.Errorf("lost up to %s, want %d s", r.Lost, c.lost)
				}
				return
			}
			if want := at(c.through); !r.Through.Equal(want) {
				t.Errorf("through %s, want %s", r.Through, want)
			}
			got := ticks{}
			for _, k := range r.Ticks {
				got[int(k.At.Sub(t0)/time.Second)] = [2]int64{k.Failing, k.Requests}
			}
			if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("ticks, want (-) and got (+): %s", diff)
			}
		})
	}
}

// TestClockAhead takes no sample from a future.
func TestClockAhead(t *testing.T) {
	s := source(t, nil)
	q := canary.Query{Hosts: []canary.Host{{Name: "mw1"}}, From: at(0), To: at(10), Step: 5 * time.Second, Now: at(9)}
	m := model.Matrix{labelled("r", "", 5, 0, 10, 20, 30, 40, 50)}
	if r, err := answer(s, q, m, nil); err != nil || r.Cause != canary.Skewed {
		t.Errorf("cause %q, %v; want %q", r.Cause, err, canary.Skewed)
	}
	q.Now = at(15)
	if r, err := answer(s, q, m, nil); err != nil || r.Cause != "" {
		t.Errorf("cause %q, %v; want none", r.Cause, err)
	}
}

// TestSettle keeps ticks open for what comes in later.
func TestSettle(t *testing.T) {
	s := source(t, func(c *Config) { c.Settle = 7 * time.Second })
	q := canary.Query{Hosts: []canary.Host{{Name: "mw1"}}, From: at(0), To: at(20), Step: 10 * time.Second}
	r, err := answer(s, q, model.Matrix{labelled("r", "", 5, 0, 10, 20, 30, 40)}, nil)
	if err != nil || !r.Through.Equal(at(13)) || len(r.Ticks) != 1 {
		t.Errorf("through %s with %d ticks, %v; want 13 s and 1", r.Through, len(r.Ticks), err)
	}
}

// TestOtherTarget refuses failures of an exporter whose scrapes nobody knows.
func TestOtherTarget(t *testing.T) {
	s := source(t, nil)
	f := labelled("f", "", 5, 1, 2, 3)
	f.Metric["job"] = "php"
	q := canary.Query{Hosts: []canary.Host{{Name: "mw1"}}, From: at(0), To: at(10), Step: 5 * time.Second}
	r, err := answer(s, q, model.Matrix{labelled("r", "", 5, 0, 10, 20)}, model.Matrix{f})
	if err != nil || r.Cause != canary.Contradict || r.Problem != "failing comes from another target than its requests: name a heartbeat of both" {
		t.Errorf("%q (%s), %v", r.Problem, r.Cause, err)
	}
}

// TestShare places failures among the requests: 5 and 4 of them over 19 s, of which the middle 10 s are a tick, would be 2
// requests with 3 failures if each were placed for itself.
func TestShare(t *testing.T) {
	s := source(t, nil)
	a, b := t0.UnixMilli()-4500, t0.UnixMilli()+14_500
	w := window{from: t0.UnixMilli(), to: t0.UnixMilli() + 10_000, step: 10 * time.Second}
	got := s.ticks([]piece{{kind: 0, a: a, b: b, d: 5}, {kind: 1, a: a, b: b, d: 4}}, w, b)
	if len(got) != 1 || got[0].Requests != 2 || got[0].Failing != 2 {
		t.Errorf("%+v, want 2 failing of 2", got)
	}
}

// TestTargets closes no tick before all targets of a host were scraped; a sample of up that is 0 is no scrape.
func TestTargets(t *testing.T) {
	s := source(t, func(c *Config) { c.Heartbeat = "up" })
	php := labelled("r", "", 5, 0, 1, 2, 3)
	php.Metric["job"] = "php"
	up := labelled("up", "", 5, 1, 1, 1, 0, 0)
	up.Metric["job"] = "web"
	q := canary.Query{Hosts: []canary.Host{{Name: "mw1"}}, From: at(0), To: at(20), Step: 5 * time.Second}
	w, err := s.window(q)
	if err != nil {
		t.Fatal(err)
	}
	through := func(requests, alive model.Matrix) time.Time {
		all := &heard{counts: make([][]series, 2)}
		if all.counts[0], err = s.decode(requests, w, true, []string{"mw1"}); err != nil {
			t.Fatal(err)
		}
		if all.alive, err = s.decode(alive, w, false, []string{"mw1"}); err != nil {
			t.Fatal(err)
		}
		var r canary.HostReading
		s.read(&r, q.Hosts[0], all, w)
		return r.Through
	}
	app := labelled("r", "", 5, 0, 10, 20, 30, 40)
	if got := through(model.Matrix{app}, model.Matrix{}); !got.Equal(at(20)) {
		t.Errorf("one target: through %s", got)
	}
	if got := through(model.Matrix{app, php}, model.Matrix{}); !got.Equal(at(15)) {
		t.Errorf("two targets: through %s, want the older's", got)
	}
	if got := through(model.Matrix{app, php}, model.Matrix{up}); !got.Equal(at(10)) {
		t.Errorf("three targets, one down: through %s, want when it was up", got)
	}
}

// TestNonce believes a host's own nonce, seen after its runtime began, and without nonces its release.
func TestNonce(t *testing.T) {
	h := canary.Host{Name: "mw1", Release: "new", Nonce: "n1", Since: at(10)}
	info := func(nonce string, at ...int64) series {
		x := series{nonce: nonce}
		for _, a := range at {
			x.samples = append(x.samples, sample{t0.UnixMilli() + a*1000, 1})
		}
		return x
	}
	s := source(t, func(c *Config) { c.Nonce, c.ReleaseLabel = "n", "release" })
	for name, c := range map[string]struct {
		list []series
		want bool
	}{
		"none":           {nil, false},
		"its own":        {[]series{info("n0", 5), info("n1", 10, 15)}, true},
		"another's":      {[]series{info("n2", 10, 15)}, false},
		"an earlier one": {[]series{info("n1", 0, 5)}, false},
		"no sample":      {[]series{info("n1")}, false},
	} {
		if got := s.proven(h, &heard{counts: make([][]series, 2), nonce: c.list}, h.Since.UnixMilli()); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	s = source(t, func(c *Config) { c.ReleaseLabel = "release" })
	x := info("", 15)
	for release, want := range map[string]bool{"new": true, "old": false} {
		x.release = release
		if got := s.proven(h, &heard{counts: [][]series{{x}, nil}}, h.Since.UnixMilli()); got != want {
			t.Errorf("a sample of release %s: %v, want %v", release, got, want)
		}
	}
}

// TestPlacement draws traffic and scrapes at all kinds of times and wants: nothing lost, nothing invented, nothing displaced by as
// much as a scrape interval, no tick with more failures than requests, and the same whichever way the range is cut.
func TestPlacement(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := source(t, nil)
		offset := rapid.IntRange(0, 18_999).Draw(t, "offset")
		interval := rapid.IntRange(1000, 19_000).Draw(t, "interval")
		const last = 100_000 // ms
		var events [last]struct{ n, x int }
		most := rapid.SampledFrom([]int{1, 3, 500}).Draw(t, "most")
		for range rapid.IntRange(0, 60).Draw(t, "events") {
			ms, n := rapid.IntRange(0, last-1).Draw(t, "at"), rapid.IntRange(1, most).Draw(t, "n")
			events[ms].n += n
			events[ms].x += rapid.IntRange(0, n).Draw(t, "x")
		}
		r, f := labelled("r", "", 1), labelled("f", "", 1)
		n, x, next := 0, 0, -38_000+offset
		for ms := -38_000; ms <= last+19_000; ms++ {
			if ms == next {
				stamp := model.TimeFromUnixNano(t0.Add(time.Duration(ms) * time.Millisecond).UnixNano())
				r.Values = append(r.Values, model.SamplePair{Timestamp: stamp, Value: model.SampleValue(n)})
				if x > 0 {
					f.Values = append(f.Values, model.SamplePair{Timestamp: stamp, Value: model.SampleValue(x)})
				}
				next += interval
			}
			if ms >= 0 && ms < last {
				n, x = n+events[ms].n, x+events[ms].x
			}
		}
		read := func(from, to int) []canary.Tick {
			q := canary.Query{Hosts: []canary.Host{{Name: "mw1"}}, From: at(from), To: at(to), Step: 5 * time.Second}
			h, err := answer(s, q, model.Matrix{r}, model.Matrix{f})
			if err != nil || h.Problem != "" {
				t.Fatalf("%v %s", err, h.Problem)
			}
			return h.Ticks
		}
		ticks := read(0, 100)
		var sumN, sumX int64
		k := 0
		for end := 10; end <= 90; end += 10 {
			for ; k < len(ticks) && ticks[k].At.Before(at(end)); k++ {
				if ticks[k].Failing > ticks[k].Requests {
					t.Errorf("tick %s has %d failing of %d", ticks[k].At, ticks[k].Failing, ticks[k].Requests)
				}
				sumN, sumX = sumN+ticks[k].Requests, sumX+ticks[k].Failing
			}
			var low, high struct{ n, x int64 }
			for ms, e := range events {
				if ms < end*1000-interval {
					low.n, low.x = low.n+int64(e.n), low.x+int64(e.x)
				}
				if ms < end*1000+interval {
					high.n, high.x = high.n+int64(e.n), high.x+int64(e.x)
				}
			}
			// What straddles the range's own beginning may be displaced before it.
			for ms := range min(interval, last) {
				low.n, low.x = low.n-int64(events[ms].n), low.x-int64(events[ms].x)
			}
			if sumN < low.n || sumN > high.n || sumX < low.x || sumX > high.x {
				t.Errorf("by %d s %d of %d were counted; want %d to %d of %d to %d", end, sumX, sumN, low.x, high.x, low.n, high.n)
			}
		}
		cut := 10 * rapid.IntRange(1, 9).Draw(t, "cut")
		if diff := cmp.Diff(fmt.Sprint(ticks), fmt.Sprint(append(read(0, cut), read(cut, 100)...))); diff != "" {
			t.Errorf("cut at %d s: %s", cut, diff)
		}
	})
}
