package pool

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"scap/sync/release"
	"scap/targets"
)

// owned is what must hold at every instant: a host that a balancer was told to send nothing has an owner in its own
// journal, unless it was so before.
func (w *world) owned() error {
	for _, b := range w.bals {
		if b.drained && !w.intent.Out {
			return fmt.Errorf("drained at %s and owned by nobody", b.name)
		}
	}
	return nil
}

// The deploy host dies at each act in turn; another one takes over with the next token. Nothing is lost or left out.
func TestDeathAtEveryAct(t *testing.T) {
	bad := errors.New("bad")
	for _, alien := range []bool{false, true} {
		for _, checks := range []error{nil, bad} {
			deaths := 0
			for at := 1; ; at++ {
				whole := false
				synctest.Test(t, func(t *testing.T) {
					w := newWorld("lb1", "lb2")
					for _, b := range w.bals {
						b.drained = alien
					}
					o := Options{Checks: func(ctx context.Context, _ string) error { return checks }}
					w.dieAt = at
					err := w.target(o).Activate(t.Context(), toB())
					whole = len(w.log) < at
					if !alien {
						if err := w.owned(); err != nil {
							t.Errorf("died at act %d (%s): %v", at, w.log[min(at, len(w.log))-1], err)
						}
					}
					if whole {
						return
					}
					deaths++
					if err == nil && w.intent.Out {
						t.Errorf("died at act %d, said nothing and left the host out", at)
					}
					w.dieAt, w.log = 0, nil
					to := targets.Switch{From: relA, To: relB, Token: 8, Owner: "deploy-8"}
					fresh := w.target(Options{})
					if at%2 == 0 {
						err = fresh.Repair(t.Context(), to)
					} else {
						err = fresh.Activate(t.Context(), to)
					}
					if err != nil || w.running != relB || w.disk != relB || w.intent.Out {
						t.Errorf("after death at act %d: %v, running %s, intent %+v; acts %s", at, err, w.running.Short(), w.intent, w.story())
					}
					for _, b := range w.bals {
						if b.drained != alien {
							t.Errorf("after death at act %d: drained at %s is %t, was %t; acts %s", at, b.name, b.drained, alien, w.story())
						}
					}
				})
				if whole || t.Failed() {
					break
				}
			}
			if deaths < 10 {
				t.Errorf("only %d deaths with alien=%t, checks=%v", deaths, alien, checks)
			}
			t.Logf("alien=%t, checks=%v: died at %d acts", alien, checks, deaths)
		}
	}
}

func TestRepair(t *testing.T) {
	tests := map[string]struct {
		before func(*world)
		want   end
	}{
		"left out, mixed": {
			before: func(w *world) {
				w.running = release.ID{}
				w.intent = release.Intent{Out: true, Owner: "deploy-6", Token: 6}
				w.bals[0].drained = true
			},
			want: end{runs: relB, pooled: true, story: "out=true drain@lb1 quiet repair:b ready@lb1 out=false"},
		},
		"pooled and mixed": {
			before: func(w *world) { w.running = release.ID{} },
			want:   end{runs: relB, pooled: true, story: "out=true drain@lb1 quiet repair:b ready@lb1 out=false"},
		},
		"of a living deploy": {
			before: func(w *world) {
				w.intent = release.Intent{Out: true, Owner: "deploy-9", Token: 9}
				w.bals[0].drained = true
			},
			want: end{err: []error{targets.ErrFenced}, runs: relA, out: true, owner: "deploy-9", story: ""},
		},
		"well already": {
			before: func(w *world) { w.disk, w.running, w.desired = relB, relB, relB },
			want:   end{runs: relB, pooled: true, story: ""},
		},
		"marked out, but in at its balancer": {
			before: func(w *world) {
				w.disk, w.running, w.desired = relB, relB, relB
				w.intent = release.Intent{Out: true, Owner: "deploy-6", Token: 6}
			},
			want: end{runs: relB, pooled: true, story: "ready@lb1 out=false"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld("lb1")
				tt.before(w)
				tt.want.check(t, w, w.target(Options{}).Repair(t.Context(), toB()))
			})
		})
	}
}

