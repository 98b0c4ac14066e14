package phases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"scap/canary"
	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

// five is a world with five canaries, so that one of them can be left out.
func five(t *testing.T, do func(t *testing.T, w *world)) {
	in(t, func(t *testing.T, old *world) {
		w := newWorld("test2", "canary5", "prod6")
		w.min = 6
		do(t, w)
	})
}

// isolations are the records of a host's isolation.
func (w *world) isolations(host string) (list []string) {
	for _, r := range w.records {
		if r.Act == journal.Isolate && r.Target == host {
			list = append(list, string(r.Kind))
		}
	}
	return list
}

// without fails the test unless the suspect is out on the release that it had, and the others are on id.
func (w *world) without(t *testing.T, suspect string, id release.ID) {
	t.Helper()
	h := w.host(suspect)
	if _, ok := targets.IsSuspect(h.intent); !ok || !h.drained || h.disk != relB || h.running != relB || h.serving() {
		t.Errorf("%s: %+v, drained %t, disk %s; want it out, on the release", suspect, h.intent, h.drained, h.disk.Short())
	}
	for _, h := range w.hosts {
		if h.name != suspect && (!settled(h.state(), id) || h.drained) {
			t.Errorf("%s: disk %s, out %t; want %s", h.name, h.disk.Short(), h.intent.Out, id.Short())
		}
	}
	for _, b := range w.broken {
		t.Error(b)
	}
}

func TestASuspectLeavesThePoolAndTheDeployGoesOn(t *testing.T) {
	for _, suspect := range []string{"test1", "canary2", "prod3", "prod6"} {
		t.Run(suspect, func(t *testing.T) {
			five(t, func(t *testing.T, w *world) {
				p := w.plan(2)
				g := w.gate(p, suspect[:len(suspect)-1])
				g.suspect = suspect
				e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.Inconsistent)
				w.without(t, suspect, relB)
				if !slices.Equal(e.Hosts, []string{suspect}) || !slices.Equal(e.Suspects, e.Hosts) {
					t.Errorf("names %v, suspects %v", e.Hosts, e.Suspects)
				}
				want := fmt.Sprintf("proven everywhere but for %s, out of the pool: %[1]s: suspect: it fails by itself; out of the pool; look at it, then `scap repair %[1]s`", suspect)
				if last := w.last(); e.Error() != want || last.Verdict != journal.Inconsistent || last.Text != want {
					t.Errorf("%v\nlast %+v\nwant %s", e, last, want)
				}
				if got := w.isolations(suspect); !slices.Equal(got, []string{"intent", "done"}) {
					t.Errorf("isolated: %v", got)
				}
				if n := w.host(suspect).calls["repair"] + w.host(suspect).calls["activate"]; n != 1 {
					t.Errorf("the suspect was switched %d times", n)
				}
				w.unseen(t, p, suspect)

				// A person has looked at it.
				h := w.host(suspect)
				h.intent.Token, h.intent.Claimer, h.intent.Out, h.intent.Owner, h.drained = 40, RepairOwner("jd"), false, "", false
				if err := (&Runner{Journal: w}).Resume(t.Context(), p, slices.Values(w.records)); err != nil {
					t.Errorf("resume after a repair: %v", err)
				}
				w.on(t, relB)
			})
		})
	}
}

// unseen fails the test when a gate was shown a suspect after its isolation.
func (w *world) unseen(t *testing.T, p Plan, suspect string) {
	t.Helper()
	looks := 0
	for _, ph := range p.Phases {
		out := false
		for _, win := range ph.Gate.(*gate).windows {
			looks++
			in := slices.ContainsFunc(slices.Concat(win.Canary, win.Earlier, win.Control), func(h canary.Host) bool { return h.Name == suspect })
			if out && in {
				t.Errorf("phase %s: the suspect is in the window of %s", ph.Name, win.Now)
			}
			out = slices.ContainsFunc(w.records, func(r journal.Record) bool {
				return r.Act == journal.Isolate && r.Kind == journal.Done && r.Target == suspect && !r.At.After(win.Now)
			})
		}
	}
	if looks < 6 {
		t.Errorf("only %d looks", looks)
	}
}

