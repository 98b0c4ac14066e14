package phases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

// stray remembers the trials that run on the targets now, whoever began them: what this journal knows nothing of is ended
// like what it knows.
func (d *run) stray(seen []Seen) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range seen {
		if tr := s.State.Proof.Trial; s.Err == nil && tr != nil {
			way := journal.Way{Target: s.Name(), From: text(s.State.Running), To: text(tr.Release)}
			d.strays[s.Name()] = journal.Trial{Way: way, Until: tr.Until}
		}
	}
}

// open returns the trials that may run.
func (d *run) open() []journal.Trial {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := journal.Trials(slices.Values(d.past))
	for _, t := range d.all {
		tr, ok := d.strays[t.Name()]
		if ok && !slices.ContainsFunc(list, func(o journal.Trial) bool { return o.Target == tr.Target }) {
			list = append(list, tr)
		}
	}
	return list
}

// openOn returns those that may run on the named targets.
func (d *run) openOn(names []string) []journal.Trial {
	return slices.DeleteFunc(d.open(), func(t journal.Trial) bool { return !slices.Contains(names, t.Target) })
}

// lapse says for people when a trial ends that nobody ends.
func lapse(until time.Time) string {
	if until.IsZero() {
		return "the host ends it by itself, within minutes"
	}
	return "the host ends it by itself at " + until.UTC().Format(time.RFC3339)
}

// mayTry says that a trial may run on a target that does not answer, "" when none is known of.
func (d *run) mayTry(name string) string {
	for _, t := range d.openOn([]string{name}) {
		return fmt.Sprintf("; a share of its requests may get %s: %s", shortened(t.To), lapse(t.Until))
	}
	return ""
}

// abandon ends these trials, all at once, past failures, and returns an error that names those that are not known to be
// over. Users are served by them, so it comes before anything else on a way back. What cannot be ended soon is tried again by
// bring, which has more patience, and ends by itself.
func (d *run) abandon(ctx context.Context, list []journal.Trial) error {
	return d.abandonWithin(ctx, list, soon)
}

func (d *run) abandonWithin(ctx context.Context, list []journal.Trial, limit time.Duration) error {
	var ts []targets.Target
	by := map[string]journal.Trial{}
	for _, tr := range list {
		if t, ok := d.target(tr.Target); ok {
			ts, by[tr.Target] = append(ts, t), tr
		}
	}
	f := targets.Fanout{Width: targets.FullWidth, MaxFailures: targets.AnyFailures}
	_, err := targets.Each(ctx, ts, f, func(_ context.Context, t targets.Target) error {
		return d.abandonOne(ctx, t, by[t.Name()], limit)
	})
	return err
}

// abandonOne ends the trial on t. It needs no journal: with a full disk as well, nobody is to be left on what was refused.
func (d *run) abandonOne(ctx context.Context, t targets.Target, tr journal.Trial, limit time.Duration) error {
	r := journal.Record{Kind: journal.Intent, Act: journal.Abandon, Phase: tr.Phase, Target: t.Name(), From: tr.From, To: tr.To}
	d.say(r)
	err := errors.New("this tool cannot end a trial there")
	if trier, ok := t.(targets.Trier); ok {
		err = d.tell(ctx, trier, limit)
	}
	if !errors.Is(err, targets.ErrFenced) { // the target's state is the truth, whatever Abandon said
		s := d.survey(ctx, []targets.Target{t})[0]
		switch {
		case s.Err == nil && s.State.Proof.Trial == nil:
			err = nil
		case s.Err == nil && err == nil:
			tr.Until = s.State.Proof.Trial.Until
			err = errors.New("it still runs")
		case s.Err != nil && err == nil:
			err = s.Err
		}
	}
	if err != nil {
		r.Kind, r.Text = journal.Failed, fmt.Sprintf("%v; %s", err, lapse(tr.Until))
		d.say(r)
		return fmt.Errorf("end the trial of %s: %w; %s", shortened(tr.To), err, lapse(tr.Until))
	}
	d.mu.Lock()
	delete(d.strays, t.Name())
	d.mu.Unlock()
	r.Kind = journal.Done
	d.say(r)
	return nil
}

// soon is how long the others' way back waits for one target to end its trial.
const soon = 10 * time.Second

// tell tells a target to end its trial, and goes on when that takes long: once begun the target ends it, whatever becomes of
// ctx, and users of the others wait to be brought back. The end of the run waits for it.
func (d *run) tell(ctx context.Context, trier targets.Trier, limit time.Duration) error {
	limited, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it takes longer than %v", limit))
	over, token := make(chan error, 1), d.token
	d.ends.Go(func() {
		defer cancel()
		over <- guard(func() error { return trier.Abandon(limited, token) })
	})
	select {
	case err := <-over:
		return err
	case <-limited.Done():
		return context.Cause(limited)
	}
}

// shortened is the Short of an id as the journal has it.
func shortened(id string) string {
	parsed, err := release.ParseID(id)
	if err != nil {
		return "another release"
	}
	return parsed.Short()
}

// ended ends the trial on a target that a bring is at.
func (b *bringing) ended(ctx context.Context, s Seen) error {
	b.stray([]Seen{s})
	return b.abandonWithin(ctx, b.openOn([]string{s.Name()}), b.p.Limits.Activate)
}

// leftOnTrial says what goes on without this tool for a while, nil when nothing does.
func (d *run) leftOnTrial() error {
	var errs []error
	for _, t := range d.open() {
		errs = append(errs, fmt.Errorf("%s: a share of its requests may get %s: %s", t.Target, shortened(t.To), lapse(t.Until)))
	}
	return errors.Join(errs...)
}

// clear ends the trials that somebody left. A rollback goes on past one that it cannot end: that is a record, and a share.
func (d *run) clear(ctx context.Context) error {
	err := d.abandon(ctx, d.openOn(names(d.going(d.all))))
	if d.p.Back && !errors.Is(err, targets.ErrFenced) {
		return nil
	}
	return err
}
