package phases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"scap/phases/journal"
	"scap/targets"
)

// renew keeps the trials for longer where a part of their time is over. A trial that ended by itself leaves the window, and
// its target counts like one on which the activation failed.
func (w *judging) renew(ctx context.Context) error {
	now, term := w.clock.Now(), w.term()
	var due []targets.Target
	for _, o := range w.trials {
		if o.until.Sub(now) < term*3/4 {
			due = append(due, o.Target)
		}
	}
	if len(due) == 0 {
		return nil
	}
	until := now.Add(term)
	if err := w.intent(ctx, journal.Record{Act: journal.Try, Phase: w.ph.Name, To: text(w.p.Release.ID), Data: termed(until)}); err != nil {
		return err
	}
	f := targets.Fanout{Width: targets.FullWidth, MaxFailures: targets.AnyFailures}
	rs, err := targets.Each(ctx, due, f, func(ctx context.Context, t targets.Target) error {
		ctx, cancel := context.WithTimeout(ctx, w.limit(t.Name()))
		defer cancel()
		return t.(targets.Trier).Try(ctx, w.change(w.from, w.p.Release.ID), until)
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, targets.ErrFenced) {
		return err
	}
	for i, r := range rs {
		if err := w.renewed(ctx, due[i], until, r.Err); err != nil {
			return err
		}
	}
	return nil
}

// renewed takes the answer of one target. One that is silent is asked again at the next look, as long as its time lasts.
func (w *judging) renewed(ctx context.Context, t targets.Target, until time.Time, err error) error {
	i := slices.IndexFunc(w.trials, func(o *onTrial) bool { return o.Name() == t.Name() })
	if err == nil {
		w.trials[i].until = until
		return nil
	}
	s := w.survey(ctx, []targets.Target{t})[0]
	bad := w.trialProof(s)
	if bad == nil || s.Err != nil && w.clock.Now().Before(w.trials[i].until) {
		return nil
	}
	w.drop(t.Name())
	w.failures++
	w.failed = append(w.failed, t)
	w.say(journal.Record{Kind: journal.Note, Phase: w.ph.Name, Target: t.Name(), Text: fmt.Sprintf("its trial is over: %v: %v", bad, err)})
	w.forsake()
	if w.failures > w.ph.Fanout.MaxFailures || len(w.trials) == 0 {
		return fmt.Errorf("%s: its trial is over: %w: %w", t.Name(), bad, err)
	}
	return nil
}

func (w *judging) drop(name string) {
	w.trials = slices.DeleteFunc(w.trials, func(o *onTrial) bool { return o.Name() == name })
}

// asking is ask, while the trials are kept.
func (w *judging) asking(ctx context.Context, q Question) (a Answer, err error) {
	if !w.trial {
		return w.ask(ctx, q)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var (
		wg   sync.WaitGroup
		lost error
	)
	wg.Go(func() {
		for lost == nil && w.clock.Wait(ctx, w.term()/4) == nil {
			if err := w.renew(ctx); err != nil && ctx.Err() == nil {
				lost = err
				cancel(err)
			}
		}
	})
	a, err = w.ask(ctx, q)
	cancel(nil)
	wg.Wait()
	return a, errors.Join(lost, err)
}
