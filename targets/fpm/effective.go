package fpm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"scap/targets/fpm/effective"
	"scap/targets/fpm/proc"
)

const (
	maxOutput   = 256 << 10
	commandTime = 30 * time.Second
)

// effective runs php-fpm's own test with the exact files and reads what it prints.
func (r *Runtime) effective(ctx context.Context, i Instance) (effective.Config, error) {
	argv := i.Control.Test
	if len(argv) == 0 {
		argv = append(i.base(), "-tt")
	}
	out, err := run(ctx, argv)
	if err != nil {
		return effective.Config{}, fmt.Errorf("test the configuration of %s: %w", i.Name, err)
	}
	e, err := effective.Parse(out, i.Listen)
	if err != nil {
		return effective.Config{}, fmt.Errorf("configuration of %s: %w", i.Name, err)
	}
	return e, nil
}

// base is the binary with its files.
func (i Instance) base() []string {
	argv := []string{i.Binary, "--fpm-config", i.ConfigFile}
	if i.INI != "" {
		argv = append(argv, "-c", i.INI)
	}
	return argv
}

// environment is what commands and masters get: nothing of the agent's own, and above all no FPM_SOCKETS.
func environment() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", "HOME=/nonexistent"}
}

// run runs one command to its end and returns the first part of what it printed, which is in the error too.
func run(ctx context.Context, argv []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = environment(), "/", time.Second
	out := &head{}
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	if err != nil {
		return out.kept.Bytes(), fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, lastLine(out.kept.Bytes()))
	}
	return out.kept.Bytes(), nil
}

// head keeps the first maxOutput bytes that are written to it.
//
// The buffer is no embedded one: its ReadFrom would go past Write, and past the bound.
type head struct{ kept bytes.Buffer }

// Write never fails: what does not fit is dropped.
func (h *head) Write(p []byte) (int, error) {
	_, _ = h.kept.Write(p[:min(len(p), maxOutput-h.kept.Len())])
	return len(p), nil
}

var _ io.Writer = (*head)(nil)

// lastLine is the end of a program's complaint.
func lastLine(b []byte) string {
	b = bytes.TrimSpace(b)
	return string(b[max(0, len(b)-500):])
}

// pidFile reads the pid that an instance's pid file names.
func pidFile(i Instance) (int, bool) {
	if i.Control.PIDFile == "" {
		return 0, false
	}
	b, err := proc.ReadSome(i.Control.PIDFile, 32)
	if err != nil {
		return 0, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid, err == nil && pid > 0
}