func TestTheWindowHasEveryHostOnOneSide(t *testing.T) {
	five(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		p.Phases[1].Control = w.group("prod")
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		list := func(hs []canary.Host) string {
			names := make([]string, len(hs))
			for i, h := range hs {
				names[i] = h.Name
			}
			return strings.Join(names, " ")
		}
		win := w.gate(p, "canary").windows[0]
		if got := list(win.Canary) + "|" + list(win.Earlier) + "|" + list(win.Control); got != "canary1 canary2 canary3 canary4 canary5|test1 test2|prod1 prod2 prod3 prod4 prod5 prod6" {
			t.Error(got)
		}
		if win.From != relA.String() || win.Release != relB.String() || win.Watch || win.Canary[0].Release != relB.String() || win.Control[0].Release != relA.String() {
			t.Errorf("%+v", win)
		}
		win = w.gate(p, "prod").windows[2]
		if got := list(win.Canary) + "|" + list(win.Earlier) + "|" + list(win.Control); got != "prod1 prod2 prod3 prod4|test1 test2 canary1 canary2 canary3 canary4 canary5|prod5 prod6" {
			t.Error(got)
		}
	})
}

// A suspect that cannot be taken out holds the deploy, and the deployer is asked.
func TestASuspectThatMustStay(t *testing.T) {
	tests := map[string]struct {
		before func(*world, *Plan)
		say    string
		tried  int
	}{
		"the pool cannot spare it": {before: func(w *world, p *Plan) {
			p.Phases[1].Check = func(context.Context) error {
				w.outage(true) // somebody takes five others out by hand
				return nil
			}
		}, say: "too few targets serve"},
		"it is the only canary": {before: func(w *world, p *Plan) {
			p.Phases[1].Targets, p.Phases[2].Targets = w.group("canary")[1:2], append(w.group("prod"), w.group("canary")[0])
			p.Pools[0].Targets = append([]string{"canary1", "canary2"}, p.Pools[0].Targets[5:]...)
			w.min, p.Pools[0].Min = 0, 0
		}, say: "no canary would be left", tried: 0},
		"nobody can take it out": {before: func(w *world, p *Plan) { p.Phases[1].Targets[1] = plain{w.host("canary2")} }, say: "cannot be taken out by this tool"},
		"it refuses": {before: func(w *world, _ *Plan) {
			w.host("canary2").fail["isolate"] = always(errors.New("read-only file system"))
		}, say: "read-only file system", tried: 121},
		"one balancer is dead": {before: func(w *world, _ *Plan) { w.host("canary2").fail["isolate"] = always(errHalf) }, say: "drain at balancer lb2", tried: 121},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			five(t, func(t *testing.T, w *world) {
				p := w.plan(5)
				tt.before(w, &p)
				w.gate(p, "canary").suspect = "canary2"
				asked := Question{}
				p.Attended = true
				r := &Runner{Journal: w, Ask: func(_ context.Context, q Question) (Answer, error) {
					asked = q
					w.outage(false)
					return Answer{Choice: RollBack}, nil
				}}
				e := ended(t, r.Run(t.Context(), p), journal.RolledBack)
				if !errors.Is(e, ErrHold) || asked.Ruling.Verdict != canary.Hold || asked.Ruling.Cause != canary.OneHost || !strings.Contains(asked.Text, tt.say) || !strings.Contains(asked.Text, "canary2") {
					t.Errorf("%v; asked %+v", e, asked)
				}
				if n := w.host("canary2").calls["isolate"]; n != tt.tried {
					t.Errorf("tried %d times, want %d", n, tt.tried)
				}
				w.on(t, relA)
			})
		})
	}
}

// outage takes five hosts of production out, or puts them back.
func (w *world) outage(out bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.hosts {
		if h.phase == "prod" && h.name != "prod6" {
			h.drained = out
		}
	}
}

// plain is a target that can do no more than it must.
type plain struct{ h *host }

func (p plain) Name() string                                       { return p.h.Name() }
func (p plain) Stage(ctx context.Context, r release.Release) error { return p.h.Stage(ctx, r) }

func (p plain) Activate(ctx context.Context, s targets.Switch) error { return p.h.Activate(ctx, s) }

func (p plain) State(ctx context.Context) (targets.State, error) { return p.h.State(ctx) }

func (p plain) Claim(ctx context.Context, token uint64, owner string) error {
	return p.h.Claim(ctx, token, owner)
}

func (p plain) Verify(ctx context.Context, id release.ID) error    { return p.h.Verify(ctx, id) }
func (p plain) Prune(context.Context, uint64, []release.ID) error  { return nil }
func (p plain) Repair(ctx context.Context, s targets.Switch) error { return p.h.Repair(ctx, s) }

