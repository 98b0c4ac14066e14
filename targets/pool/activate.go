package pool

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"scap/sync/release"
	"scap/targets"
)

// foundOut is appended to the owner in the host's journal when the host was already out by somebody else's hand before
// the deploy came. It survives the deploy, so a resumed one knows as well that it must not repool the host.
const foundOut = " (found it out of the pool)"

// kept is the error of a switch that was refused before anything changed. It is ErrReturned when the host had proven
// the old release before.
type kept struct {
	err error
	old bool
}

func (k kept) Error() string        { return k.err.Error() + "; nothing was changed" }
func (k kept) Unwrap() error        { return k.err }
func (k kept) Is(target error) bool { return k.old && target == targets.ErrReturned }

// kept returns err, and that nothing has changed because of it.
func (j *job) kept(err error) error {
	on, ok := proves(j.before)
	return kept{err, ok && on == j.s.From}
}

// job is one pool transaction.
type job struct {
	*Target
	s       targets.Switch
	act     func(context.Context, targets.Switch) error
	before  targets.State
	must    bool // the caller counts on the host to serve all the while
	out     bool // the host is out of the pool by a deploy's hand, and is to come back
	alien   bool // the host was out by somebody else's hand and stays so
	suspect bool // the host is a suspect for as long as it is out
}

// Activate takes the host out of the pool, switches it, checks it and puts it back; a host that can hand over is switched and
// checked where it is, whether s asks for that or not. With Serving in s one that is in the pool and would have to leave it for
// the switch is left as it is (ErrReturned when it proves s.From): the caller has not counted it as going out. A host that
// already proves s.To in the pool is left alone, save that a trial beside it is ended; one that proves it out of the pool is
// checked and put back. A Hand is never left out.
func (t *Target) Activate(ctx context.Context, s targets.Switch) error {
	unlock, err := t.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return t.transact(ctx, s, t.host.Activate, t.beside)
}

// transact is the pool transaction around act; serving decides whether users go on reaching the host meanwhile.
func (t *Target) transact(ctx context.Context, s targets.Switch, act func(context.Context, targets.Switch) error,
	serving func(targets.State, targets.Switch) bool,
) error {
	st, err := t.State(ctx)
	if err != nil {
		return fmt.Errorf("activate %s: %w", s.To.Short(), err)
	}
	on, proven := st.Consistent()
	proven = proven && on == s.To && s.Hand == ""
	if proven && st.Proof.Trial != nil {
		if err := t.endTrial(ctx, s.Token); err != nil {
			return fmt.Errorf("activate %s, which it serves: %w", s.To.Short(), err)
		}
	}
	if proven && !st.Intent.Out && st.Pooled != targets.PoolMixed && st.Pooled != targets.PoolUnknown {
		return nil
	}
	j := &job{Target: t, s: s, act: act, before: st, must: s.Serving, out: st.Intent.Out}
	j.s.Serving = serving(st, s)
	_, j.suspect = targets.IsSuspect(st.Intent)
	if err := j.look(); err != nil {
		return err
	}
	if !proven {
		if err := j.counted(); err != nil {
			return err
		}
		j.sayDrained()
		if !j.direct() {
			if err := j.leave(ctx); err != nil {
				return err
			}
		}
		if err := j.change(ctx); err != nil {
			return err
		}
	}
	return j.finish(ctx)
}

// direct reports whether the switch happens under traffic.
func (j *job) direct() bool {
	return j.s.Hand == "" && (j.o.Reload || j.o.Emergency || j.s.Emergency || j.s.Serving)
}

// look decides from the state before whether the transaction may begin.
func (j *job) look() error {
	st := j.before
	if st.Intent.Token > j.s.Token {
		return fmt.Errorf("activate %s on %s: token %d, the host has seen %d: %w",
			j.s.To.Short(), j.Name(), j.s.Token, st.Intent.Token, targets.ErrFenced)
	}
	switch {
	case j.out:
		j.alien = strings.HasSuffix(st.Intent.Owner, foundOut)
	case st.Pooled == targets.PoolOut:
		j.alien = true
	case j.direct():
	case st.Pooled == targets.PoolUnknown, st.Pooled == targets.PoolMixed:
		return j.kept(fmt.Errorf("activate %s on %s: %s", j.s.To.Short(), j.Name(), strings.Join(st.Problems, "; ")))
	}
	return nil
}

// owner is what the host's journal says of who took it out.
func (j *job) owner() string {
	owner := j.s.Owner
	if j.suspect {
		owner = targets.SuspectOwner(owner)
	}
	if j.alien {
		owner += foundOut
	}
	return owner
}

