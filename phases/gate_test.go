package phases

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"scap/canary"
	"scap/phases/journal"
	"scap/sync/release"
)

func TestAGateThatFailsTakesBackOnlyWhatWasDone(t *testing.T) {
	for _, phase := range []string{"test", "canary", "prod"} {
		t.Run(phase, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				p := w.plan(2)
				w.gate(p, phase).say = canary.Fail
				e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack)
				w.on(t, relA)
				if !errors.Is(e, ErrGate) || len(e.Hosts) != 0 || w.last().Verdict != journal.RolledBack {
					t.Errorf("%v, last %+v", e, w.last())
				}
				if phase != "prod" && w.host("prod1").calls["activate"] > 0 {
					t.Error("production was touched")
				}
				if phase == "prod" && (w.host("prod2").calls["activate"] != 2 || w.host("prod3").calls["activate"] != 0) {
					t.Error("want the first batch taken there and back, and the second left alone")
				}
			})
		})
	}
}

func TestAHoldNeverPasses(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		g := w.gate(p, "canary")
		g.looks = 1 << 30
		start := time.Now()
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack)
		w.on(t, relA)
		if !errors.Is(e, ErrHold) || time.Since(start) < 10*time.Minute || g.seen != 121 {
			t.Errorf("%v after %v and %d looks", e, time.Since(start), g.seen)
		}
	})
}

func TestAGateThatCannotLookHolds(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		w.gate(p, "canary").err = errors.New("503 of the log store")
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack)
		w.on(t, relA)
		if !errors.Is(e, ErrHold) || !strings.Contains(e.Error(), "503 of the log store") {
			t.Error(e)
		}
	})
}

// strange is a Gate from a function.
type strange func(context.Context, canary.Window, canary.Evidence) (canary.Ruling, error)

func (s strange) Ready(context.Context) error { return nil }
func (s strange) Judge(ctx context.Context, w canary.Window, e canary.Evidence) (canary.Ruling, error) {
	return s(ctx, w, e)
}

func TestWhatIsNoPassHolds(t *testing.T) {
	late := func(ctx context.Context, _ canary.Window, _ canary.Evidence) (canary.Ruling, error) {
		<-ctx.Done() // past the limit of a look, and past its time
		return canary.Ruling{Verdict: canary.Pass}, nil
	}
	gates := map[string]strange{
		"late": late,
		"zero": func(context.Context, canary.Window, canary.Evidence) (canary.Ruling, error) {
			return canary.Ruling{}, nil
		},
		"unknown": func(context.Context, canary.Window, canary.Evidence) (canary.Ruling, error) {
			return canary.Ruling{Verdict: 7}, nil
		},
		"both": func(context.Context, canary.Window, canary.Evidence) (canary.Ruling, error) {
			return canary.Ruling{Verdict: canary.Pass}, errors.New("but")
		},
		"panic": func(context.Context, canary.Window, canary.Evidence) (canary.Ruling, error) { panic("nil map") },
		"not JSON": func(context.Context, canary.Window, canary.Evidence) (canary.Ruling, error) {
			return canary.Ruling{Verdict: canary.Pass, Evidence: canary.Evidence("{")}, nil
		},
		"endless": func(context.Context, canary.Window, canary.Evidence) (canary.Ruling, error) {
			return canary.Ruling{Verdict: canary.Pass, Reason: strings.Repeat("x", 1<<20)}, nil
		},
	}
	for name, g := range gates {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				p := w.plan(2)
				p.Phases[1].Gate, p.Phases[1].MaxWait = g, 40*time.Second
				if e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack); !errors.Is(e, ErrHold) {
					t.Error(e)
				}
				w.on(t, relA)
			})
		})
	}
}