func TestTheAnswerOfAnIsolationMayBeLost(t *testing.T) {
	five(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		w.gate(p, "canary").suspect = "canary2"
		w.host("canary2").fail["isolate"] = always(errLost)
		ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.Inconsistent)
		w.without(t, "canary2", relB)
		if got := w.isolations("canary2"); !slices.Equal(got, []string{"intent", "done"}) {
			t.Errorf("isolated: %v", got)
		}
	})
}

// What the gate sees after the isolation counts as before: a release that fails then is taken back everywhere, and the
// suspect with it, which served well before.
func TestAFailAfterAnIsolationTakesTheSuspectBackToo(t *testing.T) {
	for _, phase := range []string{"canary", "prod"} {
		five(t, func(t *testing.T, w *world) {
			p := w.plan(2)
			w.gate(p, "canary").suspect = "canary2"
			w.gate(p, phase).say = canary.Fail
			e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack)
			w.on(t, relA)
			if !errors.Is(e, ErrGate) || len(w.isolations("canary2")) != 2 {
				t.Errorf("%v; %v", e, w.isolations("canary2"))
			}
			if ways := journal.Undo(slices.Values(w.records)); len(ways) != 0 {
				t.Errorf("left to take back: %+v", ways)
			}
		})
	}
}

func TestAnIsolationIsFenced(t *testing.T) {
	five(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		w.gate(p, "canary").suspect = "canary2"
		w.host("canary2").fail["isolate"] = func(int) error {
			for _, h := range w.hosts {
				h.intent.Token, h.intent.Claimer = 9, "d2"
			}
			return nil
		}
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.Inconsistent)
		if !errors.Is(e, targets.ErrFenced) || w.host("canary2").intent.Out || !slices.Contains(e.Hosts, "canary2") {
			t.Errorf("%v; %+v", e, w.host("canary2").intent)
		}
	})
}

// Ctrl-C in the middle of an isolation: it ends, and then all goes back.
func TestCancelWhileASuspectIsTakenOut(t *testing.T) {
	cause := errors.New("interrupt")
	for _, suspect := range []string{"canary2", "prod1"} {
		five(t, func(t *testing.T, w *world) {
			ctx, cancel := context.WithCancelCause(t.Context())
			p := w.plan(2)
			w.gate(p, suspect[:len(suspect)-1]).suspect = suspect
			w.host(suspect).fail["isolate"] = func(int) error { cancel(cause); return nil }
			e := ended(t, (&Runner{Journal: w}).Run(ctx, p), journal.Cancelled)
			w.on(t, relA)
			if got := w.isolations(suspect); !errors.Is(e, cause) || !slices.Equal(got, []string{"intent", "done"}) {
				t.Errorf("%v; %v", e, got)
			}
		})
	}
}

// What is no suspect is not touched.
func TestASuspectOfNoName(t *testing.T) {
	for name, list := range map[string][]string{"none": nil, "unknown": {"db1"}, "control": {"prod6"}} {
		t.Run(name, func(t *testing.T) {
			five(t, func(t *testing.T, w *world) {
				p := w.plan(2)
				w.gate(p, "prod").tell = func(canary.Window, seen) (canary.Ruling, bool) {
					return canary.Ruling{Verdict: canary.Suspect, Suspects: list}, true
				}
				if e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack); !errors.Is(e, ErrHold) {
					t.Error(e)
				}
				w.on(t, relA)
				for _, h := range w.hosts {
					if h.calls["isolate"] > 0 {
						t.Errorf("%s was isolated", h.name)
					}
				}
			})
		})
	}
}

// The next deploy does not bring a suspect back by itself; a rollback does.
func TestTheNextDeployLeavesASuspectOut(t *testing.T) {
	five(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		w.gate(p, "canary").suspect = "canary2"
		ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.Inconsistent)
		next := w.plan(2)
		next.Deploy, next.Release.ID, next.Repair = "d2", relC, true
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), next), journal.Unchanged)
		w.without(t, "canary2", relB)
		if !errors.Is(e, ErrPreflight) || !strings.Contains(e.Error(), "canary2: taken out of the pool as a suspect by d1: look at it, then `scap repair canary2`") {
			t.Error(e)
		}
		back := w.plan(11)
		back.Deploy, back.Release.ID, back.Back = "d3", relA, true
		for i := range back.Phases {
			back.Phases[i].Gate, back.Phases[i].GateOff = nil, "a rollback"
		}
		w.ungated = true
		if err := (&Runner{Journal: w}).Run(t.Context(), back); err != nil {
			t.Error(err)
		}
		w.on(t, relA)
	})
}

