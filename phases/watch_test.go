package phases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"scap/canary"
	"scap/phases/journal"
	"scap/sync/release"
)

// watched is a world on which B was deployed a moment ago, and its plan, which is watched for 15 minutes.
func watched(t *testing.T, do func(t *testing.T, w *world, p Plan, g *gate)) {
	in(t, func(t *testing.T, w *world) {
		g := &gate{w: w, say: canary.Pass}
		p := w.plan(2)
		p.Watch = Watch{For: 15 * time.Minute, Gate: g}
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		w.notes = 0
		for _, h := range w.hosts {
			clear(h.calls)
		}
		do(t, w, p, g)
		for _, h := range w.hosts {
			for call, n := range h.calls {
				if call != "state" && n > 0 {
					t.Errorf("%s was told to %s", h.name, call)
				}
			}
		}
	})
}

// sightings are the records of the watch, each as "verdict: text".
func (w *world) sightings() (list []string) {
	for _, r := range w.records {
		if r.Kind == journal.Watched {
			list = append(list, r.Verdict+": "+r.Text)
		}
	}
	return list
}

func (w *world) watch(ctx context.Context, p Plan) error {
	p.Release.ID, p.From = relC, relC // what a verb does not know it reads in the journal
	return (&Runner{Journal: w}).Watch(ctx, p, slices.Values(slices.Clone(w.records)))
}

// total is how many looks the last evidence of the journal stands for.
func (w *world) total(t *testing.T) int {
	t.Helper()
	h, err := gather(slices.Values(w.records))
	var e seen
	if err = errors.Join(err, json.Unmarshal(h.evidence, &e)); err != nil {
		t.Fatal(err)
	}
	return e.Total
}

func TestAWatchThatIsOver(t *testing.T) {
	watched(t, func(t *testing.T, w *world, p Plan, g *gate) {
		before, start := w.total(t), time.Now()
		if err := w.watch(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d < 15*time.Minute || d > 15*time.Minute+time.Second {
			t.Errorf("took %v", d)
		}
		if n := w.total(t) - before; n != g.seen || n != 181 {
			t.Errorf("%d looks in the evidence, %d taken; want 181", n, g.seen)
		}
		if got := w.sightings(); len(got) != 16 || got[15] != "over: watch over" {
			t.Errorf("%d records, %q", len(got), got)
		}
		win := g.windows[0]
		if !win.Watch || len(win.Canary) != 10 || len(win.Control)+len(win.Earlier) != 0 || win.From != relA.String() || win.Release != relB.String() || win.Canary[0].Nonce != "n-test1" || win.Phase != "watch" {
			t.Errorf("%+v", win)
		}
		if n := w.host("prod1").calls["state"]; n < 15 || n > 18 {
			t.Errorf("asked %d times in 15 min", n)
		}
		if err := w.watch(t.Context(), p); !errors.Is(err, ErrFinished) {
			t.Errorf("again: %v", err)
		}
		// For everybody else the deploy ended as it did.
		past := slices.Values(w.records)
		if e := ended(t, (&Runner{Journal: w}).Resume(t.Context(), p, past), journal.Unchanged); !errors.Is(e, ErrFinished) {
			t.Errorf("resume: %v", e)
		}
		if ways := journal.Undo(past); len(ways) != 10 {
			t.Errorf("%d ways", len(ways))
		}
	})
}

func TestAWatchThatCouldNotJudgeToTheEnd(t *testing.T) {
	hold := func(c canary.Cause, from, to time.Duration) func(canary.Window, seen) (canary.Ruling, bool) {
		return func(win canary.Window, _ seen) (canary.Ruling, bool) {
			at := win.Now.Sub(win.Opened)
			return canary.Ruling{Cause: c, Reason: "503"}, at >= from && at < to
		}
	}
	tests := map[string]struct {
		tell func(canary.Window, seen) (canary.Ruling, bool)
		say  canary.Verdict
		want string
	}{
		"the last 3 min":       {tell: hold(canary.SourceDown, 12*time.Minute, time.Hour), say: canary.Pass, want: "over: watch over; the last 3m0s could not be judged: source down"},
		"down in between":      {tell: hold(canary.SourceDown, 2*time.Minute, 12*time.Minute), say: canary.Pass, want: "over: watch over"},
		"gathered, then down":  {tell: hold(canary.SourceDown, 12*time.Minute, time.Hour), say: canary.Hold, want: "over: watch over; the last 3m0s could not be judged: source down"},
		"never judged":         {tell: hold(canary.LowTraffic, 0, time.Hour), want: "over: watch over; the last 15m0s could not be judged: low traffic"},
		"down to 12, gathered": {tell: hold(canary.Late, 0, 12*time.Minute), want: "over: watch over; the last 3m0s could not be judged: looked at 10"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			watched(t, func(t *testing.T, w *world, p Plan, g *gate) {
				g.say, g.tell = tt.say, tt.tell
				if err := w.watch(t.Context(), p); err != nil {
					t.Error(err)
				}
				if got := w.sightings(); got[len(got)-1] != tt.want {
					t.Errorf("%q, want %q", got, tt.want)
				}
			})
		})
	}
}

