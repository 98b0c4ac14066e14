package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"scap/targets"
)

// Runner runs argv for host, without a shell, and returns what it printed and its exit status. An error means that it
// could not be run or did not end by itself.
type Runner func(ctx context.Context, host string, argv []string) (stdout, stderr string, status int, err error)

// Commands are the argument lists of a Command balancer. In each argument {host} stands for the target's name and {short}
// for its first label; arguments are never split nor seen by a shell.
type Commands struct {
	Drain []string // status 0: done
	Ready []string // status 0: done
	State []string // status 0, and it prints "in" or "out", whatever follows on the line
	Idle  []string // status 0: nothing is under way; 1: something is. None: the host's own word is enough
	Run   Runner   // where they run; nil: here
}

// Command is a balancer that is told by commands, such as a site's own pool tool. Its health check is not asked for: it
// counts as green.
type Command struct {
	name string
	c    Commands
}

var _ Balancer = (*Command)(nil)

// NewCommand returns the balancer that calls itself name in messages.
func NewCommand(name string, c Commands) (*Command, error) {
	for _, cmd := range []struct {
		what string
		argv []string
	}{{"drain", c.Drain}, {"ready", c.Ready}, {"state", c.State}} {
		if len(cmd.argv) == 0 || cmd.argv[0] == "" {
			return nil, fmt.Errorf("balancer %s: no command for %s", name, cmd.what)
		}
	}
	if c.Run == nil {
		c.Run = runHere
	}
	return &Command{name, c}, nil
}

// Name returns what the configuration calls this balancer.
func (c *Command) Name() string { return c.name }

// State asks whether host is in the pool.
func (c *Command) State(ctx context.Context, host string) (targets.Pooling, string, error) {
	out, status, err := c.run(ctx, host, c.c.State)
	if err != nil {
		return targets.PoolUnknown, "", err
	}
	word, _, _ := strings.Cut(strings.TrimSpace(out)+" ", " ")
	detail := cut(strings.TrimSpace(out))
	switch {
	case status != 0:
	case word == string(targets.PoolIn):
		return targets.PoolIn, detail, nil
	case word == string(targets.PoolOut):
		return targets.PoolOut, detail, nil
	}
	return targets.PoolUnknown, "", fmt.Errorf("%s: status %d, printed %q: want in or out", c.c.State[0], status, detail)
}

// Drain takes host out of the pool.
func (c *Command) Drain(ctx context.Context, host string) error { return c.must(ctx, host, c.c.Drain) }

// Ready puts host back into the pool.
func (c *Command) Ready(ctx context.Context, host string) error { return c.must(ctx, host, c.c.Ready) }

// Idle asks whether anything is under way; without a command the host's own word is enough.
func (c *Command) Idle(ctx context.Context, host string) (bool, error) {
	if len(c.c.Idle) == 0 {
		return true, nil
	}
	_, status, err := c.run(ctx, host, c.c.Idle)
	if err != nil {
		return false, err
	}
	if status > 1 {
		return false, fmt.Errorf("%s: status %d: want 0 or 1", c.c.Idle[0], status)
	}
	return status == 0, nil
}

// Healthy is always true: there is no command to ask.
func (c *Command) Healthy(context.Context, string) (bool, error) { return true, nil }

func (c *Command) must(ctx context.Context, host string, argv []string) error {
	_, status, err := c.run(ctx, host, argv)
	if err == nil && status != 0 {
		err = fmt.Errorf("%s: status %d", argv[0], status)
	}
	return err
}

// run fills the names in. A name that could be taken for an option, or that is none, is refused.
func (c *Command) run(ctx context.Context, host string, argv []string) (string, int, error) {
	if !validName(host) || strings.HasPrefix(host, "-") {
		return "", 0, fmt.Errorf("%q is no host's name", host)
	}
	short, _, _ := strings.Cut(host, ".")
	fill := strings.NewReplacer("{host}", host, "{short}", short)
	filled := make([]string, len(argv))
	for i, a := range argv {
		filled[i] = fill.Replace(a)
	}
	out, said, status, err := c.c.Run(ctx, host, filled)
	if err != nil {
		return "", 0, fmt.Errorf("run %s: %w%s", argv[0], err, quote(said))
	}
	if said = strings.TrimSpace(said); status != 0 && said != "" {
		return "", 0, fmt.Errorf("%s: status %d: %s", argv[0], status, cut(said))
	}
	return out, status, nil
}

func quote(said string) string {
	if said = strings.TrimSpace(said); said == "" {
		return ""
	}
	return fmt.Sprintf(" (it said %q)", cut(said))
}

// maxOutput bounds what is kept of a command's output; the rest is read and dropped.
const maxOutput = 64 << 10

// head keeps the beginning of what is written to it.
//
// The buffer is no embedded one: its ReadFrom would go past Write, and past the bound.
type head struct{ kept bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	h.kept.Write(p[:min(len(p), max(0, maxOutput-h.kept.Len()))])
	return len(p), nil
}

// runHere runs argv on this machine in a process group of its own, which is killed when ctx ends.
func runHere(ctx context.Context, _ string, argv []string) (string, string, int, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out, said head
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // a child that keeps the pipes open does not hold us
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", said.kept.String(), 0, context.Cause(ctx)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return out.kept.String(), said.kept.String(), exit.ExitCode(), nil
	}
	return out.kept.String(), said.kept.String(), 0, err
}