func TestTheDeployersWordOnAHold(t *testing.T) {
	tests := map[string]struct {
		answer Answer
		err    error
		how    string // "" is deployed
	}{
		"pass":      {answer: Answer{Choice: Pass, Who: "jd", Word: "known noise"}},
		"rollback":  {answer: Answer{Choice: RollBack}, how: journal.RolledBack},
		"none":      {how: journal.RolledBack},
		"no choice": {answer: Answer{Choice: Yes}, how: journal.RolledBack},
		"error":     {answer: Answer{Choice: Pass}, err: errors.New("EOF"), how: journal.RolledBack},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				p := w.plan(2)
				p.Attended = true
				w.gate(p, "canary").looks = 1 << 30
				r := &Runner{Journal: w, Ask: func(_ context.Context, q Question) (Answer, error) {
					w.mu.Lock()
					defer w.mu.Unlock()
					w.passed["canary1"], w.passed["canary2"] = true, true // by the deployer's word
					return tt.answer, tt.err
				}}
				err := r.Run(t.Context(), p)
				if tt.how == "" {
					if err != nil {
						t.Fatal(err)
					}
					w.on(t, relB)
					if i := slices.IndexFunc(w.records, func(r journal.Record) bool {
						return r.Kind == journal.Ruled && r.Verdict == ruledWord && r.Text == "jd: known noise"
					}); i < 0 {
						t.Error("the word is not in the journal")
					}
					return
				}
				ended(t, err, tt.how)
				w.on(t, relA)
			})
		})
	}
}

func TestAFailIsNotOverriddenByAWordOnAHold(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		p.Attended = true
		g := w.gate(p, "canary")
		g.looks = 1 << 30
		r := &Runner{Journal: w, Ask: func(context.Context, Question) (Answer, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			g.looks, g.say = 0, canary.Fail // while the deployer was thinking
			return Answer{Choice: Pass, Who: "jd"}, nil
		}}
		if e := ended(t, r.Run(t.Context(), p), journal.RolledBack); !errors.Is(e, ErrGate) {
			t.Error(e)
		}
		w.on(t, relA)
	})
}

func TestADeployerWhoDoesNotAnswerIsAHold(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		p.Attended, p.HoldLimit = true, 20*time.Minute
		w.gate(p, "canary").looks = 1 << 30
		start := time.Now()
		r := &Runner{Journal: w, Ask: func(ctx context.Context, _ Question) (Answer, error) {
			<-ctx.Done()
			return Answer{Choice: Pass}, nil
		}}
		ended(t, r.Run(t.Context(), p), journal.RolledBack)
		w.on(t, relA)
		if d := time.Since(start); d < 30*time.Minute || d > 31*time.Minute {
			t.Errorf("took %v", d)
		}
	})
}

func TestConfirm(t *testing.T) {
	for choice, how := range map[Choice]string{Yes: "", No: journal.Declined} {
		in(t, func(t *testing.T, w *world) {
			p := w.plan(2)
			p.Attended, p.Phases[0].Confirm = true, true
			r := &Runner{Journal: w, Ask: func(context.Context, Question) (Answer, error) { return Answer{Choice: choice, Who: "jd"}, nil }}
			err := r.Run(t.Context(), p)
			if how == "" {
				if err != nil {
					t.Error(err)
				}
				w.on(t, relB)
				return
			}
			ended(t, err, how)
			w.on(t, relA)
		})
	}
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		p.Phases[0].Confirm = true
		ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.Unchanged)
		w.on(t, relA)
	})
}

func TestBakeHoldsAPass(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.plan(6)
		p.Pools = nil
		p.Phases[1].Bake = 7 * time.Minute
		p.Phases[2].Gate, p.Phases[2].GateOff, p.Phases[2].Bake = nil, "a test", 3*time.Minute
		w.min = 0
		start := time.Now()
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d < 10*time.Minute || d > 11*time.Minute {
			t.Errorf("took %v", d)
		}
	})
}

// slow is a gate whose probes wait for a release that hangs.
type slow struct{ *gate }

