package keeper

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// systemd starts a generation as an instance of the unit that Units prints, with a group of its own for its memory.
type systemd struct{ k *keeper }

var _ starter = systemd{}

// newSystemd makes masters instances of a systemd unit.
func newSystemd(k *keeper) starter { return systemd{k} }

func unitOf(number uint64) string { return fmt.Sprintf("scap-fpm@%d.service", number) }

// launch has systemd start the instance. Its process goes on at once: should this one end before the record has its pid, the
// master is found by its title. Its words go to log, as the unit says.
func (s systemd) launch(ctx context.Context, number uint64, _ string) (int, func() error, error) {
	unit := unitOf(number)
	pid, err := s.start(ctx, unit)
	if err != nil {
		err = fmt.Errorf("%w; are the units installed that `scap-agent keeper units` prints?", err)
		_, stopped := run(context.WithoutCancel(ctx), "systemctl", "stop", unit)
		return 0, nil, errors.Join(err, stopped)
	}
	return pid, func() error { return nil }, nil
}

func (s systemd) start(ctx context.Context, unit string) (int, error) {
	if _, err := run(ctx, "systemctl", "start", unit); err != nil {
		return 0, err
	}
	text, err := show(ctx, unit, "MainPID")
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(text)
	if err == nil && pid <= 0 {
		err = errors.New("its process has ended")
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", unit, err)
	}
	return pid, nil
}

// show asks systemd for one property of a unit.
func show(ctx context.Context, unit, property string) (string, error) {
	out, err := run(ctx, "systemctl", "show", "--value", "--property="+property, unit)
	return strings.TrimSpace(string(out)), err
}

// ended has systemd forget the instance: of one that was killed it would keep that it failed.
func (s systemd) ended(ctx context.Context, number uint64) error {
	unit := unitOf(number)
	if _, err := run(ctx, "systemctl", "stop", unit); err != nil {
		return err
	}
	state, err := show(ctx, unit, "ActiveState")
	if err == nil && state == "failed" {
		_, err = run(ctx, "systemctl", "reset-failed", unit)
	}
	return err
}
