package pool

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"scap/sync/release"
	"scap/targets"
)

func TestIsolate(t *testing.T) {
	tests := map[string]struct {
		balancers []string
		before    func(*world)
		want      end
	}{
		"in the pool": {
			balancers: []string{"lb1"},
			want:      end{out: true, owner: "deploy-7 (suspect)", story: "out=true drain@lb1"},
		},
		"without a balancer": {want: end{out: true, owner: "deploy-7 (suspect)", story: "out=true"}},
		"busy for ever, and nobody waits": {
			balancers: []string{"lb1"},
			before:    func(w *world) { w.bals[0].busy = -1 },
			want:      end{out: true, owner: "deploy-7 (suspect)", story: "out=true drain@lb1"},
		},
		"isolated already": {
			balancers: []string{"lb1"},
			before: func(w *world) {
				w.intent = release.Intent{Out: true, Owner: "deploy-7 (suspect)", Token: 7}
				w.bals[0].drained = true
			},
			want: end{out: true, owner: "deploy-7 (suspect)", story: "out=true drain@lb1"},
		},
		"taken out by hand": {
			balancers: []string{"lb1"},
			before:    func(w *world) { w.bals[0].drained = true },
			want:      end{out: true, owner: "deploy-7 (suspect)" + foundOut},
		},
		"of another deploy": {
			balancers: []string{"lb1"},
			before:    func(w *world) { w.intent.Token = 8 },
			want:      end{err: []error{targets.ErrFenced}, pooled: true, story: ""},
		},
		"the host does not answer": {
			balancers: []string{"lb1"},
			before:    func(w *world) { w.fail["state"] = always(errDead) },
			want:      end{err: []error{errDead}, pooled: true, story: ""},
		},
		"its mark is lost once": {
			balancers: []string{"lb1"},
			before:    func(w *world) { w.fail["out=true"] = once(errDead) },
			want:      end{out: true, owner: "deploy-7 (suspect)", story: "out=true out=true drain@lb1"},
		},
		"it cannot be marked, so no balancer is told": {
			balancers: []string{"lb1"},
			before:    func(w *world) { w.fail["out=true"] = always(errDead) },
			want:      end{err: []error{errDead}, pooled: true},
		},
		"one balancer is silent": {
			balancers: []string{"lb1", "lb2"},
			before:    func(w *world) { w.fail["drain@lb1"] = always(errDead) },
			want: end{
				err: []error{errDead}, says: []string{"balancer lb1", "marked out in its own journal"},
				out: true, owner: "deploy-7 (suspect)",
			},
		},
		"one balancer is silent for a moment": {
			balancers: []string{"lb1", "lb2"},
			before: func(w *world) {
				w.fail["drain@lb1"] = func(n int) error {
					if n < 4 {
						return errDead
					}
					return nil
				}
			},
			want: end{out: true, owner: "deploy-7 (suspect)"},
		},
		"a balancer that does not do it": {
			balancers: []string{"lb1"},
			before:    func(w *world) { w.bals[0].deaf = true },
			want:      end{err: []error{errStillIn}, out: true, owner: "deploy-7 (suspect)"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(tt.balancers...)
				w.disk, w.running, w.desired = relB, relB, relB
				if tt.before != nil {
					tt.before(w)
				}
				tt.want.runs = relB // it is left on its release
				start := time.Now()
				err := w.target(Options{}).Isolate(t.Context(), toB())
				tt.want.check(t, w, err)
				if w.calls["quiet"]+w.calls["idle@lb1"] > 0 {
					t.Errorf("it was waited for: %v", w.log)
				}
				if err == nil && time.Since(start) > 2*time.Second {
					t.Errorf("took %v", time.Since(start))
				}
				for _, b := range w.bals {
					if err == nil && !b.drained {
						t.Errorf("in the pool at %s", b.name)
					}
				}
			})
		})
	}
}

