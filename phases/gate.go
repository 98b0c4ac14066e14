package phases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"scap/canary"
	"scap/phases/journal"
	"scap/targets"
)

// Verdicts of a Ruled record besides those of canary.Verdict.
const (
	ruledOff  = "off"  // the phase has no gate; Text says why
	ruledWord = "word" // the gate held and the deployer said to go on
)

// watch is a gate at work on one batch.
type watch struct {
	*progress
	opened   time.Time // when the batch's last target was proven
	deadline time.Time
	wait     time.Duration
	last     canary.Ruling
}

// judge returns nil once the gate has passed the batch, or the deployer has said so on a Hold, and the batch has baked.
func (x *progress) judge(ctx context.Context, batch []targets.Target, opened time.Time) error {
	if x.ph.Check != nil {
		if err := guard(func() error { return x.ph.Check(ctx) }); err != nil {
			return wrap(err, "check")
		}
	}
	w := &watch{progress: x, opened: opened, wait: or(x.ph.MaxWait, 10*time.Minute)}
	w.deadline = opened.Add(max(w.wait, x.ph.Bake))
	if x.ph.Gate == nil {
		if err := x.note(journal.Record{Kind: journal.Ruled, Phase: x.ph.Name, Verdict: ruledOff, Text: x.ph.GateOff}); err != nil {
			return err
		}
		if err := x.clock.Wait(ctx, opened.Add(x.ph.Bake).Sub(x.clock.Now())); err != nil {
			return err
		}
		return x.still(ctx, batch)
	}
	if err := w.pass(ctx); err != nil {
		return err
	}
	return x.still(ctx, batch)
}

// still proves the batch again: what passed is what runs.
func (x *progress) still(ctx context.Context, batch []targets.Target) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, s := range x.survey(ctx, batch) {
		if x.hasFailed(s.Name()) {
			continue
		}
		err := x.proof(s, x.p.Release.ID)
		switch {
		case err == nil:
		case x.p.Back: // the others wait to be brought back; the end of the deploy looks at all of them
			x.say(journal.Record{Kind: journal.Note, Phase: x.ph.Name, Target: s.Name(), Text: "after its activation: " + err.Error()})
		default:
			return fmt.Errorf("%s after its activation: %w", s.Name(), err)
		}
	}
	return nil
}

func (x *progress) hasFailed(name string) bool {
	for _, t := range x.failed {
		if t.Name() == name {
			return true
		}
	}
	return false
}

// pass looks, and looks again, until the gate passes or fails the batch or its time is over.
func (w *watch) pass(ctx context.Context) error {
	baked := w.opened.Add(w.ph.Bake)
	for {
		rul, err := w.look(ctx, w.deadline)
		if err != nil {
			return err
		}
		switch {
		case rul.Verdict == canary.Fail:
			return fmt.Errorf("%w: %s", ErrGate, rul.Reason)
		case rul.Verdict == canary.Pass && !w.clock.Now().Before(baked):
			return nil
		}
		if !w.clock.Now().Before(w.deadline) {
			return w.decide(ctx)
		}
		if err := w.clock.Wait(ctx, w.next(rul.Verdict == canary.Pass, baked)); err != nil {
			return err
		}
	}
}

// next is how long to wait before the next look.
func (w *watch) next(passed bool, baked time.Time) time.Duration {
	now, tick := w.clock.Now(), or(w.ph.Tick, 5*time.Second)
	until := w.deadline.Sub(now)
	if passed && baked.After(now) {
		until = baked.Sub(now)
	}
	return min(tick, until)
}

