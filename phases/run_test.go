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
	"scap/targets"
)

// in runs a test in a bubble with a world of two test servers, two canaries and six in production, of which four and
// the canaries' share must serve.
func in(t *testing.T, do func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("test2", "canary2", "prod6")
		w.min = 5
		do(t, w)
	})
}

func TestRunDeploysEverywhere(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		var told []string
		r := &Runner{Journal: w, Observers: []func(journal.Record){func(r journal.Record) { told = append(told, string(r.Kind)) }}}
		if err := r.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		w.on(t, relB)
		if l := w.last(); l.Kind != journal.End || l.Verdict != journal.Deployed || len(told) != len(w.records) {
			t.Errorf("last record %+v; %d told of %d", l, len(told), len(w.records))
		}
		for _, h := range w.hosts {
			if !slices.Contains(h.verified, relA) || h.intent.Token != 6 {
				t.Errorf("%s: verified %v, token %d", h.name, h.verified, h.intent.Token)
			}
		}
		if n := w.gate(p, "prod").seen; n != 6 { // three batches, two looks each
			t.Errorf("the gate of production looked %d times, want 6", n)
		}
		if prior := w.gate(p, "prod").prior; prior[0] != "" || prior[1] != "1" || prior[2] != "" {
			t.Errorf("evidence handed to the looks: %q; each batch begins without", prior)
		}
		if ways := journal.Undo(slices.Values(w.records)); len(ways) != 10 || ways[0].Phase != "prod" || ways[9].Phase != "test" {
			t.Errorf("ways back: %+v", ways)
		}
		if err := r.Run(t.Context(), p); err != nil || w.last().Verdict != journal.Deployed {
			t.Errorf("again: %v", err)
		}
	})
}

func TestAnObserverThatHangsDelaysNothingForLong(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		stuck := make(chan struct{})
		p := w.plan(2)
		p.Attended, p.Phases[0].Confirm = true, true
		p.Before = []journal.Record{{Kind: journal.Done, Act: journal.Snapshot, At: time.Unix(1, 0)}}
		r := &Runner{Journal: w, Observers: []func(journal.Record){func(journal.Record) { <-stuck }}, Ask: func(context.Context, Question) (Answer, error) {
			return Answer{Choice: Yes, Who: "jd"}, nil
		}}
		start := time.Now()
		if err := r.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		close(stuck)
		w.on(t, relB)
		if d := time.Since(start); d > time.Minute {
			t.Errorf("took %v", d)
		}
		if r := w.records[1]; r.Act != journal.Snapshot || !r.At.Equal(time.Unix(1, 0)) {
			t.Errorf("what was done before: %+v", r)
		}
	})
}

func TestTestServersAreActivatedWhileTheOthersAreStaged(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		w.host("prod6").fail["stage"] = func(int) error {
			w.mu.Unlock()
			defer w.mu.Lock()
			<-release
			return nil
		}
		p := w.plan(2)
		p.Phases[0].Check = func(context.Context) error {
			close(release) // only an activated test server lets the staging go on
			return nil
		}
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		w.on(t, relB)
		staged := false
		for _, r := range w.records {
			staged = staged || r.Kind == journal.Done && r.Act == journal.Stage && r.Target == "prod6"
			if r.Kind == journal.Intent && r.Act == journal.Activate && !strings.HasPrefix(r.Target, "test") && !staged {
				t.Fatalf("%s was activated before all were staged", r.Target)
			}
		}
	})
}

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

func TestOneHostFails(t *testing.T) {
	tests := map[string]struct {
		fault  error
		budget int
		times  func(error) func(int) error
		how    string // "" is deployed
		hosts  []string
	}{
		"returned":                  {fault: errReturns, times: always, how: journal.RolledBack},
		"breaks":                    {fault: errBreaks, times: once, how: journal.RolledBack},
		"lost answer":               {fault: errLost, times: once},
		"dies":                      {fault: errDies, times: once, how: journal.Inconsistent, hosts: []string{"prod3"}},
		"dies, budget":              {fault: errDies, budget: 1, times: once, how: journal.Inconsistent, hosts: []string{"prod3"}},
		"returned once, budget":     {fault: errReturns, budget: 1, times: once},
		"always returned, budget":   {fault: errReturns, budget: 1, times: always, how: journal.RolledBack},
		"breaks once, budget":       {fault: errBreaks, budget: 1, times: once},
		"refuses before, no budget": {fault: errors.New("lock of the host"), times: always, how: journal.RolledBack},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				p := w.plan(2)
				p.Phases[2].Fanout.MaxFailures = tt.budget
				w.host("prod3").fail["activate"] = tt.times(tt.fault)
				err := (&Runner{Journal: w}).Run(t.Context(), p)
				want := relB
				if tt.how == "" && err != nil {
					t.Fatal(err)
				}
				if tt.how != "" {
					e := ended(t, err, tt.how)
					if !slices.Equal(e.Hosts, tt.hosts) {
						t.Errorf("hosts %v, want %v", e.Hosts, tt.hosts)
					}
					if tt.budget == 0 || tt.how == journal.RolledBack {
						want = relA
					}
				}
				w.on(t, want)
			})
		})
	}
}

