package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"scap/targets/fpm/effective"
	"scap/targets/fpm/fcgi"
	"scap/targets/fpm/namespace"
	"scap/targets/fpm/proc"
)

// startOne starts a generation and waits until it listens.
func (k *keeper) startOne(ctx context.Context, r *record, q Request) (*Generation, error) {
	pool, _ := k.conf.pool(q.Pool)
	e := &entry{Pool: pool.Name, Release: q.Release, Phase: starting, Boot: k.boot, Until: q.Until, Started: time.Now()}
	release, err := namespace.Open(k.spec(e)) // pinned from here on: its master takes a pin of its own
	if err != nil {
		return nil, refused(err)
	}
	defer release.Close()
	e.Inode = release.Inode()
	base, err := k.base(ctx, pool)
	if err != nil {
		return nil, refused(err)
	}
	e.Section = base.Pool
	_, e.Status = base.Keys["pm.status_listen"] // PHP 8.0 and newer know it
	if err := k.fit(ctx, r, pool, q); err != nil {
		return nil, err
	}
	e.Number = r.Last + 1
	r.Last, r.Generations = e.Number, append(r.Generations, e)
	if err := k.save(r); err != nil {
		return nil, err
	}
	k.tick("start: the record has generation %d", e.Number)
	if err := k.bring(ctx, r, e, pool); err != nil {
		// Nobody but the keeper has ever spoken to it.
		return nil, errors.Join(fmt.Errorf("start generation %d of pool %s: %w", e.Number, pool.Name, err), k.end(context.WithoutCancel(ctx), r, e, true))
	}
	s, err := look()
	if err != nil {
		return nil, err
	}
	g := k.generation(e, k.crew(s, e))
	return &g, nil
}

// fit makes room for a second master.
func (k *keeper) fit(ctx context.Context, r *record, pool Pool, q Request) error {
	s, err := look()
	if err != nil {
		return err
	}
	victims, err := k.makeRoom(r, s, pool, func(e *entry) bool { return e.Release == q.Release })
	if err != nil {
		return err
	}
	for _, v := range victims {
		if err := k.end(ctx, r, v, false); err != nil {
			return fmt.Errorf("end generation %d to have its memory: %w", v.Number, err)
		}
	}
	return nil
}

// bring makes the process, from its configuration to its first answer.
func (k *keeper) bring(ctx context.Context, r *record, e *entry, pool Pool) error {
	if err := k.configure(ctx, e, pool); err != nil {
		return err
	}
	k.tick("start: generation %d is configured", e.Number)
	f := k.conf.files(e.Number)
	pid, proceed, err := k.start.launch(ctx, e.Number, f.log)
	if err != nil {
		return err
	}
	k.tick("start: generation %d has a process", e.Number)
	p, err := proc.Read(pid)
	if err == nil {
		e.PID, e.Tick, e.Namespace = p.PID, p.Tick, spaceOf(p.PID)
		err = k.save(r)
	}
	if err != nil {
		return errors.Join(err, killChild(pid))
	}
	k.tick("start: the record has the process of generation %d", e.Number)
	if err := proceed(); err != nil {
		return err
	}
	k.tick("start: generation %d goes on", e.Number)
	if err := k.awaitPing(ctx, e, pool); err != nil {
		said, _ := proc.ReadSome(f.log, 256<<10)
		return fmt.Errorf("%w: %s", err, lastLine(said))
	}
	if e.Namespace = spaceOf(e.PID); e.Namespace == 0 || e.Namespace == spaceOf(os.Getpid()) {
		return errors.New("its master is not in a mount namespace of its own")
	}
	e.Phase = running
	k.tick("start: generation %d listens", e.Number)
	s, err := look()
	if err == nil {
		err = k.healthy(s, e)
	}
	if err == nil {
		err = k.save(r)
	}
	k.tick("start: the record has generation %d running", e.Number)
	return err
}

