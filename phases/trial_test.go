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
	"scap/targets"
)

// trying runs a test in a world whose hosts all hand over, with a plan that tries on the canaries and in production first.
func trying(t *testing.T, do func(t *testing.T, w *world, p Plan)) {
	in(t, func(t *testing.T, w *world) {
		w.hand()
		p := w.plan(2)
		w.share(&p, "canary", "prod")
		do(t, w, p)
	})
}

func TestATrialThatPassesIsPromoted(t *testing.T) {
	trying(t, func(t *testing.T, w *world, p Plan) {
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		w.on(t, relB)
		for _, h := range w.hosts {
			want := 1
			if h.phase == "test" {
				want = 0
			}
			if h.calls["try"] != want || h.calls["activate"] != 1 || h.calls["abandon"] != 0 {
				t.Errorf("%s: %v", h.name, h.calls)
			}
		}
		if kinds := w.acts(journal.Try, "prod3"); !slices.Equal(kinds, []journal.Kind{journal.Intent, journal.Done}) {
			t.Errorf("the journal says %v of the trial", kinds)
		}
		if open := journal.Trials(slices.Values(w.records)); len(open) > 0 {
			t.Errorf("left open: %+v", open)
		}
		if g := w.gate(p, "prod"); g.seen != 6 { // once for each batch, two looks each: not again after the promotion
			t.Errorf("the gate looked %d times", g.seen)
		}
		if d := w.records[0]; !strings.Contains(string(d.Data), `"share":0.05`) {
			t.Errorf("the outline says %s", d.Data)
		}
	})
}

// The arms are the two releases of the same machines; what was promoted before is on the release whole, and so Earlier.
func TestTheWindowOfATrial(t *testing.T) {
	trying(t, func(t *testing.T, w *world, p Plan) {
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		win := w.gate(p, "prod").windows[2] // of the second batch
		list := func(hs []canary.Host) (names []string) {
			for _, h := range hs {
				names = append(names, h.Name+"@"+h.On+"="+h.Release[:2]+h.Nonce)
			}
			return names
		}
		if got, want := list(win.Canary), []string{"prod3 canary@prod3=0bt-prod3", "prod4 canary@prod4=0bt-prod4"}; !slices.Equal(got, want) {
			t.Errorf("canary %v, want %v", got, want)
		}
		if got, want := list(win.Control), []string{"prod3@prod3=0an-prod3", "prod4@prod4=0an-prod4"}; !slices.Equal(got, want) {
			t.Errorf("control %v, want %v", got, want)
		}
		earlier := names(append(append(w.group("test"), w.group("canary")...), w.group("prod")[:2]...))
		if got := hostNames(win.Earlier); !slices.Equal(got, earlier) || win.Share != .05 || win.From != relA.String() {
			t.Errorf("earlier %v, want %v; share %g, from %s", got, earlier, win.Share, win.From)
		}
		for _, h := range win.Canary {
			if h.Since.IsZero() || win.Opened.Before(h.Since) {
				t.Errorf("%s since %s, opened %s", h.Name, h.Since, win.Opened)
			}
		}
	})
}

func hostNames(hs []canary.Host) (names []string) {
	for _, h := range hs {
		names = append(names, h.Name)
	}
	return names
}