// Ctrl-C does not leave it half done.
func TestIsolateEndsWhatItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("lb1")
		ctx, cancel := context.WithCancel(t.Context())
		w.fail["out=true"] = func(int) error { cancel(); return nil }
		end{out: true, runs: relA, story: "out=true drain@lb1"}.check(t, w, w.target(Options{}).Isolate(ctx, toB()))
	})
}

// A deploy that came after put the host back while this one still told the balancers: this one keeps its hands off.
func TestIsolateIsFencedBetweenTwoBalancers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("lb1")
		w.fail["drain@lb1"] = func(n int) error {
			if n == 1 {
				w.intent = release.Intent{Token: 8, Claimer: "deploy-8"}
				return errDead
			}
			return nil
		}
		end{err: []error{targets.ErrFenced}, runs: relA, pooled: true, story: "out=true drain@lb1"}.check(t, w, w.target(Options{}).Isolate(t.Context(), toB()))
	})
}

// The deploy host dies at each act of an isolation; whoever comes then takes it up, takes it back or repairs the host.
func TestDeathAtEveryActOfIsolate(t *testing.T) {
	next := map[string]func(context.Context, *Target) error{
		"isolate": func(ctx context.Context, host *Target) error {
			if err := host.Isolate(ctx, toB()); err != nil {
				return err
			}
			return host.Repair(ctx, targets.Switch{From: relB, To: relB, Token: 8, Owner: "repair jd"})
		},
		"repair": func(ctx context.Context, host *Target) error {
			return host.Repair(ctx, targets.Switch{From: relB, To: relB, Token: 8, Owner: "repair jd"})
		},
		"back": func(ctx context.Context, host *Target) error {
			return host.Repair(ctx, targets.Switch{From: relB, To: relA, Token: 8, Owner: "deploy-7 back"})
		},
	}
	for _, alien := range []bool{false, true} {
		for name, then := range next {
			deaths := 0
			for at := 1; ; at++ {
				whole := false
				synctest.Test(t, func(t *testing.T) {
					w := newWorld("lb1", "lb2")
					w.disk, w.running, w.desired = relB, relB, relB
					for _, b := range w.bals {
						b.drained = alien
					}
					w.dieAt = at
					err := w.target(Options{}).Isolate(t.Context(), toB())
					whole = len(w.log) < at
					if bad := w.owned(); bad != nil && !alien {
						t.Errorf("died at act %d: %v", at, bad)
					}
					if (err == nil) != whole {
						t.Errorf("died at act %d of %d: %v", at, len(w.log), err)
					}
					deaths++
					w.dieAt, w.log = 0, nil
					if err := then(t.Context(), w.target(Options{})); err != nil {
						t.Errorf("died at act %d, then %s: %v", at, name, err)
					}
					want := relB
					if name == "back" {
						want = relA
					}
					end{runs: want, pooled: !alien}.check(t, w, nil)
				})
				if whole || t.Failed() {
					break
				}
			}
			if deaths < 8 {
				t.Errorf("only %d deaths with alien=%t, then %s", deaths, alien, name)
			}
		}
	}
}

// A suspect stays one through a repair that does not bring it back, so that nobody takes it for a host that was just away.
func TestASuspectStaysOneUntilItIsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("lb1")
		if err := w.target(Options{}).Isolate(t.Context(), toB()); err != nil {
			t.Fatal(err)
		}
		bad := errors.New("bad")
		again := targets.Switch{From: relA, To: relB, Token: 8, Owner: "repair jd"}
		err := w.target(Options{Checks: func(context.Context, string) error { return bad }}).Repair(t.Context(), again)
		end{err: []error{targets.ErrOut}, says: []string{"bad"}, runs: relB, out: true, owner: "repair jd (suspect)"}.check(t, w, err)
		if who, ok := targets.IsSuspect(w.intent); !ok || who != "repair jd" {
			t.Errorf("suspect of %q: %t", who, ok)
		}
		end{runs: relB, pooled: true}.check(t, w, w.target(Options{}).Repair(t.Context(), again))
		if _, ok := targets.IsSuspect(w.intent); ok {
			t.Error("a suspect that is in the pool")
		}
	})
}
