package phases

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scap/canary"
	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

// The balancer's socket is silent for a moment: nobody knows who serves. That is no leave to take all out at once.
func TestASilentBalancerFreesNobody(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.back()
		for i := range p.Phases {
			p.Phases[i].Fanout.Width = targets.FullWidth
		}
		for _, h := range w.hosts {
			h.fail["state"] = func(n int) error {
				h.pooling, h.problems = "", nil
				if n == 2 || n == 3 { // the looks before the batches
					h.pooling, h.problems = silent, []string{"balancer lb1 does not answer"}
				}
				return nil
			}
		}
		err := (&Runner{Journal: w}).Run(t.Context(), p)
		if err != nil {
			ended(t, err, journal.Inconsistent)
		}
		w.on(t, relB)
	})
}

// A host that does not say what it serves may well serve: with nothing to spare it is not taken out.
func TestASilentHostIsNotFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("prod6")
		w.min = 5
		p := w.plan(1)
		var quiet time.Duration
		p.Phases[0].Check = func(context.Context) error {
			if quiet > 0 {
				return nil
			}
			quiet = time.Minute
			w.host("prod6").drained = true // by hand
			w.host("prod2").fail["state"] = always(errGone)
			time.AfterFunc(quiet, func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.host("prod6").drained = false
				clear(w.host("prod2").fail)
			})
			return nil
		}
		start := time.Now()
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			t.Error(err)
		}
		w.on(t, relB)
		if time.Since(start) < quiet {
			t.Errorf("took %v", time.Since(start))
		}
	})
}

// Hosts that hand over cost their pool nothing: a pool that can spare nobody is no reason to refuse, nor to wait. Forward they
// go by the phase's width, back all at once.
func TestHandingOverCostsNoCapacity(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.hand()
		w.min = 8 // of 8
		p := w.plan(1)
		w.gate(p, "prod").tell = func(win canary.Window, _ seen) (canary.Ruling, bool) {
			return canary.Ruling{Verdict: canary.Fail}, len(win.Canary) == 5
		}
		ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack)
		w.on(t, relA)
		var back []time.Time
		for _, r := range w.records {
			if r.Kind == journal.Intent && r.Act == journal.Rollback && r.Target != "" {
				back = append(back, r.At)
			}
		}
		if len(back) != 9 || back[8].Sub(back[0]) > 0 {
			t.Errorf("not all at once: %v", back)
		}
	})
	in(t, func(t *testing.T, w *world) { // one has to be drained, and the pool can spare one
		w.hand("canary1", "canary2", "prod1", "prod2", "prod3", "prod4", "prod5")
		w.min = 7
		p := w.plan(6)
		start := time.Now()
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			ended(t, err, "")
		}
		w.on(t, relB)
		if time.Since(start) > time.Minute {
			t.Errorf("waited %v", time.Since(start))
		}
	})
	in(t, func(t *testing.T, w *world) { // three drained hosts at once are more than the pool can ever spare
		w.hand("canary1", "canary2", "prod1", "prod2", "prod3")
		w.min = 7
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), w.plan(6)), journal.Unchanged)
		if !strings.Contains(e.Error(), "takes out 3 at once") {
			t.Error(e)
		}
	})
}

// A host that would hand over back and does not is repaired, which takes it out: not all of them at the same time.
func TestAWayBackThatFailsIsRepairedWithinCapacity(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.hand()
		w.min = 7
		p := w.plan(6)
		w.gate(p, "prod").say = canary.Fail
		for _, h := range w.hosts {
			h.fail["activate"] = func(int) error {
				if h.running == relB {
					return errors.New("the keeper does not answer")
				}
				return nil
			}
		}
		ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack)
		w.on(t, relA)
		if w.host("prod1").calls["repair"] != 1 {
			t.Errorf("%v", w.host("prod1").calls)
		}
	})
}

// All at once the hosts cannot hand over any more, between the look at them and the way back: none may be drained uncounted.
func TestAWayBackThatWasToHandOverAndCannotIsDrainedWithinCapacity(t *testing.T) {
	for name, back := range map[string]bool{"way back": false, "rollback": true} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				w.hand()
				w.min = 7
				p := w.plan(6)
				if back {
					p = w.back()
					w.min = 7
				}
				w.ruling(p, canary.Fail)
				for _, h := range w.hosts {
					h.fail["activate"] = func(int) error {
						if back || h.running == relB {
							h.road = release.Road{Strategy: release.ByDrain, Wanted: release.ByHandover, Why: "no keeper"}
						}
						return nil
					}
				}
				err := (&Runner{Journal: w}).Run(t.Context(), p)
				if !back {
					ended(t, err, journal.RolledBack)
					w.on(t, relA)
					return
				}
				if err != nil {
					t.Error(err)
				}
				w.on(t, relB)
			})
		})
	}
}

// A suspect does leave the pool, whatever its road: the pool must be able to spare it.
func TestIsolationCostsCapacityWhateverTheRoad(t *testing.T) {
	five(t, func(t *testing.T, w *world) {
		w.hand()
		w.min = 11 // of 11
		p := w.plan(2)
		w.gate(p, "canary").suspect = "canary2"
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack)
		if !errors.Is(e, ErrHold) || w.host("canary2").calls["isolate"] > 0 {
			t.Error(e)
		}
		w.on(t, relA)
	})
}

func TestWhoFallsBackIsSaid(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		for _, name := range []string{"prod1", "prod3"} {
			w.host(name).road = release.Road{Strategy: release.ByDrain, Wanted: release.ByHandover, Why: "no memory (1.1 GB of 1.4 GB)"}
		}
		w.host("prod2").road = release.Road{Strategy: release.ByDrain, Wanted: release.ByHandover, Why: "upstream keepalive: nginx.conf"}
		w.host("prod4").notes = []string{"a master had died and was replaced"}
		want := []string{
			"drain instead of handover: prod1, prod3: no memory (1.1 GB of 1.4 GB)",
			"drain instead of handover: prod2: upstream keepalive: nginx.conf",
			"prod4: a master had died and was replaced",
		}
		if rep := (&Runner{Journal: w}).Examine(t.Context(), p); !slices.Equal(rep.Notes, want) {
			t.Errorf("%q", rep.Notes)
		}
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if got := w.notesOf(); !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
	})
}