// change runs the host transaction and finds out how it ended. On a nil error the host proved s.To; on any other end it
// is back in the pool on s.From (ErrReturned) or stays out (ErrOut). One that had been left out before stays out: what it
// had is what it was kept from serving.
func (j *job) change(ctx context.Context) error {
	err := j.swap(ctx, j.s, j.act)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, targets.ErrReturned) && j.must && j.s.Serving:
		return err // it is in the pool, as it was
	case errors.Is(err, targets.ErrReturned) && j.s.Serving:
		return j.drainInstead(ctx, err) // else it is in the pool, as it was
	case errors.Is(err, targets.ErrFenced):
		return j.abandon(err)
	case errors.Is(err, targets.ErrReturned) && j.before.Intent.Out:
		return j.stayOut(ctx, err)
	case errors.Is(err, targets.ErrReturned):
		if cerr := j.comeBack(ctx); cerr != nil {
			return j.stayOut(ctx, fmt.Errorf("%w; and then: %w", err, cerr))
		}
		return err
	}
	return j.stayOut(ctx, err)
}

// swap calls act on a living context and, when its word is lost, asks the host until it knows: nil for s.To proven,
// ErrReturned for s.From proven, ErrOut for neither.
func (j *job) swap(ctx context.Context, s targets.Switch, act func(context.Context, targets.Switch) error) error {
	err := func() error {
		ctx, cancel := living(ctx, j.o.SwitchLimit)
		defer cancel()
		return j.keepOut(ctx, func(ctx context.Context) error { return act(ctx, s) })
	}()
	if err == nil || errors.Is(err, targets.ErrReturned) || errors.Is(err, targets.ErrFenced) || errors.Is(err, targets.ErrOut) {
		return err
	}
	err = fmt.Errorf("activate %s on %s: %w", s.To.Short(), j.Name(), err)
	st, serr := j.settle(ctx, s)
	if serr != nil {
		return fmt.Errorf("%w; asked how it ended: %w: %w", err, serr, targets.ErrOut)
	}
	return j.judge(ctx, st, s, err)
}

// settle asks the host until it says how s ended, for SettleLimit. A host that still says "begun" then is returned as
// it is: the process that switched it may have died.
func (j *job) settle(ctx context.Context, s targets.Switch) (targets.State, error) {
	ctx, cancel := living(ctx, j.o.SettleLimit)
	defer cancel()
	for {
		st, err := j.host.State(ctx)
		if err == nil && !underWay(st, s) {
			return st, nil
		}
		if wait(ctx, j.o.Poll) != nil {
			return st, err
		}
	}
}

// underWay reports whether the host's journal has s begun and not ended.
func underWay(st targets.State, s targets.Switch) bool {
	in := st.Intent
	return in.Outcome == release.Unknown && in.Switch.Token == s.Token && in.Switch.From == s.From && in.Switch.To == s.To
}

// judge turns what the host says after a lost answer into an outcome; a host that is on neither release, or that never
// ended its switch, gets one repair.
func (j *job) judge(ctx context.Context, st targets.State, s targets.Switch, cause error) error {
	on, ok := proves(st)
	ok = ok && !underWay(st, s)
	switch {
	case ok && on == s.To && handed(st, s) && st.Proof.Trial == nil:
		return nil
	case ok && on == s.To && handed(st, s):
		if err := j.endTrial(ctx, s.Token); err != nil {
			return fmt.Errorf("%w; %w: %w", cause, err, targets.ErrOut)
		}
		return nil
	case ok && on == s.From:
		return fmt.Errorf("%w: %w", cause, targets.ErrReturned)
	}
	if noWay(s) {
		return fmt.Errorf("%w; it proves no release (%s): %w", cause, st.Reason, targets.ErrOut)
	}
	ctx, cancel := living(ctx, j.o.SwitchLimit)
	defer cancel()
	if err := j.host.Repair(ctx, reverse(s)); err != nil {
		if errors.Is(err, targets.ErrFenced) {
			return err
		}
		return fmt.Errorf("%w; back to %s: %w: %w", cause, s.From.Short(), notReturned{err}, targets.ErrOut)
	}
	return fmt.Errorf("%w: %w", cause, targets.ErrReturned)
}

// handed reports whether the host has done with its runtime what s asks for besides the release.
func handed(st targets.State, s targets.Switch) bool {
	in := st.Intent
	return s.Hand == "" || in.Switch.Token == s.Token && in.Switch.Hand == s.Hand && in.Switch.To == s.To && in.Outcome == release.ProvenNew
}

// noWay reports whether there is nothing that a failed s could go back to.
func noWay(s targets.Switch) bool { return s.From.IsZero() || s.From == s.To && s.Hand == "" }

