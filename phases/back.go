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

// goal is the one release that targets are to be brought to.
type goal struct {
	to, other release.ID
	verb      string // for the journal: journal.Rollback or journal.Repair
	tries     int    // passes over what failed; 0 is 3
}

// bring brings ts, in their order, to g.to, as many at once as their pools can spare; those that do not serve well cost
// nothing and go at once. It goes on past failures, tries again, and returns a Result for each. It changes nothing on a
// target that is settled. Between two waves it heeds ctx; what has begun on a target is ended.
func (d *run) bring(ctx context.Context, g goal, ts []targets.Target) []targets.Result {
	b := &bringing{run: d, goal: g, errs: map[string]error{}}
	todo := ts
	for try := range or(g.tries, 3) {
		if try > 0 && d.clock.Wait(ctx, time.Duration(try)*pause) != nil {
			break
		}
		if todo = b.round(ctx, todo); len(todo) == 0 || b.over {
			break
		}
	}
	rs := make([]targets.Result, len(ts))
	for i, t := range ts {
		rs[i] = targets.Result{Target: t.Name(), Err: b.errs[t.Name()]}
	}
	return rs
}

// bringing is one bring under way.
type bringing struct {
	*run
	goal
	errs map[string]error // of those not yet on the goal
	// stays are those that the wave counts as serving all the while.
	stays map[string]bool
	over  bool // another deploy took over, or there is no capacity: no more tries
}

// round tries every target once and returns those that are not on the goal.
func (b *bringing) round(ctx context.Context, todo []targets.Target) (failed []targets.Target) {
	patience := b.patience("", b.verb)
	fail := func(ts []targets.Target, err error) {
		for _, t := range ts {
			failed, b.errs[t.Name()] = append(failed, t), err
		}
	}
	for len(todo) > 0 {
		if ctx.Err() != nil {
			fail(todo, fmt.Errorf("%w: %w", targets.ErrSkipped, context.Cause(ctx)))
			return failed
		}
		seen, c := b.look(ctx, todo, b.to)
		todo = slices.DeleteFunc(slices.Clone(todo), func(t targets.Target) bool {
			s := seen[t.Name()]
			switch {
			case s.Err != nil:
				fail([]targets.Target{t}, s.Err)
				return true
			case b.settled(s, b.to):
				b.arrived(t, b.errs[t.Name()] != nil)
				delete(b.errs, t.Name())
				return true
			}
			return false
		})
		b.staying(todo, seen, c)
		wave := b.pick(todo, c, true)
		if len(wave) == 0 && patience.within && len(todo) > 0 {
			wave = todo[:1]
		}
		if len(wave) == 0 {
			if len(todo) == 0 {
				break
			}
			if err := patience.more(ctx, true); err != nil {
				fail(todo, err)
				b.over = errors.Is(err, ErrCapacity)
				return failed
			}
			continue
		}
		todo = without(todo, names(wave))
		for _, r := range b.wave(ctx, wave, seen) {
			if r.Err == nil {
				delete(b.errs, r.Target)
				continue
			}
			t, _ := b.target(r.Target)
			fail([]targets.Target{t}, r.Err)
			b.over = b.over || errors.Is(r.Err, targets.ErrFenced)
		}
		if b.over {
			fail(todo, fmt.Errorf("%w: %w", targets.ErrSkipped, targets.ErrFenced))
			return failed
		}
	}
	return failed
}

// staying says which of todo cost no capacity: those whose runtime hands over, and those that have only a trial to be ended.
// One that failed so is taken for what it may need next, a repair; so is each where there is no next try.
func (b *bringing) staying(todo []targets.Target, seen map[string]Seen, c *capacity) {
	for _, t := range todo {
		again := b.errs[t.Name()] != nil || b.tries == 1
		c.stays[t.Name()] = c.stays[t.Name()] && !again || b.serves(seen[t.Name()], b.to)
	}
	b.stays = c.stays
}

func (b *bringing) wave(ctx context.Context, wave []targets.Target, seen map[string]Seen) []targets.Result {
	f := targets.Fanout{Width: targets.FullWidth, MaxFailures: targets.AnyFailures}
	rs, _ := targets.Each(ctx, wave, f, func(_ context.Context, t targets.Target) error { // each error is in rs
		ctx, cancel := context.WithTimeoutCause(b.hard, b.p.Limits.Activate, fmt.Errorf("took longer than %v", b.p.Limits.Activate))
		defer cancel()
		r := b.record(t)
		if err := b.intent(ctx, r); err != nil {
			return err
		}
		err := guard(func() error { return b.turn(ctx, seen[t.Name()]) })
		if err == nil || !errors.Is(err, targets.ErrFenced) {
			if _, bad := b.prove(t, b.to); bad == nil {
				b.arrived(t, true)
				return nil
			} else if err == nil {
				err = bad
			}
		}
		r.Kind, r.Text = journal.Failed, err.Error()
		b.say(r)
		return err
	})
	return rs
}

