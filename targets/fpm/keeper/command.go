package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// environment is what commands and masters get: nothing of the caller's own, and above all no FPM_SOCKETS.
func environment() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", "HOME=/root"}
}

// lookPath finds a program where commands are looked for, whatever the caller's PATH is.
func lookPath(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	if name == "" || strings.Contains(name, "/") {
		return "", fmt.Errorf("command %q: want an absolute path or a name", name)
	}
	for _, dir := range filepath.SplitList(environment()[0][len("PATH="):]) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("command %q: not found", name)
}

// run runs one command to its end and returns the first part of what it printed; its last line is in the error.
func run(ctx context.Context, argv ...string) ([]byte, error) {
	path, err := lookPath(argv[0])
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, argv[1:]...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = environment(), "/", time.Second
	out := &bounded{limit: 256 << 10}
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) { // a daemon that it started holds its output open
		err = nil
	}
	if err != nil {
		return out.Bytes(), fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, lastLine(out.Bytes()))
	}
	return out.Bytes(), nil
}

// lastLine is the end of a program's complaint.
func lastLine(b []byte) string {
	b = bytes.TrimSpace(b)
	return string(b[max(0, len(b)-500):])
}
