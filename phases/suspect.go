package phases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"scap/canary"
	"scap/phases/journal"
	"scap/targets"
)

// A suspect is a host that serves badly by itself: the release does well on the others. It leaves the pool, and the deploy
// goes on without it, to end as journal.Inconsistent with its name. Nothing of a deploy that goes forward brings it back.
//
// The way back is another matter: it takes every host to the old release, suspects among them, and a host that proves that
// release and passes its checks there is put back into the pool. It served well on it before the deploy, and a fleet that
// is on its way back has no capacity to give away. A suspect that the next deploy finds is refused by its preflight.

// suspect is why a host is one.
type suspect struct {
	why string
	out bool // it is known to be out of the pool
}

type suspects map[string]suspect

// suspicion is the error that names a suspect, nil when the target is none.
func (d *run) suspicion(name string) error {
	d.mu.Lock()
	s, ok := d.suspects[name]
	d.mu.Unlock()
	if !ok {
		return nil
	}
	where := "out of the pool"
	if !s.out {
		where = "it may still be in the pool"
	}
	return fmt.Errorf("%s: suspect: %s; %s; look at it, then `scap repair %s`", name, s.why, where, name)
}

// suspect writes down that a host is one. It is one as soon as its isolation is intended.
func (d *run) suspect(name, why string, out bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.suspects[name] = suspect{why, out}
}

// acquit forgets the suspects: on the way back there are none.
func (d *run) acquit() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.suspects)
}

// suspected returns those of names that are suspects.
func (d *run) suspected(names []string) (list []string) {
	for _, name := range names {
		if d.suspicion(name) != nil {
			list = append(list, name)
		}
	}
	return list
}

// trusted returns those of ts that are no suspects.
func (d *run) trusted(ts []targets.Target) []targets.Target {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(ts), func(t targets.Target) bool {
		_, ok := d.suspects[t.Name()]
		return ok
	})
}

// isolated reports whether a target is known to be out because it is a suspect.
func (d *run) isolated(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.suspects[name].out
}

// spared returns rul, or a Hold in its place when its suspects cannot be taken out: the release may not go on with them,
// nor can it be blamed.
func (w *judging) spared(ctx context.Context, win canary.Window, rul canary.Ruling) canary.Ruling {
	if rul.Verdict != canary.Suspect {
		return rul
	}
	err := w.spare(ctx, win, rul.Suspects)
	if err == nil {
		return rul
	}
	return held(rul, fmt.Sprintf("suspect: %s, and not to be taken out: %v: %s", some(rul.Suspects), err, rul.Reason))
}

// held is rul as a Hold.
func held(rul canary.Ruling, reason string) canary.Ruling {
	rul.Verdict, rul.Cause, rul.Suspects, rul.Reason = canary.Hold, canary.OneHost, nil, reason
	return rul
}

// spare says why not all of the named hosts can be taken out now.
func (w *judging) spare(ctx context.Context, win canary.Window, named []string) error {
	var ts []targets.Target
	left := len(win.Canary)
	for _, name := range named {
		is := func(h canary.Host) bool { return h.Name == name }
		machine, _ := w.machine(name)
		t, ok := w.target(machine)
		mine := slices.ContainsFunc(win.Canary, is)
		if !ok || !mine && !slices.ContainsFunc(win.Earlier, is) {
			return fmt.Errorf("%q is no host on the release", name)
		}
		if _, ok := t.(targets.Isolator); !ok {
			return fmt.Errorf("%s cannot be taken out by this tool", name)
		}
		if mine {
			left--
		}
		ts = append(ts, t)
	}
	if left < 1 {
		return errors.New("no canary would be left to judge by")
	}
	_, c := w.look(ctx, ts, w.p.Release.ID)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, t := range ts {
		if w.p.Emergency == "" && !c.take(t.Name()) {
			return ErrCapacity
		}
	}
	return nil
}

// isolate takes the suspects of rul out of the pool. It returns rul, or a Hold in its place when one could not be taken
// out. Its error ends the deploy.
func (w *judging) isolate(ctx context.Context, rul canary.Ruling) (canary.Ruling, error) {
	var errs []error
	for _, name := range rul.Suspects {
		machine, trial := w.machine(name)
		t, _ := w.target(machine)
		bad, err := w.isolateOne(ctx, t, rul.Reason)
		if err != nil {
			return rul, err
		}
		if bad != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, bad))
			continue
		}
		if trial { // it serves nobody by now: its trial is no use any more, and ends by itself if it cannot be ended
			w.drop(machine)
			_ = w.abandon(w.hard, w.openOn([]string{machine}))
			continue
		}
		gone := func(s Seen) bool { return s.Name() == name }
		w.active, w.earlier = slices.DeleteFunc(w.active, gone), slices.DeleteFunc(w.earlier, gone)
	}
	if len(errs) == 0 {
		return rul, nil
	}
	return w.ruled(held(rul, fmt.Sprintf("suspect, and not taken out: %v: %s", errors.Join(errs...), rul.Reason)))
}

// isolateOne isolates t. Bad is why it is not known to be out; err is why the deploy cannot go on. Once begun it is not
// cancelled with the deploy.
func (w *judging) isolateOne(ctx context.Context, t targets.Target, why string) (bad, err error) {
	r := journal.Record{Act: journal.Isolate, Phase: w.phaseOf(t.Name()).Name, Target: t.Name(), From: text(w.from), To: text(w.p.Release.ID), Text: why}
	if err := w.intent(ctx, r); err != nil {
		return nil, err
	}
	w.suspect(t.Name(), why, false)
	limit := w.p.Limits.Activate
	ctx, cancel := context.WithTimeoutCause(w.hard, limit, fmt.Errorf("took longer than %v", limit))
	defer cancel()
	err = guard(func() error { return t.(targets.Isolator).Isolate(ctx, w.change(w.from, w.p.Release.ID)) })
	switch {
	case errors.Is(err, targets.ErrFenced):
		return nil, w.outcome(r, err)
	case err != nil && w.isOut(t): // its answer was lost, or it went as far as is needed
		r.Text = fmt.Sprintf("%s (it is out, though: %v)", why, err)
	case err != nil:
		if lost := w.outcomeOnly(r, err); lost != nil {
			return nil, lost
		}
		return err, nil
	}
	w.suspect(t.Name(), why, true)
	return nil, w.outcome(r, nil)
}

// outcomeOnly writes that r.Act failed with why and returns only what keeps that from being written.
func (d *run) outcomeOnly(r journal.Record, why error) error {
	r.Kind, r.Text, r.Token = journal.Failed, why.Error(), d.token
	return d.note(r)
}

// isOut asks t whether this deploy has isolated it, with every balancer's word.
func (d *run) isOut(t targets.Target) bool {
	for _, s := range d.survey(d.hard, []targets.Target{t}) {
		owner, ok := targets.IsSuspect(s.State.Intent)
		owner, _, _ = strings.Cut(owner, backTo)
		return s.Err == nil && ok && owner == d.p.Deploy && (s.State.Pooled == targets.PoolOut || s.State.Pooled == targets.PoolNone)
	}
	return false
}