func (b *bringing) record(t targets.Target) journal.Record {
	return journal.Record{Act: b.verb, Phase: b.phaseOf(t.Name()).Name, Target: t.Name(), From: text(b.other), To: text(b.to)}
}

// arrived writes that t is proven on the goal: when it was brought there, and when the journal thinks otherwise.
func (b *bringing) arrived(t targets.Target, brought bool) {
	r := b.record(t)
	r.Kind = journal.Done
	if b.verb == journal.Rollback {
		r.Kind = journal.Undone
		brought = brought || slices.ContainsFunc(b.ways(), func(w journal.Way) bool { return w.Target == t.Name() })
	}
	if brought {
		b.say(r)
	}
}

// turn switches a target by the whole pool transaction when it is proven on one release, else it is repaired. On the way
// back one that will not switch is repaired as well; on the way forward it keeps the old release, which it serves. A repair
// waits until nobody is on the target, and what is to be taken back may keep all of its workers busy: one that hands over is
// first asked for that.
func (b *bringing) turn(ctx context.Context, s Seen) error {
	t := s.Target
	if err := b.claimOne(ctx, t); err != nil {
		return err
	}
	if s.State.Proof.Trial != nil {
		err := b.ended(ctx, s)
		if b.serves(s, b.to) || errors.Is(err, targets.ErrFenced) {
			return err
		}
	}
	steward, repairs := t.(targets.Steward)
	sw := b.change(s.State.Disk, b.to)
	if sw.From.IsZero() || sw.From == sw.To {
		sw.From = b.other
	}
	sw.Serving = b.returning && b.stays[t.Name()] && b.beside(s, b.to)
	if b.serves(s, s.State.Disk) || !repairs || b.stuck(s) {
		err := t.Activate(ctx, sw)
		if err == nil || !repairs || b.stays[t.Name()] || errors.Is(err, targets.ErrFenced) || ctx.Err() != nil ||
			b.verb != journal.Rollback && errors.Is(err, targets.ErrReturned) {
			return err
		}
	}
	sw.Serving = false
	return steward.Repair(ctx, sw)
}

// stuck reports whether a target that is in the pool proves nothing, and could start what it is to serve beside that.
func (b *bringing) stuck(s Seen) bool {
	st := s.State
	return b.verb == journal.Rollback && b.p.Emergency == "" && b.errs[s.Name()] == nil && s.Err == nil && st.Running.IsZero() && !st.Disk.IsZero() &&
		!st.Intent.Out && st.Pooled != targets.PoolOut && st.Proof.Road.Beside(b.to)
}

// back takes the deploy back: newest first, past failures, at most as wide as the pools allow, on a context that
// outlives the deploy's. Then every target is proven on From. It returns those that are not.
func (d *run) back(why error) (hosts []string, err error) {
	ctx, cancel := context.WithTimeoutCause(d.hard, d.p.Limits.Undo, fmt.Errorf("the way back took longer than %v", d.p.Limits.Undo))
	defer cancel()
	d.returning = true
	d.acquit()
	_ = d.abandon(ctx, d.open()) // users first; what is left is tried again below, and named
	d.say(journal.Record{Kind: journal.Intent, Act: journal.Rollback, From: text(d.p.Release.ID), To: text(d.from), Text: why.Error()})
	// The token of the way back is a new one, claimed in a name that tells the way: so the targets alone can say which
	// of two releases was the goal.
	if err := d.claim(ctx, d.token+1, backOwner(d.p.Deploy, d.from), d.all); errors.Is(err, targets.ErrFenced) {
		return d.changed(), err
	}
	return d.settle(ctx, goal{to: d.from, other: d.p.Release.ID, verb: journal.Rollback}, d.order())
}

// settle brings ts to g and proves all targets there once more.
func (d *run) settle(ctx context.Context, g goal, ts []targets.Target) (hosts []string, err error) {
	why := map[string]error{}
	for _, r := range d.bring(ctx, g, ts) {
		why[r.Target] = r.Err
	}
	var errs []error
	for _, s := range d.survey(ctx, d.all) {
		bad := d.proof(s, g.to)
		if bad == nil {
			continue
		}
		hosts = append(hosts, s.Name())
		if why[s.Name()] != nil {
			bad = why[s.Name()]
			if s.Err != nil {
				bad = fmt.Errorf("%w%s", bad, d.mayTry(s.Name()))
			}
		}
		if suspect := d.suspicion(s.Name()); suspect != nil {
			errs = append(errs, suspect)
			continue
		}
		errs = append(errs, fmt.Errorf("%s: %w", s.Name(), bad))
	}
	return hosts, errors.Join(errs...)
}

// order returns all targets: first those to take back, newest first, then the others.
func (d *run) order() (ts []targets.Target) {
	var first []string
	for _, w := range d.ways() {
		if t, ok := d.target(w.Target); ok {
			first, ts = append(first, w.Target), append(ts, t)
		}
	}
	return append(ts, without(d.all, first)...)
}
