package fpm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"scap/targets/fpm/fcgi"
	"scap/targets/fpm/proc"
)

// order sends a master the signal s, by the instance's command where it has one.
func (i Instance) order(ctx context.Context, master proc.Process, s unix.Signal) error {
	argv := map[unix.Signal][]string{
		unix.SIGQUIT: i.Control.Quit, unix.SIGUSR2: i.Control.Reload, unix.SIGTERM: i.Control.Kill,
	}[s]
	if len(argv) == 0 {
		return proc.Signal(master, s)
	}
	_, err := run(ctx, argv)
	return err
}

// start starts an instance's master in a session of its own, so that it outlives the agent, and waits until a new master
// answers its ping.
func (r *Runtime) start(ctx context.Context, i Instance) error {
	argv := i.Control.Start
	if len(argv) == 0 {
		argv = append(i.base(), "--daemonize")
	}
	log := filepath.Join(r.conf.Work, "start-"+i.Name+".log")
	out, err := os.OpenFile(log, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o644)
	if err != nil {
		return fmt.Errorf("start %s: %w", i.Name, err)
	}
	defer out.Close()
	pid, err := launch(argv, out)
	if err != nil {
		return fmt.Errorf("start %s: %w", i.Name, err)
	}
	var ended error
	err = proc.Poll(ctx, r.conf.Limits.Start.or(defaultStart), func() error {
		if pid > 0 {
			done, code := collect(pid)
			if done {
				pid = 0
			}
			if done && code != 0 {
				ended = fmt.Errorf("the start command ended with exit status %d", code)
				return nil
			}
		}
		return r.ping(ctx, i)
	})
	if err = errors.Join(ended, err); err != nil {
		said, _ := proc.ReadSome(log, maxOutput)
		return fmt.Errorf("start %s: %w: %s", i.Name, err, lastLine(said))
	}
	return nil
}

// launch starts argv without waiting for it: it may be the master itself, in the foreground.
func launch(argv []string, out *os.File) (int, error) {
	path, err := lookPath(argv[0])
	if err != nil {
		return 0, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	p, err := os.StartProcess(path, argv, &os.ProcAttr{
		Dir: "/", Env: environment(), Files: []*os.File{null, out, out}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, err
	}
	pid := p.Pid
	return pid, p.Release()
}

// collect asks whether the child has ended, and how.
func collect(pid int) (done bool, code int) {
	var status unix.WaitStatus
	got, err := unix.Wait4(pid, &status, unix.WNOHANG, nil)
	switch {
	case err != nil: // somebody else has collected it: nothing is known of how it ended
		return true, 0
	case got != pid:
		return false, 0
	case status.Signaled():
		return true, 128 + int(status.Signal())
	}
	return true, status.ExitStatus()
}

// halt stops every instance and returns only when none of their processes is left, strays included. With kill it does not
// wait for requests. What does not go in time is killed: the time limit has cut its request off by then anyway.
func (r *Runtime) halt(ctx context.Context, all []standing, kill bool) error {
	polite, limit := unix.SIGQUIT, time.Duration(0)
	if kill {
		polite = unix.SIGTERM
	}
	var targets []proc.Process
	var wrong []error
	told := 0
	for _, s := range all {
		targets = append(targets, s.crew.All()...)
		if !kill {
			limit = max(limit, s.effective.Timeout)
		}
		for _, m := range s.crew.Masters {
			if err := s.instance.order(ctx, m, polite); err != nil {
				wrong = append(wrong, err)
				continue
			}
			told++
		}
		for _, w := range s.crew.Strays { // nobody tells them: each gets the word itself
			if err := proc.Signal(w, polite); err != nil {
				wrong = append(wrong, err)
				continue
			}
			told++
		}
	}
	if len(wrong) > 0 && told == 0 {
		return errors.Join(wrong...) // and nothing has changed
	}
	rest := proc.AwaitGone(ctx, targets, limit+r.conf.Limits.Stop.or(defaultStop))
	for _, p := range rest {
		if err := proc.Signal(p, unix.SIGKILL); err != nil {
			wrong = append(wrong, err)
		}
	}
	if rest = proc.AwaitGone(ctx, rest, r.conf.Limits.Stop.or(defaultStop)); len(rest) > 0 {
		return errors.Join(append(wrong, fmt.Errorf("processes %v do not go away", proc.PIDs(rest)))...)
	}
	return nobody(ctx, all)
}

// nobody answers nil when no process of any instance runs: neither one that was overlooked nor one that a supervisor
// started again.
func nobody(ctx context.Context, all []standing) error {
	now, err := proc.All()
	if err != nil {
		return err
	}
	for _, s := range all {
		if c := proc.CrewOf(now, s.instance.ConfigFile, s.pool()); len(c.All()) > 0 {
			return fmt.Errorf("php-fpm %s runs again as %v: somebody else starts it (Restart=always?)", s.instance.Name, proc.PIDs(c.All()))
		}
		if who, ok := listener(ctx, s.instance.Listen); ok {
			return fmt.Errorf("another process%s listens on %s: php-fpm would refuse to start beside it", who, s.instance.Listen)
		}
	}
	return nil
}

// listener reports whether anybody accepts on an address and, where the kernel says so, who began to listen there.
func listener(ctx context.Context, listen string) (who string, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, fcgi.Network(listen), listen)
	if err != nil {
		return "", false
	}
	defer conn.Close()
	raw, isUnix := conn.(*net.UnixConn)
	if !isUnix {
		return "", true
	}
	if sys, err := raw.SyscallConn(); err == nil {
		_ = sys.Control(func(fd uintptr) {
			if c, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
				who = fmt.Sprintf(" (pid %d)", c.Pid)
			}
		})
	}
	return who, true
}

// lookPath finds a command in the directories that commands are given, not in the agent's own PATH.
func lookPath(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	for _, dir := range filepath.SplitList(environment()[0][len("PATH="):]) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("command %q: not found", name)
}