// look takes one look and journals the ruling. What cannot be journaled, an error, a panic, an unknown verdict, and a
// verdict that came after the deadline or the end of ctx never pass. A nil error with the zero Ruling is a Hold.
func (w *watch) look(ctx context.Context, deadline time.Time) (canary.Ruling, error) {
	limited, cancel := context.WithTimeout(ctx, w.p.Limits.Look)
	defer cancel()
	var rul canary.Ruling
	err := guard(func() (err error) {
		rul, err = w.ph.Gate.Judge(limited, w.window(), w.last.Evidence)
		return err
	})
	if err != nil {
		rul = canary.Ruling{Reason: fmt.Sprintf("could not look: %v", err), Evidence: w.last.Evidence}
	}
	if ctx.Err() != nil {
		return canary.Ruling{}, context.Cause(ctx)
	}
	switch {
	case rul.Verdict != canary.Pass && rul.Verdict != canary.Fail && rul.Verdict != canary.Hold:
		rul.Verdict, rul.Reason = canary.Hold, fmt.Sprintf("unknown verdict %d: %s", rul.Verdict, rul.Reason)
	case rul.Verdict == canary.Pass && (limited.Err() != nil || w.clock.Now().After(deadline)):
		rul.Verdict, rul.Reason = canary.Hold, "passed too late: "+rul.Reason
	}
	data, err := json.Marshal(rul)
	if err == nil && len(data) > journal.MaxLine/2 {
		err = fmt.Errorf("a ruling of %d bytes", len(data))
	}
	if err != nil { // hostile or broken numbers and evidence: nobody could check this ruling later
		if rul.Verdict == canary.Pass {
			rul.Verdict = canary.Hold
		}
		rul.Reason, rul.Numbers, rul.Evidence = fmt.Sprintf("%s (not to be written: %v)", rul.Reason, err), nil, nil
		data, _ = json.Marshal(rul) // plain strings
	}
	w.last = rul
	return rul, w.note(journal.Record{Kind: journal.Ruled, Phase: w.ph.Name, Verdict: rul.Verdict.String(), Text: rul.Reason, Data: data})
}

// window is what the gate is to look at: every target of the phase that runs the release, against those of the phase and
// of its control that do not yet.
func (w *watch) window() canary.Window {
	win := canary.Window{Deploy: w.p.Deploy, Phase: w.ph.Name, Release: w.p.Release.ID.String(), Opened: w.opened, Now: w.clock.Now()}
	on := map[string]bool{}
	for _, s := range w.active {
		on[s.Name()] = true
		win.Canary = append(win.Canary, side(s))
	}
	for _, t := range append(append([]targets.Target{}, w.ph.Targets...), w.ph.Control...) {
		s, ok := w.first[t.Name()]
		if on[t.Name()] || w.hasFailed(t.Name()) || !ok {
			continue
		}
		on[t.Name()] = true
		win.Control = append(win.Control, side(s))
	}
	return win
}

// side is a target as one side of the comparison sees it.
func side(s Seen) canary.Host {
	return canary.Host{Name: s.Name(), Release: text(s.State.Running), Since: s.State.Proof.Started, Nonce: s.State.Proof.Nonce}
}

// decide is what happens when the gate has held for its whole time: somebody says what to do, or the deploy goes back.
// A gate that fails the release on a last look is not overridden.
func (w *watch) decide(ctx context.Context) error {
	held := fmt.Errorf("%w within %v: %s", ErrHold, w.wait, w.last.Reason)
	a, err := w.ask(ctx, Question{
		Topic: AskHold, Phase: w.ph.Name, Ruling: w.last, Choices: []Choice{Wait, Pass, RollBack},
		Text: fmt.Sprintf("The gate of phase %s has held for %v: %s", w.ph.Name, w.wait, w.last.Reason),
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return errors.Join(held, err)
	}
	if err := w.note(journal.Record{Kind: journal.Done, Act: journal.Confirm, Phase: w.ph.Name, Verdict: string(a.Choice), Text: word(a)}); err != nil {
		return err
	}
	switch a.Choice {
	case Wait:
		w.deadline = w.clock.Now().Add(w.wait)
		return w.pass(ctx)
	case Pass:
		now := w.clock.Now()
		rul, err := w.look(ctx, now.Add(w.wait))
		if err != nil {
			return err
		}
		if rul.Verdict == canary.Fail {
			return fmt.Errorf("%w: %s", ErrGate, rul.Reason)
		}
		return w.note(journal.Record{Kind: journal.Ruled, Phase: w.ph.Name, Verdict: ruledWord, Text: word(a)})
	}
	return fmt.Errorf("%w: %w", held, ErrDeclined)
}