// The very first host refused the release and went back by itself: something was changed and is as it was, which must not
// read as "nothing was changed".
func TestTheFirstHostReturned(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		for _, first := range p.Phases[0].Targets {
			w.host(first.Name()).fail["activate"] = always(errReturns)
		}
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack)
		w.on(t, relA)
		if len(e.Hosts) != 0 || !errors.Is(e, targets.ErrReturned) {
			t.Errorf("hosts %v, %v", e.Hosts, e)
		}
	})
}

func TestPreflightChangesNothing(t *testing.T) {
	tests := map[string]struct {
		spoil func(w *world, p *Plan)
		says  string
	}{
		"unreachable":        {func(w *world, _ *Plan) { w.host("prod4").gone = true }, "prod4: does not answer: no route to host"},
		"plain directory":    {func(w *world, _ *Plan) { w.host("prod4").plain = true }, "scap adopt prod4"},
		"problem":            {func(w *world, _ *Plan) { w.host("test1").problems = []string{"orphan worker 77"} }, "test1: orphan worker 77"},
		"disk":               {func(w *world, _ *Plan) { w.host("prod1").free = 1000 }, "prod1: 0 MB free, and the release may need 2 MB"},
		"no way back":        {func(w *world, _ *Plan) { w.host("prod1").releases = nil }, "prod1: has no whole copy of 0a0000000000, the way back"},
		"two releases":       {func(w *world, _ *Plan) { h := w.host("prod1"); h.disk, h.running, h.desired = relC, relC, relC }, "do not serve one release"},
		"between two":        {func(w *world, _ *Plan) { w.host("prod1").running = relC }, "not proven on 0a0000000000: prod1"},
		"left out":           {func(w *world, _ *Plan) { w.host("prod1").intent.Out = true }, "not proven on 0a0000000000: prod1"},
		"balancers disagree": {func(w *world, _ *Plan) { w.host("prod1").pooling = targets.PoolMixed }, "not proven on 0a0000000000: prod1"},
		"no gate":            {func(_ *world, p *Plan) { p.Phases[1].Gate = nil }, "phase canary has no gate, and nothing says why"},
		"gate not ready":     {func(w *world, p *Plan) { w.gate(*p, "prod").ready = errors.New("no traffic") }, "gate of phase prod is not ready: no traffic"},
		"twice":              {func(_ *world, p *Plan) { p.Phases[1].Targets = p.Phases[0].Targets }, "test1 is in phase test and in phase canary"},
		"capacity":           {func(w *world, p *Plan) { w.host("prod1").sick[relA] = true; w.host("prod2").sick[relA] = true }, "pool web: 6 of 8 serve well; phase canary takes out 2 at once and 5 must remain"},
		"verify": {func(w *world, _ *Plan) {
			w.host("prod5").fail["verify"] = always(errors.New("index.php: wrong content"))
		}, "index.php: wrong content"},
		"claimed meanwhile": {func(w *world, _ *Plan) { w.host("prod5").fail["claim"] = always(targets.ErrFenced) }, "another deploy has claimed"},
		"stage":             {func(w *world, _ *Plan) { w.host("prod5").fail["stage"] = always(errors.New("connection refused")) }, "prod5: connection refused"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				p := w.plan(2)
				if name == "stage" { // or the test servers would be there already
					p.Phases = p.Phases[1:]
					w.hosts, p.Pools[0].Min, w.min = w.hosts[2:], 5, 5
				}
				tt.spoil(w, &p)
				e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.Unchanged)
				if !strings.Contains(e.Error(), tt.says) {
					t.Errorf("says %q, want %q", e, tt.says)
				}
				for _, h := range w.hosts {
					if h.calls["activate"]+h.calls["repair"] > 0 {
						t.Errorf("%s was touched", h.name)
					}
				}
			})
		})
	}
}

