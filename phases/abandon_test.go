package phases

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"scap/canary"
	"scap/phases/journal"
	"scap/sync/release"
)

// died is a deploy whose orchestrator is killed while the gate of the canaries looks at the n-th time.
func died(t *testing.T, w *world, p Plan, n int) {
	t.Helper()
	g := w.gate(p, "canary")
	g.looks = 1 << 30
	g.tell = func(canary.Window, seen) (canary.Ruling, bool) {
		w.dead = g.seen >= n
		return canary.Ruling{}, false
	}
	_ = (&Runner{Journal: w}).Run(t.Context(), p)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.dead || w.host("canary1").trying() == nil {
		t.Fatalf("dead %t, on trial %+v", w.dead, w.host("canary1").trial)
	}
	w.dead = false
	g.tell = nil
}

// Nobody resumes, and the trials end all the same, soon after the orchestrator's death.
func TestADeadOrchestratorsTrialsEndByThemselves(t *testing.T) {
	trying(t, func(t *testing.T, w *world, p Plan) {
		died(t, w, p, 100) // 500 s
		<-time.After(lease + time.Second)
		for _, h := range w.hosts {
			if h.trying() != nil {
				t.Errorf("%s still tries", h.name)
			}
		}
	})
}

func TestResumeEndsTheTrials(t *testing.T) {
	trying(t, func(t *testing.T, w *world, p Plan) {
		died(t, w, p, 3)
		ended(t, (&Runner{Journal: w}).Resume(t.Context(), p, slices.Values(w.records)), journal.RolledBack)
		w.on(t, relA)
		if h := w.host("canary1"); h.calls["abandon"] != 1 || h.calls["activate"]+h.calls["repair"] != 0 {
			t.Errorf("%v", h.calls)
		}
		if slices.Contains(w.acts(journal.Rollback, "canary1"), journal.Intent) {
			t.Error("its trial waited for the others' way back")
		}
	})
	trying(t, func(t *testing.T, w *world, p Plan) { // one does not answer: it is named, with the time at which it ends its trial
		died(t, w, p, 3)
		h := w.host("canary1")
		h.gone = true
		e := ended(t, (&Runner{Journal: w}).Resume(t.Context(), p, slices.Values(w.records)), journal.Inconsistent)
		if !slices.Equal(e.Hosts, []string{"canary1"}) || !strings.Contains(e.Error(), lapse(h.trial.Until)) {
			t.Errorf("%v: %v; want %s", e.Hosts, e, lapse(h.trial.Until))
		}
		h.gone = false
		ended(t, (&Runner{Journal: w}).Resume(t.Context(), p, slices.Values(w.records)), journal.RolledBack)
		w.on(t, relA)
	})
}

// The journal is lost with its deploy host: the targets know that something is on trial, and who claimed them.
func TestTheTargetsTellOfATrial(t *testing.T) {
	trying(t, func(t *testing.T, w *world, p Plan) {
		p.Phases = p.Phases[1:]
		w.hosts, p.Pools[0].Min, w.min = w.hosts[2:], 5, 5
		died(t, w, p, 3)
		w.records = nil
		o, err := FromTargets(Survey(t.Context(), p.Targets(), time.Second))
		if err != nil || o.Deploy != "d1" || o.From != relA || o.To != relB {
			t.Fatalf("%+v, %v", o, err)
		}
		back := Plan{Deploy: o.Deploy, From: o.From, Release: release.Release{ID: o.To}, Phases: p.Phases, Pools: p.Pools}
		ended(t, (&Runner{Journal: w}).Undo(t.Context(), back, nil), journal.RolledBack)
		w.on(t, relA)
	})
}