// reverse is the way back of s.
func reverse(s targets.Switch) targets.Switch {
	s.From, s.To, s.Hand = s.To, s.From, s.Hand.Back()
	return s
}

// proves is what disk and runtime agree on, whatever the last intent wanted.
func proves(st targets.State) (release.ID, bool) {
	return st.Disk, !st.Disk.IsZero() && st.Disk == st.Running
}

// finish checks a host that proves s.To and puts it back; a failure takes it back to s.From.
func (j *job) finish(ctx context.Context) error {
	err := j.check(ctx)
	if err == nil {
		err = j.comeBack(ctx)
		if err == nil {
			return nil
		}
		if errors.Is(err, targets.ErrFenced) {
			return j.abandon(err)
		}
		// A balancer that does not answer says nothing against the release; only a red health check does.
		if !errors.Is(err, errNotGreen) {
			return j.stayOut(ctx, err)
		}
	}
	return j.goBack(ctx, err)
}

func (j *job) check(ctx context.Context) error {
	if j.o.Checks == nil {
		return nil
	}
	if err := j.question(ctx, j.o.Checks); err != nil {
		return fmt.Errorf("check %s on %s: %w", j.s.To.Short(), j.Name(), badCheck{err})
	}
	return nil
}

// badCheck is the error of a check of a host that had proven its release.
type badCheck struct{ error }

func (b badCheck) Unwrap() error { return b.error }

// question asks one of the deployer's checks while the host is kept out.
func (j *job) question(ctx context.Context, check func(context.Context, string) error) error {
	ctx, cancel := living(ctx, j.o.ChecksLimit)
	defer cancel()
	return j.keepOut(ctx, func(ctx context.Context) error { return check(ctx, j.Name()) })
}

// fit says whether a host that went back because of cause may serve again.
func (j *job) fit(ctx context.Context, cause error) error {
	var failed badCheck
	if j.o.Fit == nil || !errors.As(cause, &failed) {
		return nil
	}
	return j.question(ctx, j.o.Fit)
}

// goBack switches the host from s.To to s.From because of cause and puts it back into the pool, unless it had been left
// out before.
func (j *job) goBack(ctx context.Context, cause error) error {
	if j.before.Intent.Out {
		return j.stayOut(ctx, fmt.Errorf("%w; it had been taken out of the pool before", cause))
	}
	if noWay(j.s) {
		return j.stayOut(ctx, fmt.Errorf("%w; it has no earlier release to go back to", cause))
	}
	back := reverse(j.s)
	err := j.turnBack(ctx, back)
	switch {
	case err == nil:
	case errors.Is(err, targets.ErrFenced):
		return j.abandon(errors.Join(cause, err))
	default:
		return j.stayOut(ctx, fmt.Errorf("%w; %w", cause, notReturned{err}))
	}
	if err := j.fit(ctx, cause); err != nil {
		return j.stayOut(ctx, fmt.Errorf("%w; nor is it fit to serve %s: %w", cause, back.To.Short(), err))
	}
	if err := j.comeBack(ctx); err != nil {
		return j.stayOut(ctx, fmt.Errorf("%w; it runs %s again, but: %w", cause, back.To.Short(), err))
	}
	return fmt.Errorf("%w: %w", cause, targets.ErrReturned)
}

// turnBack switches a host that failed on s.From back to s.To: one that handed over, in the pool, by the rename back; if it
// would have to stop for that, and any other host, out of the pool.
func (j *job) turnBack(ctx context.Context, s targets.Switch) error {
	if s.Serving {
		err := j.swap(ctx, s, j.host.Activate)
		if !errors.Is(err, targets.ErrReturned) {
			return wayBack(s, err)
		}
		j.note("it could not hand over back to %s, so it is drained: %v", s.To.Short(), err)
		j.s.Serving, s.Serving = false, false
	}
	if !j.direct() {
		// It may have been in the pool for a moment.
		live, cancel := living(ctx, 2*j.o.QuietLimit+4*j.o.CallLimit)
		defer cancel()
		err := j.mark(live, true)
		if err == nil {
			j.out = true
			err = j.drain(live)
		}
		if err == nil {
			err = j.quiet(live)
		}
		if err != nil {
			return fmt.Errorf("then, to go back to %s: %w", s.To.Short(), err)
		}
	}
	return wayBack(s, j.swap(ctx, s, j.host.Activate))
}

func wayBack(s targets.Switch, err error) error {
	if err != nil {
		return fmt.Errorf("back to %s: %w", s.To.Short(), err)
	}
	return nil
}

// notReturned hides ErrReturned: a way back that was refused leaves the host on the release that failed.
type notReturned struct{ err error }

func (n notReturned) Error() string { return n.err.Error() }
