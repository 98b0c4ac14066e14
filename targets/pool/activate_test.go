package pool

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scap/sync/release"
	"scap/targets"
)

func toB() targets.Switch {
	return targets.Switch{From: relA, To: relB, Token: 7, Owner: "deploy-7"}
}

var errSick = errors.New("its session client has a split view")

// end is where a transaction must leave the world.
type end struct {
	err    []error // each must be in the error; none: no error at all
	not    []error
	says   []string
	runs   release.ID
	pooled bool
	out    bool
	owner  string
	story  string
	still  bool // nothing was done at all
}

func (e end) check(t *testing.T, w *world, err error) {
	t.Helper()
	if len(e.err) == 0 && len(e.says) == 0 && err != nil {
		t.Errorf("error: %v", err)
	}
	for _, want := range e.err {
		if !errors.Is(err, want) {
			t.Errorf("error %v, want one that is %v", err, want)
		}
	}
	for _, not := range e.not {
		if errors.Is(err, not) {
			t.Errorf("error %v, want none that is %v", err, not)
		}
	}
	for _, s := range e.says {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("error %v, want it to say %q", err, s)
		}
	}
	if w.disk != e.runs || w.running != e.runs {
		t.Errorf("disk %s, running %s, want %s", w.disk.Short(), w.running.Short(), e.runs.Short())
	}
	if w.pooled() != e.pooled {
		t.Errorf("pooled = %t, want %t", w.pooled(), e.pooled)
	}
	if w.intent.Out != e.out {
		t.Errorf("out by its journal = %t, want %t", w.intent.Out, e.out)
	}
	if e.owner != "" && w.intent.Owner != e.owner {
		t.Errorf("owner %q, want %q", w.intent.Owner, e.owner)
	}
	if (e.story != "" || e.still) && w.story() != e.story {
		t.Errorf("acts:\n %s\nwant:\n %s", w.story(), e.story)
	}
}