// A deploy that finds somebody's trial says so and ends it before it begins; a rollback goes past one that cannot be ended.
func TestATrialThatSomebodyLeft(t *testing.T) {
	left := func(w *world) *host {
		h := w.host("prod2")
		h.trial = &release.Trial{Release: relC, Until: time.Now().Add(time.Hour)}
		return h
	}
	says := "prod2: a trial of 0c0000000000 goes on, last claimed by d0; a deploy that begins ends it first"
	trying(t, func(t *testing.T, w *world, p Plan) {
		h := left(w)
		h.fail["activate"] = func(int) error {
			if h.trial != nil && h.trial.Release == relC {
				t.Error("activated beside a trial")
			}
			return nil
		}
		if rep := (&Runner{Journal: w}).Examine(t.Context(), p); !slices.Contains(rep.Notes, says) || rep.Err() != nil || h.calls["abandon"] > 0 {
			t.Errorf("%q, %v, %v", rep.Notes, rep.Err(), h.calls)
		}
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		w.on(t, relB)
		if !slices.Contains(w.notesOf(), says) || h.calls["abandon"] != 1 {
			t.Errorf("%q, %v", w.notesOf(), h.calls)
		}
	})
	trying(t, func(t *testing.T, w *world, p Plan) {
		left(w).fail["abandon"] = always(errors.New("the keeper does not answer"))
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.Unchanged)
		if !strings.Contains(e.Error(), "the keeper does not answer") || w.host("test1").calls["activate"] > 0 {
			t.Error(e)
		}
	})
	trying(t, func(t *testing.T, w *world, _ Plan) {
		p := w.back()
		h := left(w)
		h.trial.Release = relA
		h.fail["abandon"] = always(errors.New("the keeper does not answer"))
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.Inconsistent)
		if !slices.Equal(e.Hosts, []string{"prod2"}) || h.running != relB || !strings.Contains(e.Error(), lapse(h.trial.Until)) {
			t.Errorf("%v on %s: %v", e.Hosts, h.running.Short(), e)
		}
	})
	trying(t, func(t *testing.T, w *world, p Plan) { // nothing to deploy, and a trial to be ended all the same
		left(w)
		p.Release.ID = relA
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		w.on(t, relA)
	})
}

// Who leaves at once is told what goes on without him, and until when.
func TestLeavingATrial(t *testing.T) {
	trying(t, func(t *testing.T, w *world, p Plan) {
		leave := make(chan struct{})
		g := w.gate(p, "canary")
		g.tell = func(canary.Window, seen) (canary.Ruling, bool) {
			if g.seen == 1 {
				close(leave)
			}
			return canary.Ruling{}, true
		}
		e := ended(t, (&Runner{Journal: w, Leave: leave}).Run(t.Context(), p), journal.Inconsistent)
		if !errors.Is(e, ErrLeft) || !strings.Contains(e.Error(), "canary1: a share of its requests may get 0b0000000000: "+lapse(w.host("canary1").trial.Until)) {
			t.Error(e)
		}
	})
}

// A host that takes its time to end its trial, whatever becomes of the question, does not keep the others on what was refused.
func TestATrialThatTakesLongToEndHoldsNobodyUp(t *testing.T) {
	trying(t, func(t *testing.T, w *world, p Plan) {
		w.gate(p, "prod").say = canary.Fail
		w.host("prod1").fail["abandon"] = func(n int) error {
			if n > 2 {
				return nil
			}
			w.mu.Unlock()
			defer w.mu.Lock()
			<-time.After(2 * time.Minute)
			return nil
		}
		ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack)
		w.on(t, relA)
		var refused, back time.Time
		for _, r := range w.records {
			switch {
			case r.Kind == journal.Ruled && r.Verdict == "fail":
				refused = r.At
			case r.Kind == journal.Undone && r.Target == "canary1":
				back = r.At
			}
		}
		if d := back.Sub(refused); d <= 0 || d > 15*time.Second {
			t.Errorf("the canaries were on it for %v more", d)
		}
	})
}

// Another deploy has claimed the hosts since: its is the fleet, and its is the trial.
func TestATrialOfAFencedDeployIsLeftToTheOther(t *testing.T) {
	trying(t, func(t *testing.T, w *world, p Plan) {
		w.gate(p, "canary").looks = 1 << 30
		w.gate(p, "canary").tell = func(canary.Window, seen) (canary.Ruling, bool) {
			for _, h := range w.hosts {
				h.intent.Token, h.intent.Claimer = 9, "d2"
			}
			return canary.Ruling{}, false
		}
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.Inconsistent)
		if w.host("canary1").trial == nil || !slices.Contains(e.Hosts, "canary1") {
			t.Errorf("%v, trial %+v", e, w.host("canary1").trial)
		}
	})
}

// With a full disk nobody is left on what was refused.
func TestTrialsEndWithoutAJournal(t *testing.T) {
	trying(t, func(t *testing.T, w *world, p Plan) {
		p.Phases[1].Gate = strange(func(context.Context, canary.Window, canary.Evidence) (canary.Ruling, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.full = true
			return canary.Ruling{}, nil
		})
		ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack)
		w.on(t, relA)
	})
}