func TestAWatchThatFails(t *testing.T) {
	watched(t, func(t *testing.T, w *world, p Plan, g *gate) {
		g.tell = func(win canary.Window, _ seen) (canary.Ruling, bool) {
			return canary.Ruling{Verdict: canary.Fail, Reason: "edits fell by half"}, win.Now.Sub(win.Opened) > 7*time.Minute
		}
		start := time.Now()
		err := w.watch(t.Context(), p)
		if !errors.Is(err, ErrGate) || !strings.Contains(err.Error(), "edits fell by half") || time.Since(start) > 8*time.Minute {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if got := w.sightings(); got[len(got)-1] != "fail: edits fell by half" {
			t.Errorf("%q", got)
		}
		if err := w.watch(t.Context(), p); !errors.Is(err, ErrFinished) {
			t.Errorf("again: %v", err)
		}
	})
}

// A suspect is named, and stays where it is.
func TestAWatchTouchesNoSuspect(t *testing.T) {
	watched(t, func(t *testing.T, w *world, p Plan, g *gate) {
		g.suspect = "prod3"
		if err := w.watch(t.Context(), p); err != nil {
			t.Error(err)
		}
		if got := w.sightings(); got[0] != "suspect: suspect prod3: it fails by itself" || len(got) != 16 {
			t.Errorf("%q", got)
		}
		w.on(t, relB)
	})
}

func TestAWatchIsSuperseded(t *testing.T) {
	tests := map[string]struct {
		what func(*world)
		want string
	}{
		"claimed":        {func(w *world) { w.host("prod4").intent.Token, w.host("prod4").intent.Claimer = 9, "d2" }, "prod4"},
		"its own resume": {func(w *world) { h := w.host("prod4"); h.intent.Token, h.intent.Claimer = 9, backOwner("d1", relA) }, "d1 back to"},
		"another tool": {func(w *world) {
			for _, h := range w.hosts {
				h.disk, h.running, h.desired = relC, relC, relC
			}
		}, "serve something else"},
		// These are no other deploy.
		"one was repaired": {func(w *world) {
			w.host("prod4").intent.Token, w.host("prod4").intent.Claimer = 9, RepairOwner("jd")
		}, ""},
		"one drifted":       {func(w *world) { h := w.host("prod4"); h.disk, h.running, h.desired = relC, relC, relC }, ""},
		"one is gone":       {func(w *world) { w.host("prod4").gone = true }, ""},
		"one was taken out": {func(w *world) { w.host("prod4").drained = true }, ""},
	}
	for name, tt := range tests {
		for _, fails := range []bool{false, true} { // what the gate sees then is not this deploy's doing
			t.Run(fmt.Sprint(name, fails), func(t *testing.T) {
				watched(t, func(t *testing.T, w *world, p Plan, g *gate) {
					done := false
					g.tell = func(win canary.Window, _ seen) (canary.Ruling, bool) {
						if win.Now.Sub(win.Opened) < 7*time.Minute {
							return canary.Ruling{}, false
						}
						if !done {
							tt.what(w)
						}
						done = true
						return canary.Ruling{Verdict: canary.Fail, Reason: "all fail"}, fails
					}
					start := time.Now()
					err := w.watch(t.Context(), p)
					last := w.last()
					switch {
					case tt.want != "":
						if !errors.Is(err, ErrSuperseded) || last.Verdict != journal.VerdictSuperseded || !strings.Contains(last.Text, tt.want) || time.Since(start) > 9*time.Minute {
							t.Errorf("after %v: %v; last %+v", time.Since(start), err, last)
						}
					case fails:
						if !errors.Is(err, ErrGate) {
							t.Error(err)
						}
					case err != nil:
						t.Error(err)
					default:
						names := []string{}
						for _, h := range g.windows[len(g.windows)-1].Canary {
							names = append(names, h.Name)
						}
						want := name == "one was repaired" || name == "one is gone" // the sources say what it serves
						if slices.Contains(names, "prod4") != want || len(names) < 9 {
							t.Errorf("canaries %v", names)
						}
					}
				})
			})
		}
	}
}

// A watcher that is stopped, or dies, is followed by another; what has passed counts.
func TestAWatchIsTakenUpAgain(t *testing.T) {
	watched(t, func(t *testing.T, w *world, p Plan, g *gate) {
		before, start := w.total(t), time.Now()
		cause := errors.New("terminated")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(4*time.Minute+time.Second, func() { cancel(cause) })
		if err := w.watch(ctx, p); !errors.Is(err, cause) {
			t.Error(err)
		}
		if got := w.last(); got.Verdict != journal.VerdictLeft || got.Text != "terminated" {
			t.Errorf("%+v", got)
		}
		looks := g.seen
		if got := w.total(t) - before; got != looks {
			t.Errorf("evidence of %d looks, %d taken", got, looks)
		}
		<-time.After(3 * time.Minute)
		if err := w.watch(t.Context(), p); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d < 15*time.Minute || d > 15*time.Minute+time.Second {
			t.Errorf("took %v", d)
		}
		if got := w.total(t) - before; got != g.seen {
			t.Errorf("evidence of %d looks, %d taken", got, g.seen)
		}
		if !g.windows[0].Opened.Equal(g.windows[len(g.windows)-1].Opened) {
			t.Error("the second watch opened anew")
		}
	})
	// The deployer's second signal.
	watched(t, func(t *testing.T, w *world, p Plan, _ *gate) {
		leave := make(chan struct{})
		close(leave)
		if err := (&Runner{Journal: w, Leave: leave}).Watch(t.Context(), p, slices.Values(w.records)); !errors.Is(err, ErrLeft) {
			t.Error(err)
		}
	})
	// When the time is over already there is one look: what happened meanwhile is still in the sources.
	watched(t, func(t *testing.T, w *world, p Plan, g *gate) {
		<-time.After(time.Hour)
		if err := w.watch(t.Context(), p); err != nil || g.seen != 1 {
			t.Errorf("%d looks: %v", g.seen, err)
		}
		if got := w.sightings(); len(got) != 1 || got[0] != "over: watch over" {
			t.Errorf("%q", got)
		}
	})
}

// Killed at any event, the watch is taken up again and ends as it would have.
func TestAWatchKilledAnywhere(t *testing.T) {
	for _, fails := range []bool{false, true} {
		deaths := 0
		for at := 1; ; at++ {
			died := false
			watched(t, func(t *testing.T, w *world, p Plan, g *gate) {
				p.Watch.For = 4 * time.Minute
				if fails {
					g.tell = func(win canary.Window, _ seen) (canary.Ruling, bool) {
						return canary.Ruling{Verdict: canary.Fail, Reason: "bad"}, win.Now.Sub(win.Opened) > 3*time.Minute
					}
				}
				start := time.Now()
				w.killAt = at
				ctx, cancel := context.WithCancel(t.Context())
				g.dies = cancel // a dead process takes no further look
				_ = w.watch(ctx, p)
				cancel()
				if died = w.dead; !died {
					return
				}
				deaths++
				w.mu.Lock()
				w.dead, w.killAt, g.dies = false, 0, nil
				w.mu.Unlock()
				if how := w.records[len(w.records)-1]; how.Verdict == journal.VerdictOver || how.Verdict == journal.VerdictFail {
					return // it was written, and only the process did not come to know
				}
				err := w.watch(t.Context(), p)
				if fails != errors.Is(err, ErrGate) || !fails && err != nil {
					t.Errorf("killed at %d: %v", at, err)
				}
				if d := time.Since(start); d > 5*time.Minute {
					t.Errorf("killed at %d: took %v", at, d)
				}
				if n := w.total(t); n < 3 {
					t.Errorf("killed at %d: the evidence stands for %d looks", at, n)
				}
			})
			if t.Failed() || !died {
				break
			}
		}
		if deaths < 50 {
			t.Errorf("only %d deaths", deaths)
		}
	}
}

func TestWhatIsNotWatched(t *testing.T) {
	watched(t, func(t *testing.T, w *world, p Plan, _ *gate) {
		for name, past := range map[string][]journal.Record{"nothing": nil, "a death": w.records[:len(w.records)-1], "a beginning": w.records[:1]} {
			if err := (&Runner{Journal: w}).Watch(t.Context(), p, slices.Values(past)); err == nil || errors.Is(err, ErrSuperseded) || len(w.sightings()) > 0 {
				t.Errorf("%s: %v, %q", name, err, w.sightings())
			}
		}
		other := p
		other.Deploy = "d7"
		none := p
		none.Watch = Watch{}
		for _, p := range []Plan{other, none} {
			if err := (&Runner{Journal: w}).Watch(t.Context(), p, slices.Values(w.records)); err == nil {
				t.Error("watched")
			}
		}
	})
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		p.Watch = Watch{For: time.Minute, Gate: &gate{w: w}}
		w.gate(p, "prod").say = canary.Fail
		ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack)
		if err := w.watch(t.Context(), p); !errors.Is(err, ErrFinished) {
			t.Error(err)
		}
	})
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		p.Watch.For = time.Minute
		if e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.Unchanged); !strings.Contains(e.Error(), "needs a gate") {
			t.Error(e)
		}
	})
}

