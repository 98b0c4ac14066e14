package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scap/sync/release"
	"scap/targets"
)

// trierHost is a host that can try releases.
type trierHost struct{ fakeHost }

var _ targets.Trier = (*trierHost)(nil)

var errCannot = errors.New("it has no second socket")

func (h *trierHost) CanTry(st targets.State) error {
	if st.Proof.Road.NoTrial != "" {
		return errCannot
	}
	return nil
}

func (h *trierHost) Try(_ context.Context, s targets.Switch, _ time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.act(fmt.Sprintf("try:%x", s.To[0])); err != nil {
		return err
	}
	h.trial = s.To
	return h.fence(s.Token)
}

func (h *trierHost) Abandon(ctx context.Context, token uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := h.act("abandon"); err != nil {
		return err
	}
	h.trial = release.ID{}
	return h.fence(token)
}

func (w *world) trier(o Options) *Target {
	bs := make([]Balancer, 0, len(w.bals))
	for _, b := range w.bals {
		bs = append(bs, b)
	}
	return New(&trierHost{fakeHost{w}}, bs, o)
}

var (
	byHandover = release.Road{Strategy: release.ByHandover}
	noMemory   = release.Road{Strategy: release.ByDrain, Wanted: release.ByHandover, Why: "40 MB are missing"}
)