// Whatever else happens than a pass: every trial is ended, users before anything else, and nobody was activated.
func TestATrialThatDoesNotPassIsEnded(t *testing.T) {
	forever := func(g *gate) { g.looks = 1 << 30 }
	for name, tt := range map[string]struct {
		spoil func(w *world, p *Plan, cancel context.CancelFunc)
		how   string
	}{
		"fail":      {func(w *world, p *Plan, _ context.CancelFunc) { w.gate(*p, "canary").say = canary.Fail }, journal.RolledBack},
		"hold":      {func(w *world, p *Plan, _ context.CancelFunc) { forever(w.gate(*p, "canary")) }, journal.RolledBack},
		"cannot be": {func(w *world, p *Plan, _ context.CancelFunc) { w.gate(*p, "canary").err = errors.New("503") }, journal.RolledBack},
		"Ctrl-C": {func(w *world, p *Plan, cancel context.CancelFunc) {
			w.gate(*p, "canary").tell = func(canary.Window, seen) (canary.Ruling, bool) {
				cancel()
				return canary.Ruling{Verdict: canary.Pass}, true
			}
		}, journal.Cancelled},
		"Ctrl-C, earlier": {func(w *world, _ *Plan, cancel context.CancelFunc) {
			w.host("canary1").fail["try"] = func(int) error { cancel(); return nil }
		}, journal.Cancelled},
		"no try": {func(w *world, _ *Plan, _ context.CancelFunc) {
			w.host("canary2").fail["try"] = always(errors.New("no memory"))
		}, journal.RolledBack},
		"it ends": {func(w *world, p *Plan, _ context.CancelFunc) {
			w.gate(*p, "canary").tell = func(canary.Window, seen) (canary.Ruling, bool) {
				w.host("canary2").trial = nil
				return canary.Ruling{Verdict: canary.Pass}, true
			}
		}, journal.RolledBack},
		"it is sick": {func(w *world, p *Plan, _ context.CancelFunc) {
			w.gate(*p, "canary").tell = func(canary.Window, seen) (canary.Ruling, bool) {
				w.host("canary2").trial.Reason = "a worker answers with another release"
				return canary.Ruling{Verdict: canary.Pass}, true
			}
		}, journal.RolledBack},
	} {
		t.Run(name, func(t *testing.T) {
			trying(t, func(t *testing.T, w *world, p Plan) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				tt.spoil(w, &p, cancel)
				ended(t, (&Runner{Journal: w}).Run(ctx, p), tt.how)
				w.on(t, relA)
				abandoned := -1
				for i, r := range w.records {
					switch {
					case r.Act == journal.Activate && r.Phase != "test":
						t.Errorf("%s was activated", r.Target)
					case r.Act == journal.Abandon && r.Kind == journal.Intent && abandoned < 0:
						abandoned = i
					case r.Act == journal.Claim && r.Token == 7 && abandoned < 0:
						t.Fatal("the way back began before the trials were ended")
					}
				}
				if open := journal.Trials(slices.Values(w.records)); abandoned < 0 || len(open) > 0 {
					t.Errorf("abandoned at %d, left open %+v", abandoned, open)
				}
			})
		})
	}
}

func TestAFailedTrialCountsLikeAFailedActivation(t *testing.T) {
	for name, tt := range map[string]struct {
		fault  func(int) error
		budget int
		how    string
	}{
		"lost answer":           {once(errLost), 0, ""},
		"once, no budget":       {once(errGone), 0, journal.RolledBack},
		"once, budget":          {once(errGone), 1, ""},                   // it gets one more chance
		"always, budget":        {always(errors.New("no memory")), 1, ""}, // it goes like those that cannot try: every gate has passed
		"hangs once, budget":    {once(errHangs), 1, ""},
		"hangs once, no budget": {once(errHangs), 0, journal.RolledBack},
	} {
		t.Run(name, func(t *testing.T) {
			trying(t, func(t *testing.T, w *world, p Plan) {
				p.Phases[2].Fanout.MaxFailures = tt.budget
				w.host("prod3").fail["try"] = tt.fault
				err := (&Runner{Journal: w}).Run(t.Context(), p)
				if tt.how == "" {
					if err != nil {
						t.Fatal(err)
					}
					w.on(t, relB)
					return
				}
				ended(t, err, tt.how)
				w.on(t, relA)
			})
		})
	}
}

