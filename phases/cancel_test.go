package phases

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"scap/canary"
	"scap/phases/journal"
	"scap/targets"
)

func TestCancel(t *testing.T) {
	cause := errors.New("interrupt")
	for _, when := range []string{"claim", "verify", "stage", "activate"} {
		for _, who := range []string{"test1", "canary2", "prod3"} {
			t.Run(when+" "+who, func(t *testing.T) {
				in(t, func(t *testing.T, w *world) {
					ctx, cancel := context.WithCancelCause(t.Context())
					w.host(who).fail[when] = func(int) error {
						cancel(cause)
						return nil
					}
					e := ended(t, (&Runner{Journal: w}).Run(ctx, w.plan(2)), journal.Cancelled)
					w.on(t, relA)
					if !errors.Is(e, cause) || w.last().Verdict != journal.Cancelled {
						t.Errorf("%v, last %+v", e, w.last())
					}
				})
			})
		}
	}
}

func TestCancelWhileTheGateLooksOrTheDeployerThinks(t *testing.T) {
	for _, phase := range []string{"test", "canary", "prod"} {
		for _, asked := range []bool{false, true} {
			in(t, func(t *testing.T, w *world) {
				cause := errors.New("terminated")
				ctx, cancel := context.WithCancelCause(t.Context())
				p := w.plan(2)
				p.Attended = true
				r := &Runner{Journal: w, Ask: func(ctx context.Context, _ Question) (Answer, error) {
					cancel(cause)
					return Answer{Choice: Pass}, nil
				}}
				i := slices.IndexFunc(p.Phases, func(ph Phase) bool { return ph.Name == phase })
				inner := p.Phases[i].Gate
				p.Phases[i].Gate = strange(func(ctx context.Context, win canary.Window, _ canary.Evidence) (canary.Ruling, error) {
					if asked {
						return canary.Ruling{}, nil
					}
					cancel(cause)
					e, _ := json.Marshal(seen{Looks: 1, Opened: win.Opened})
					return inner.Judge(ctx, win, e) // passes
				})
				if e := ended(t, r.Run(ctx, p), journal.Cancelled); !errors.Is(e, cause) {
					t.Error(e)
				}
				w.on(t, relA)
			})
		}
	}
}

func TestALostAnswerToTheClaimIsNoOtherDeploy(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		w.gate(p, "prod").say = canary.Fail
		w.host("prod1").fail["claim"] = func(n int) error {
			if n == 2 { // the claim of the way back
				return errLost
			}
			return nil
		}
		ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack)
		w.on(t, relA)
	})
}

func TestAJournalWithoutRoomBeginsNothingNew(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		j := &tight{world: w}
		p := w.plan(2)
		p.Phases[1].Check = func(context.Context) error {
			j.err = errors.New("no space left on device")
			return nil
		}
		e := ended(t, (&Runner{Journal: j}).Run(t.Context(), p), journal.RolledBack)
		w.on(t, relA)
		if !strings.Contains(e.Error(), "no space left") || w.host("prod1").calls["activate"] > 0 || w.last().Verdict != journal.RolledBack {
			t.Errorf("%v, last %+v", e, w.last())
		}
	})
}

// tight is a journal that may have no room left ahead.
type tight struct {
	*world
	err error
}

func (j *tight) Room() error { return j.err }

func TestARealJournalIsTakenUp(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		j, err := journal.Create(t.TempDir(), "d1")
		if err != nil {
			t.Fatal(err)
		}
		p := w.plan(2)
		p.Phases[2].Check = func(context.Context) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.dead = true // no host is told anything from here on, and no record is written
			j.Close()
			return nil
		}
		if err := (&Runner{Journal: j}).Run(t.Context(), p); err == nil {
			t.Fatal("no error")
		}
		w.dead = false
		d := journal.Summary(j.Path())
		if !d.Unfinished() || d.From != relA.String() || d.To != relB.String() || d.Outline.User != "jd" || len(d.Outline.Phases) != 3 {
			t.Errorf("%+v", d)
		}
		past, err := journal.Load(j.Path())
		if err != nil {
			t.Fatal(err)
		}
		again, err := journal.Open(j.Path())
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		ended(t, (&Runner{Journal: again}).Resume(t.Context(), p, slices.Values(past)), journal.RolledBack)
		w.on(t, relA)
		if d := journal.Summary(j.Path()); d.How != journal.RolledBack || d.Unfinished() {
			t.Errorf("%+v", d)
		}
		past, _ = journal.Load(j.Path())
		e := ended(t, (&Runner{Journal: again}).Resume(t.Context(), p, slices.Values(past)), journal.Unchanged)
		if !errors.Is(e, ErrFinished) {
			t.Error(e)
		}
		if ways := journal.Undo(slices.Values(past)); len(ways) != 0 {
			t.Errorf("left to take back: %+v", ways)
		}
	})
}