func TestActivate(t *testing.T) {
	bad := errors.New("GET /wiki/X: 500")
	tests := map[string]struct {
		balancers []string
		before    func(*world)
		o         Options
		s         func(*targets.Switch)
		want      end
	}{
		"clean": {
			balancers: []string{"lb1"},
			want: end{
				runs: relB, pooled: true,
				story: "out=true drain@lb1 quiet activate:b ready@lb1 out=false",
			},
		},
		"already there": {
			balancers: []string{"lb1"},
			before:    func(w *world) { w.disk, w.running, w.desired = relB, relB, relB },
			want:      end{runs: relB, pooled: true, story: ""},
		},
		"proven new but left out by a deploy that died": {
			balancers: []string{"lb1"},
			before: func(w *world) {
				w.disk, w.running, w.desired = relB, relB, relB
				w.intent = release.Intent{Out: true, Owner: "deploy-6", Token: 6}
				w.bals[0].drained = true
			},
			want: end{runs: relB, pooled: true, story: "ready@lb1 out=false"},
		},
		"no balancer, quiet host": {
			want: end{runs: relB, pooled: true, story: "out=true quiet activate:b out=false"},
		},
		"no balancer, traffic": {
			before: func(w *world) {
				w.quiet = func(int) release.Quiet { return release.Quiet{Outside: 9, Last: "/wiki/Main_Page"} }
			},
			want: end{
				err: []error{errBusy, targets.ErrReturned}, runs: relA, pooled: true,
				says: []string{`9 came in 1s, the last for "/wiki/Main_Page"`, "a balancer that nobody named?", "nothing was changed"},
			},
		},
		"a balancer that never goes idle": {
			balancers: []string{"lb1"},
			before:    func(w *world) { w.bals[0].busy = -1 },
			want: end{
				err: []error{errBusy, targets.ErrReturned}, runs: relA, pooled: true,
				says:  []string{"after 30s balancer lb1 still has requests under way", "nothing was changed"},
				story: "out=true drain@lb1 ready@lb1 out=false",
			},
		},
		"a balancer that forgets its drain is told again": {
			balancers: []string{"lb1"},
			before: func(w *world) {
				w.fail["idle@lb1"] = func(n int) error {
					if n == 2 {
						w.bals[0].drained = false
					}
					return nil
				}
			},
			want: end{
				runs: relB, pooled: true,
				story: "out=true drain@lb1 drain@lb1 quiet activate:b ready@lb1 out=false",
			},
		},
		"a balancer that does not answer before": {
			balancers: []string{"lb1"},
			before:    func(w *world) { w.fail["state@lb1"] = always(errDead) },
			want: end{
				err: []error{targets.ErrReturned}, says: []string{"lb1 does not answer"}, runs: relA, pooled: true, story: "",
			},
		},
		"a balancer that dies at the drain": {
			balancers: []string{"lb1"},
			before:    func(w *world) { w.fail["drain@lb1"] = once(errDead) },
			want: end{
				err: []error{errDead, targets.ErrReturned}, runs: relA, pooled: true,
				story: "out=true drain@lb1 ready@lb1 out=false",
			},
		},
		"a balancer that dies for good at the drain": {
			balancers: []string{"lb1"},
			before: func(w *world) {
				w.fail["drain@lb1"] = func(int) error { w.fail["state@lb1"] = always(errDead); return errDead }
			},
			want: end{
				err: []error{targets.ErrOut}, not: []error{targets.ErrReturned}, runs: relA, out: true, owner: "deploy-7",
				says: []string{"scap repair mw1"},
			},
		},
		"the release cannot be proven": {
			balancers: []string{"lb1"},
			before:    func(w *world) { w.broken = relB },
			want: end{
				err: []error{targets.ErrReturned}, runs: relA, pooled: true,
				story: "out=true drain@lb1 quiet activate:b ready@lb1 out=false",
			},
		},
		"the checks fail": {
			balancers: []string{"lb1"},
			o:         Options{Checks: func(context.Context, string) error { return bad }},
			want: end{
				err: []error{bad, targets.ErrReturned}, runs: relA, pooled: true,
				story: "out=true drain@lb1 quiet activate:b out=true drain@lb1 quiet activate:a ready@lb1 out=false",
			},
		},
		"the checks fail, and the host is to blame": {
			balancers: []string{"lb1"},
			o: Options{
				Checks: func(context.Context, string) error { return bad },
				Fit:    func(context.Context, string) error { return errSick },
			},
			want: end{
				err: []error{targets.ErrOut}, not: []error{targets.ErrReturned}, says: []string{bad.Error(), errSick.Error(), "scap repair mw1"},
				runs: relA, out: true, owner: "deploy-7",
				story: "out=true drain@lb1 quiet activate:b out=true drain@lb1 quiet activate:a out=true drain@lb1",
			},
		},
		"the checks fail, and the host is fit": {
			balancers: []string{"lb1"},
			o: Options{
				Checks: func(context.Context, string) error { return bad },
				Fit:    func(context.Context, string) error { return nil },
			},
			want: end{err: []error{bad, targets.ErrReturned}, runs: relA, pooled: true},
		},
		"the release cannot be proven, and nobody asks whether the host is fit": {
			balancers: []string{"lb1"},
			o:         Options{Fit: func(context.Context, string) error { return errSick }},
			before:    func(w *world) { w.broken = relB },
			want:      end{err: []error{targets.ErrReturned}, not: []error{errSick}, runs: relA, pooled: true},
		},
		"the checks fail and so does the way back": {
			balancers: []string{"lb1"},
			o:         Options{Checks: func(context.Context, string) error { return bad }},
			before:    func(w *world) { w.broken = relA },
			want: end{
				err: []error{targets.ErrOut}, not: []error{targets.ErrReturned}, runs: relB, out: true, owner: "deploy-7",
			},
		},
		"the answer is lost and the host is new": {
			balancers: []string{"lb1"},
			before:    func(w *world) { w.lost = true },
			want:      end{runs: relB, pooled: true},
		},
		"the question is lost and the host is old": {
			balancers: []string{"lb1"},
			before:    func(w *world) { w.fail["activate:b"] = once(errDead) },
			want:      end{err: []error{errDead, targets.ErrReturned}, runs: relA, pooled: true},
		},
		"the host proves nothing and is repaired": {
			balancers: []string{"lb1"},
			before: func(w *world) {
				w.fail["activate:b"] = func(int) error { w.disk = relB; w.running = release.ID{}; return errDead }
			},
			want: end{
				err: []error{errDead, targets.ErrReturned}, runs: relA, pooled: true,
				story: "out=true drain@lb1 quiet activate:b repair:a ready@lb1 out=false",
			},
		},
		"the health check stays red on the new release": {
			balancers: []string{"lb1"},
			before: func(w *world) {
				w.fail["activate:b"] = func(int) error { w.bals[0].red = true; return nil }
				w.fail["activate:a"] = func(int) error { w.bals[0].red = false; return nil }
			},
			want: end{err: []error{errNotGreen, targets.ErrReturned}, runs: relA, pooled: true},
		},
		"the health check stays red on both": {
			balancers: []string{"lb1"},
			before: func(w *world) {
				w.fail["activate:b"] = func(int) error { w.bals[0].red = true; return nil }
			},
			want: end{err: []error{targets.ErrOut}, not: []error{targets.ErrReturned}, runs: relA, out: true, owner: "deploy-7"},
		},
		"ready is refused": {
			balancers: []string{"lb1"},
			before:    func(w *world) { w.fail["ready@lb1"] = always(errDead) },
			want:      end{err: []error{targets.ErrOut}, runs: relB, out: true, owner: "deploy-7"},
		},
		"ready is ignored": {
			balancers: []string{"lb1"},
			before:    func(w *world) { w.bals[0].stuck = true },
			want:      end{err: []error{targets.ErrOut}, says: []string{"out (DRAIN)"}, runs: relA, out: true, owner: "deploy-7"},
		},
		"ready at one of two is refused once": {
			balancers: []string{"lb1", "lb2"},
			before:    func(w *world) { w.fail["ready@lb2"] = once(errDead) },
			want:      end{runs: relB, pooled: true},
		},
		"an old token": {
			balancers: []string{"lb1"},
			before:    func(w *world) { w.intent.Token = 8 },
			want:      end{err: []error{targets.ErrFenced}, not: []error{targets.ErrReturned}, runs: relA, pooled: true, story: ""},
		},
		"another deploy claims the host while it switches": {
			balancers: []string{"lb1"},
			before: func(w *world) {
				w.fail["activate:b"] = func(int) error { w.intent.Token = 8; return nil }
			},
			want: end{
				err: []error{targets.ErrFenced}, runs: relA, out: true, owner: "deploy-7",
				story: "out=true drain@lb1 quiet activate:b",
			},
		},
		"already there, but somebody had taken it out at one of two": {
			balancers: []string{"lb1", "lb2"},
			before: func(w *world) {
				w.disk, w.running, w.desired = relB, relB, relB
				w.bals[0].drained = true
			},
			want: end{
				not: []error{targets.ErrReturned}, says: []string{"lb2: in", "nothing was changed"},
				runs: relB, pooled: true, story: "",
			},
		},
		"the answer is lost while the host still switches": {
			balancers: []string{"lb1"},
			before: func(w *world) {
				w.fail["activate:b"] = func(int) error {
					began := w.calls["state"]
					w.intent.Switch, w.intent.Outcome = toB(), release.Unknown
					w.fail["state"] = func(n int) error {
						if n == began+20 {
							w.disk, w.running, w.desired, w.intent.Outcome = relB, relB, relB, release.ProvenNew
						}
						return nil
					}
					return errDead
				}
			},
			want: end{runs: relB, pooled: true, story: "out=true drain@lb1 quiet activate:b ready@lb1 out=false"},
		},
		"the host's agent died in the switch": {
			balancers: []string{"lb1"},
			before: func(w *world) {
				w.fail["activate:b"] = func(int) error {
					w.intent.Switch, w.intent.Outcome = toB(), release.Unknown
					return errDead
				}
			},
			want: end{
				err: []error{errDead, targets.ErrReturned}, runs: relA, pooled: true,
				story: "out=true drain@lb1 quiet activate:b repair:a ready@lb1 out=false",
			},
		},
		"the host proves nothing and its repair is refused": {
			balancers: []string{"lb1"},
			before: func(w *world) {
				w.fail["activate:b"] = func(int) error { w.disk = relB; w.running = release.ID{}; return errDead }
				w.fail["repair:a"] = func(int) error { w.running = relB; return targets.ErrReturned }
			},
			want: end{err: []error{targets.ErrOut}, not: []error{targets.ErrReturned}, runs: relB, out: true, owner: "deploy-7"},
		},
		"left out by a deploy that died, and never quiet": {
			balancers: []string{"lb1"},
			before: func(w *world) {
				w.intent = release.Intent{Out: true, Owner: "deploy-6", Token: 6}
				w.bals[0].drained, w.bals[0].busy = true, -1
			},
			want: end{err: []error{errBusy, targets.ErrOut}, not: []error{targets.ErrReturned}, runs: relA, out: true, owner: "deploy-7"},
		},
		"another deploy took over and put the host back": {
			balancers: []string{"lb1"},
			before: func(w *world) {
				w.fail["idle@lb1"] = func(int) error {
					w.intent, w.bals[0].drained = release.Intent{Token: 8}, false
					return nil
				}
			},
			want: end{err: []error{targets.ErrFenced}, runs: relA, pooled: true, story: "out=true drain@lb1"},
		},
		"somebody had taken it out": {
			balancers: []string{"lb1"},
			before:    func(w *world) { w.bals[0].drained = true },
			want: end{
				runs: relB, pooled: false,
				story: "out=true drain@lb1 quiet activate:b out=false",
			},
		},
		"somebody had taken it out, and the deploy died": {
			balancers: []string{"lb1"},
			before: func(w *world) {
				w.bals[0].drained = true
				w.disk, w.running, w.desired = relB, relB, relB
				w.intent = release.Intent{Out: true, Owner: "deploy-6" + foundOut, Token: 6}
			},
			want: end{runs: relB, pooled: false, story: "out=false"},
		},
		"somebody had taken it out at one of two": {
			balancers: []string{"lb1", "lb2"},
			before:    func(w *world) { w.bals[0].drained = true },
			want:      end{err: []error{targets.ErrReturned}, says: []string{"lb2: in"}, runs: relA, pooled: true, story: ""},
		},
		"emergency": {
			balancers: []string{"lb1"},
			s:         func(s *targets.Switch) { s.Emergency = true },
			before:    func(w *world) { w.fail["state@lb1"] = always(errDead) },
			want:      end{runs: relB, pooled: true, story: "activate:b"},
		},
		"reload, the checks fail": {
			balancers: []string{"lb1"},
			o:         Options{Reload: true, Checks: func(context.Context, string) error { return bad }},
			want:      end{err: []error{bad, targets.ErrReturned}, runs: relA, pooled: true, story: "activate:b activate:a"},
		},
		"left out by a deploy that died, and the checks fail": {
			balancers: []string{"lb1"},
			o:         Options{Checks: func(context.Context, string) error { return bad }},
			before: func(w *world) {
				w.intent = release.Intent{Out: true, Owner: "deploy-6", Token: 6}
				w.bals[0].drained = true
			},
			want: end{err: []error{targets.ErrOut}, says: []string{"500"}, not: []error{targets.ErrReturned}, runs: relB, out: true, owner: "deploy-7"},
		},
		"left out by a deploy that died, and the release cannot be proven": {
			balancers: []string{"lb1"},
			before: func(w *world) {
				w.intent = release.Intent{Out: true, Owner: "deploy-6", Token: 6}
				w.bals[0].drained, w.broken = true, relB
			},
			want: end{err: []error{targets.ErrOut}, not: []error{targets.ErrReturned}, runs: relA, out: true, owner: "deploy-7"},
		},
		"reload, somebody had taken it out": {
			balancers: []string{"lb1"},
			o:         Options{Reload: true},
			before:    func(w *world) { w.bals[0].drained = true },
			want:      end{runs: relB, pooled: false, story: "activate:b"},
		},
		"reload, somebody had taken it out, and the host breaks": {
			balancers: []string{"lb1"},
			o:         Options{Reload: true},
			before: func(w *world) {
				w.bals[0].drained = true
				w.fail["activate:b"] = always(targets.ErrOut)
			},
			want: end{err: []error{targets.ErrOut}, runs: relA, out: true, owner: "deploy-7" + foundOut},
		},
		"reload, and neither can be proven": {
			balancers: []string{"lb1"},
			o:         Options{Reload: true},
			before: func(w *world) {
				w.fail["activate:b"] = func(int) error { w.disk = relB; w.running = release.ID{}; return targets.ErrOut }
			},
			want: end{err: []error{targets.ErrOut}, runs: relA, out: true, owner: "deploy-7", story: "activate:b out=true drain@lb1"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(tt.balancers...)
				if tt.before != nil {
					tt.before(w)
				}
				s := toB()
				if tt.s != nil {
					tt.s(&s)
				}
				err := w.target(tt.o).Activate(t.Context(), s)
				if name == "reload, and neither can be proven" { // the end has no release to name
					if !w.running.IsZero() {
						t.Errorf("running %s", w.running.Short())
					}
					w.disk, w.running = relA, relA
				}
				tt.want.check(t, w, err)
			})
		})
	}
}

func TestFencedBeforeItComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("lb1")
		err := w.target(Options{Checks: func(context.Context, string) error {
			w.intent.Token, w.intent.Claimer = 8, "deploy-8"
			return nil
		}}).Activate(t.Context(), toB())
		end{
			err: []error{targets.ErrFenced}, not: []error{targets.ErrReturned}, runs: relB, out: true,
			says: []string{"deploy-8"}, story: "out=true drain@lb1 quiet activate:b",
		}.check(t, w, err)
	})
}

func TestCancelWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("lb1")
		w.bals[0].busy = -1
		stop := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(5*time.Second, func() { cancel(stop) })
		err := w.target(Options{}).Activate(ctx, toB())
		end{
			err: []error{stop, targets.ErrReturned}, runs: relA, pooled: true,
			story: "out=true drain@lb1 ready@lb1 out=false",
		}.check(t, w, err)
	})
}

func TestCancelWhileSwitchingEndsTheSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("lb1")
		ctx, cancel := context.WithCancel(t.Context())
		w.fail["activate:b"] = func(int) error { cancel(); return nil }
		err := w.target(Options{}).Activate(ctx, toB())
		end{runs: relB, pooled: true, story: "out=true drain@lb1 quiet activate:b ready@lb1 out=false"}.check(t, w, err)
	})
}
