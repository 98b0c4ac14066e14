package targets

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"scap/sync/release"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// named is a Target that is only asked for its name.
type named string

var _ Target = named("")

func (n named) Name() string                                 { return string(n) }
func (n named) Stage(context.Context, release.Release) error { return nil }
func (n named) Activate(context.Context, Switch) error       { return nil }
func (n named) State(context.Context) (State, error)         { return State{}, nil }

func hosts(n int) (ts []Target) {
	for i := range n {
		ts = append(ts, named(fmt.Sprintf("app%02d", i)))
	}
	return ts
}

func check(t *testing.T, ts []Target, rs []Result) {
	t.Helper()
	if len(rs) != len(ts) {
		t.Fatalf("%d results for %d targets", len(rs), len(ts))
	}
	for i, r := range rs {
		if r.Target != ts[i].Name() {
			t.Fatalf("result %d is of %s, want %s", i, r.Target, ts[i].Name())
		}
	}
}

func TestEachHoldsWidthAndOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := hosts(20)
		var now, most atomic.Int64
		start := time.Now()
		rs, err := Each(t.Context(), ts, Fanout{Width: 4}, func(ctx context.Context, _ Target) error {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			<-time.After(time.Second)
			return nil
		})
		check(t, ts, rs)
		if err != nil || most.Load() != 4 || time.Since(start) != 5*time.Second {
			t.Errorf("err %v, width %d, took %v; want none, 4, 5s", err, most.Load(), time.Since(start))
		}
		for _, r := range rs {
			if r.Err != nil || r.Took != time.Second {
				t.Errorf("%+v", r)
			}
		}
	})
}

func TestEachZeroFanoutIsOneAtATimeAndStopsAtTheFirstFailure(t *testing.T) {
	ts, boom := hosts(5), errors.New("boom")
	calls := 0 // no lock: the race detector says when two run at once
	rs, err := Each(t.Context(), ts, Fanout{}, func(_ context.Context, t Target) error {
		if calls++; calls == 2 {
			return boom
		}
		return nil
	})
	check(t, ts, rs)
	if calls != 2 || !errors.Is(err, boom) || !errors.Is(err, ErrSkipped) || rs[0].Err != nil || !errors.Is(rs[1].Err, boom) {
		t.Fatalf("calls %d, err %v, results %+v", calls, err, rs)
	}
	for _, r := range rs[2:] {
		if !r.Skipped() {
			t.Errorf("%+v was not skipped", r)
		}
	}
	for _, want := range []string{"4 of 5 targets:", "\n  app01: boom", "\n  app04: not tried: 1 failed before it and 0 may"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

func TestEachStartsNothingOnceCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("the deployer pressed Ctrl-C")
		ts := hosts(6)
		rs, err := Each(ctx, ts, Fanout{Width: 2}, func(ctx context.Context, t Target) error {
			if t.Name() == "app01" {
				cancel(cause)
				return nil
			}
			<-time.After(time.Second)
			return nil
		})
		check(t, ts, rs)
		if !errors.Is(err, cause) || rs[0].Err != nil || rs[1].Err != nil {
			t.Fatalf("err %v, results %+v", err, rs)
		}
		for _, r := range rs[2:] {
			if !r.Skipped() || !errors.Is(r.Err, cause) || r.Took != 0 {
				t.Errorf("%+v", r)
			}
		}
		if rs, err = Each(ctx, ts, Fanout{Width: FullWidth}, nil); !errors.Is(err, cause) || !rs[0].Skipped() {
			t.Errorf("on a dead context: %v, %+v", err, rs)
		}
	})
}

func TestEachGivesEachTargetItsOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, start := hosts(3), time.Now()
		rs, err := Each(t.Context(), ts, Fanout{Width: 1, MaxFailures: AnyFailures, Timeout: time.Minute}, func(ctx context.Context, t Target) error {
			if t.Name() == "app01" {
				<-ctx.Done()
				return ctx.Err()
			}
			<-time.After(50 * time.Second)
			return nil
		})
		check(t, ts, rs)
		if !errors.Is(err, context.DeadlineExceeded) || rs[0].Err != nil || rs[2].Err != nil || time.Since(start) != 160*time.Second {
			t.Fatalf("err %v, results %+v, took %v", err, rs, time.Since(start))
		}
		if got := err.Error(); got != "app01: context deadline exceeded (took longer than 1m0s)" {
			t.Errorf("says %q", got)
		}
	})
}

func TestEachTurnsAPanicAndALostGoroutineIntoOneResult(t *testing.T) {
	ts := hosts(3)
	rs, err := Each(t.Context(), ts, Fanout{Width: 3, MaxFailures: AnyFailures}, func(_ context.Context, t Target) error {
		switch t.Name() {
		case "app00":
			panic("no such host")
		case "app01":
			runtime.Goexit()
		}
		return nil
	})
	check(t, ts, rs)
	if rs[0].Err == nil || !strings.Contains(rs[0].Err.Error(), "panic: no such host") || !errors.Is(rs[1].Err, errEnded) || err == nil {
		t.Errorf("err %v, results %+v", err, rs)
	}
}

func TestEachOfNobody(t *testing.T) {
	if rs, err := Each(t.Context(), nil, Fanout{}, nil); len(rs) != 0 || err != nil {
		t.Errorf("%v, %v", rs, err)
	}
}

// Whatever fails: a result for each, a start for each but the skipped ones, and no start after the budget is spent.
func TestEachAccountsForEveryTarget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ts := hosts(rapid.IntRange(0, 30).Draw(t, "targets"))
		f := Fanout{Width: rapid.IntRange(-1, 40).Draw(t, "width"), MaxFailures: rapid.IntRange(-1, 5).Draw(t, "budget")}
		bad := rapid.SliceOfN(rapid.Bool(), len(ts), len(ts)).Draw(t, "bad")
		var mu sync.Mutex
		tried, failed := map[string]int{}, 0
		rs, err := Each(context.Background(), ts, f, func(_ context.Context, x Target) error {
			mu.Lock()
			defer mu.Unlock()
			tried[x.Name()]++
			if bad[slices.Index(ts, x)] {
				failed++
				return errors.New("bad")
			}
			return nil
		})
		if len(rs) != len(ts) {
			t.Fatalf("%d results for %d", len(rs), len(ts))
		}
		skipped, wrong := 0, 0
		for i, r := range rs {
			if r.Target != ts[i].Name() || r.Skipped() != (tried[r.Target] == 0) || tried[r.Target] > 1 {
				t.Fatalf("%+v, tried %d times", r, tried[r.Target])
			}
			if r.Skipped() {
				skipped++
			}
			if r.Err != nil {
				wrong++
			}
		}
		budget, width := max(f.MaxFailures, 0), max(f.Width, 1)
		if failed > budget+width || (skipped > 0) && failed <= budget || (err != nil) != (wrong > 0) {
			t.Fatalf("failed %d, budget %d, width %d, skipped %d, err %v", failed, budget, width, skipped, err)
		}
	})
}
