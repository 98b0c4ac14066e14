package phases

import (
	"context"
	"errors"
	"slices"
	"testing"

	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

// back is a rollback from C, which is everywhere, to B, which was good before it.
func (w *world) back() Plan {
	for _, h := range w.hosts {
		h.disk, h.running, h.desired, h.releases = relC, relC, relC, append(h.releases, relC, relB)
	}
	w.ungated = true
	p := w.plan(2)
	p.Back = true
	for i := range p.Phases {
		p.Phases[i].Gate, p.Phases[i].GateOff = nil, "a rollback"
		p.Phases[i].Fanout.MaxFailures = targets.AnyFailures
	}
	return p
}

// A host that is dead is no reason to leave all others on a release that does not work.
func TestARollbackGoesPastADeadHost(t *testing.T) {
	for name, kill := range map[string]func(*host){
		"dead": func(h *host) { h.gone = true },
		"full disk": func(h *host) {
			h.free, h.releases = 0, []release.ID{relC}
			h.fail["stage"] = always(errors.New("disk full"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				p := w.back()
				kill(w.host("prod3"))
				e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.Inconsistent)
				if !slices.Equal(e.Hosts, []string{"prod3"}) {
					t.Errorf("hosts %v", e.Hosts)
				}
				for _, h := range w.hosts {
					if h.name != "prod3" && h.running != relB {
						t.Errorf("%s runs %s", h.name, h.running.Short())
					}
				}
				if n := w.host("prod3").calls["activate"] + w.host("prod3").calls["repair"]; name == "full disk" && n > 0 {
					t.Errorf("a host without the release was told %d times to switch to it", n)
				}
			})
		})
	}
}

// When a rollback cannot go on, what it has brought to the good release stays there.
func TestARollbackIsNotTurnedAround(t *testing.T) {
	for name, fault := range map[string]func(*world, *Plan){
		"no capacity": func(w *world, p *Plan) {
			p.Phases[0].Check = func(context.Context) error { // meanwhile the others fall ill, with B as well
				w.mu.Lock()
				defer w.mu.Unlock()
				for _, h := range w.hosts[len(w.hosts)-3:] {
					h.drained = true
				}
				return nil
			}
		},
		"a host flaps after its activation": func(w *world, p *Plan) {
			w.host("canary1").fail["state"] = func(int) error {
				if w.host("canary1").running == relB && w.host("canary1").calls["state"] > 6 {
					return errGone
				}
				return nil
			}
		},
		"check": func(_ *world, p *Plan) {
			p.Phases[1].Check = func(context.Context) error { return errors.New("500") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				p := w.back()
				fault(w, &p)
				err := (&Runner{Journal: w}).Run(t.Context(), p)
				t.Logf("%v", err)
				for _, h := range w.hosts {
					t.Logf("%s runs %s", h.name, h.running.Short())
					if h.calls["activate"]+h.calls["repair"] > 0 && h.running != relB {
						t.Errorf("%s was brought back to %s", h.name, h.running.Short())
					}
				}
				for _, b := range w.broken {
					t.Error(b)
				}
			})
		})
	}
}

// Nothing runs anywhere, so no host is proven; the rollback dies and is resumed.
func TestARollbackFromNothingIsResumed(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.back()
		for _, h := range w.hosts {
			h.running = release.ID{}
		}
		w.host("prod3").fail["activate"] = func(n int) error { w.dead = n == 1; return nil }
		_ = (&Runner{Journal: w}).Run(t.Context(), p)
		w.dead = false
		past := slices.Clone(w.records)
		if err := (&Runner{Journal: w}).Resume(t.Context(), w.plan(2), slices.Values(past)); err != nil {
			t.Errorf("resumed: %v", err)
		}
		w.on(t, relB)
	})
}

// A release keeps all workers of its hosts busy, so that nobody proves anything and no host gets quiet. One that can hand over
// is switched where it is, and repaired only when that fails.
func TestTheWayBackHandsOverWhatIsStuck(t *testing.T) {
	for name, c := range map[string]struct {
		prepare          func(*host)
		activate, repair int
	}{
		"it hands over":       {func(*host) {}, 1, 0},
		"that fails":          {func(h *host) { h.fail["activate"] = func(n int) error { return map[bool]error{true: errGone}[n == 2] } }, 1, 1},
		"it does not":         {func(h *host) { h.road = release.Road{} }, 0, 1},
		"it is out":           {func(h *host) { h.intent.Out, h.intent.Owner = true, "d1" }, 0, 1},
		"drained by somebody": {func(h *host) { h.drained = true }, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				p := w.plan(2)
				h := w.host("canary1")
				h.road = release.Road{Strategy: release.ByHandover}
				before := 0
				p.Phases[1].Check = func(context.Context) error {
					w.mu.Lock()
					defer w.mu.Unlock()
					before, h.running = h.calls["activate"], release.ID{}
					c.prepare(h)
					return errors.New("GET /wiki/Main_Page: no answer")
				}
				err := (&Runner{Journal: w}).Run(t.Context(), p)
				if a, r := h.calls["activate"]-before, h.calls["repair"]; a != c.activate || r != c.repair || h.running != relA {
					t.Errorf("%d times activated and %d times repaired, want %d and %d; runs %s: %v", a, r, c.activate, c.repair, h.running.Short(), err)
				}
			})
		})
	}
}
