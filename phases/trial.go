package phases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"scap/canary"
	"scap/phases/journal"
	"scap/targets"
)

// A trial comes before the activation in a phase with a Share: each target of a batch that can serves the new release to a
// part of its requests, beside the old one, and the gate compares the two on the same machines. A pass makes the trial what
// all users get: the same processes, warm, behind another name. So the gate is not asked a second time after the promotion;
// the promoted targets are Earlier ones in every window that follows, whose hard rules see them, and in the watch. Targets
// that cannot try are activated after the pass, as part of the same batch; a batch in which none can goes the ordinary way,
// through the ordinary gate. Whatever else happens than a pass ends the trials, before anything else (abandon).

// lease is how long a trial outlives its orchestrator at most, margin what is given on top of a time that is counted on.
const (
	lease  = 5 * time.Minute
	margin = time.Minute
)

// onTrial is a target on which the release is being tried.
type onTrial struct {
	Seen
	until time.Time
}

// tries reports whether the phase tries before it activates. A rollback never does, nor an emergency: both are in a hurry to
// get away from what is served. Without a gate nobody would judge the trial.
func (x *progress) tries() bool {
	return x.ph.Share > 0 && x.ph.Gate != nil && !x.p.Back && x.p.Emergency == ""
}

// trial tries the release on those of batch that can, lets the gate judge, and activates the batch. It returns what of the
// batch is still to be activated and judged the ordinary way: all of it when none can try.
func (x *progress) trial(ctx context.Context, batch []targets.Target) (rest []targets.Target, err error) {
	can, cannot := x.triers(ctx, batch)
	if len(can) == 0 {
		return batch, nil
	}
	w := &judging{progress: x, wait: or(x.ph.MaxWait, 10*time.Minute), trial: true}
	if err := w.begin(ctx, can); err != nil {
		return nil, err
	}
	if len(w.trials) == 0 { // failed within the budget
		return cannot, nil
	}
	w.opened = x.clock.Now()
	w.deadline = w.opened.Add(max(w.wait, x.ph.Bake))
	if err := w.pass(ctx); err != nil {
		return nil, err
	}
	if err := w.stillTried(ctx); err != nil {
		return nil, err
	}
	return nil, x.promote(ctx, w.tried(), cannot)
}

// triers parts batch into those that can try the release now and the others, and says why they cannot. Who does not answer is
// no reason to go untried: that the trial fails there counts.
func (x *progress) triers(ctx context.Context, batch []targets.Target) (can, cannot []targets.Target) {
	var why reasons
	for _, s := range x.insist(ctx, batch) {
		err := errors.New("it cannot serve two releases at once")
		if trier, ok := s.Target.(targets.Trier); ok && s.Err != nil {
			err = nil
		} else if ok {
			err = guard(func() error { return trier.CanTry(s.State) })
		}
		if err == nil {
			can = append(can, s.Target)
			continue
		}
		cannot = append(cannot, s.Target)
		why.add(s.Name(), err.Error())
	}
	then := "activated after the others have passed"
	if len(can) == 0 {
		then = "activated as usual, and judged then"
	}
	for _, g := range why.groups() {
		x.say(journal.Record{Kind: journal.Note, Phase: x.ph.Name, Text: fmt.Sprintf("not tried on a share first, %s: %s", then, g)})
	}
	return can, cannot
}

// begin begins the trials. A target on which that fails counts like a failed activation.
func (w *judging) begin(ctx context.Context, ts []targets.Target) error {
	until := w.clock.Now().Add(w.term())
	proven, err := w.each(ctx, ts, func(ctx context.Context, t targets.Target) (Seen, error) { return w.tryOne(ctx, t, until) })
	for _, s := range proven {
		w.trials = append(w.trials, &onTrial{s, until})
	}
	if err == nil {
		w.forsake()
	}
	return err
}

// forsake ends the trials of targets that have failed. One that it cannot end stays failed.
func (x *progress) forsake() {
	_ = x.abandon(x.hard, x.openOn(names(x.failed))) // each failure is a record, and the end of the deploy looks again
}

// term is how long a target is told to keep a trial. It covers the gate's whole time where that is short; else it is renewed
// while the gate looks, so that a trial does not outlive a dead orchestrator for long.
func (w *judging) term() time.Duration {
	whole := w.wait + w.ph.Bake + w.p.Limits.Look + margin
	return min(whole, max(lease, 2*(w.tick()+w.p.Limits.Look)))
}