func TestHandover(t *testing.T) {
	bad := errors.New("GET /wiki/X: 500")
	checks := func(context.Context, string) error { return bad }
	drained := "out=true drain@lb1 quiet activate:b ready@lb1 out=false"
	tests := map[string]struct {
		before func(*world)
		o      Options
		s      func(*targets.Switch)
		want   end
		notes  []string
		never  bool // it is not configured to hand over
	}{
		"clean": {
			want: end{runs: relB, pooled: true, story: "serving-activate:b"},
		},
		"not configured": {
			never: true,
			want:  end{runs: relB, pooled: true, story: drained},
		},
		"a runtime that says nothing of its road": {
			before: func(w *world) { w.road = release.Road{} },
			want:   end{runs: relB, pooled: true, story: drained},
			notes:  []string{"cannot hand over"},
		},
		"no memory for a second one": {
			before: func(w *world) { w.road = noMemory },
			want:   end{runs: relB, pooled: true, story: drained},
			notes:  []string{"cannot hand over, so it is drained: 40 MB are missing"},
		},
		"no memory, but the release is warm": {
			before: func(w *world) { w.road = noMemory; w.road.Warm = []release.ID{relB} },
			want:   end{runs: relB, pooled: true, story: "serving-activate:b"},
		},
		"a balancer that does not answer is not needed": {
			before: func(w *world) { w.fail["state@lb1"] = always(errDead) },
			want:   end{runs: relB, pooled: true, story: "serving-activate:b"},
		},
		"counted on to serve, and it would have to leave": {
			before: func(w *world) { w.road = noMemory },
			s:      func(s *targets.Switch) { s.Serving = true },
			want:   end{err: []error{targets.ErrReturned}, runs: relA, pooled: true, still: true, says: []string{"40 MB are missing", "nothing was changed"}},
		},
		"counted on to serve, and it does": {
			s:    func(s *targets.Switch) { s.Serving = true },
			want: end{runs: relB, pooled: true, story: "serving-activate:b"},
		},
		"counted on to serve, and not proven": {
			before: func(w *world) { w.disk, w.running, w.desired = release.ID{0xc}, release.ID{0xc}, release.ID{0xc} },
			s:      func(s *targets.Switch) { s.Serving = true },
			want:   end{err: []error{errNotCounted}, not: []error{targets.ErrReturned}, runs: release.ID{0xc}, pooled: true, still: true},
		},
		"counted on to serve, and busy since": {
			before: func(w *world) { w.running = release.ID{} },
			s:      func(s *targets.Switch) { s.Serving = true },
			want:   end{runs: relB, pooled: true, story: "serving-activate:b"},
		},
		"counted on to serve, and out since": {
			before: func(w *world) {
				w.road, w.intent = noMemory, release.Intent{Out: true, Owner: "deploy-6", Token: 6}
			},
			s:    func(s *targets.Switch) { s.Serving = true },
			want: end{runs: relB, pooled: true, story: drained},
		},
		"counted on to serve, in an emergency": {
			before: func(w *world) { w.road = noMemory },
			s:      func(s *targets.Switch) { s.Serving, s.Emergency = true, true },
			want:   end{runs: relB, pooled: true, story: "activate:b"},
		},
		"counted on to serve, and the memory is gone at the last moment": {
			before: func(w *world) { w.fail["serving-activate:b"] = func(int) error { w.road = noMemory; return nil } },
			s:      func(s *targets.Switch) { s.Serving = true },
			want:   end{err: []error{targets.ErrReturned}, runs: relA, pooled: true, story: "serving-activate:b"},
		},
		"counted on to serve, not configured to hand over": {
			never: true,
			s:     func(s *targets.Switch) { s.Serving = true },
			want:  end{err: []error{targets.ErrReturned}, runs: relA, pooled: true, still: true, says: []string{"not configured"}},
		},
		"emergency": {
			s:    func(s *targets.Switch) { s.Emergency = true },
			want: end{runs: relB, pooled: true, story: "activate:b"},
		},
		"out by a deploy that died": {
			before: func(w *world) { w.intent = release.Intent{Out: true, Owner: "deploy-6", Token: 6} },
			want:   end{runs: relB, pooled: true, story: drained},
		},
		"out by somebody's hand": {
			before: func(w *world) { w.bals[0].drained = true },
			want:   end{runs: relB, story: "out=true drain@lb1 quiet activate:b out=false"},
		},
		"not proven before: all workers are busy, for minutes": {
			before: func(w *world) {
				w.running, w.bals[0].busy, w.bals[0].red = release.ID{}, -1, true
			},
			want: end{runs: relB, pooled: true, story: "serving-activate:b"},
		},
		"not proven before, and its keeper cannot be asked": {
			before: func(w *world) { w.running, w.road = release.ID{}, noMemory },
			want:   end{runs: relB, pooled: true, story: drained},
			notes:  []string{"cannot hand over"},
		},
		"not proven before, and on another release": {
			before: func(w *world) { w.running, w.disk = release.ID{}, release.ID{0xc} },
			want:   end{runs: relB, pooled: true, story: drained},
		},
		"not proven before, and it cannot hand over after all": {
			before: func(w *world) {
				w.running = release.ID{}
				w.fail["serving-activate:b"] = func(int) error {
					w.running = relA
					return fmt.Errorf("no way back: %w", targets.ErrOut)
				}
			},
			want: end{
				err: []error{targets.ErrOut}, not: []error{targets.ErrReturned}, runs: relA, out: true,
				story: "serving-activate:b out=true drain@lb1",
			},
		},
		"on another release than the one to leave": {
			before: func(w *world) { w.disk, w.running, w.desired = release.ID{0xc}, release.ID{0xc}, release.ID{0xc} },
			want:   end{runs: relB, pooled: true, story: drained},
		},
		"the release cannot be proven": {
			before: func(w *world) { w.broken = relB },
			want:   end{err: []error{targets.ErrReturned}, runs: relA, pooled: true, story: "serving-activate:b"},
		},
		"neither can be proven": {
			before: func(w *world) {
				w.fail["serving-activate:b"] = always(targets.ErrOut)
			},
			want: end{
				err: []error{targets.ErrOut}, not: []error{targets.ErrReturned}, runs: relA, out: true, owner: "deploy-7",
				story: "serving-activate:b out=true drain@lb1", says: []string{"scap repair mw1"},
			},
		},
		"the memory is gone at the last moment": {
			before: func(w *world) { w.fail["serving-activate:b"] = func(int) error { w.road = noMemory; return nil } },
			want:   end{runs: relB, pooled: true, story: "serving-activate:b " + drained},
			notes:  []string{"could not hand over at the last moment, so it is drained: 40 MB are missing"},
		},
		"the memory is gone at the last moment, and it is not quiet": {
			before: func(w *world) {
				w.fail["serving-activate:b"] = func(int) error { w.road = noMemory; return nil }
				w.bals[0].busy = -1
			},
			want: end{
				err: []error{targets.ErrReturned, errBusy}, says: []string{"40 MB are missing", "nothing was changed"}, runs: relA, pooled: true,
				story: "serving-activate:b out=true drain@lb1 ready@lb1 out=false",
			},
			notes: []string{"at the last moment"},
		},
		"the memory is gone at the last moment, and the release is bad": {
			before: func(w *world) {
				w.fail["serving-activate:b"] = func(int) error { w.road = noMemory; return nil }
				w.broken = relB
			},
			want: end{
				err: []error{targets.ErrReturned}, says: []string{"40 MB are missing"}, runs: relA, pooled: true,
				story: "serving-activate:b " + drained,
			},
			notes: []string{"at the last moment"},
		},
		"the memory is gone at the last moment, and so is a balancer": {
			before: func(w *world) {
				w.fail["serving-activate:b"] = func(int) error {
					w.road, w.fail["state@lb1"] = noMemory, always(errDead)
					return nil
				}
			},
			want: end{
				err: []error{targets.ErrReturned}, says: []string{"lb1 does not answer", "40 MB are missing"}, runs: relA, pooled: true,
				story: "serving-activate:b",
			},
			notes: []string{"at the last moment"},
		},
		"the checks fail": {
			o:    Options{Checks: checks},
			want: end{err: []error{bad, targets.ErrReturned}, runs: relA, pooled: true, story: "serving-activate:b serving-activate:a"},
		},
		"the checks fail, and the way back has to stop": {
			o:      Options{Checks: checks},
			before: func(w *world) { w.fail["serving-activate:a"] = func(int) error { w.road = noMemory; return nil } },
			want: end{
				err: []error{bad, targets.ErrReturned}, runs: relA, pooled: true,
				story: "serving-activate:b serving-activate:a out=true drain@lb1 quiet activate:a ready@lb1 out=false",
			},
			notes: []string{"could not hand over back"},
		},
		"the checks fail, and so does the way back": {
			o:      Options{Checks: checks},
			before: func(w *world) { w.fail["serving-activate:a"] = always(targets.ErrOut) },
			want: end{
				err: []error{targets.ErrOut}, not: []error{targets.ErrReturned}, runs: relB, out: true, owner: "deploy-7",
				story: "serving-activate:b serving-activate:a out=true drain@lb1",
			},
		},
		"the checks fail, and the host is to blame": {
			o: Options{Checks: checks, Fit: func(context.Context, string) error { return errSick }},
			want: end{
				err: []error{targets.ErrOut}, not: []error{targets.ErrReturned}, runs: relA, out: true, owner: "deploy-7",
				story: "serving-activate:b serving-activate:a out=true drain@lb1",
			},
		},
		"the answer is lost and the host is new": {
			before: func(w *world) { w.lost = true },
			want:   end{runs: relB, pooled: true, story: "serving-activate:b"},
		},
		"the question is lost and the host is old": {
			before: func(w *world) { w.fail["serving-activate:b"] = once(errDead) },
			want:   end{err: []error{errDead, targets.ErrReturned}, runs: relA, pooled: true, story: "serving-activate:b"},
		},
		"another deploy claims it": {
			before: func(w *world) { w.fail["serving-activate:b"] = func(int) error { w.intent.Token = 8; return nil } },
			want:   end{err: []error{targets.ErrFenced}, runs: relA, pooled: true, story: "serving-activate:b"},
		},
		"adopted, on the release that it serves": {
			s:    func(s *targets.Switch) { s.From, s.To, s.Hand = relA, relA, release.Adopt },
			want: end{runs: relA, pooled: true, story: "out=true drain@lb1 quiet activate:a ready@lb1 out=false"},
		},
		"adopted in an emergency, by a runtime that reloads": {
			o:    Options{Reload: true, Handover: true},
			s:    func(s *targets.Switch) { s.From, s.To, s.Hand, s.Emergency = relA, relA, release.Adopt, true },
			want: end{runs: relA, pooled: true, story: "out=true drain@lb1 quiet activate:a ready@lb1 out=false"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld("lb1")
				w.road = byHandover
				if tt.before != nil {
					tt.before(w)
				}
				s, o := toB(), tt.o
				if tt.s != nil {
					tt.s(&s)
				}
				o.Handover = !tt.never
				var notes []string
				o.Note = func(name, text string) { notes = append(notes, name+": "+text) }
				err := w.trier(o).Activate(t.Context(), s)
				tt.want.check(t, w, err)
				if said := strings.Join(notes, "\n"); len(notes) != len(tt.notes) || len(notes) > 0 && !strings.Contains(said, tt.notes[0]) {
					t.Errorf("notes %q, want %q", notes, tt.notes)
				}
			})
		})
	}
}