func TestASecondCancelLeavesAtOnce(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancelCause(t.Context())
		leave := make(chan struct{})
		w.host("prod1").fail["activate"] = func(n int) error {
			if n == 1 {
				cancel(errors.New("interrupt"))
			}
			return nil
		}
		w.host("canary1").fail["activate"] = func(n int) error {
			if n == 2 { // on the way back
				close(leave)
			}
			return nil
		}
		e := ended(t, (&Runner{Journal: w, Leave: leave}).Run(ctx, w.plan(2)), journal.Inconsistent)
		if !errors.Is(e, ErrLeft) || len(e.Hosts) == 0 || w.last().Verdict != journal.Inconsistent {
			t.Errorf("%v, last %+v", e, w.last())
		}
		ended(t, (&Runner{Journal: w}).Resume(t.Context(), w.plan(2), slices.Values(w.records)), journal.RolledBack)
		w.on(t, relA)
	})
}

func TestLeavingBeforeAnythingChangedIsCancelled(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		leave := make(chan struct{})
		w.host("prod1").fail["claim"] = func(int) error { close(leave); return nil }
		ended(t, (&Runner{Journal: w, Leave: leave}).Run(t.Context(), w.plan(2)), journal.Cancelled)
		w.on(t, relA)
	})
}

func TestAnotherDeployIsLeftAlone(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.host("prod3").fail["activate"] = func(int) error {
			for _, h := range w.hosts {
				h.intent.Token, h.intent.Claimer = 9, "d2"
			}
			return nil
		}
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), w.plan(2)), journal.Inconsistent)
		if !errors.Is(e, targets.ErrFenced) || !slices.Contains(e.Hosts, "canary1") || w.host("canary1").running != relB {
			t.Errorf("%v; canary1 on %s", e, w.host("canary1").running.Short())
		}
		before := len(w.records)
		e = ended(t, (&Runner{Journal: w}).Resume(t.Context(), w.plan(2), slices.Values(w.records)), journal.Unchanged)
		if !errors.Is(e, targets.ErrFenced) || len(w.records) != before || w.host("canary1").running != relB {
			t.Errorf("resume: %v", e)
		}
		for _, h := range w.hosts { // the other one has ended
			h.disk, h.running, h.desired, h.intent.Out = relC, relC, relC, false
		}
		e = ended(t, (&Runner{Journal: w}).Resume(t.Context(), w.plan(2), slices.Values(w.records)), journal.Unchanged)
		if !errors.Is(e, ErrFinished) || w.last().Verdict != journal.Unchanged {
			t.Errorf("resume: %v, last %+v", e, w.last())
		}
		w.on(t, relC)
	})
}

func TestAHostThatWasRepairedMeanwhileIsTakenOver(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.host("prod3").fail["activate"] = once(errDies)
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), w.plan(2)), journal.Inconsistent)
		if !slices.Equal(e.Hosts, []string{"prod3"}) {
			t.Fatal(e)
		}
		h := w.host("prod3")
		h.gone, h.intent.Token, h.intent.Claimer = false, 40, RepairOwner("jd")
		ended(t, (&Runner{Journal: w}).Resume(t.Context(), w.plan(2), slices.Values(w.records)), journal.RolledBack)
		w.on(t, relA)
		if h.intent.Token != 41 {
			t.Errorf("token %d", h.intent.Token)
		}
	})
}