// A host whose promotion fails within the budget is not left on a trial that nobody looks at.
func TestAPromotionThatFails(t *testing.T) {
	trying(t, func(t *testing.T, w *world, p Plan) {
		p.Phases[2].Fanout.MaxFailures = 1
		h := w.host("prod3")
		h.fail["activate"] = once(errors.New("rename: read-only file system"))
		w.gate(p, "prod").tell = func(win canary.Window, _ seen) (canary.Ruling, bool) {
			if on := slices.Contains(hostNames(win.Canary), arm("prod5")); on && h.trial != nil {
				t.Error("prod3 is still on trial while others are judged")
			}
			return canary.Ruling{}, false
		}
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		w.on(t, relB)
		if h.calls["try"] != 2 || h.calls["abandon"] != 1 {
			t.Errorf("%v", h.calls)
		}
	})
}

func TestWhoCannotTryGoesAfterThePass(t *testing.T) {
	trying(t, func(t *testing.T, w *world, p Plan) {
		w.host("prod2").road.Strategy = "drain"
		g := w.gate(p, "prod")
		g.tell = func(win canary.Window, _ seen) (canary.Ruling, bool) {
			if win.Share > 0 && len(win.Canary) == 1 && w.host("prod2").running != relA {
				t.Error("prod2 was activated before the trial passed")
			}
			return canary.Ruling{}, false
		}
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		w.on(t, relB)
		if !slices.Contains(w.notesOf(), "not tried on a share first, activated after the others have passed: prod2: it does not hand over") {
			t.Errorf("%q", w.notesOf())
		}
	})
}

func TestABatchInWhichNobodyCanTryGoesTheOrdinaryWay(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.hand("prod1", "prod2")
		p := w.plan(2)
		w.share(&p, "canary", "prod")
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		w.on(t, relB)
		if !slices.Contains(w.notesOf(), "not tried on a share first, activated as usual, and judged then: canary1, canary2: it does not hand over") {
			t.Errorf("%q", w.notesOf())
		}
		first, third := w.gate(p, "prod").windows[0], w.gate(p, "prod").windows[2]
		if first.Share == 0 || third.Share != 0 || !slices.Equal(hostNames(third.Canary), []string{"prod3", "prod4"}) ||
			!slices.Contains(hostNames(third.Earlier), "prod1") || !slices.Equal(hostNames(third.Control), []string{"prod5", "prod6"}) {
			t.Errorf("first %+v\nthird %+v", first, third)
		}
	})
}

// A rollback, an emergency and a phase without a gate do not try: there is a hurry, or nobody to judge.
func TestWhoNeverTries(t *testing.T) {
	for name, spoil := range map[string]func(*world, *Plan){
		"rollback":  func(w *world, p *Plan) { *p = w.back(); w.share(p) },
		"emergency": func(w *world, p *Plan) { p.Emergency = "fire"; w.ungated = true },
		"gate off": func(w *world, p *Plan) {
			w.ungated, w.shared = true, map[string]bool{}
			for i := range p.Phases {
				p.Phases[i].Gate, p.Phases[i].GateOff = nil, "off"
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			trying(t, func(t *testing.T, w *world, p Plan) {
				spoil(w, &p)
				if name == "rollback" {
					w.shared = map[string]bool{}
				}
				if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
					t.Fatal(err)
				}
				w.on(t, relB)
				for _, h := range w.hosts {
					if h.calls["try"] > 0 {
						t.Errorf("%s tried", h.name)
					}
				}
			})
		})
	}
}

// While the gate looks, and while the deployer thinks, trials are kept; each time for minutes only.
func TestTrialsAreKeptWhileSomebodyLooks(t *testing.T) {
	trying(t, func(t *testing.T, w *world, p Plan) {
		p.Attended = true
		w.gate(p, "canary").looks = 300
		p.Phases[1].MaxWait = 20 * time.Minute
		asked := false
		r := &Runner{Journal: w, Ask: func(ctx context.Context, q Question) (Answer, error) {
			asked = true
			return Answer{Choice: Pass, Who: "jd"}, (System{}).Wait(ctx, 25*time.Minute)
		}}
		if err := r.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		h := w.host("canary1")
		if !asked || len(h.terms) < 20 || h.calls["abandon"] > 0 || w.host("canary2").calls["activate"] != 1 {
			t.Errorf("asked %t, kept %d times, %v", asked, len(h.terms), h.calls)
		}
		w.broken = nil // the fake knows of gates only, and this was the deployer's word
		w.on(t, relB)
	})
}