func (s slow) Judge(ctx context.Context, win canary.Window, prior canary.Evidence) (canary.Ruling, error) {
	select {
	case <-time.After(50 * time.Second): // five probes of ten seconds
		return s.gate.Judge(ctx, win, prior)
	case <-ctx.Done():
		return canary.Ruling{}, ctx.Err()
	}
}

func TestAReleaseThatHangsFails(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		p.Phases[1].Gate = slow{&gate{w: w, say: canary.Fail}}
		start := time.Now()
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack)
		w.on(t, relA)
		if !errors.Is(e, ErrGate) || time.Since(start) > 2*time.Minute {
			t.Errorf("after %v: %v", time.Since(start), e)
		}
	})
}

// A look that brings no evidence, or none that can be written, takes away none.
func TestEvidenceIsNotLost(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		looks := []func() (canary.Ruling, error){
			func() (canary.Ruling, error) { return canary.Ruling{Evidence: canary.Evidence(`{"n":1}`)}, nil },
			func() (canary.Ruling, error) { return canary.Ruling{}, errors.New("503") },
			func() (canary.Ruling, error) { return canary.Ruling{}, nil },
			func() (canary.Ruling, error) { return canary.Ruling{Evidence: canary.Evidence(`{`)}, nil },
			func() (canary.Ruling, error) {
				return canary.Ruling{Evidence: canary.Evidence(`"` + strings.Repeat("x", journal.MaxLine) + `"`)}, nil
			},
			func() (canary.Ruling, error) { return canary.Ruling{Verdict: canary.Fail}, nil },
		}
		n := 0
		p.Phases[1].Gate = strange(func(_ context.Context, _ canary.Window, e canary.Evidence) (canary.Ruling, error) {
			n++
			if n > 1 && string(e) != `{"n":1}` {
				t.Errorf("look %d was handed %.40q", n, e)
			}
			return looks[n-1]()
		})
		ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack)
		if n != len(looks) {
			t.Errorf("%d looks", n)
		}
		for _, r := range w.records {
			if line, _ := json.Marshal(r); len(line) >= journal.MaxLine {
				t.Errorf("a record of %d bytes", len(line))
			}
		}
	})
}

// A look that began in time and passed when the time was over is none: it holds.
func TestAPassAfterTheTimeHolds(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		p.Phases[1].Gate, p.Phases[1].MaxWait = slow{&gate{w: w, say: canary.Pass}}, 40*time.Second
		start := time.Now()
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack)
		w.on(t, relA)
		if !errors.Is(e, ErrHold) || !strings.Contains(e.Error(), "passed too late") || time.Since(start) > 3*time.Minute {
			t.Errorf("after %v: %v", time.Since(start), e)
		}
	})
}

// What passed is what runs: a runtime that died, or began anew for another release, while the gate looked is no pass.
func TestWhatPassedMustStillRun(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		w.gate(p, "canary").tell = func(canary.Window, seen) (canary.Ruling, bool) {
			w.host("canary1").running = release.ID{}
			return canary.Ruling{}, false
		}
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack)
		w.on(t, relA)
		if !strings.Contains(e.Error(), "canary1 after its activation") || w.host("prod1").calls["activate"] > 0 {
			t.Errorf("%v; production was told %v", e, w.host("prod1").calls)
		}
	})
}

// A host that failed to switch is on neither side: what it serves is not known.
func TestAHostThatFailedIsNoControl(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		p.Phases[2].Fanout.MaxFailures = 1
		w.host("prod1").fail["activate"] = once(errReturns)
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		is := func(h canary.Host) bool { return h.Name == "prod1" }
		windows := w.gate(p, "prod").windows
		if first := windows[0]; slices.ContainsFunc(first.Control, is) || slices.ContainsFunc(first.Canary, is) || len(first.Control) == 0 {
			t.Errorf("%+v", first)
		}
		if last := windows[len(windows)-1]; !slices.ContainsFunc(last.Canary, is) { // it got one more chance
			t.Errorf("%+v", last)
		}
	})
}