// tryOne begins the trial on t and proves it. Once begun it is not cancelled with the deploy.
func (w *judging) tryOne(ctx context.Context, t targets.Target, until time.Time) (Seen, error) {
	r := journal.Record{Act: journal.Try, Phase: w.ph.Name, Target: t.Name(), From: text(w.from), To: text(w.p.Release.ID), Data: termed(until)}
	if err := w.intent(ctx, r); err != nil {
		return Seen{}, err
	}
	r.Data = nil
	limit := or(w.ph.Fanout.Timeout, w.p.Limits.Activate)
	ctx, cancel := context.WithTimeoutCause(w.hard, limit, fmt.Errorf("took longer than %v", limit))
	defer cancel()
	err := guard(func() error { return t.(targets.Trier).Try(ctx, w.change(w.from, w.p.Release.ID), until) })
	if errors.Is(err, targets.ErrFenced) {
		return Seen{}, w.outcome(r, err)
	}
	s, _ := w.prove(t, w.from)
	bad := w.trialProof(s)
	switch {
	case bad == nil && err != nil:
		r.Text = fmt.Sprintf("it proves the trial, though: %v", err)
		err = nil
	case err == nil:
		err = bad
	case w.proof(s, w.from) == nil:
		r.Verdict = journal.Returned
	}
	return s, w.outcome(r, err)
}

func termed(until time.Time) json.RawMessage {
	data, _ := json.Marshal(journal.Term{Until: until.UTC()}) // a plain time
	return data
}

// trialProof says why a target does not try the release as it should, nil when it does.
func (d *run) trialProof(s Seen) error {
	tr := s.State.Proof.Trial
	switch {
	case s.Err != nil:
		return fmt.Errorf("the trial is not proven: %w", s.Err)
	case !d.serves(s, d.from):
		return fmt.Errorf("during the trial: %w", d.proof(s, d.from))
	case tr == nil:
		return errors.New("no trial runs there")
	case tr.Release != d.p.Release.ID:
		return fmt.Errorf("it tries %s, not %s", tr.Release.Short(), d.p.Release.ID.Short())
	case tr.Reason != "":
		return fmt.Errorf("the trial is not proven: %s", tr.Reason)
	}
	return nil
}

// tried are the targets on trial.
func (w *judging) tried() []targets.Target {
	ts := make([]targets.Target, len(w.trials))
	for i, o := range w.trials {
		ts[i] = o.Target
	}
	return ts
}

// stillTried proves the trials again: what passed is what is promoted.
func (w *judging) stillTried(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, s := range w.survey(ctx, w.tried()) {
		if err := w.trialProof(s); err != nil {
			return fmt.Errorf("%s after its trial began: %w", s.Name(), err)
		}
	}
	return nil
}

// promote activates what was tried, which takes nobody out, and then what could not be.
func (x *progress) promote(ctx context.Context, tried, others []targets.Target) error {
	batch := slices.Concat(tried, others)
	for todo := tried; len(todo) > 0; {
		proven, err := x.activate(ctx, todo)
		x.promoted = append(x.promoted, proven...)
		if err != nil {
			return err
		}
		x.forsake()
		if todo = nil; len(others) > 0 {
			if todo, err = x.batch(ctx, others); err != nil { // the pools are looked at afresh: the gate took its time
				return err
			}
			others = without(others, names(todo))
		}
	}
	if err := x.check(ctx); err != nil {
		return err
	}
	return x.still(ctx, batch)
}

// arm is the name of a machine's trial among the hosts of a window.
func arm(machine string) string { return machine + " canary" }

// arms is what the gate is to look at during a trial: the two releases of the same machines. What runs the release whole is
// Earlier.
func (w *judging) arms(win *canary.Window) {
	win.Share = w.ph.Share
	for _, o := range w.trials {
		tr, old := o.State.Proof.Trial, side(o.Seen)
		old.On = o.Name()
		win.Control = append(win.Control, old)
		win.Canary = append(win.Canary, canary.Host{Name: arm(o.Name()), On: o.Name(), Release: text(tr.Release), Since: tr.Started, Nonce: tr.Nonce})
	}
}

// machine is the target that a gate means by name: its trial or the target itself.
func (w *judging) machine(name string) (machine string, trial bool) {
	for _, o := range w.trials {
		if name == arm(o.Name()) {
			return o.Name(), true
		}
	}
	return name, false
}
