package phases

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"scap/canary"
	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

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

// The staged release is what the fleet serves, and one host is not in line: it is repaired and nothing is asked of a gate,
// which would wait for traffic since restarts that did not happen.
func TestTheSameReleaseOnlyRepairs(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		for _, h := range w.hosts {
			h.disk, h.running, h.desired, h.releases = relB, relB, relB, []release.ID{relB}
		}
		h := w.host("prod3")
		h.running, h.intent.Out = release.ID{}, true
		p := w.plan(2)
		p.Repair = true
		w.gate(p, "test").say = canary.Hold
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		w.on(t, relB)
	})
}

// A deploy host whose journals are young knows too little to throw away what the targets have.
func TestPruneLeavesWhatWasFound(t *testing.T) {
	for _, found := range []bool{true, false} {
		in(t, func(t *testing.T, w *world) {
			h := w.host("prod3")
			h.releases = append(h.releases, relC)
			p := w.plan(2)
			p.Prune, p.KeepFound = true, found
			if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			if slices.Contains(h.releases, relC) != found || !slices.Contains(h.releases, relA) {
				t.Errorf("found %t: left are %v", found, h.releases)
			}
		})
	}
}

func TestAReleaseIsNotPutOnAFleetThatItWasNotMadeFor(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		p.Base = relB
		p.Release.ID = release.ID{9}
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.Unchanged)
		if !errors.Is(e, ErrPreflight) || !strings.Contains(e.Error(), "begin again") {
			t.Errorf("%v: want it refused for its base", e)
		}
		w.on(t, relA)
	})
}

func TestServed(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		all := w.plan(2).Targets()
		if id, err := Served(Survey(t.Context(), all, time.Minute)); id != relA || err != nil {
			t.Errorf("served %s, %v", id.Short(), err)
		}
		if id, err := Served(nil); !id.IsZero() || err == nil {
			t.Errorf("nobody serves %s, %v", id.Short(), err)
		}
	})
}
