package phases

import (
	"context"
	"encoding/json"
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
		total := 0
		for _, phase := range []string{"test", "canary", "prod"} { // one body of evidence goes through them all
			for i, prior := range w.gate(p, phase).prior {
				var e seen
				if err := json.Unmarshal([]byte(prior), &e); err != nil && prior != "" || e.Total != total {
					t.Errorf("look %d of phase %s was handed %q, want the evidence of %d looks", i+1, phase, prior, total)
				}
				total++
			}
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

// After a power cut, or right after they were adopted, no host is proven and all hold one release.
func TestNobodyIsProvenButAllHoldOneRelease(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		p.Repair = true
		for _, target := range p.Targets() {
			w.host(target.Name()).running = release.ID{}
		}
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		w.on(t, relB)
	})
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

func TestWhatComesAfterAPhaseStandsBetweenItAndTheNext(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		p.Phases[0].After = &After{Act: journal.Merge, Text: "1001", Do: func(_ context.Context, tell func(string)) (string, error) {
			for _, h := range w.hosts {
				if on := h.state().Running; (on == relB) != strings.HasPrefix(h.name, "test") {
					t.Errorf("%s runs %s while the merge is waited for", h.name, on.Short())
				}
			}
			tell("half way")
			return "merged 1001", nil
		}}
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		w.on(t, relB)
		var told []string
		for _, r := range w.records {
			if r.Act == journal.Merge {
				told = append(told, string(r.Kind)+" "+r.Phase+" "+r.Text)
			}
		}
		if want := []string{"intent test 1001", "note test half way", "done test merged 1001"}; !slices.Equal(told, want) {
			t.Errorf("the journal says %q, want %q", told, want)
		}
	})
}

func TestWhatFailsAfterAPhaseTakesTheDeployBack(t *testing.T) {
	broken := errors.New("merge conflict")
	for _, row := range []struct {
		name string
		do   func(context.Context, context.CancelFunc) error
		how  string
	}{
		{"an error", func(context.Context, context.CancelFunc) error { return broken }, journal.RolledBack},
		{"the deployer's no", func(context.Context, context.CancelFunc) error { return ErrDeclined }, journal.Declined},
		{"a panic", func(context.Context, context.CancelFunc) error { panic("boom") }, journal.RolledBack},
		{"Ctrl-C", func(ctx context.Context, cancel context.CancelFunc) error {
			cancel()
			<-ctx.Done()
			return broken
		}, journal.Cancelled},
	} {
		t.Run(row.name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				p := w.plan(2)
				p.Phases[0].After = &After{Act: journal.Merge, Do: func(ctx context.Context, _ func(string)) (string, error) {
					return "", row.do(ctx, cancel)
				}}
				ended(t, (&Runner{Journal: w}).Run(ctx, p), row.how)
				w.on(t, relA)
			})
		})
	}
}
