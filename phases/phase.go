package phases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

// phase activates ph batch by batch and passes its gate after each.
func (d *run) phase(ctx context.Context, ph Phase) error {
	r := journal.Record{Act: journal.PhaseAct, Phase: ph.Name}
	return wrap(d.act(ctx, r, func() error {
		x := &progress{run: d, ph: ph}
		if err := x.batches(ctx, d.going(ph.Targets)); err != nil {
			return err
		}
		if again := x.returned(ctx); len(again) > 0 { // within the budget: they get one more chance
			if err := x.batches(ctx, again); err != nil {
				return err
			}
		}
		if len(x.active)+len(x.promoted) == 0 && !d.p.Back {
			return errors.New("no target of the phase took the release")
		}
		d.earlier = slices.Concat(d.earlier, x.active, x.promoted)
		if err := d.confirm(ctx, ph); err != nil {
			return err
		}
		return d.after(ctx, ph)
	}), "phase %s", ph.Name)
}

// after does what stands between ph and the next phase, once the release is on all targets: what cannot be staged is not to
// be merged. Its progress is journaled as notes of the phase.
func (d *run) after(ctx context.Context, ph Phase) error {
	if ph.After == nil {
		return nil
	}
	select {
	case <-d.staged:
	case <-ctx.Done():
	}
	r := journal.Record{Act: ph.After.Act, Phase: ph.Name, Text: ph.After.Text}
	if err := d.intent(ctx, r); err != nil {
		return err
	}
	err := guard(func() (err error) {
		r.Text, err = ph.After.Do(ctx, func(text string) {
			d.say(journal.Record{Kind: journal.Note, Phase: ph.Name, Act: ph.After.Act, Text: text})
		})
		return err
	})
	if err != nil && ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
		err = errors.Join(context.Cause(ctx), err)
	}
	return d.outcome(r, err)
}

// progress is one phase under way.
type progress struct {
	*run
	ph       Phase
	active   []Seen // proven on the release
	promoted []Seen // the same, of batches that were judged while they tried it
	failed   []targets.Target
	failures int
	seen     map[string]Seen // before the batch
}

// returned takes those targets from the failed ones that serve the old release again, proven.
func (x *progress) returned(ctx context.Context) (ts []targets.Target) {
	for _, s := range x.survey(ctx, x.failed) {
		if x.proof(s, x.from) == nil {
			ts = append(ts, s.Target)
		}
	}
	x.failed = without(x.failed, names(ts))
	x.failures -= len(ts)
	return ts
}

// batches activates todo batch by batch.
func (x *progress) batches(ctx context.Context, todo []targets.Target) error {
	for {
		if late := x.late(ctx); len(late) > 0 {
			if err := x.judge(ctx, late, x.clock.Now()); err != nil {
				return err
			}
		}
		if len(todo) == 0 {
			return nil
		}
		batch, err := x.batch(ctx, todo)
		if err != nil {
			return err
		}
		todo = without(todo, names(batch))
		if x.tries() {
			if batch, err = x.trial(ctx, batch); err != nil {
				return err
			}
			if len(batch) == 0 {
				continue
			}
		}
		proven, err := x.activate(ctx, batch)
		x.active = append(x.active, proven...)
		if err != nil {
			return err
		}
		if len(proven) == 0 {
			continue
		}
		if err := x.judge(ctx, batch, x.clock.Now()); err != nil {
			return err
		}
	}
}

// late takes those targets from the failed ones that are proven on the release after all: they could not be asked
// before. They serve it, so nothing goes on before the gate has seen them.
func (x *progress) late(ctx context.Context) (ts []targets.Target) {
	for _, s := range x.survey(ctx, x.failed) {
		if x.proof(s, x.p.Release.ID) == nil {
			ts = append(ts, s.Target)
			x.active = append(x.active, s)
		}
	}
	x.failed = without(x.failed, names(ts))
	x.failures -= len(ts)
	return ts
}

// batch chooses what goes next, and waits until the pools can spare it.
func (x *progress) batch(ctx context.Context, todo []targets.Target) ([]targets.Target, error) {
	patience := x.patience(x.ph.Name, "activate")
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var c *capacity
		x.seen, c = x.look(ctx, todo, x.p.Release.ID)
		if batch := x.pick(todo, c, x.p.Back); len(batch) > 0 {
			return batch, nil
		}
		if patience.within {
			return todo[:1], nil
		}
		if err := patience.more(ctx, false); err != nil {
			return nil, err
		}
	}
}

// activate activates a batch and returns those that are proven.
func (x *progress) activate(ctx context.Context, batch []targets.Target) ([]Seen, error) {
	return x.each(ctx, batch, x.one)
}