// TestHandTakenBack: a host that fails its checks after its runtime was taken over is given back, out of the pool.
func TestHandTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("lb1")
		w.road = byHandover
		bad := errors.New("bad")
		s := targets.Switch{From: relA, To: relA, Token: 7, Owner: "deploy-7", Hand: release.Adopt}
		err := w.trier(Options{Handover: true, Checks: func(context.Context, string) error { return bad }}).Activate(t.Context(), s)
		end{
			err: []error{bad, targets.ErrReturned}, runs: relA, pooled: true,
			story: "out=true drain@lb1 quiet activate:a out=true drain@lb1 quiet activate:a ready@lb1 out=false",
		}.check(t, w, err)
		if want := []release.Hand{release.Adopt, release.GiveUp}; !slices.Equal(w.hands, want) {
			t.Errorf("hands %q, want %q", w.hands, want)
		}
	})
	// A question that never reached the host has not handed it over, although it proves the release.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("lb1")
		w.fail["activate:a"] = once(errDead)
		s := targets.Switch{From: relA, To: relA, Token: 7, Owner: "deploy-7", Hand: release.Adopt}
		err := w.trier(Options{Handover: true}).Activate(t.Context(), s)
		end{err: []error{errDead, targets.ErrReturned}, runs: relA, pooled: true}.check(t, w, err)
	})
	synctest.Test(t, func(t *testing.T) { // and one whose answer was lost has
		w := newWorld("lb1")
		w.lost = true
		s := targets.Switch{From: relA, To: relA, Token: 7, Owner: "deploy-7", Hand: release.Adopt}
		end{runs: relA, pooled: true}.check(t, w, w.trier(Options{Handover: true}).Activate(t.Context(), s))
	})
}

func TestRepairIsNeverUnderTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("lb1")
		w.road = byHandover
		err := w.trier(Options{Handover: true}).Repair(t.Context(), toB())
		end{runs: relB, pooled: true, story: "out=true drain@lb1 quiet repair:b ready@lb1 out=false"}.check(t, w, err)
	})
}

func TestTry(t *testing.T) {
	tests := map[string]struct {
		before func(*world)
		err    error
		says   string
		story  string
	}{
		"good":               {func(*world) {}, nil, "", "try:b"},
		"the host cannot":    {func(w *world) { w.road.NoTrial = "no socket" }, errCannot, "", ""},
		"out by a deploy":    {func(w *world) { w.intent = release.Intent{Out: true, Token: 7} }, nil, "no user reaches it", ""},
		"drained":            {func(w *world) { w.bals[0].drained = true }, nil, "no user reaches it", ""},
		"red":                {func(w *world) { w.bals[0].red = true }, nil, "no user reaches it", ""},
		"balancer is silent": {func(w *world) { w.fail["state@lb1"] = always(errDead) }, nil, "no user reaches it", ""},
		"on another release": {func(w *world) { w.disk, w.running, w.desired = relB, relB, relB }, nil, "running 0b", ""},
		"not proven":         {func(w *world) { w.running = release.ID{} }, nil, " proven", ""},
		"an old token":       {func(w *world) { w.intent.Token = 8 }, targets.ErrFenced, "", ""},
		"it does not start":  {func(w *world) { w.fail["try:b"] = always(errDead) }, errDead, "", "try:b"},
		"the host is silent": {func(w *world) { w.fail["state"] = always(errDead) }, errDead, "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld("lb1")
			w.road = byHandover
			tt.before(w)
			target := w.trier(Options{Handover: true})
			err := target.Try(t.Context(), toB(), time.Now().Add(time.Hour))
			if good := tt.err == nil && tt.says == ""; good != (err == nil) || tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("%v, want %v", err, tt.err)
			}
			if tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("%v, want it to say %q", err, tt.says)
			}
			if w.story() != tt.story {
				t.Errorf("acts %q, want %q: the pool is not touched", w.story(), tt.story)
			}
		})
	}
}

