package phases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"scap/canary"
	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

// hands reports whether the fake host goes on serving while it switches to a release now.
func (h *host) hands(to release.ID) bool { return h.roadNow().Beside(to) && h.serving() }

// roadNow is the host's road: what is tried has taken the room for another start.
func (h *host) roadNow() release.Road {
	road := h.road
	if tr := h.trying(); tr != nil {
		road.Wanted, road.Strategy, road.Why = road.Strategy, release.ByDrain, "no memory for a third"
		road.Warm = []release.ID{tr.Release}
	}
	return road
}

// trying is the trial that runs on the host; it ends by itself.
func (h *host) trying() *release.Trial {
	if h.trial != nil && !time.Now().Before(h.trial.Until) {
		h.trial = nil
	}
	if h.trial == nil {
		return nil
	}
	tr := *h.trial
	return &tr
}

// CanTry is as a host answers that hands over.
func (h *host) CanTry(s targets.State) error {
	if s.Proof.Road.Strategy != release.ByHandover && s.Proof.Trial == nil {
		return errors.New("it does not hand over")
	}
	return nil
}

// Try begins a trial, or keeps one for longer. Once begun it does not heed the orchestrator's death.
func (h *host) Try(ctx context.Context, s targets.Switch, until time.Time) error {
	fault := h.call(ctx, "try")
	if fault != nil && !errors.Is(fault, errLost) {
		return fault
	}
	if err := h.try(s, until); err != nil {
		return h.answer(err)
	}
	<-time.After(3 * time.Millisecond)
	return h.answer(fault)
}

func (h *host) try(s targets.Switch, until time.Time) error {
	w := h.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := h.fenced(s.Token, s.Owner); err != nil {
		return err
	}
	switch {
	case !slices.Contains(h.releases, s.To):
		return fmt.Errorf("release %s is not on %s", s.To.Short(), h.name)
	case h.running != s.From || !h.hands(s.To):
		return fmt.Errorf("%s is on %s, not on %s, or cannot try", h.name, h.running.Short(), s.From.Short())
	case !until.After(time.Now()) || time.Until(until) > 10*time.Minute:
		w.violated("%s is to try until %s, it is %s", h.name, until, time.Now())
	}
	if h.trying() == nil {
		h.trial = &release.Trial{Release: s.To, Started: time.Now(), Nonce: "t-" + h.name}
	}
	if h.trial.Until.Before(until) {
		h.trial.Until = until
	}
	h.terms = append(h.terms, until)
	return nil
}

// Abandon ends the trial.
func (h *host) Abandon(ctx context.Context, token uint64) error {
	fault := h.call(ctx, "abandon")
	if fault != nil && !errors.Is(fault, errLost) {
		return fault
	}
	h.w.mu.Lock()
	err := error(nil)
	if token < h.intent.Token {
		err = fmt.Errorf("token %d, seen %d: %w", token, h.intent.Token, targets.ErrFenced)
	} else {
		h.trial = nil
	}
	h.w.mu.Unlock()
	if err == nil {
		err = fault
	}
	return h.answer(err)
}

// hand makes the named hosts, or all, hand over.
func (w *world) hand(names ...string) {
	for _, h := range w.hosts {
		if len(names) == 0 || slices.Contains(names, h.name) {
			h.road = release.Road{Strategy: release.ByHandover, TookStart: 4 * time.Second}
		}
	}
}

// share makes phases of the plan try first.
func (w *world) share(p *Plan, phases ...string) {
	for i := range p.Phases {
		if len(phases) == 0 || slices.Contains(phases, p.Phases[i].Name) {
			p.Phases[i].Share = .05
			w.shared[p.Phases[i].Name] = true
		}
	}
}

// passedIn reports whether a gate has passed a host of a phase. Who cannot try there is activated on the others' pass.
func (w *world) passedIn(phase string) bool {
	return slices.ContainsFunc(w.hosts, func(h *host) bool { return h.phase == phase && w.passed[h.name] })
}

// acts are the kinds of the records of an act on a host.
func (w *world) acts(act, host string) (kinds []journal.Kind) {
	for _, r := range w.records {
		if r.Act == act && r.Target == host {
			kinds = append(kinds, r.Kind)
		}
	}
	return kinds
}

// notesOf are the texts of all notes.
func (w *world) notesOf() (texts []string) {
	for _, r := range w.records {
		if r.Kind == journal.Note {
			texts = append(texts, r.Text)
		}
	}
	return texts
}

// ruling makes the gate of production, if it has one, say a verdict.
func (w *world) ruling(p Plan, v canary.Verdict) {
	if g, ok := p.Phases[2].Gate.(*gate); ok {
		g.say = v
	}
}
