package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"scap/sync/release"
	"scap/sync/wire"
)

// abandonLimit bounds the end of a trial on a context that outlives the asker's: links are taken away, requests under way
// are not waited for longer than the runtime's own limits.
const abandonLimit = 2 * time.Minute

// try begins a trial of q.Switch.To beside q.Switch.From, which goes on being what the host has on disk, runs and wants: the
// host's last intent stays as it is, and a deploy that dies leaves behind what ends by itself. After an error nothing is
// tried, whatever was before.
func (h *Host) try(ctx context.Context, who claim, q wire.Try) (proof release.Proof, err error) {
	until := time.Now().Add(q.For)
	trier, ok := h.Runtime.(Trier)
	if !ok {
		return proof, wire.Refused.Errorf("the runtime of this host cannot try a release beside another one")
	}
	err = h.locked(ctx, who, func(in release.Intent) error {
		if err := h.record(in); err != nil { // the token
			return err
		}
		h.did("trial claimed")
		err := h.mayTry(in, q.Switch, until)
		if err == nil {
			proof, err = h.runTrial(ctx, trier, q.Switch, until)
			h.did("trial begun")
		}
		if err == nil {
			return nil
		}
		err = fmt.Errorf("try %s: %w", q.Switch.To.Short(), err)
		if _, aerr := h.abandon(ctx, trier); aerr != nil {
			err = fmt.Errorf("%w; and to make sure that nothing is tried: %w; a trial ends by itself when its time is over", err, aerr)
		}
		return err
	})
	return proof, err
}

// mayTry refuses a trial that contradicts what the host is.
func (h *Host) mayTry(in release.Intent, s release.Switch, until time.Time) error {
	disk, err := h.Store.Current()
	if err != nil {
		return fmt.Errorf("current release: %w", err)
	}
	switch ahead := time.Until(until); {
	case s.To.IsZero(), s.From.IsZero(), s.To == s.From:
		return wire.Refused.Errorf("a trial of %s beside %s: want two releases", s.To.Short(), s.From.Short())
	case disk != s.From:
		return wire.Refused.Errorf("the host is on %s, not on %s", disk.Short(), s.From.Short())
	case !h.Store.Has(s.To):
		return wire.NotFound.Errorf("release %s is not on the host, stage it first", s.To.Short())
	case in.Out:
		return wire.Refused.Errorf("%s took this host out of the pool: nobody would try anything on it", orNobody(in.Owner))
	case !in.Switch.To.IsZero() && in.Outcome != release.ProvenNew && in.Outcome != release.ProvenOld:
		return wire.Refused.Errorf("the last switch of this host, to %s by %s, was not ended: repair the host", in.Switch.To.Short(), orNobody(in.Switch.Owner))
	case ahead <= 0 || ahead > wire.MaxTrial:
		return wire.Refused.Errorf("a trial for %v more: want at most %v", ahead.Round(time.Second), wire.MaxTrial)
	}
	return nil
}

// runTrial has the runtime begin the trial and checks that it serves what it did, and tries what it should.
func (h *Host) runTrial(ctx context.Context, trier Trier, s release.Switch, until time.Time) (release.Proof, error) {
	ctx, cancel := context.WithTimeout(ctx, h.switchLimit())
	defer cancel()
	if err := h.runtime.lock(ctx); err != nil {
		return release.Proof{}, fmt.Errorf("the runtime is busy with another question: %w", err)
	}
	defer h.runtime.unlock()
	now, err := h.Runtime.State(ctx)
	if err == nil && now.Release != s.From {
		err = wire.Refused.Errorf("the runtime proves %s, not %s: %s", now.Release.Short(), s.From.Short(), now.Reason)
	}
	if err == nil && now.Trial != nil && now.Trial.Release != s.To {
		_, err = abandoned(trier.Abandon(ctx))
	}
	if err != nil {
		return release.Proof{}, err
	}
	proof, err := trier.Try(ctx, s, until)
	switch {
	case err != nil:
	case ctx.Err() != nil:
		err = context.Cause(ctx) // nobody hears that it is tried
	case proof.Release != s.From:
		err = fmt.Errorf("the runtime proves %s beside it: %s", proof.Release.Short(), proof.Reason)
	case proof.Trial == nil:
		err = errors.New("the runtime names no trial")
	case proof.Trial.Release != s.To:
		err = fmt.Errorf("the runtime tries %s", proof.Trial.Release.Short())
	case proof.Trial.Reason != "":
		err = fmt.Errorf("what is tried is not proven: %s", proof.Trial.Reason)
	}
	return proof, err
}

// endTry ends a trial. Without one, or on a host that cannot have one, it changes nothing.
func (h *Host) endTry(ctx context.Context, who claim) (proof release.Proof, err error) {
	err = h.locked(ctx, who, func(in release.Intent) error {
		trier, ok := h.Runtime.(Trier)
		if !ok {
			proof, err = h.prove(ctx)
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		rerr := h.record(in) // the token; a full disk is no reason to go on with a trial
		proof, err = h.abandon(ctx, trier)
		h.did("trial abandoned")
		return errors.Join(err, rerr)
	})
	return proof, err
}

// abandon ends a trial on a living context and checks that it did.
func (h *Host) abandon(ctx context.Context, trier Trier) (release.Proof, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonLimit)
	defer cancel()
	if err := h.runtime.lock(ctx); err != nil {
		return release.Proof{}, fmt.Errorf("the runtime is busy with another question: %w", err)
	}
	defer h.runtime.unlock()
	return abandoned(trier.Abandon(ctx))
}

// abandoned makes an error of a trial that is still there.
func abandoned(p release.Proof, err error) (release.Proof, error) {
	if err == nil && p.Trial != nil {
		err = errors.New("the runtime names it still")
	}
	if err != nil {
		err = fmt.Errorf("end the trial: %w", err)
	}
	return p, err
}

// endOther ends a trial of any release but s.To, which s is about to make what all users get. In an emergency nothing is
// asked first: it is ended afterwards.
func (h *Host) endOther(ctx context.Context, s release.Switch) error {
	trier, ok := h.Runtime.(Trier)
	if !ok || s.Emergency {
		return nil
	}
	p, err := h.prove(ctx)
	if err != nil || p.Trial == nil || p.Trial.Release == s.To {
		return nil //nolint:nilerr // a runtime that cannot be asked is what a switch or a repair is for
	}
	_, err = h.abandon(ctx, trier)
	return err
}

// alone ends a trial that is left beside what p proves.
func (h *Host) alone(ctx context.Context, p release.Proof) (release.Proof, error) {
	ctx, cancel := context.WithTimeout(ctx, abandonLimit)
	defer cancel()
	if err := h.runtime.lock(ctx); err != nil {
		return p, fmt.Errorf("the runtime is busy with another question: %w", err)
	}
	defer h.runtime.unlock()
	return h.lone(ctx, p)
}

// lone is alone for who holds the runtime's gate.
func (h *Host) lone(ctx context.Context, p release.Proof) (release.Proof, error) {
	if p.Trial == nil {
		return p, nil
	}
	trier, ok := h.Runtime.(Trier)
	if !ok {
		return p, fmt.Errorf("the runtime tries %s and cannot end that", p.Trial.Release.Short())
	}
	q, err := abandoned(trier.Abandon(ctx))
	if err == nil && q.Release != p.Release {
		err = fmt.Errorf("after the trial had ended the runtime proves %s: %s", q.Release.Short(), q.Reason)
	}
	return q, err
}