func TestHostWithoutTrials(t *testing.T) {
	w := newWorld("lb1")
	w.road = byHandover
	target := w.target(Options{Handover: true})
	st, err := target.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := target.CanTry(st); !errors.Is(err, errNoTrier) {
		t.Errorf("can try: %v", err)
	}
	if err := target.Try(t.Context(), toB(), time.Now().Add(time.Hour)); !errors.Is(err, errNoTrier) {
		t.Errorf("try: %v", err)
	}
	if err := target.Abandon(t.Context(), 7); err != nil {
		t.Errorf("abandon: %v", err)
	}
}

// TestAbandonAfterCancel: what nobody wants any more ends also when the deploy was cancelled.
func TestAbandonAfterCancel(t *testing.T) {
	w := newWorld("lb1")
	w.trial = relB
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.trier(Options{}).Abandon(ctx, 7); err != nil || !w.trial.IsZero() {
		t.Errorf("%v, tried is %s", err, w.trial.Short())
	}
}

// TestActivateBesideATrial: a host that serves what it is to serve still must not try anything beside it.
func TestActivateBesideATrial(t *testing.T) {
	back := targets.Switch{From: relB, To: relA, Token: 7, Owner: "deploy-7"}
	for name, tt := range map[string]struct {
		before func(*world)
		s      targets.Switch
		want   end
	}{
		"to what it serves": {func(*world) {}, back, end{runs: relA, pooled: true, story: "abandon"}},
		"to what it serves, and it does not end": {
			func(w *world) { w.fail["abandon"] = always(errDead) },
			back,
			end{err: []error{errDead}, runs: relA, pooled: true, story: "abandon"},
		},
		"to what it tries": {func(*world) {}, toB(), end{runs: relB, pooled: true, story: "serving-activate:b"}},
		"to what it tries, by an agent that dies before it ended the trial": {
			func(w *world) {
				w.fail["serving-activate:b"] = func(int) error { w.disk, w.running, w.desired = relB, relB, relB; return errDead }
			},
			toB(),
			end{runs: relB, pooled: true, story: "serving-activate:b abandon"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld("lb1")
				w.road, w.trial = byHandover, relB
				tt.before(w)
				tt.want.check(t, w, w.trier(Options{Handover: true}).Activate(t.Context(), tt.s))
				if len(tt.want.err) == 0 && !w.trial.IsZero() {
					t.Errorf("%s is still tried", w.trial.Short())
				}
			})
		})
	}
}

// TestDeathAtEveryActOfAHandover: the deploy host dies at each act in turn, with a road that is there and one that goes.
func TestDeathAtEveryActOfAHandover(t *testing.T) {
	for _, lasts := range []bool{true, false} {
		deaths := 0
		for at, whole := 1, false; !whole && !t.Failed(); at++ {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld("lb1", "lb2")
				w.road = byHandover
				if !lasts {
					w.fail["serving-activate:b"] = func(int) error { w.road = noMemory; return nil }
				}
				w.dieAt = at
				err := w.trier(Options{Handover: true}).Activate(t.Context(), toB())
				if err := w.owned(); err != nil {
					t.Errorf("died at act %d: %v", at, err)
				}
				if whole = len(w.log) < at; whole {
					return
				}
				deaths++
				if err == nil && w.intent.Out {
					t.Errorf("died at act %d, said nothing and left the host out", at)
				}
				w.dieAt, w.log, w.road = 0, nil, byHandover
				to := targets.Switch{From: relA, To: relB, Token: 8, Owner: "deploy-8"}
				if err := w.trier(Options{Handover: true}).Activate(t.Context(), to); err != nil || w.running != relB || w.intent.Out || !w.pooled() {
					t.Errorf("after death at act %d: %v, running %s, intent %+v; acts %s", at, err, w.running.Short(), w.intent, w.story())
				}
			})
		}
		if least := map[bool]int{true: 4, false: 20}[lasts]; deaths < least {
			t.Errorf("road lasts %t: only %d deaths", lasts, deaths)
		}
		t.Logf("road lasts %t: died at %d acts", lasts, deaths)
	}
}
