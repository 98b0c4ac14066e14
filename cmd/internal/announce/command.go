package announce

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// command is a program of the deploy host. It is told a line on its standard input.
type command struct{ argv []string }

// Tell runs the program. It is not run again when it fails. The line has the reason in full: where it goes from here is the
// program's affair.
func (c *command) Tell(ctx context.Context, e Event) error {
	text := e.Text("", lineMost)
	if e.Full != "" {
		text += ": " + cut(e.Full, 4<<10)
	}
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Stdin = strings.NewReader(text + "\n")
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=" + os.Getenv("HOME"), "SCAP_EVENT=" + string(e.What)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var out beginning
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay): // it did its work and left a child with its output
		return nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	if said := clean(string(out)); said != "" {
		return fmt.Errorf("%s: %w: %s", c.argv[0], err, said)
	}
	return fmt.Errorf("%s: %w", c.argv[0], err)
}

// beginning keeps the beginning of what is written to it.
type beginning []byte

// Write never fails.
func (b *beginning) Write(p []byte) (int, error) {
	const most = 300
	*b = append(*b, p[:min(len(p), most-len(*b))]...)
	return len(p), nil
}
