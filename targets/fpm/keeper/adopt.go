package keeper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"scap/targets/fpm/proc"
	"scap/targets/fpm/socket"
)

// adopt ends the distribution's php-fpm of every pool, after its requests, and keeps it from being started again, also by a
// reboot or an upgrade of its package: its unit is disabled and masked. Without systemd whatever starts it is not the
// keeper's to change. It may be repeated.
func (k *keeper) adopt(ctx context.Context, r *record) error {
	if r.Adopted && r.Hand == "" && !slices.ContainsFunc(k.conf.Pools, func(p Pool) bool { return gone(p) != nil }) {
		return nil
	}
	for _, p := range k.conf.Pools { // before anything is changed: a pool that cannot be handed over is not adopted
		if _, err := k.base(ctx, p); err != nil {
			return refused(err)
		}
	}
	if !r.Adopted && r.Hand == "" {
		for _, p := range k.conf.Pools {
			if p.Unit == "" {
				continue
			}
			out, err := run(ctx, "systemctl", "is-enabled", p.Unit)
			word := strings.TrimSpace(string(out))
			if err != nil && word == "" {
				return refused(err)
			}
			r.pool(p.Name).Enabled = slices.Contains([]string{"enabled", "enabled-runtime", "alias", "static", "linked", "indirect"}, word)
		}
	}
	r.Hand = adopting
	if err := k.save(r); err != nil {
		return err
	}
	k.tick("adopt: the record has that it began")
	for _, p := range k.conf.Pools {
		if err := k.takeOver(ctx, p); err != nil {
			return fmt.Errorf("end the distribution's php-fpm of pool %s: %w", p.Name, err)
		}
		k.tick("adopt: the distribution's php-fpm of %s has ended", p.Name)
	}
	r.Adopted, r.Hand = true, ""
	err := k.save(r)
	k.tick("adopt: the record has that it is done")
	return err
}

// takeOver ends one pool's php-fpm of the distribution's.
func (k *keeper) takeOver(ctx context.Context, p Pool) error {
	if p.Unit != "" {
		// The unit's own stop would be SIGTERM on most systems, which cuts requests off. Masked, nothing starts it meanwhile.
		for _, argv := range [][]string{{"systemctl", "disable", p.Unit}, {"systemctl", "mask", p.Unit}} {
			if _, err := run(ctx, argv...); err != nil {
				return fmt.Errorf("%w; a unit file of your own in /etc/systemd/system cannot be masked: move it to /usr/local/lib/systemd/system", err)
			}
		}
		k.tick("adopt: %s is masked", p.Unit)
	}
	masters, all, err := theirs(p)
	if err != nil {
		return err
	}
	if p.Unit != "" && len(masters) > 0 {
		if _, err := run(ctx, "systemctl", "kill", "-s", "QUIT", "--kill-who=main", p.Unit); err != nil {
			return err
		}
	}
	if err := tell(masters, unix.SIGQUIT); err != nil { // the unit may not be what started it
		return err
	}
	k.tick("adopt: the distribution's master of %s was told", p.Name)
	proc.AwaitGone(ctx, all, p.Stop)
	for _, s := range []unix.Signal{unix.SIGQUIT, unix.SIGKILL} {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		left := proc.Left(all)
		if err := tell(left, s); err != nil {
			return err
		}
		proc.AwaitGone(ctx, left, killTime)
	}
	if p.Unit != "" {
		if _, err := run(ctx, "systemctl", "stop", p.Unit); err != nil {
			return err
		}
	}
	return gone(p)
}

// gone answers nil when nothing of the distribution's php-fpm of a pool runs.
func gone(p Pool) error {
	_, all, err := theirs(p)
	if err != nil {
		return err
	}
	if len(all) > 0 {
		return fmt.Errorf("it runs, or runs again, as %v: what starts it must be switched off first", proc.PIDs(all))
	}
	_, there, err := socket.Listening(p.Listen)
	if err == nil && there {
		err = fmt.Errorf("somebody still listens on %s: which is not %s by its title", p.Listen, p.ConfigFile)
	}
	return err
}

// theirs finds the distribution's masters of a pool, by the configuration that their titles name, and all of their processes.
func theirs(p Pool) (masters, all []proc.Process, err error) {
	fpm, err := proc.All()
	if err != nil {
		return nil, nil, err
	}
	c := proc.CrewOf(fpm, p.ConfigFile, "")
	return c.Masters, c.All(), nil
}

// giveUp ends all generations and starts the distribution's php-fpm as before.
func (k *keeper) giveUp(ctx context.Context, r *record, kill bool) error {
	if !r.Adopted && r.Hand == "" {
		return nil
	}
	r.Hand = givingUp
	if err := k.save(r); err != nil {
		return err
	}
	k.tick("giveup: the record has that it began")
	if err := k.halt(ctx, r, kill); err != nil {
		return err
	}
	for _, p := range k.conf.Pools {
		if err := k.giveBack(ctx, r, p); err != nil {
			return fmt.Errorf("start the distribution's php-fpm of pool %s: %w", p.Name, err)
		}
		k.tick("giveup: the distribution's php-fpm of %s runs", p.Name)
	}
	r.Adopted, r.Hand = false, ""
	err := k.save(r)
	k.tick("giveup: the record has that it is done")
	return err
}

// giveBack starts one pool's php-fpm of the distribution's, if it does not run, and waits until it answers.
func (k *keeper) giveBack(ctx context.Context, r *record, p Pool) error {
	if p.Unit != "" {
		argvs := [][]string{{"systemctl", "unmask", p.Unit}, {"systemctl", "start", p.Unit}}
		if r.pool(p.Name).Enabled {
			argvs = slices.Insert(argvs, 1, []string{"systemctl", "enable", p.Unit})
		}
		for _, argv := range argvs {
			if _, err := run(ctx, argv...); err != nil {
				return err
			}
		}
	} else {
		masters, _, err := theirs(p)
		if err != nil {
			return err
		}
		if len(masters) == 0 {
			if _, err := run(ctx, p.Start...); err != nil {
				return err
			}
		}
	}
	return proc.Poll(ctx, startTime, func() error {
		if _, there, err := socket.Listening(p.Listen); err != nil || !there {
			return errors.Join(err, fmt.Errorf("nobody listens on %s", p.Listen))
		}
		return ping(ctx, p.Listen, p.PingPath)
	})
}
