package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"scap/sync/release"
	"scap/sync/wire"
)

// change makes the host serve s.To in place of s.From: store and runtime as one. Once the intent is written it ends,
// proven new (nil), proven old (wire.Returned) or broken (wire.Broken), whatever becomes of ctx. A switch that the runtime
// refuses, as one under traffic that it would have to stop for, has ended proven old.
func (h *Host) change(ctx context.Context, who claim, s release.Switch) (proof release.Proof, err error) {
	err = h.locked(ctx, who, func(in release.Intent) error {
		disk, err := h.Store.Current()
		if err != nil {
			return fmt.Errorf("current release: %w", err)
		}
		switch {
		case s.To.IsZero():
			return wire.Refused.Errorf("a switch to no release")
		case disk != s.From && disk != s.To:
			return wire.Refused.Errorf("the host is on %s, neither on %s nor on %s", disk.Short(), s.From.Short(), s.To.Short())
		case !h.Store.Has(s.To):
			return wire.NotFound.Errorf("release %s is not on the host, stage it first", s.To.Short())
		case !s.From.IsZero() && !h.Store.Has(s.From):
			return wire.Refused.Errorf("release %s is not on the host, so there would be no way back", s.From.Short())
		}
		if disk == s.To && s.Hand == "" {
			if proof, err = h.prove(ctx); err == nil && proof.Release == s.To {
				return h.stay(ctx, in, s, &proof)
			}
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		proof, err = h.perform(context.WithoutCancel(ctx), in, s)
		return err
	})
	return proof, err
}

// stay ends a switch to what is proven already: nothing may be tried beside it.
func (h *Host) stay(ctx context.Context, in release.Intent, s release.Switch, p *release.Proof) (err error) {
	if *p, err = h.alone(context.WithoutCancel(ctx), *p); err != nil {
		return err
	}
	return h.settle(in, s, release.ProvenNew, nil)
}

// perform is the host transaction. Its ctx cannot be cancelled.
func (h *Host) perform(ctx context.Context, in release.Intent, s release.Switch) (release.Proof, error) {
	if err := h.settle(in, s, release.Unknown, nil); err != nil {
		return release.Proof{}, err
	}
	h.did("intent written")
	var proof release.Proof
	err := h.endOther(ctx, s)
	if err == nil {
		proof, err = h.run(ctx, s, s.From)
	}
	h.did("runtime switched")
	if err == nil {
		return proof, h.settle(in, s, release.ProvenNew, nil)
	}
	cause := fmt.Errorf("switch to %s: %w", s.To.Short(), err)
	back, err := h.back(ctx, s)
	h.did("way back gone")
	if err != nil {
		cause = fmt.Errorf("%w; and the way back: %w", cause, err)
		return release.Proof{}, errors.Join(wire.Broken.Of(cause), h.settle(in, s, release.Broken, cause))
	}
	return back, errors.Join(wire.Returned.Of(cause), h.settle(in, s, release.ProvenOld, cause))
}

// back brings the host to s.From after a failed switch and proves it. What failed is not tried any more either.
func (h *Host) back(ctx context.Context, s release.Switch) (release.Proof, error) {
	if s.From.IsZero() {
		return release.Proof{}, errors.New("there is no previous release")
	}
	disk, err := h.Store.Current()
	if err != nil {
		return release.Proof{}, fmt.Errorf("current release: %w", err)
	}
	if disk == s.From {
		if proof, err := h.prove(ctx); err == nil && proof.Release == s.From {
			return h.alone(ctx, proof)
		}
	}
	s.From, s.To, s.Hand = s.To, s.From, s.Hand.Back()
	return h.run(ctx, s, disk)
}

// run has the runtime switch and checks that disk and runtime agree afterwards, and that nothing else is tried on users.
// Disk is where `current` points now.
func (h *Host) run(ctx context.Context, s release.Switch, disk release.ID) (release.Proof, error) {
	ctx, cancel := context.WithTimeout(ctx, h.switchLimit())
	defer cancel()
	if err := h.runtime.lock(ctx); err != nil {
		return release.Proof{}, fmt.Errorf("the runtime is busy with another question: %w", err)
	}
	defer h.runtime.unlock()
	proof, err := h.Runtime.Switch(ctx, s, func(ctx context.Context) error {
		h.did("before link")
		defer h.did("after link")
		return h.Store.Swap(ctx, disk, s.To)
	})
	if err != nil {
		return proof, err
	}
	if proof.Release != s.To {
		return proof, fmt.Errorf("the runtime proves %s: %s", proof.Release.Short(), proof.Reason)
	}
	if proof, err = h.lone(ctx, proof); err != nil {
		return proof, err
	}
	now, err := h.Store.Current()
	if err == nil && now != s.To {
		err = fmt.Errorf("the runtime proves %s but current is %s", s.To.Short(), now.Short())
	}
	return proof, err
}

func (h *Host) switchLimit() time.Duration {
	if h.SwitchLimit > 0 {
		return h.SwitchLimit
	}
	return DefaultSwitchLimit
}

// prove asks the runtime what it runs.
func (h *Host) prove(ctx context.Context) (release.Proof, error) {
	if err := h.runtime.lock(ctx); err != nil {
		return release.Proof{}, err
	}
	defer h.runtime.unlock()
	return h.Runtime.State(ctx)
}

// settle writes how far the switch s is into the host's journal.
func (h *Host) settle(in release.Intent, s release.Switch, o release.Outcome, cause error) error {
	in.Switch, in.Outcome, in.Error = s, o, ""
	if cause != nil {
		in.Error = wire.Plain(cause.Error(), 4096)
	}
	err := h.record(in)
	h.did("outcome written: " + string(o))
	return err
}

// repair brings the host to s.To, whatever its journal, its disk and its runtime say now, and proves it. There is no way
// back: where repair starts nothing need be right.
func (h *Host) repair(ctx context.Context, who claim, s release.Switch) (proof release.Proof, err error) {
	err = h.locked(ctx, who, func(in release.Intent) error {
		disk, err := h.Store.Current()
		if err != nil {
			return fmt.Errorf("current release: %w", err)
		}
		if s.To.IsZero() || !h.Store.Has(s.To) {
			return wire.NotFound.Errorf("release %s is not on the host, stage it first", s.To.Short())
		}
		proof, err = h.prove(ctx)
		if s.From = disk; disk == s.To && s.Hand == "" && err == nil && proof.Release == s.To {
			return h.stay(ctx, in, s, &proof)
		}
		if disk == s.To && err == nil {
			s.From = proof.Release
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		ctx := context.WithoutCancel(ctx)
		if err := h.settle(in, s, release.Unknown, nil); err != nil {
			return err
		}
		h.did("intent written")
		_ = h.endOther(ctx, s) // run does not succeed with a trial beside it
		proof, err = h.run(ctx, s, disk)
		h.did("runtime switched")
		if err == nil {
			return h.settle(in, s, release.ProvenNew, nil)
		}
		cause := fmt.Errorf("repair to %s: %w", s.To.Short(), err)
		return errors.Join(wire.Broken.Of(cause), h.settle(in, s, release.Broken, cause))
	})
	return proof, err
}

// wait bounds what an asker without a limit of its own can keep an agent busy with.
const wait = time.Hour
