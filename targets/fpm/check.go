package fpm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
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
	for _, i := range r.conf.Instances {
		for _, err := range r.checkInstance(ctx, i) {
			wrong = append(wrong, fmt.Errorf("php-fpm %s: %w", i.Name, err))
		}
	}
	if r.conf.Strategy == Reload && len(wrong) == 0 {
		if err := r.checkLayout(ctx); err != nil {
			wrong = append(wrong, fmt.Errorf("strategy reload: %w", err))
		}
	}
	return errors.Join(wrong...)
}

func (r *Runtime) checkInstance(ctx context.Context, i Instance) (wrong []error) {
	if _, err := queued(i.Listen); err != nil {
		wrong = append(wrong, err)
	}
	wrong = append(wrong, i.checkControl(ctx)...)
	eff, err := r.effective(ctx, i)
	if err != nil {
		return append(wrong, err)
	}
	if eff.Timeout == 0 {
		wrong = append(wrong, errors.New("process_control_timeout is 0, php-fpm's default: every stop or reload kills requests in flight; set it to the longest request's time"))
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
	now, err := processes()
	if err != nil {
		return append(wrong, err)
	}
	c := crewOf(now, i.ConfigFile, eff.Pool)
	if len(c.Strays) > 0 {
		wrong = append(wrong, fmt.Errorf("orphan workers %v of an earlier master", pids(c.Strays)))
	}
	if len(i.Control.Quit) == 0 && i.Control.Unit == "" {
		for _, m := range c.Masters {
			if err := unix.Kill(m.PID, 0); err != nil {
				wrong = append(wrong, fmt.Errorf("may not signal master %d: %w; give a quit command", m.PID, err))
			}
		}
	}
	return wrong
}

// checkControl finds commands that are missing and a unit that would start php-fpm behind the switch's back.
func (i Instance) checkControl(ctx context.Context) (wrong []error) {
	c := i.Control
	commands := [][]string{c.Start, c.Quit, c.Kill, c.Reload, c.Test, c.Sudo}
	if c.Unit != "" {
		commands = append(commands, []string{"systemctl"})
	}
	if len(c.Start) == 0 && c.Unit == "" {
		commands = append(commands, []string{i.Binary})
	}
	for _, argv := range commands {
		if len(argv) == 0 {
			continue
		}
		path, err := lookPath(argv[0])
		if err == nil {
			_, err = os.Stat(path)
		}
		if err != nil {
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

// checkLayout proves that a request stays in the release it began in while the link is swapped. It asks for every warm
// page through the web server and reads two things back from php-fpm: which file the web server named (the status page
// keeps it), and whether any worker remembers a path that led through the link (its realpath cache, which fills at every
// include and open). The second covers the code that was asked for since the workers started, no other.
func (r *Runtime) checkLayout(ctx context.Context) error {
	client := r.client()
	proof := r.prove(ctx)
	if proof.Release.IsZero() {
		return fmt.Errorf("the layout cannot be proven: %s", proof.Reason)
	}
	seen := false
	for _, p := range r.conf.Warm.Pages {
		script, err := r.scriptOf(ctx, client, p)
		if err != nil {
			return err
		}
		if script == "" {
			continue // answered without PHP
		}
		seen = true
		if id, err := r.placeOf(script); err != nil || id != proof.Release.String() {
			return fmt.Errorf("the web server names %s for page %s: it must name real paths ($realpath_root), or use strategy drain", script, p.Path)
		}
	}
	if !seen {
		return errors.New("no warm page reaches php-fpm: the layout cannot be proven")
	}
	for _, i := range r.conf.Instances {
		e, err := r.proveInstance(ctx, i)
		if err != nil {
			return err
		}
		for pid, f := range e.workers {
			if f.Through > 0 {
				return fmt.Errorf("worker %d of %s has opened files through %s: the code uses the absolute path; use strategy drain", pid, i.Name, r.conf.Served)
			}
		}
	}
	return nil
}

// scriptOf asks for a page and finds, by a word in its query, the worker that served it and the script it was given.
func (r *Runtime) scriptOf(ctx context.Context, client *http.Client, p Page) (string, error) {
	for range 5 { // another request may have taken that worker's line in the status page meanwhile
		word := "scap-layout=" + random(8)
		if _, err := r.get(ctx, client, p, word); err != nil {
			return "", fmt.Errorf("page %s: %w", p.Path, err)
		}
		for _, i := range r.conf.Instances {
			s, err := r.statusOf(ctx, i)
			if err != nil {
				return "", err
			}
			for _, w := range s.Processes {
				if strings.Contains(w.URI, word) {
					return w.Script, nil
				}
			}
		}
	}
	return "", nil
}

// placeOf is the name of the release in whose directory a file lies, by name alone.
func (r *Runtime) placeOf(file string) (string, error) {
	rest, ok := strings.CutPrefix(file, r.link.releases+"/")
	if !ok {
		return "", fmt.Errorf("%s is not in %s", file, r.link.releases)
	}
	name, _, _ := strings.Cut(rest, "/")
	return name, nil
}
