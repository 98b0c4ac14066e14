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

// Activate implements targets.Target. When the connection dies in the middle the host is asked, on a new one, how its
// switch ended: nil means proven new, ErrReturned proven old, ErrOut that the host says it is neither. Any other error
// says whether the switch had begun, as far as that is known.
func (h *Host) Activate(ctx context.Context, s targets.Switch) error {
	return h.failed("activate "+s.To.Short()+" on", h.change(ctx, wire.OpSwitch, s))
}

// Repair implements targets.Steward for the host itself: disk and runtime. It leaves the pool alone.
func (h *Host) Repair(ctx context.Context, s targets.Switch) error {
	return h.failed("repair to "+s.To.Short()+" of", h.change(ctx, wire.OpRepair, s))
}

// change asks for a switch or a repair. Once it is sent, it is waited for although ctx ends.
func (h *Host) change(ctx context.Context, op wire.Op, s targets.Switch) error {
	run, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.switchWait())
	defer cancel()
	var lost error
	for range 2 { // an agent that died before it began is asked a second time
		err := h.send(ctx, run, op, s)
		if !errors.Is(err, push.ErrLost) {
			return err
		}
		lost = err
		again, err := h.outcome(run, op, s, lost)
		if !again {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the host has not begun to switch: %w", context.Cause(ctx))
		}
	}
	return fmt.Errorf("the host has not begun to switch: %w", lost)
}

func (h *Host) switchWait() time.Duration {
	if h.SwitchWait > 0 {
		return h.SwitchWait
	}
	return DefaultSwitchWait
}

// send asks once. Ctx can stop it before the question is on its way, run afterwards.
func (h *Host) send(ctx, run context.Context, op wire.Op, s targets.Switch) error {
	var proof release.Proof
	err := h.once(ctx, &h.work, func(_ context.Context, c *push.Client) error { return c.Call(run, op, s, &proof) })
	if err == nil && proof.Release != s.To {
		return fmt.Errorf("%w: the agent proves %s", targets.ErrOut, proof.Release.Short())
	}
	return err
}

// outcome finds out from the host how the switch s ended whose answer was lost. Again reports that the host is whole and
// that the switch may be asked for (again): it was not begun, or it is done and only unrecorded.
func (h *Host) outcome(run context.Context, op wire.Op, s targets.Switch, lost error) (again bool, err error) {
	st, err := h.settled(run)
	if err != nil {
		return false, fmt.Errorf("%w; it may have switched or not, and cannot be asked: %w", lost, err)
	}
	in := st.Intent
	ours := in.Switch.Token == s.Token && in.Switch.To == s.To && in.Switch.Hand == s.Hand
	whole := st.Proof.Release == st.Disk && !st.Disk.IsZero()
	switch {
	case ours && in.Outcome == release.ProvenNew && whole && st.Disk == s.To:
		return false, nil
	case ours && in.Outcome == release.ProvenOld && whole && st.Disk == in.Switch.From:
		return false, fmt.Errorf("%w: %s (told after %w)", targets.ErrReturned, in.Error, lost)
	case ours && in.Outcome == release.Broken:
		return false, fmt.Errorf("%w: %s (told after %w)", targets.ErrOut, in.Error, lost)
	case op == wire.OpRepair && in.Token <= s.Token:
		return true, nil // it may start from anything
	case whole && (st.Disk == s.To || st.Disk == s.From), st.Disk.IsZero() && s.From.IsZero():
		return true, nil
	case in.Token > s.Token:
		return false, fmt.Errorf("%w: token %d by %s (told after %w)", targets.ErrFenced, in.Token, in.Claimer, lost)
	}
	return false, fmt.Errorf("%w: the agent died in the middle of the switch: disk %s, running %s %s; repair the host (%w)",
		targets.ErrOut, st.Disk.Short(), st.Proof.Release.Short(), st.Proof.Reason, lost)
}

// settled asks for the state until no agent works on the host any more. It gives up on a host that could not be reached for
// as long as Regain says.
func (h *Host) settled(run context.Context) (wire.State, error) {
	regain := h.Regain
	if regain <= 0 {
		regain = 30 * time.Second
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(regain); ; {
		ask, cancel := context.WithDeadline(run, until)
		st, err := h.state(ask, false)
		cancel()
		switch {
		case err == nil && st.Busy == "":
			return st, nil
		case err == nil:
			until, err = time.Now().Add(regain), errors.New(st.Busy)
		case !time.Now().Before(until):
			return st, err
		}
		select {
		case <-tick.C:
		case <-run.Done():
			return st, fmt.Errorf("it did not end its switch in time: %w", err)
		}
	}
}
