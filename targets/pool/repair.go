package pool

import (
	"context"
	"fmt"

	"scap/targets"
)

// Repair brings the host to serve s.To, proven and in the pool. It obeys the host's journal: a host whose token is
// larger than s's belongs to a living deploy (ErrFenced), and one that somebody else had taken out stays out.
func (t *Target) Repair(ctx context.Context, s targets.Switch) error {
	unlock, err := t.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := t.transact(ctx, s, t.host.Repair); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	return nil
}