// A deploy that left a suspect out is watched like any other.
func TestADeployWithASuspectIsWatched(t *testing.T) {
	five(t, func(t *testing.T, w *world) {
		g := &gate{w: w, say: canary.Pass}
		p := w.plan(2)
		p.Watch = Watch{For: time.Minute, Gate: g}
		w.gate(p, "canary").suspect = "canary2"
		ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.Inconsistent)
		if err := w.watch(t.Context(), p); err != nil {
			t.Error(err)
		}
		if n := len(g.windows[0].Canary); n != 12 {
			t.Errorf("%d canaries, want all but the suspect", n)
		}
		w.without(t, "canary2", relB)
		if h := w.host("canary2"); h.calls["repair"] > 0 {
			t.Error("the suspect was repaired")
		}
	})
}

// Journals that cannot be written, and one that somebody else writes.
func TestAWatchAndItsJournal(t *testing.T) {
	watched(t, func(t *testing.T, w *world, p Plan, g *gate) {
		w.full = true
		told := 0
		r := &Runner{Journal: w, Observers: []func(journal.Record){func(r journal.Record) { told++ }}}
		g.tell = func(win canary.Window, _ seen) (canary.Ruling, bool) {
			return canary.Ruling{Verdict: canary.Fail, Reason: "bad"}, win.Now.Sub(win.Opened) > time.Minute
		}
		err := r.Watch(t.Context(), p, slices.Values(w.records))
		if !errors.Is(err, ErrGate) || !strings.Contains(err.Error(), "no space left") || told == 0 {
			t.Errorf("told %d: %v", told, err)
		}
	})
	watched(t, func(t *testing.T, w *world, p Plan, _ *gate) {
		j, err := journal.Create(t.TempDir(), "d1")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range w.records {
			if _, err := j.Append(r); err != nil {
				t.Fatal(err)
			}
		}
		j.Close()
		watch := func() error {
			past, err := journal.Load(j.Path())
			if err != nil {
				t.Fatal(err)
			}
			return (&Runner{Journal: journal.After(j.Path())}).Watch(t.Context(), p, slices.Values(past))
		}
		time.AfterFunc(5*time.Minute, func() { // somebody takes the deploy up
			again, err := journal.Open(j.Path())
			if err == nil {
				_, err = again.Append(journal.Record{Kind: journal.Intent, Act: journal.Rollback})
			}
			if err != nil {
				t.Error(err)
			}
			again.Close()
		})
		if d := journal.Summary(j.Path()); d.Watched != journal.WatchOpen || !d.WatchUntil.Equal(d.Ended.Add(15*time.Minute)) || d.How != journal.Deployed {
			t.Errorf("%+v", d)
		}
		start := time.Now()
		if err := watch(); !errors.Is(err, ErrSuperseded) || !errors.Is(err, journal.ErrTakenUp) || time.Since(start) > 7*time.Minute {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if d := journal.Summary(j.Path()); !d.Unfinished() || d.Watched != journal.WatchNone {
			t.Errorf("%+v", d)
		}
		if err := watch(); err == nil || !strings.Contains(err.Error(), "has not ended") {
			t.Error(err)
		}
	})
}

// A release that kills every runtime has no other deploy to thank for it, though one host that nobody counted on serves another.
func TestAWatchIsNotSupersededByRuntimesThatDie(t *testing.T) {
	watched(t, func(t *testing.T, w *world, p Plan, g *gate) {
		g.tell = func(win canary.Window, _ seen) (canary.Ruling, bool) {
			if win.Now.Sub(win.Opened) < 5*time.Minute {
				return canary.Ruling{}, false
			}
			for _, h := range w.hosts {
				h.running = relB
				if h.name != "prod4" {
					h.running = release.ID{}
				}
			}
			h := w.host("prod4")
			h.disk, h.running, h.desired = relC, relC, relC
			return canary.Ruling{Verdict: canary.Fail, Reason: "all fail"}, true
		}
		if err := w.watch(t.Context(), p); !errors.Is(err, ErrGate) {
			t.Errorf("%v; %q", err, w.sightings())
		}
	})
}

// Under the lock it is asked once more whether there is still what the watch has failed.
func TestWhatIsNotThereAnyMoreIsNotTakenBack(t *testing.T) {
	tests := map[string]struct {
		what func(*world)
		want string
	}{
		"as it was left": {func(*world) {}, ""},
		"another deploy": {func(w *world) { w.host("prod4").intent.Token, w.host("prod4").intent.Claimer = 9, "d2" }, "prod4: another deploy has come since: d2"},
		"a rollback by hand": {func(w *world) {
			for _, h := range w.hosts {
				h.disk, h.running, h.desired, h.intent.Token, h.intent.Claimer = relA, relA, relA, 9, backOwner("d2", relA)
			}
		}, "d2 back to"},
		"another tool": {func(w *world) {
			for _, h := range w.hosts {
				h.disk, h.running, h.desired = relC, relC, relC
			}
		}, "10 targets serve something else"},
		"one was repaired": {func(w *world) { w.host("prod4").intent.Token, w.host("prod4").intent.Claimer = 9, RepairOwner("jd") }, ""},
		"nobody answers": {func(w *world) {
			for _, h := range w.hosts {
				h.gone = true
			}
		}, ""},
		"all have died": {func(w *world) {
			for _, h := range w.hosts {
				h.running = release.ID{}
			}
		}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			watched(t, func(t *testing.T, w *world, p Plan, _ *gate) {
				tt.what(w)
				err := Superseded(Survey(t.Context(), p.Targets(), time.Minute), slices.Values(w.records))
				if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, ErrSuperseded) || !strings.Contains(err.Error(), tt.want)) {
					t.Error(err)
				}
			})
		})
	}
	if err := Superseded(nil, slices.Values([]journal.Record{})); err == nil {
		t.Error("a journal that says nothing lets a release be taken back")
	}
}