// Both arms red: a deployer is asked; where there is none the deploy waits for HoldLimit, and then goes back with the word
// that it was not this release.
func TestNotThisRelease(t *testing.T) {
	red := func(until time.Duration) func(canary.Window, seen) (canary.Ruling, bool) {
		return func(win canary.Window, _ seen) (canary.Ruling, bool) {
			return canary.Ruling{Cause: canary.BothRed, Reason: "canary 3 % and control 3 % failing"}, win.Now.Sub(win.Opened) < until
		}
	}
	tests := map[string]struct {
		attended bool
		until    time.Duration
		say      canary.Verdict
		how      string // "" is deployed
		took     time.Duration
		asked    int
	}{
		"for ever":                        {until: time.Hour, how: journal.RolledBack, took: 30 * time.Minute},
		"for ever, and somebody is there": {attended: true, until: time.Hour, how: journal.RolledBack, took: 10 * time.Minute, asked: 1},
		"for 20 min, then well":           {until: 20 * time.Minute, say: canary.Pass, took: 20 * time.Minute},
		"for 20 min, then nothing":        {until: 20 * time.Minute, how: journal.RolledBack, took: 30 * time.Minute},
		"for 5 min, then nothing":         {until: 5 * time.Minute, how: journal.RolledBack, took: 10 * time.Minute},
		"for 20 min, then bad":            {until: 20 * time.Minute, say: canary.Fail, how: journal.RolledBack, took: 20 * time.Minute},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				p := w.plan(2)
				p.Attended = tt.attended
				g := w.gate(p, "canary")
				g.tell, g.say, g.looks = red(tt.until), tt.say, 0
				asked := 0
				r := &Runner{Journal: w, Ask: func(_ context.Context, q Question) (Answer, error) {
					asked++
					if q.Ruling.Cause != canary.BothRed || !strings.Contains(q.Text, string(canary.BothRed)) {
						t.Errorf("asked %+v", q)
					}
					return Answer{Choice: RollBack}, nil
				}}
				start := time.Now()
				err := r.Run(t.Context(), p)
				if d := time.Since(start); d < tt.took || d > tt.took+time.Minute {
					t.Errorf("took %v, want %v", d, tt.took)
				}
				if asked != tt.asked {
					t.Errorf("asked %d times", asked)
				}
				if tt.how == "" {
					if err != nil {
						t.Error(err)
					}
					w.on(t, relB)
					return
				}
				e := ended(t, err, tt.how)
				w.on(t, relA)
				ours := tt.say == canary.Fail || tt.until < tt.took
				if errors.Is(e, ErrBothRed) == ours || strings.Contains(w.last().Text, "not this release: canary 3 %") == ours {
					t.Errorf("%v; last %+v", e, w.last())
				}
			})
		})
	}
}

// The deployer may go on with a suspect that is half out. It is named, and nothing brings it in unseen.
func TestTheDeployersWordOnASuspectThatIsHalfOut(t *testing.T) {
	five(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		p.Attended = true
		g := w.gate(p, "canary")
		g.suspect = "canary2"
		w.host("canary2").fail["isolate"] = always(errHalf)
		r := &Runner{Journal: w, Ask: func(context.Context, Question) (Answer, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, h := range w.group("canary") {
				w.passed[h.Name()] = true // by the deployer's word
			}
			return Answer{Choice: Pass, Who: "jd"}, nil
		}}
		for _, err := range []error{r.Run(t.Context(), p), r.Resume(t.Context(), p, slices.Values(w.records))} {
			e := ended(t, err, journal.Inconsistent)
			if !slices.Equal(e.Suspects, []string{"canary2"}) || !strings.Contains(e.Error(), "canary2: suspect: it fails by itself; it may still be in the pool") {
				t.Error(e)
			}
		}
		if h := w.host("canary2"); h.serving() || h.calls["repair"] > 0 {
			t.Errorf("%+v, repaired %d times", h.intent, h.calls["repair"])
		}
	})
}

// On the way back a suspect is a host like the others: when it does not come back, what keeps it is said.
func TestASuspectThatDoesNotComeBack(t *testing.T) {
	five(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		w.gate(p, "canary").suspect = "canary2"
		w.gate(p, "prod").say = canary.Fail
		w.host("canary2").fail["repair"] = always(errors.New("php-fpm does not start"))
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.Inconsistent)
		if !slices.Equal(e.Hosts, []string{"canary2"}) || len(e.Suspects) > 0 || !strings.Contains(e.Error(), "php-fpm does not start") || strings.Contains(e.Error(), "canary2: suspect") {
			t.Error(e)
		}
	})
}
