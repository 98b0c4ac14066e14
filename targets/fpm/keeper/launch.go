package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"scap/targets/fpm/namespace"
)

// plain starts a generation as a process of its own: nothing ends it but its end.
type plain struct{ k *keeper }

// launch starts this program again, which waits for a byte before it becomes php-fpm: a master whose pid the record does not
// have yet runs nothing, and ends with the keeper.
func (p plain) launch(_ context.Context, number uint64, log string) (int, func() error, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return 0, nil, err
	}
	defer out.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, nil, err
	}
	defer null.Close()
	held, hold, err := os.Pipe()
	if err != nil {
		return 0, nil, err
	}
	defer held.Close()
	child, err := os.StartProcess(p.k.exe, []string{p.k.exe, "keeper", "--conf", p.k.conf.file, "enter", strconv.FormatUint(number, 10), "3"}, &os.ProcAttr{
		Dir: "/", Env: environment(), Files: []*os.File{null, out, out, held},
		Sys: &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNS},
	})
	if err != nil {
		return 0, nil, errors.Join(err, hold.Close())
	}
	pid := child.Pid
	proceed := func() error {
		_, err := hold.Write([]byte{1})
		return errors.Join(err, hold.Close(), child.Release())
	}
	return pid, proceed, nil
}

func (p plain) ended(context.Context, uint64) error { return nil }

// Enter makes this process the master of a generation that the record says is to start: it enters the release's namespace and
// executes php-fpm. args are the generation's number and, where the process is to be held back, the descriptor that says when
// to go on. It returns only what went wrong. What is executed stands in conf and nowhere else.
func Enter(conf Config, args []string) error {
	if len(args) == 0 || len(args) > 2 {
		return errors.New("enter: want a generation's number")
	}
	number, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return fmt.Errorf("enter: %w", err)
	}
	if len(args) == 2 {
		if err := awaitWord(args[1]); err != nil {
			return err
		}
	}
	k, err := open(conf)
	if err != nil {
		return err
	}
	return fmt.Errorf("generation %d: %w", number, k.enter(number))
}

// awaitWord waits until the keeper has written down who this is. A keeper that is gone says nothing more.
func awaitWord(text string) error {
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return fmt.Errorf("enter: descriptor %q", text)
	}
	f := os.NewFile(uintptr(fd), "held")
	defer f.Close()
	if _, err := io.ReadFull(f, make([]byte, 1)); err != nil {
		return fmt.Errorf("enter: the keeper that started this process is gone: %w", err)
	}
	return nil
}

func (k *keeper) enter(number uint64) error {
	r, err := k.load()
	if err != nil {
		return err
	}
	e := r.find(number)
	if e == nil || e.Phase != starting {
		return errors.New("the record has nothing of that number that is to start")
	}
	pool, ok := k.conf.pool(e.Pool)
	if !ok {
		return fmt.Errorf("pool %q: the configuration has none of that name", e.Pool)
	}
	opened, err := namespace.Open(k.spec(e))
	if err != nil {
		return err
	}
	if opened.Inode() != e.Inode {
		return errors.New("the release is another directory than a moment ago")
	}
	if err := opened.Enter(); err != nil {
		return err
	}
	unix.Umask(0o022)
	argv := k.argv(pool, number, "--nodaemonize")
	return fmt.Errorf("execute %s: %w", argv[0], syscall.Exec(argv[0], argv, environment()))
}

// argv is php-fpm with a generation's files.
func (k *keeper) argv(p Pool, number uint64, more ...string) []string {
	argv := []string{p.Binary, "--fpm-config", k.conf.files(number).config}
	if p.INI != "" {
		argv = append(argv, "-c", p.INI)
	}
	return append(argv, more...)
}
