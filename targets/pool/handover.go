package pool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"scap/sync/release"
	"scap/targets"
)

// beside reports whether s disturbs no user of a host in that state: what is to serve starts, or is kept, beside what does.
// A host that is out anyway is not asked to be careful: any road will do there. One that proves nothing may be the victim of
// what it is to leave, with all workers busy for minutes: it would never get quiet, and a rename frees its users at once.
func (t *Target) beside(st targets.State, s targets.Switch) bool {
	on, ok := proves(st)
	ok = ok && on == s.From || st.Running.IsZero() && st.Disk == s.From && !s.From.IsZero()
	return t.o.Handover && !t.o.Emergency && !s.Emergency && s.Hand == "" && ok &&
		!st.Intent.Out && st.Pooled != targets.PoolOut && st.Proof.Road.Beside(s.To)
}

// note tells people what goes another way than configured.
func (j *job) note(format string, args ...any) {
	if j.o.Note != nil {
		j.o.Note(j.Name(), fmt.Sprintf(format, args...))
	}
}

// sayDrained tells that a host will be drained which was to hand over.
func (j *job) sayDrained() {
	road := j.before.Proof.Road
	if !j.o.Handover || j.direct() || j.s.Hand != "" || j.out || j.alien || road.Beside(j.s.To) {
		return
	}
	j.note("it cannot hand over, so it is drained: %s", whyNot(road))
}

// errNotCounted: a host was to serve all the while.
var errNotCounted = errors.New("it was chosen as one that stays in the pool, and would have to leave it")

// counted refuses to take a host out of the pool that the caller has chosen as one which stays in. As many of those go at once
// as there are: by the next look it is one of the few that may go out.
func (j *job) counted() error {
	if !j.must || j.direct() || j.out || j.alien {
		return nil
	}
	return j.kept(fmt.Errorf("activate %s on %s: %w: %s", j.s.To.Short(), j.Name(), errNotCounted, j.whyOut()))
}

// whyOut says why the host cannot be switched where it is.
func (j *job) whyOut() string {
	switch {
	case !j.o.Handover:
		return "it is not configured to hand over"
	case !j.before.Proof.Road.Beside(j.s.To):
		return whyNot(j.before.Proof.Road)
	}
	return fmt.Sprintf("disk %s, running %s, not %s", j.before.Disk.Short(), j.before.Running.Short(), j.s.From.Short())
}

func whyNot(r release.Road) string {
	if r.Why == "" {
		return "it does not say why"
	}
	return r.Why
}

// drainInstead takes a host out of the pool and switches it there, which refused the handover because its road had changed
// since it was asked: the memory is gone, say. One that failed for any other reason keeps its place in the pool.
func (j *job) drainInstead(ctx context.Context, refused error) error {
	st, err := j.State(ctx)
	if err != nil || ctx.Err() != nil {
		return refused
	}
	if on, ok := proves(st); !ok || on != j.s.From || st.Proof.Road.Beside(j.s.To) {
		return refused
	}
	why := whyNot(st.Proof.Road)
	j.note("it could not hand over at the last moment, so it is drained: %s", why)
	j.before, j.s.Serving = st, false
	err = j.look()
	if err == nil {
		err = j.leave(ctx)
	}
	if err == nil {
		err = j.change(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s could not hand over at the last moment (%s), so it was drained: %w", j.Name(), why, err)
	}
	return nil
}

// errNoTrier: the host inside has no second runtime.
var errNoTrier = errors.New("such a host cannot serve a second release beside its own")

// CanTry implements targets.Trier: besides what the host itself says, users must reach it.
func (t *Target) CanTry(st targets.State) error {
	trier, ok := t.host.(targets.Trier)
	if !ok {
		return fmt.Errorf("nothing can be tried on %s: %w", t.Name(), errNoTrier)
	}
	if err := trier.CanTry(st); err != nil {
		return err
	}
	if st.Intent.Out || !st.Serving || st.Pooled != targets.PoolIn && st.Pooled != targets.PoolNone {
		return fmt.Errorf("nothing can be tried on %s: no user reaches it (pool: %q, by its own journal out: %t)", t.Name(), st.Pooled, st.Intent.Out)
	}
	return nil
}

// Try implements targets.Trier. The host stays in the pool: there is no pool transaction. A host that is out of the pool, or
// not proven on s.From, is refused and nothing is asked of it.
func (t *Target) Try(ctx context.Context, s targets.Switch, until time.Time) error {
	what := fmt.Sprintf("try %s on %s", s.To.Short(), t.Name())
	unlock, err := t.lock(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer unlock()
	trier, ok := t.host.(targets.Trier)
	if !ok {
		return fmt.Errorf("%s: %w", what, errNoTrier)
	}
	st, err := t.State(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if st.Intent.Token > s.Token {
		return fmt.Errorf("%s: token %d, the host has seen %d: %w", what, s.Token, st.Intent.Token, targets.ErrFenced)
	}
	if err := t.CanTry(st); err != nil {
		return err
	}
	if on, ok := st.Consistent(); !ok || on != s.From {
		return fmt.Errorf("%s: disk %s, running %s, not %s proven", what, st.Disk.Short(), st.Running.Short(), s.From.Short())
	}
	ctx, cancel := context.WithTimeout(ctx, t.o.SwitchLimit)
	defer cancel()
	return trier.Try(ctx, s, until)
}

// Abandon implements targets.Trier. It works on a living context: what nobody wants any more must end, also after Ctrl-C.
func (t *Target) Abandon(ctx context.Context, token uint64) error {
	ctx, cancel := living(ctx, t.o.SwitchLimit)
	defer cancel()
	unlock, err := t.lock(ctx)
	if err != nil {
		return fmt.Errorf("end the trial on %s: %w", t.Name(), err)
	}
	defer unlock()
	if _, ok := t.host.(targets.Trier); !ok {
		return nil // it has none
	}
	return t.endTrial(ctx, token)
}

// endTrial ends what the host tries, on a living context.
func (t *Target) endTrial(ctx context.Context, token uint64) error {
	trier, ok := t.host.(targets.Trier)
	if !ok {
		return fmt.Errorf("end the trial on %s: %w", t.Name(), errNoTrier)
	}
	ctx, cancel := living(ctx, t.o.SwitchLimit)
	defer cancel()
	return trier.Abandon(ctx, token)
}
