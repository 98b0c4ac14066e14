package namespace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What a process that Run started knows itself by: its name, and what it is told in its environment.
const (
	entrantName = "scap-entering-a-release"
	entrantEnv  = "SCAP_ENTER"
	statusFD    = 3 // where it says why it could not
)

// NotStarted is the exit code for a command that was not started, as with env and nohup.
const NotStarted = 125

// stopWait is how long a command may take to end after its context did.
const stopWait = 10 * time.Second

// Run runs a command in a release's namespace as the calling user, and returns its exit code: 128 and the signal's number
// when a signal ended it. An error means that the command was never started, or that ctx ended first, and then it was
// terminated. The release stays pinned as long as the command, or any process that it leaves behind, lives.
//
// SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 are passed on, unless the program ignores them; SIGINT and SIGQUIT too unless they come
// from a terminal, which sends them to the command itself. Root gets a mount namespace; everybody else a user namespace beside
// it, in which he is himself without any right more than he had: files of others look like nobody's, and sudo does not work.
//
// The program must call Entrance first in its main.
func Run(ctx context.Context, s Spec, argv []string, stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	if len(argv) == 0 {
		return 0, errors.New("no command to run")
	}
	r, err := Open(s)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	told, err := json.Marshal(orders{r.spec, r.stat.Dev, r.stat.Ino})
	if err != nil {
		return 0, err
	}
	said, status, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer said.Close()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = append([]string{entrantName}, argv...)
	cmd.Env = append(os.Environ(), entrantEnv+"="+string(told))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	cmd.ExtraFiles = []*os.File{status}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopWait
	cmd.SysProcAttr = isolation()
	forward := catchSignals() // before the start: one that comes during it must not end this process alone
	defer forward.stop()
	err = cmd.Start()
	_ = status.Close()
	if err != nil {
		return 0, explain(err)
	}
	forward.to(cmd.Process)
	why, _ := io.ReadAll(io.LimitReader(said, 64<<10)) // ends when the command is executed
	err = cmd.Wait()
	return outcome(ctx, cmd, string(why), err)
}

// outcome tells a command that ended from one that never ran.
func outcome(ctx context.Context, cmd *exec.Cmd, why string, err error) (int, error) {
	if why != "" {
		return 0, errors.New(why)
	}
	var exit *exec.ExitError
	if ctx.Err() != nil && err != nil {
		return code(cmd.ProcessState), context.Cause(ctx)
	}
	if err != nil && !errors.As(err, &exit) {
		return code(cmd.ProcessState), fmt.Errorf("wait for the command: %w", err)
	}
	return code(cmd.ProcessState), nil
}

func code(p *os.ProcessState) int {
	if p == nil {
		return 1
	}
	if ws, ok := p.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return p.ExitCode()
}

// isolation is what the new process has to itself.
func isolation() *syscall.SysProcAttr {
	if os.Geteuid() == 0 {
		return &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	}
	return &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWNS | unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}},
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN}, // over execve; dropped before the command
	}
}

// explain says what an administrator can do about a namespace that could not be made.
func explain(err error) error {
	if os.Geteuid() == 0 || !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EACCES) {
		return fmt.Errorf("start in a namespace: %w", err)
	}
	return fmt.Errorf("start in a user namespace: %w: allow them to users here (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1, "+
		"kernel.apparmor_restrict_unprivileged_userns=0, and not in a chroot), or run the command by root", err)
}

// Entrance must be the first call of a program that uses Run. In the process that Run starts it enters the release,
// becomes the command and does not return; in any other it returns at once.
func Entrance() {
	told, ok := os.LookupEnv(entrantEnv)
	if !ok || len(os.Args) < 2 || os.Args[0] != entrantName {
		return
	}
	status := os.NewFile(statusFD, "status")
	unix.CloseOnExec(statusFD)
	fmt.Fprint(status, become(told, os.Args[1:]))
	os.Exit(1)
}

// orders are what the process is told that enters. Owners look different in a user namespace: the release is known by
// its inode, which Run has found to be the right one.
type orders struct {
	Spec     Spec
	Dev, Ino uint64
}

// become executes the command in its release. It returns only what went wrong.
func become(told string, argv []string) error {
	var o orders
	if err := json.Unmarshal([]byte(told), &o); err != nil {
		return err
	}
	if err := os.Unsetenv(entrantEnv); err != nil {
		return err
	}
	o.Spec.Owner = AnyOwner
	r, err := Open(o.Spec)
	if err != nil {
		return err
	}
	if r.stat.Dev != o.Dev || r.stat.Ino != o.Ino {
		return fmt.Errorf("%s: another directory stands in its place now", r.Path())
	}
	if err := r.Enter(); err != nil {
		if os.Geteuid() != 0 && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)) {
			return explain(err)
		}
		return err
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("drop what the namespace gave: %w", err)
	}
	path, err := exec.LookPath(argv[0]) // as the release has it, not the host
	if err != nil {
		return err
	}
	return fmt.Errorf("run %s: %w", path, syscall.Exec(path, argv, os.Environ()))
}