func TestRepairFirstWhenThePlanAllows(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		p.Repair = true
		h := w.host("prod1")
		h.disk, h.running, h.desired, h.releases = relC, relC, relC, append(h.releases, relC)
		g := w.host("prod2")
		g.running, g.intent.Out, g.intent.Owner = relC, true, "an older deploy"
		p.From = relA
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		w.on(t, relB)
		for _, r := range w.records {
			if r.Act == journal.Activate && r.Target == "prod1" && r.From != relA.String() {
				t.Errorf("way back of prod1 is %s", r.From)
			}
		}
	})
}

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
				p.Phases[i].Gate = strange(func(ctx context.Context, win canary.Window, e canary.Evidence) (canary.Ruling, error) {
					if asked {
						return canary.Ruling{}, nil
					}
					cancel(cause)
					return inner.Judge(ctx, win, canary.Evidence("1")) // passes
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

func TestARollbackOfABrokenFleetGoesAtFullWidth(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.min = 7
		for _, h := range w.hosts { // C is everywhere and serves nobody well
			h.disk, h.running, h.desired, h.releases = relC, relC, relC, append(h.releases, relC, relB)
		}
		p := w.plan(1)
		p.Back = true
		p.Well = func(_ context.Context, t targets.Target) error {
			if t.(*host).running == relC {
				return errors.New("500")
			}
			return nil
		}
		for i := range p.Phases {
			p.Phases[i].Gate, p.Phases[i].GateOff = nil, "a rollback"
		}
		w.min, w.ungated = 0, true // the fake's own count trusts the balancer
		start := time.Now()
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		w.on(t, relB)
		if d := time.Since(start); d > 100*time.Millisecond { // three phases of one wave, not ten of one host
			t.Errorf("took %v", d)
		}
	})
}

func TestARollbackGoesPastFailures(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		p.Back = true
		w.host("prod3").fail["activate"], w.host("prod3").fail["repair"] = always(errors.New("disk")), always(errors.New("disk"))
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.Inconsistent)
		if !slices.Equal(e.Hosts, []string{"prod3"}) || w.host("prod6").running != relB {
			t.Errorf("%v", e)
		}
	})
}

func TestTheWayBackNeedsNoJournal(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		var told []journal.Record
		w.host("prod3").fail["activate"] = func(n int) error {
			w.full = true
			return nil
		}
		r := &Runner{Journal: w, Observers: []func(journal.Record){func(r journal.Record) { told = append(told, r) }}}
		e := ended(t, r.Run(t.Context(), w.plan(2)), journal.RolledBack)
		w.on(t, relA)
		if !strings.Contains(e.Error(), "no space left") || told[len(told)-1].Kind != journal.End {
			t.Errorf("%v; last told %+v", e, told[len(told)-1])
		}
	})
}

func TestAHostThatHangsDoesNotStallTheWayBack(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		g := w.gate(p, "prod")
		g.say = canary.Fail
		w.host("prod6").fail["state"] = func(int) error {
			if g.seen > 0 {
				return errHangs
			}
			return nil
		}
		w.host("prod6").fail["claim"] = w.host("prod6").fail["state"]
		start := time.Now()
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.Inconsistent)
		if !slices.Equal(e.Hosts, []string{"prod6"}) {
			t.Errorf("hosts %v", e.Hosts)
		}
		w.on(t, relA)
		if d := time.Since(start); d > 2*time.Minute {
			t.Errorf("took %v", d)
		}
	})
}

func TestCapacityIsHeld(t *testing.T) {
	ill := func(w *world, n int) Plan {
		p := w.plan(2)
		p.Phases[1].Check = func(context.Context) error { // meanwhile others fall ill
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, h := range w.hosts[len(w.hosts)-n:] {
				h.sick[relA], h.sick[relB] = true, n > 3
			}
			return nil
		}
		return p
	}
	in(t, func(t *testing.T, w *world) { // a batch is as wide as the pool can spare
		if err := (&Runner{Journal: w}).Run(t.Context(), ill(w, 2)); err != nil {
			t.Error(err)
		}
		w.on(t, relB)
	})
	in(t, func(t *testing.T, w *world) { // it can spare none, neither there nor back, and nobody is there to ask
		start := time.Now()
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), ill(w, 4)), journal.Inconsistent)
		if !errors.Is(e, ErrCapacity) || !slices.Equal(e.Hosts, []string{"canary1", "canary2"}) || time.Since(start) < 10*time.Minute {
			t.Errorf("%v, hosts %v", e, e.Hosts)
		}
		for _, b := range w.broken {
			t.Error(b)
		}
		for _, h := range w.hosts {
			clear(h.sick)
		}
		ended(t, (&Runner{Journal: w}).Resume(t.Context(), w.plan(2), slices.Values(w.records)), journal.RolledBack)
		w.on(t, relA)
	})
	in(t, func(t *testing.T, w *world) { // the deployer says to go below
		p := ill(w, 4)
		p.Attended = true
		asked := 0
		r := &Runner{Journal: w, Ask: func(_ context.Context, q Question) (Answer, error) {
			if asked++; len(q.Choices) == 3 {
				return Answer{Choice: RollBack, Who: "jd"}, nil
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.min = 0
			return Answer{Choice: Pass, Who: "jd", Word: "it is night"}, nil
		}}
		ended(t, r.Run(t.Context(), p), journal.RolledBack)
		w.on(t, relA)
		if asked != 2 {
			t.Errorf("asked %d times", asked)
		}
	})
}