// killChild ends a process that the record does not know: nothing runs in it yet.
func killChild(pid int) error {
	p, err := proc.Read(pid)
	if errors.Is(err, proc.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	return proc.Signal(p, unix.SIGKILL)
}

// awaitPing waits until a worker of the generation answers.
func (k *keeper) awaitPing(ctx context.Context, e *entry, pool Pool) error {
	self := proc.Process{PID: e.PID, Tick: e.Tick}
	gone := false
	err := proc.Poll(ctx, startTime, func() error {
		if gone = len(proc.Left([]proc.Process{self})) == 0; gone {
			return nil
		}
		return ping(ctx, k.conf.files(e.Number).socket, pool.PingPath)
	})
	if gone {
		return errors.New("its process has ended")
	}
	return err
}

func ping(ctx context.Context, socket, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	a, err := fcgi.Call(ctx, socket, map[string]string{
		"REQUEST_METHOD": "GET", "SCRIPT_NAME": path, "SCRIPT_FILENAME": path, "REQUEST_URI": path, "SERVER_PROTOCOL": "HTTP/1.1",
	})
	if err == nil && a.Status != 200 {
		err = fmt.Errorf("%s is answered with %d: is it ping.path of this pool?", path, a.Status)
	}
	return err
}

// base reads the distribution's configuration of a pool as php-fpm understands it, and refuses what cannot be handed over.
func (k *keeper) base(ctx context.Context, p Pool) (effective.Config, error) {
	argv := []string{p.Binary, "--fpm-config", p.ConfigFile, "-tt"}
	if p.INI != "" {
		argv = append(argv, "-c", p.INI)
	}
	out, err := run(ctx, argv...)
	if err != nil {
		return effective.Config{}, fmt.Errorf("test the configuration of pool %s: %w", p.Name, err)
	}
	c, err := effective.Parse(out, p.Listen)
	switch {
	case err != nil:
		return c, fmt.Errorf("configuration of pool %s in %s: %w", p.Name, p.ConfigFile, err)
	case len(c.Others) > 0:
		return c, fmt.Errorf("%s has more pools than %s: %s; give each a master of its own", p.ConfigFile, c.Pool, strings.Join(c.Others, ", "))
	case c.Timeout <= 0:
		return c, fmt.Errorf("%s: process_control_timeout is 0: a master that ends would cut its requests off", p.ConfigFile)
	case c.Timeout > p.Stop:
		return c, fmt.Errorf("%s: process_control_timeout is %v, longer than the %v that pool %s may take to stop", p.ConfigFile, c.Timeout, p.Stop, p.Name)
	case c.Keys["ping.path"] != p.PingPath:
		return c, fmt.Errorf("%s: ping.path is %s, not %s: the keeper could not tell when a master listens", p.ConfigFile, c.Keys["ping.path"], p.PingPath)
	case strings.ContainsAny(c.Pool, "[]\n"):
		return c, fmt.Errorf("%s: a pool of the name %q", p.ConfigFile, c.Pool)
	}
	return c, nil
}

// configure writes a generation's configuration and has php-fpm test that it means what is meant.
func (k *keeper) configure(ctx context.Context, e *entry, p Pool) error {
	f := k.conf.files(e.Number)
	var b strings.Builder
	fmt.Fprintf(&b, "; generation %d, release %s\ninclude=%s\n[global]\npid = %s\ndaemonize = no\n[%s]\nlisten = %s\n",
		e.Number, e.Release, p.ConfigFile, f.pid, e.Section, f.socket)
	if e.Status {
		fmt.Fprintf(&b, "pm.status_listen = %s\n", f.status)
	}
	if err := os.WriteFile(f.config, []byte(b.String()), 0o644); err != nil {
		return err
	}
	out, err := run(ctx, k.argv(p, e.Number, "-tt")...)
	if err != nil {
		return err
	}
	c, err := effective.Parse(out, f.socket)
	if err != nil {
		return err
	}
	for name, is := range map[string]bool{
		"the pool":         c.Pool == e.Section && len(c.Others) == 0,
		"pid":              c.Global["pid"] == f.pid,
		"daemonize":        c.Global["daemonize"] == "no",
		"pm.status_listen": !e.Status || c.Keys["pm.status_listen"] == f.status,
	} {
		if !is {
			return fmt.Errorf("php-fpm does not take %s from %s", name, f.config)
		}
	}
	return nil
}
