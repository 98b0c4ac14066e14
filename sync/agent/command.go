package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Command is a question to the service "command": an argument vector that the deploy user runs on the host, such as a
// site's own tool to leave a pool. No shell reads it.
type Command struct {
	Argv []string `json:"argv"`
}

// Done is its answer: what was printed, cut, and the exit status.
type Done struct {
	Stdout string `json:"stdout,omitempty"`
	Stderr string `json:"stderr,omitempty"`
	Status int    `json:"status"`
}

const (
	commandLimit  = time.Minute
	commandOutput = 64 << 10 // kept of each stream
)

var _ Answerer = RunCommand

// RunCommand is the service "command". An error means that the command could not be run or did not end in a minute.
func RunCommand(ctx context.Context, question json.RawMessage) (json.RawMessage, error) {
	var q Command
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, fmt.Errorf("read the command: %w", err)
	}
	if len(q.Argv) == 0 || !filepath.IsAbs(q.Argv[0]) {
		return nil, fmt.Errorf("command %q: want an absolute path and its arguments", q.Argv)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, commandLimit, fmt.Errorf("it did not end within %v", commandLimit))
	defer cancel()
	cmd := exec.CommandContext(ctx, q.Argv[0], q.Argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its children end with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // a child that keeps the pipes open holds nobody up
	var out, said beginning
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("run %s: %w", q.Argv[0], context.Cause(ctx))
	case errors.Is(err, exec.ErrWaitDelay): // it ended; what it left behind is cut off from us
	case err != nil && !errors.As(err, &exit):
		return nil, fmt.Errorf("run %s: %w", q.Argv[0], err)
	case exit != nil && exit.ExitCode() < 0:
		return nil, fmt.Errorf("run %s: %w", q.Argv[0], err) // a signal ended it
	}
	return json.Marshal(Done{Stdout: out.b.String(), Stderr: said.b.String(), Status: cmd.ProcessState.ExitCode()})
}

// beginning keeps the first bytes of what is written to it and takes the rest. The buffer is no embedded one: its ReadFrom
// would go past Write, and past the bound.
type beginning struct{ b bytes.Buffer }

func (b *beginning) Write(p []byte) (int, error) {
	if room := commandOutput - b.b.Len(); room > 0 {
		b.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
