package fpm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"scap/targets/fpm/proc"
	"scap/targets/fpm/socket"
)

// Check says what would make a switch fail or lie, everything at once. It changes nothing on the host but the agent's own
// directory. What the runtime runs now is State's word.
func (r *Runtime) Check(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := r.writeProbe(); err != nil {
		return err
	}
	var wrong []error
	serving, adopted, trial := r.conf.Instances, false, false
	if r.conf.Strategy == Handover {
		var err error
		if serving, adopted, trial, err = r.checkKeeper(ctx); err != nil {
			wrong = append(wrong, err)
		}
	}
	for _, i := range r.conf.Instances {
		for _, err := range r.checkInstance(ctx, i, adopted) {
			wrong = append(wrong, fmt.Errorf("php-fpm %s: %w", i.Name, err))
		}
	}
	if len(r.conf.Warm.Pages) > 0 && !trial { // with one nobody could say who has answered, and whose count is one too many
		if err := r.checkConnections(ctx, serving); err != nil {
			wrong = append(wrong, err)
		}
	}
	if r.conf.Strategy == Reload && len(wrong) == 0 {
		if err := r.checkLayout(ctx); err != nil {
			wrong = append(wrong, fmt.Errorf("strategy reload: %w", err))
		}
	}
	return errors.Join(wrong...)
}

// checkInstance checks what the distribution configured. On an adopted host the generations' configuration is made of it, and
// nobody starts and signals its master.
func (r *Runtime) checkInstance(ctx context.Context, i Instance, adopted bool) (wrong []error) {
	if _, err := socket.Waiting(i.Listen); err != nil {
		wrong = append(wrong, err)
	}
	if !adopted {
		wrong = append(wrong, i.checkControl(ctx, r.conf.Strategy == Reload)...)
	}
	eff, err := r.effective(ctx, i)
	if err != nil {
		return append(wrong, err)
	}
	if err := i.checkTimeout(eff.Timeout); err != nil {
		wrong = append(wrong, err)
	}
	for key, want := range map[string]string{"pm.status_path": i.StatusPath, "ping.path": i.PingPath} {
		if eff.Keys[key] != want {
			wrong = append(wrong, fmt.Errorf("%s is %q in %s, %q here", key, eff.Keys[key], i.ConfigFile, want))
		}
	}
	if len(eff.Others) > 0 {
		slices.Sort(eff.Others)
		wrong = append(wrong, fmt.Errorf("pools %v belong to the same master and would serve unproven; give each its own master", eff.Others))
	}
	if root := eff.Keys["chroot"]; root != "" && root != "undefined" {
		wrong = append(wrong, fmt.Errorf("chroot %s: the workers cannot be asked for their release", root))
	}
	now, err := proc.All()
	if err != nil {
		return append(wrong, err)
	}
	c := proc.CrewOf(now, i.ConfigFile, eff.Pool)
	if len(c.Strays) > 0 {
		wrong = append(wrong, fmt.Errorf("orphan workers %v of an earlier master", proc.PIDs(c.Strays)))
	}
	if adopted && len(c.Masters) > 0 {
		wrong = append(wrong, fmt.Errorf("the distribution's master %v runs beside the keeper's: stop it, and keep it from being started", proc.PIDs(c.Masters)))
	}
	if len(i.Control.Quit) == 0 && !adopted {
		for _, m := range c.Masters {
			if err := unix.Kill(m.PID, 0); err != nil {
				wrong = append(wrong, fmt.Errorf("may not signal master %d: %w; give a quit command", m.PID, err))
			}
		}
	}
	return wrong
}

// checkTimeout finds a process_control_timeout that cuts requests off.
func (i Instance) checkTimeout(have time.Duration) error {
	switch longest := time.Duration(i.Longest); {
	case have == 0:
		return errors.New("process_control_timeout is 0, php-fpm's default: every stop or reload kills requests in flight; set it to the longest request's time")
	case have < longest:
		return fmt.Errorf("process_control_timeout is %v, and requests may take %v (max_request): a stop or reload kills the longer ones; raise the one or lower the other", have, longest)
	}
	return nil
}

// checkControl finds commands that are missing or not allowed, and a unit that would start php-fpm behind the switch's back.
func (i Instance) checkControl(ctx context.Context, reload bool) (wrong []error) {
	c := i.Control
	commands := [][]string{c.Start, c.Quit, c.Kill, c.Test}
	if reload {
		commands = append(commands, c.Reload)
	}
	if len(c.Start) == 0 {
		commands = append(commands, []string{i.Binary})
	}
	for _, argv := range commands {
		if err := checkCommand(ctx, argv); err != nil {
			wrong = append(wrong, err)
		}
	}
	if c.Unit == "" || len(wrong) > 0 {
		return wrong
	}
	out, err := run(ctx, []string{"systemctl", "show", "--property=LoadState", "--property=Restart", c.Unit})
	if err != nil {
		return append(wrong, err)
	}
	if !strings.Contains(string(out), "LoadState=loaded\n") {
		wrong = append(wrong, fmt.Errorf("systemd has no unit %s", c.Unit))
	}
	if strings.Contains(string(out), "Restart=always") || strings.Contains(string(out), "Restart=on-success") {
		wrong = append(wrong, fmt.Errorf("unit %s restarts itself after SIGQUIT, before the link is swapped: set Restart=on-failure or no", c.Unit))
	}
	return wrong
}

// checkCommand finds a command that is missing, and asks sudo whether it would run it: in the middle of a switch is too
// late to hear that it does not.
func checkCommand(ctx context.Context, argv []string) error {
	if len(argv) == 0 {
		return nil
	}
	path, err := lookPath(argv[0])
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil || filepath.Base(path) != "sudo" || len(argv) < 3 || argv[1] != "-n" {
		return err
	}
	if _, err := run(ctx, append([]string{path, "-n", "-l"}, argv[2:]...)); err != nil {
		return fmt.Errorf("sudo does not grant %q (install the lines of `scap config sudoers`): %w", strings.Join(argv[2:], " "), err)
	}
	return nil
}

// checkConnections finds a web server that does not answer and one that keeps its connections to php-fpm: with upstream
// keepalive a restart loses POSTs, and a host that nobody asks never looks quiet.
func (r *Runtime) checkConnections(ctx context.Context, serving []Instance) error {
	page := r.conf.Warm.Pages[0]
	if _, err := r.get(ctx, r.client(), page, ""); err != nil { // what it answers is the release's matter, not the host's
		return fmt.Errorf("the host's own web server: page %s: %w", page.Path, err)
	}
	settled := time.NewTimer(keptAfter)
	defer settled.Stop()
	select {
	case <-settled.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for _, i := range serving {
		s, err := r.statusOf(ctx, i)
		if err != nil {
			continue // State says so
		}
		for _, p := range s.Processes {
			if p.State == readingHeaders && time.Duration(p.Duration)*time.Microsecond >= keptAfter/2 {
				return fmt.Errorf("the web server keeps connections to php-fpm %s open (upstream keepalive): every restart would lose POSTs; turn it off", i.Name)
			}
		}
	}
	return nil
}

// keptAfter is how long after an answer a connection without a new request counts as kept. A request's headers come from
// the web server within microseconds, however slow the user is.
const keptAfter = 200 * time.Millisecond