func TestState(t *testing.T) {
	tests := map[string]struct {
		before   func(*world)
		pooled   targets.Pooling
		serving  bool
		problems int
	}{
		"in":              {func(*world) {}, targets.PoolIn, true, 0},
		"red":             {func(w *world) { w.bals[1].red = true }, targets.PoolIn, false, 0},
		"out":             {func(w *world) { w.bals[0].drained, w.bals[1].drained = true, true }, targets.PoolOut, false, 0},
		"out at one":      {func(w *world) { w.bals[0].drained = true }, targets.PoolMixed, false, 1},
		"ours, out at 1":  {func(w *world) { w.bals[0].drained = true; w.intent.Out = true }, targets.PoolMixed, false, 0},
		"marked out":      {func(w *world) { w.intent.Out = true }, targets.PoolIn, false, 0},
		"one is silent":   {func(w *world) { w.fail["state@lb2"] = always(errDead) }, targets.PoolUnknown, false, 1},
		"its check is":    {func(w *world) { w.fail["healthy@lb1"] = always(errDead) }, targets.PoolUnknown, false, 1},
		"no balancer":     {func(w *world) { w.bals = nil }, targets.PoolNone, true, 0},
		"none, and mixed": {func(w *world) { w.bals = nil; w.running = release.ID{} }, targets.PoolNone, false, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld("lb1", "lb2")
			tt.before(w)
			st, err := w.target(Options{}).State(t.Context())
			if err != nil || st.Pooled != tt.pooled || st.Serving != tt.serving || len(st.Problems) != tt.problems {
				t.Errorf("%q serving=%t %q %v, want %q %t, %d problems", st.Pooled, st.Serving, st.Problems, err, tt.pooled, tt.serving, tt.problems)
			}
		})
	}
	w := newWorld("lb1")
	w.fail["state"] = always(errDead)
	if st, err := w.target(Options{}).State(t.Context()); !errors.Is(err, errDead) || st.Serving || st.Pooled != targets.PoolIn {
		t.Errorf("a host that does not answer: %+v, %v", st, err)
	}
}

// One call at a time works on a host, and a second deploy with a larger token ends the first.
func TestTwoAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("lb1")
		w.bals[0].busy = 20
		target := w.target(Options{})
		errs := make(chan error, 2)
		for range 2 {
			go func() { errs <- target.Activate(t.Context(), toB()) }()
		}
		for range 2 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		end{runs: relB, pooled: true, story: "out=true drain@lb1 quiet activate:b ready@lb1 out=false"}.check(t, w, nil)
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("lb1")
		w.bals[0].busy = 20
		first, second := w.target(Options{}), w.target(Options{})
		errs := make(chan error, 1)
		go func() { errs <- first.Activate(t.Context(), toB()) }()
		synctest.Wait() // the first is waiting for the balancer
		s := targets.Switch{From: relA, To: relB, Token: 8, Owner: "deploy-8"}
		if err := second.Activate(t.Context(), s); err != nil {
			t.Error(err)
		}
		if err := <-errs; !errors.Is(err, targets.ErrFenced) {
			t.Errorf("the first deploy: %v", err)
		}
		end{runs: relB, pooled: true}.check(t, w, nil)
	})
}

// slowHost takes its time to switch.
type slowHost struct {
	fakeHost
	during func()
}

func (h *slowHost) Activate(ctx context.Context, s targets.Switch) error {
	if err := wait(ctx, time.Second); err != nil {
		return err
	}
	h.during()
	if err := wait(ctx, 4*time.Second); err != nil {
		return err
	}
	return h.fakeHost.Activate(ctx, s)
}

// A balancer that is reloaded in the middle of a switch has forgotten the drain: it is told again while the switch goes
// on.
func TestDrainForgottenInTheSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("lb1")
		h := &slowHost{fakeHost: fakeHost{w}}
		var forgot, told time.Time
		h.during = func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.bals[0].drained, forgot = false, time.Now()
			w.fail["drain@lb1"] = func(int) error { told = time.Now(); return nil }
		}
		err := New(h, []Balancer{w.bals[0]}, Options{}).Activate(t.Context(), toB())
		end{runs: relB, pooled: true, story: "out=true drain@lb1 quiet drain@lb1 activate:b ready@lb1 out=false"}.check(t, w, err)
		if late := told.Sub(forgot); late > time.Second {
			t.Errorf("told again after %s", late)
		}
	})
	// The successor of a deploy that lost its lease put the host back: the first one keeps its hands off.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("lb1")
		h := &slowHost{fakeHost: fakeHost{w}}
		h.during = func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.bals[0].drained, w.intent = false, release.Intent{Token: 8, Claimer: "deploy-8"}
		}
		err := New(h, []Balancer{w.bals[0]}, Options{}).Activate(t.Context(), toB())
		end{err: []error{targets.ErrFenced}, runs: relA, pooled: true, story: "out=true drain@lb1 quiet activate:b"}.check(t, w, err)
	})
}