// each does one act on every target of a batch and returns those that are proven. Its error is the phase's end: the budget is
// spent, another deploy took over, or the deploy was cancelled.
func (x *progress) each(ctx context.Context, batch []targets.Target, one func(context.Context, targets.Target) (Seen, error)) ([]Seen, error) {
	seen := make([]Seen, len(batch))
	budget := x.ph.Fanout.MaxFailures
	if x.p.Back {
		budget = targets.AnyFailures
	}
	f := targets.Fanout{Width: targets.FullWidth, MaxFailures: max(budget-x.failures, 0)}
	rs, err := targets.Each(ctx, batch, f, func(ctx context.Context, t targets.Target) error {
		s, err := one(ctx, t)
		seen[slices.Index(batch, t)] = s
		return err
	})
	var proven []Seen
	for i, r := range rs {
		if r.Err == nil {
			proven = append(proven, seen[i])
			continue
		}
		x.failures++
		x.failed = append(x.failed, batch[i])
	}
	switch {
	case errors.Is(err, targets.ErrFenced):
		return proven, err
	case ctx.Err() != nil:
		return proven, errors.Join(context.Cause(ctx), err)
	case x.failures > budget:
		return proven, err
	}
	return proven, nil
}

// one activates a single target and proves it. Once begun it is not cancelled with the deploy: the target ends what it
// began, proven new or proven old.
func (x *progress) one(ctx context.Context, t targets.Target) (Seen, error) {
	from := x.from
	if s, ok := x.first[t.Name()]; ok && x.p.Back && !s.State.Disk.IsZero() {
		from = s.State.Disk
	}
	r := journal.Record{Act: journal.Activate, Phase: x.ph.Name, Target: t.Name(), From: text(from), To: text(x.p.Release.ID)}
	if err := x.intent(ctx, r); err != nil {
		return Seen{}, err
	}
	limit := or(x.ph.Fanout.Timeout, x.p.Limits.Activate)
	ctx, cancel := context.WithTimeoutCause(x.hard, limit, fmt.Errorf("took longer than %v", limit))
	defer cancel()
	sw := x.change(from, x.p.Release.ID)
	sw.Serving = x.p.Back && x.beside(x.seen[t.Name()], sw.To)
	err := guard(func() error { return t.Activate(ctx, sw) })
	if errors.Is(err, targets.ErrFenced) {
		return Seen{}, x.outcome(r, err)
	}
	// The target's state is the truth, whatever Activate said: an answer may be lost behind an act that was done, and
	// what runs the release must come before the gate.
	s, bad := x.prove(t, x.p.Release.ID)
	switch {
	case bad == nil && err != nil:
		r.Text = fmt.Sprintf("it proves the release, though: %v", err)
		err = nil
	case err == nil:
		err = bad
	case x.proof(s, from) == nil:
		r.Verdict = journal.Returned
	}
	return s, x.outcome(r, err)
}

// change is the compare and swap from one release to another with this deploy's token.
func (d *run) change(from, to release.ID) targets.Switch {
	return targets.Switch{From: from, To: to, Token: d.token, Owner: d.owner, Emergency: d.p.Emergency != ""}
}

// prove asks t, again when it does not answer, and returns an error unless disk, running and desired release are id and
// the pool has it.
func (d *run) prove(t targets.Target, id release.ID) (Seen, error) {
	s := Seen{Target: t}
	for try := range 3 {
		if try > 0 && d.clock.Wait(d.hard, pause) != nil {
			break
		}
		if s = d.survey(d.hard, []targets.Target{t})[0]; s.Err == nil {
			break
		}
	}
	return s, d.proof(s, id)
}

// proof says why a target is not settled on id, nil when it is.
func (d *run) proof(s Seen, id release.ID) error {
	switch {
	case s.Err != nil:
		return fmt.Errorf("not proven: %w%s", s.Err, d.mayTry(s.Name()))
	case d.settled(s, id):
		return nil
	case d.serves(s, id):
		tr := s.State.Proof.Trial
		return fmt.Errorf("a share of its requests gets %s, on trial: %s", tr.Release.Short(), lapse(tr.Until))
	case settled(s.State, id) || s.State.Intent.Out || s.State.Pooled == targets.PoolMixed:
		return fmt.Errorf("not as it should be in the pool: %w (disk %s, running %s, pool %q)", targets.ErrOut,
			s.State.Disk.Short(), s.State.Running.Short(), s.State.Pooled)
	}
	reason := ""
	if s.State.Reason != "" {
		reason = ": " + s.State.Reason
	}
	return fmt.Errorf("not proven on %s: disk %s, running %s, desired %s%s", id.Short(), s.State.Disk.Short(),
		s.State.Running.Short(), s.State.Desired.Short(), reason)
}

// confirm asks the deployer to go on.
func (d *run) confirm(ctx context.Context, ph Phase) error {
	if !ph.Confirm {
		return nil
	}
	r := journal.Record{Act: journal.Confirm, Phase: ph.Name}
	if err := d.intent(ctx, r); err != nil {
		return err
	}
	a, err := d.ask(ctx, Question{
		Topic: AskConfirm, Phase: ph.Name, Choices: []Choice{Yes, No},
		Text: strings.TrimPrefix(ph.Hint+"\n", "\n") + fmt.Sprintf("Phase %s has passed. Go on?", ph.Name),
	})
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	} else if err == nil && a.Choice != Yes {
		err = ErrDeclined
	}
	r.Verdict = string(a.Choice)
	if err == nil {
		r.Text = word(a)
	}
	return d.outcome(r, err)
}
