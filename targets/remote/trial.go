package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"scap/sync/push"
	"scap/sync/release"
	"scap/sync/wire"
	"scap/targets"
)

var _ targets.Trier = (*Host)(nil)

// CanTry implements targets.Trier. Whether the runtime has a second upstream is for Try to find out where State does not say.
func (h *Host) CanTry(st targets.State) error {
	road := st.Proof.Road
	var why string
	switch _, ok := st.Consistent(); {
	case !ok:
		why = fmt.Sprintf("disk %s, running %s, desired %s are not one release", st.Disk.Short(), st.Running.Short(), st.Desired.Short())
	case st.Intent.Out:
		why = "it is out of the pool by " + st.Intent.Owner
	case road.NoTrial != "":
		why = road.NoTrial
	case road.Strategy != release.ByHandover && st.Proof.Trial == nil: // one that runs may have taken the room for another
		kind, _ := road.To(release.ID{})
		why = "its road to another release is a " + kind
		if road.Why != "" {
			why += ": " + road.Why
		}
	default:
		return nil
	}
	return fmt.Errorf("nothing can be tried on %s: %s", h.name, why)
}

// Try implements targets.Trier. Whatever becomes of ctx or the connection, it is not left open whether the trial runs: the
// host is asked, and a trial that nobody waits for any more is abandoned. A host that cannot be asked ends it at until.
func (h *Host) Try(ctx context.Context, s targets.Switch, until time.Time) error {
	return h.failed("try "+s.To.Short()+" on", h.try(ctx, s, until))
}

func (h *Host) try(ctx context.Context, s targets.Switch, until time.Time) error {
	run, cancel := context.WithTimeoutCause(ctx, h.switchWait(), errTrial)
	defer cancel()
	proof, sent, err := h.sendTry(run, s, until)
	var answered *wire.Error
	switch {
	case err == nil && isTried(proof, s):
		return nil
	case err == nil:
		err = fmt.Errorf("the agent proves %s and tries %s", proof.Release.Short(), tried(proof).Short())
	case !sent:
		return err
	case errors.As(err, &answered) && answered.Kind != wire.Busy:
		return err // it made sure itself that nothing is tried
	}
	return h.begunOrNot(ctx, s, until, err)
}

// sendTry asks, and asks once more on a new session where an idle one had died. Sent reports whether the question may have
// reached the host.
func (h *Host) sendTry(run context.Context, s targets.Switch, until time.Time) (proof release.Proof, sent bool, err error) {
	ask := func() error {
		return h.once(run, &h.work, func(ctx context.Context, c *push.Client) error {
			sent = true
			return c.Call(ctx, wire.OpTry, wire.Try{Switch: s, For: time.Until(until)}, &proof)
		})
	}
	err = ask()
	var idle *stale
	if !errors.As(err, &idle) || run.Err() != nil {
		return proof, sent, err
	}
	if again := ask(); again != nil {
		return proof, sent, fmt.Errorf("%w; and once more: %w", again, idle)
	}
	return proof, sent, nil
}

// errTrial is why a trial that takes too long to begin is given up.
var errTrial = errors.New("the host did not begin the trial in time")

// begunOrNot finds out whether a trial runs whose answer was lost, and ends one that the asker does not want any more.
func (h *Host) begunOrNot(ctx context.Context, s targets.Switch, until time.Time, lost error) error {
	live, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.switchWait())
	defer cancel()
	st, err := h.settled(live)
	switch {
	case err != nil:
		return fmt.Errorf("%w; it may be tried until %s, and the host cannot be asked: %w", lost, until.UTC().Format(time.RFC3339), err)
	case ctx.Err() == nil && isTried(st.Proof, s) && st.Disk == s.From:
		return nil
	case st.Proof.Trial == nil:
		return lost
	}
	if err := h.abandon(live, s.Token); err != nil {
		return fmt.Errorf("%w; and to end what is tried: %w", lost, err)
	}
	return lost
}

// Abandon implements targets.Trier. It is asked for again when the answer is lost.
func (h *Host) Abandon(ctx context.Context, token uint64) error {
	ctx, cancel := context.WithTimeout(ctx, h.switchWait())
	defer cancel()
	return h.failed("end the trial on", h.abandon(ctx, token))
}

func (h *Host) abandon(ctx context.Context, token uint64) error {
	var err error
	for range 2 {
		var proof release.Proof
		err = h.call(ctx, &h.work, wire.OpEndTry, wire.Token{Token: token}, &proof)
		if err == nil && proof.Trial != nil {
			return fmt.Errorf("the agent still tries %s", proof.Trial.Release.Short())
		}
		if !errors.Is(err, push.ErrLost) || ctx.Err() != nil {
			return err
		}
		if _, serr := h.settled(ctx); serr != nil {
			return fmt.Errorf("%w; and it cannot be asked: %w", err, serr)
		}
	}
	return err
}

// isTried reports whether s.To is tried, proven, beside a proven s.From.
func isTried(p release.Proof, s targets.Switch) bool {
	return p.Release == s.From && p.Trial != nil && p.Trial.Release == s.To && p.Trial.Reason == ""
}

func tried(p release.Proof) release.ID {
	if p.Trial == nil {
		return release.ID{}
	}
	return p.Trial.Release
}
