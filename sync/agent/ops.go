package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"scap/sync/release"
	"scap/sync/store"
	"scap/sync/wire"
)

// quiet watches what still reaches the host.
func (h *Host) quiet(ctx context.Context, window time.Duration) (release.Quiet, error) {
	if err := h.runtime.lock(ctx); err != nil {
		return release.Quiet{}, err
	}
	defer h.runtime.unlock()
	return h.Runtime.Quiet(ctx, window)
}

// prune removes releases. What a runtime still runs, keeps for the way back or tries, and both ends of the last switch, stay
// whatever keep says; a runtime that cannot be asked stops it.
func (h *Host) prune(ctx context.Context, who claim, keep []release.ID) (p wire.Pruned, err error) {
	err = h.locked(ctx, who, func(in release.Intent) error {
		proof, err := h.prove(ctx)
		if err != nil {
			return fmt.Errorf("what runs is not known: %w", err)
		}
		keep = append(keep, proof.Release, in.Switch.From, in.Switch.To)
		keep = append(keep, proof.Road.Warm...)
		if proof.Trial != nil {
			keep = append(keep, proof.Trial.Release)
		}
		for _, i := range proof.Instances {
			for _, w := range i.Workers {
				keep = append(keep, w.Release)
			}
		}
		p.Gone, err = h.Store.Prune(ctx, keep)
		return err
	})
	return p, err
}

// adopt makes the plain directory at the served path the host's first release. Once begun it ends.
func (h *Host) adopt(ctx context.Context, who claim) (r release.Release, err error) {
	if h.Served == "" {
		return r, wire.Refused.Errorf("no served path is configured")
	}
	err = h.locked(ctx, who, func(in release.Intent) error {
		if err := h.record(in); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		r, err = h.Store.Adopt(context.WithoutCancel(ctx), h.Served, store.SnapshotOptions{Excludes: h.Excludes, Message: "adopted from " + h.Served})
		return err
	})
	return r, err
}

// ask puts a question to one of the host's services.
func (h *Host) ask(ctx context.Context, q wire.Ask) (json.RawMessage, error) {
	a := h.Answer[q.Service]
	if a == nil {
		return nil, wire.NotFound.Errorf("this agent has no %s", wire.Quote([]byte(q.Service), 40))
	}
	return a(ctx, q.Question)
}