// A host that does not answer when its trial is to be kept is asked again; one whose trial is over counts as failed.
func TestATrialThatCannotBeKept(t *testing.T) {
	silent := func(n int) error {
		if n == 2 || n == 3 {
			return errGone
		}
		return nil
	}
	for name, tt := range map[string]struct {
		spoil  func(h *host)
		budget int
		how    string
	}{
		"a blip": {func(h *host) { h.fail["try"] = silent }, 0, ""},
		"gone": {func(h *host) {
			h.fail["try"], h.fail["abandon"] = func(n int) error { h.gone = n > 1; return nil }, nil
		}, 0, journal.Inconsistent},
		"over":         {func(h *host) { h.fail["try"] = func(n int) error { return ending(h, n) } }, 0, journal.RolledBack},
		"over, budget": {func(h *host) { h.fail["try"] = func(n int) error { return ending(h, n) } }, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			trying(t, func(t *testing.T, w *world, p Plan) {
				w.gate(p, "canary").looks = 90 // 450 s
				p.Phases[1].Fanout.MaxFailures = tt.budget
				tt.spoil(w.host("canary2"))
				err := (&Runner{Journal: w}).Run(t.Context(), p)
				if tt.how == "" {
					if err != nil {
						t.Fatal(err)
					}
					w.on(t, relB)
					return
				}
				e := ended(t, err, tt.how)
				w.on(t, relA)
				if tt.how == journal.Inconsistent && !slices.Equal(e.Hosts, []string{"canary2"}) {
					t.Errorf("hosts %v", e.Hosts)
				}
			})
		})
	}
}

// ending is a trial that the host has ended by itself when it is to be kept for the first time.
func ending(h *host, n int) error {
	if n != 2 {
		return nil
	}
	h.trial = nil
	return errors.New("no memory")
}

// One machine serves the release badly by itself: it leaves the pool, its trial ends, and the deploy goes on.
func TestASuspectOnTrial(t *testing.T) {
	five(t, func(t *testing.T, w *world) {
		w.hand()
		p := w.plan(2)
		w.share(&p, "canary")
		w.gate(p, "canary").suspect = arm("canary2")
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.Inconsistent)
		h := w.host("canary2")
		if _, ok := targets.IsSuspect(h.intent); !ok || h.trying() != nil || h.running != relA || h.serving() {
			t.Errorf("%+v, trial %+v", h.state(), h.trial)
		}
		if !slices.Equal(e.Suspects, []string{"canary2"}) || w.host("prod6").running != relB || len(w.broken) > 0 {
			t.Errorf("%v, %v", e, w.broken)
		}
		if _, err := FromTargets(Survey(t.Context(), p.Targets(), time.Second)); !errors.Is(err, ErrFinished) || !strings.Contains(err.Error(), "canary2") {
			t.Errorf("from the targets: %v", err)
		}
	})
	trying(t, func(t *testing.T, w *world, p Plan) { // the only canary is none
		p.Phases[1].Targets = p.Phases[1].Targets[:1]
		p.Pools[0].Targets = less(p.Pools[0].Targets, "canary2")
		w.hosts = slices.DeleteFunc(w.hosts, func(h *host) bool { return h.name == "canary2" })
		w.gate(p, "canary").suspect = arm("canary1")
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack)
		if !errors.Is(e, ErrHold) || !strings.Contains(e.Error(), "no canary would be left") {
			t.Error(e)
		}
		w.on(t, relA)
	})
}

func less(list []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == name })
}

// The check asks what users get: after the promotion.
func TestTheCheckComesAfterThePromotion(t *testing.T) {
	trying(t, func(t *testing.T, w *world, p Plan) {
		p.Phases[1].Check = func(context.Context) error {
			if w.host("canary1").state().Running != relB {
				t.Error("checked before all users got it")
			}
			return errors.New("500")
		}
		ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack)
		w.on(t, relA)
	})
}
