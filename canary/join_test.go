package canary

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var joinZero = time.Date(2023, 1, 17, 20, 15, 0, 0, time.UTC)

func joinAt(sec int) time.Time { return joinZero.Add(time.Duration(sec) * time.Second) }

func says(step time.Duration, hosts ...HostReading) Source {
	return SourceFunc(func(context.Context, Query) (Reading, error) { return Reading{Hosts: hosts, Step: step}, nil })
}

func TestJoined(t *testing.T) {
	requests := HostReading{Host: "a", Through: joinAt(20), Skew: time.Second, Nonce: true, Prints: []Print{{Text: "not asked for"}}, Ticks: []Tick{
		{At: joinAt(0), Requests: 10, Failing: 9, Good: map[string]int64{"edits": 3}}, {At: joinAt(10), Requests: 20},
	}}
	failures := HostReading{Host: "a", Through: joinAt(15), Skew: -2 * time.Second, Prints: []Print{{Text: "Error", Count: 1}}, Ticks: []Tick{
		{At: joinAt(5), Requests: 99, Failing: 1}, {At: joinAt(10), Failing: 2, Good: map[string]int64{"logins": 1}},
	}}
	want := HostReading{Host: "a", Through: joinAt(15), Skew: -2 * time.Second, Prints: []Print{{Text: "Error", Count: 1}}, Ticks: []Tick{
		{At: joinAt(0), Requests: 10, Good: map[string]int64{"edits": 3}},
		{At: joinAt(5), Failing: 1},
		{At: joinAt(10), Requests: 20, Failing: 2, Good: map[string]int64{"logins": 1}},
	}}
	q := Query{Hosts: []Host{{Name: "a"}}, From: joinAt(0), To: joinAt(20), Step: 5 * time.Second}
	r, err := Joined{says(5*time.Second, requests), says(5*time.Second, failures)}.Read(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Reading{Hosts: []HostReading{want}, Step: 5 * time.Second}, r); diff != "" {
		t.Error(diff)
	}
}

func TestJoinedKnowsWhatBothKnow(t *testing.T) {
	good := HostReading{Host: "a", Through: joinAt(20), Ticks: []Tick{{At: joinAt(0), Requests: 10}}}
	down := HostReading{Host: "a", Problem: "no scrape", Cause: SourceDown}
	late := HostReading{Host: "a", Problem: "no heartbeat", Cause: Late}
	failing := HostReading{Host: "a", Through: joinAt(20), Ticks: []Tick{{At: joinAt(0), Failing: 2}}}
	none := HostReading{Host: "a", Through: joinAt(20)}
	for name, c := range map[string]struct {
		requests, failures HostReading
		problem            string
		cause              Cause
	}{
		"both know":                     {good, none, "", ""},
		"requests are not known":        {down, none, "requests: no scrape", SourceDown},
		"failures are not known":        {good, late, "failures: no heartbeat", Late},
		"neither":                       {down, late, "requests: no scrape; failures: no heartbeat", SourceDown},
		"what served nothing cannot":    {none, failing, "2 requests failed on it, but it is said to have served none", Contradict},
		"nobody came":                   {none, none, "", ""},
		"what is not closed may change": {HostReading{Host: "a", Through: joinAt(4)}, failing, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			q := Query{Hosts: []Host{{Name: "a"}}, From: joinAt(0), To: joinAt(20), Step: 5 * time.Second}
			r, err := Joined{says(5*time.Second, c.requests), says(5*time.Second, c.failures)}.Read(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if h := r.Hosts[0]; h.Problem != c.problem || h.Cause != c.cause {
				t.Errorf("problem %q (%s), want %q (%s)", h.Problem, h.Cause, c.problem, c.cause)
			}
		})
	}
}

func TestJoinedTakesTheCoarserTicks(t *testing.T) {
	any := func(least time.Duration) Source {
		return SourceFunc(func(_ context.Context, q Query) (Reading, error) {
			return Reading{Step: max(q.Step, least), Hosts: []HostReading{{Host: "a", Through: q.To}}}, nil
		})
	}
	q := Query{Hosts: []Host{{Name: "a"}}, From: joinAt(0), To: joinAt(30), Step: 5 * time.Second}
	if r, err := (Joined{any(15 * time.Second), any(0)}).Read(t.Context(), q); err != nil || r.Step != 15*time.Second {
		t.Errorf("ticks of %s, %v; want 15s", r.Step, err)
	}
	if _, err := (Joined{says(10*time.Second, HostReading{}), says(15*time.Second, HostReading{})}).Read(t.Context(), q); err == nil {
		t.Error("ticks of 10s and 15s were put together")
	}
}

func TestJoinedFailsWithEither(t *testing.T) {
	broken := errors.New("connection refused")
	waits := SourceFunc(func(ctx context.Context, _ Query) (Reading, error) {
		<-ctx.Done()
		return Reading{}, context.Cause(ctx)
	})
	fails := SourceFunc(func(context.Context, Query) (Reading, error) { return Reading{}, broken })
	q := Query{Hosts: []Host{{Name: "a"}}}
	for _, j := range []Joined{{fails, waits}, {waits, fails}, {fails, fails}} {
		if _, err := j.Read(t.Context(), q); !errors.Is(err, broken) {
			t.Errorf("%v, want the first error", err)
		}
	}
	if _, err := (Joined{Exposure: fails, Failures: says(0)}).Read(t.Context(), q); err == nil || !strings.HasPrefix(err.Error(), "requests: ") {
		t.Errorf("%v does not say which half", err)
	}
	if _, err := (Joined{says(time.Second), says(time.Second)}).Read(t.Context(), q); err == nil {
		t.Error("an answer for no host was taken for one of one host")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(broken)
	if _, err := (Joined{waits, waits}).Read(ctx, q); !errors.Is(err, broken) {
		t.Errorf("cancelled: %v", err)
	}
}
