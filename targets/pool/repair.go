package pool

import (
	"context"
	"fmt"

	"scap/targets"
)

// Repair brings the host to serve s.To, proven and in the pool. It obeys the host's journal: a host whose token is
// larger than s's belongs to a living deploy (ErrFenced), and one that somebody else had taken out stays out. A host that can
// hand over is drained too: a repair has no way back, and what is to be repaired is not to be trusted with users.
func (t *Target) Repair(ctx context.Context, s targets.Switch) error {
	unlock, err := t.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	drained := func(targets.State, targets.Switch) bool { return false }
	if err := t.transact(ctx, s, t.host.Repair, drained); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	return nil
}
