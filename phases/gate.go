package phases

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// judging is a gate at work on one batch.
type judging struct {
	*progress
	opened   time.Time // when the batch's last target was proven
	deadline time.Time
	wait     time.Duration
	last     canary.Ruling
	// trial says that the release is tried on a share of the requests; trials are the targets on which it is.
	trial  bool
	trials []*onTrial
}

// judge returns nil once the gate has passed the batch, or the deployer has said so on a Hold, and the batch has baked.
func (x *progress) judge(ctx context.Context, batch []targets.Target, opened time.Time) error {
	if err := x.check(ctx); err != nil {
		return err
	}
	w := &judging{progress: x, opened: opened, wait: or(x.ph.MaxWait, 10*time.Minute)}
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

// check runs the phase's own check.
func (x *progress) check(ctx context.Context) error {
	if x.ph.Check == nil {
		return nil
	}
	return wrap(guard(func() error { return x.ph.Check(ctx) }), "check")
}

// still proves the batch again: what passed is what runs.
func (x *progress) still(ctx context.Context, batch []targets.Target) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, s := range x.survey(ctx, x.trusted(batch)) {
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
	return slices.ContainsFunc(x.failed, func(t targets.Target) bool { return t.Name() == name })
}

// pass looks, and looks again, until the gate passes or fails the batch or its time is over.
func (w *judging) pass(ctx context.Context) error {
	baked := w.opened.Add(w.ph.Bake)
	for {
		rul, err := w.glance(ctx, w.deadline)
		if err != nil {
			return err
		}
		switch {
		case rul.Verdict == canary.Fail:
			return fmt.Errorf("%w: %s", ErrGate, rul.Reason)
		case rul.Verdict == canary.Pass && !w.clock.Now().Before(baked):
			return nil
		}
		if !w.clock.Now().Before(w.deadline) && !w.extended() {
			return w.decide(ctx)
		}
		if err := w.clock.Wait(ctx, w.next(rul.Verdict == canary.Pass, baked)); err != nil {
			return err
		}
	}
}

// next is how long to wait before the next look.
func (w *judging) next(passed bool, baked time.Time) time.Duration {
	now := w.clock.Now()
	until := w.deadline.Sub(now)
	if passed && baked.After(now) {
		until = baked.Sub(now)
	}
	return min(w.tick(), until)
}

func (w *judging) tick() time.Duration { return or(w.ph.Tick, 5*time.Second) }

// glance takes one look, journals the ruling, and takes suspects out. A verdict that came after the deadline never passes.
func (w *judging) glance(ctx context.Context, deadline time.Time) (canary.Ruling, error) {
	if err := w.renew(ctx); err != nil {
		return canary.Ruling{}, err
	}
	win := w.window()
	rul, err := w.rule(ctx, w.ph.Gate, win)
	if err != nil {
		return rul, err
	}
	if rul.Verdict == canary.Pass && w.clock.Now().After(deadline) {
		rul = late(rul)
	}
	rul = w.spared(ctx, win, rul)
	if ctx.Err() != nil {
		return canary.Ruling{}, context.Cause(ctx)
	}
	if rul, err = w.ruled(rul); err == nil && rul.Verdict == canary.Suspect {
		rul, err = w.isolate(ctx, rul)
	}
	return rul, err
}

// ruled journals rul.
func (w *judging) ruled(rul canary.Ruling) (canary.Ruling, error) {
	rul, data := w.written(rul)
	w.last = rul
	return rul, w.note(journal.Record{Kind: journal.Ruled, Phase: w.ph.Name, Verdict: rul.Verdict.String(), Text: rul.Reason, Data: data})
}

// window is what the gate is to look at: every target of the phase that runs the release, beside those of earlier phases and
// of batches that passed while they tried it, against those of the phase and of its control that do not yet; during a trial,
// its arms. Suspects that are out belong to no side.
func (w *judging) window() canary.Window {
	win := canary.Window{
		Deploy: w.p.Deploy, Phase: w.ph.Name, Release: w.p.Release.ID.String(), From: w.before(), Opened: w.opened, Now: w.clock.Now(),
	}
	on := map[string]bool{}
	take := func(s Seen, to *[]canary.Host) {
		if !on[s.Name()] && !w.isolated(s.Name()) {
			on[s.Name()] = true
			*to = append(*to, side(s))
		}
	}
	judged := &win.Canary
	if w.trial {
		w.arms(&win)
		judged = &win.Earlier
	}
	for _, s := range w.active {
		take(s, judged)
	}
	for _, s := range slices.Concat(w.earlier, w.promoted) {
		take(s, &win.Earlier)
	}
	if w.trial {
		return win
	}
	for _, t := range append(append([]targets.Target{}, w.ph.Targets...), w.ph.Control...) {
		if s, ok := w.first[t.Name()]; ok && !w.hasFailed(t.Name()) {
			take(s, &win.Control)
		}
	}
	return win
}

// before is the one release that was served before, "" when a rollback found more than one.
func (d *run) before() string {
	for _, s := range d.first {
		if d.p.Back && s.Err == nil && s.State.Disk != d.from {
			return ""
		}
	}
	return text(d.from)
}

// side is a target as one side of the comparison sees it.
func side(s Seen) canary.Host {
	return canary.Host{Name: s.Name(), Release: text(s.State.Running), Since: s.State.Proof.Started, Nonce: s.State.Proof.Nonce}
}

// notOurs reports whether the gate holds because of what is not this release's doing.
func (w *judging) notOurs() bool {
	return w.last.Verdict == canary.Hold && w.last.Cause == canary.BothRed
}

// extended gives a gate more time that holds because of what is not this release's doing, where nobody is there to say
// what to do: the deploy waits where it is until that is over, for HoldLimit at most.
func (w *judging) extended() bool {
	until := w.opened.Add(w.p.HoldLimit)
	if !w.notOurs() || w.p.Attended && w.Ask != nil || !w.clock.Now().Before(until) {
		return false
	}
	w.say(journal.Record{Kind: journal.Note, Phase: w.ph.Name, Text: fmt.Sprintf("%v, and nobody is there to ask: the deploy waits where it is until %s at most",
		ErrBothRed, until.UTC().Format(time.RFC3339))})
	w.deadline, w.wait = until, w.p.HoldLimit
	return true
}

// decide is what happens when the gate has held for its whole time: somebody says what to do, or the deploy goes back.
// A gate that fails the release on a last look is not overridden.
func (w *judging) decide(ctx context.Context) error {
	held := fmt.Errorf("%w within %v: %s", ErrHold, w.wait, w.last.Reason)
	if w.notOurs() {
		held = fmt.Errorf("%w within %v: %w: %s", ErrHold, w.wait, ErrBothRed, w.last.Reason)
	}
	a, err := w.asking(ctx, Question{
		Topic: AskHold, Phase: w.ph.Name, Ruling: w.last, Choices: []Choice{Wait, Pass, RollBack},
		Text: fmt.Sprintf("The gate of phase %s has held for %v%s: %s", w.ph.Name, w.wait, because(w.last.Cause), w.last.Reason),
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
		rul, err := w.glance(ctx, now.Add(w.wait))
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
