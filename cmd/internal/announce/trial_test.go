package announce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

// trier is a host that can serve two releases at once.
type trier struct {
	*host
	trial *release.Trial // guarded by mu
}

func (h *trier) CanTry(targets.State) error { return nil }

func (h *trier) Try(_ context.Context, s targets.Switch, until time.Time) error {
	<-time.After(time.Second)
	if err := h.bad["try"]; err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trial = &release.Trial{Release: s.To, Started: time.Now(), Until: until}
	return nil
}

func (h *trier) Abandon(context.Context, uint64) error {
	if err := h.bad["abandon"]; err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trial = nil
	return nil
}

func (h *trier) Activate(ctx context.Context, s targets.Switch) error {
	err := h.host.Activate(ctx, s)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.trial = nil
	}
	return err
}

func (h *trier) State(ctx context.Context) (targets.State, error) {
	s, err := h.host.State(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.trial != nil {
		tr := *h.trial
		s.Proof.Trial = &tr
	}
	return s, err
}

// TestTrials: the acts of a trial are the deploy's own affair; told is what became of it, as without one.
func TestTrials(t *testing.T) {
	verb := func(did, rest string) string {
		return "jd@deploy1 " + did + " scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]]" + rest
	}
	failed := ": the gate of canaries failed the release: 34 of 1000 requests failing, 2 of 3000 elsewhere"
	for _, row := range []struct {
		name   string
		change func(*scene)
		want   []string
	}{
		{"passes", func(*scene) {}, []string{tested, verb("Finished", " (duration: 00m 49s)")}},
		{"fails", func(s *scene) { s.plan.Phases[1].Gate = fails }, []string{tested, verb("Rolling back", failed), verb("Rolled back", " (duration: 00m 16s)"+failed)}},
		{"cannot be begun", func(s *scene) { s.host("canary1").bad["try"] = fmt.Errorf("the unit says %s", secretText) }, []string{
			tested, verb("Rolling back", ": the release could not be tried: canary1"), verb("Rolled back", " (duration: 00m 16s): the release could not be tried: canary1"),
		}},
		{"cannot be ended", func(s *scene) {
			s.plan.Phases[1].Gate, s.host("canary1").bad["abandon"] = fails, errors.New("no route")
		}, []string{
			tested, verb("Rolling back", failed), verb("NOT CONSISTENT after", ": canary1 not proven; run `scap resume` (duration: 00m 22s)"),
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newScene()
			for i, ph := range s.plan.Phases[1:] {
				s.plan.Phases[i+1].Share = .05
				for j, h := range ph.Targets {
					ph.Targets[j] = &trier{host: h.(*host)}
				}
			}
			row.change(s)
			wantLines(t, deploy(t, s).lines(), append([]string{begun}, row.want...)...)
			if !slices.ContainsFunc(s.records, func(r journal.Record) bool { return r.Act == journal.Try }) {
				t.Error("nothing was tried")
			}
		})
	}
}

// What is judged began when the last host had begun its trial, and a trial that is kept for longer is no act of its own.
func TestTheTimesOfATrial(t *testing.T) {
	s := newScene()
	s.plan.Phases[1].Share, s.plan.Phases[1].MaxWait = .05, 20*time.Minute
	s.plan.Phases[1].Bake = 15 * time.Minute
	for j, h := range s.plan.Phases[1].Targets {
		s.plan.Phases[1].Targets[j] = &trier{host: h.(*host)}
	}
	events := deploy(t, s).heard()
	f := events[len(events)-1].facts
	var tried time.Time
	for _, a := range f.acts {
		if a.act == journal.Try {
			tried = a.ended
			if a.target == "" || a.ended.IsZero() {
				t.Errorf("%+v", a)
			}
		}
	}
	i := slices.IndexFunc(f.gates, func(g gate) bool { return g.phase == "canaries" })
	if i < 0 || !f.gates[i].began.Equal(tried) || tried.IsZero() {
		t.Errorf("tried at %s, gates %+v", tried, f.gates)
	}
}
