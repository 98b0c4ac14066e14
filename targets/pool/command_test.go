package pool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scap/targets"
)

// tool writes a program that a site would have: it keeps who is out in a directory.
func tool(t *testing.T) (path, dir string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, "pool tool")
	text := `#!/bin/sh
d='` + dir + `'
case "$1" in
drain) : > "$d/out.$2" ;;
ready) rm -f "$d/out.$2" ;;
state) if [ -e "$d/out.$2" ]; then echo "out since now"; else echo in; fi ;;
idle) [ -e "$d/idle" ] ;;
say) echo "$2" ;;
status) echo why >&2; exit "$2" ;;
flood) head -c 1000000 /dev/zero | tr '\0' x ;;
hang) sleep 600 & echo $! > "$d/child"; wait ;;
esac
`
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path, dir
}

func TestCommand(t *testing.T) {
	path, dir := tool(t)
	c, err := NewCommand("site", Commands{
		Drain: []string{path, "drain", "{short}"}, Ready: []string{path, "ready", "{short}"},
		State: []string{path, "state", "{short}"}, Idle: []string{path, "idle"},
	})
	if err != nil {
		t.Fatal(err)
	}
	state := func(want targets.Pooling) {
		t.Helper()
		if got, detail, err := c.State(t.Context(), "mw1.example.org"); err != nil || got != want {
			t.Errorf("state %q (%s), %v; want %q", got, detail, err, want)
		}
	}
	state(targets.PoolIn)
	if err := c.Drain(t.Context(), "mw1.example.org"); err != nil {
		t.Error(err)
	}
	state(targets.PoolOut)
	if idle, err := c.Idle(t.Context(), "mw1"); idle || err != nil {
		t.Errorf("idle %t, %v", idle, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "idle"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if idle, err := c.Idle(t.Context(), "mw1"); !idle || err != nil {
		t.Errorf("idle %t, %v", idle, err)
	}
	if err := c.Ready(t.Context(), "mw1.example.org"); err != nil {
		t.Error(err)
	}
	state(targets.PoolIn)
}

func TestCommandFailures(t *testing.T) {
	path, dir := tool(t)
	with := func(state ...string) *Command {
		c, err := NewCommand("site", Commands{Drain: append([]string{path}, state...), Ready: []string{path}, State: append([]string{path}, state...), Idle: append([]string{path}, state...)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for name, argv := range map[string][]string{
		"another word": {"say", "maybe"}, "nothing": {"say", ""}, "a status": {"status", "3"}, "a flood": {"flood"}, "half a word": {"say", "inside"},
	} {
		if p, _, err := with(argv...).State(t.Context(), "mw1"); err == nil || p != targets.PoolUnknown || len(err.Error()) > 1000 {
			t.Errorf("%s: %q %v", name, p, err)
		}
	}
	if err := with("status", "1").Drain(t.Context(), "mw1"); err == nil || !strings.Contains(err.Error(), "status 1: why") {
		t.Errorf("drain: %v", err)
	}
	if idle, err := with("status", "2").Idle(t.Context(), "mw1"); idle || err == nil {
		t.Errorf("idle: %t %v", idle, err)
	}
	for _, host := range []string{"", "-rf", "a b", "a\nb", "$(id)", "a;b"} {
		if err := with("say", "in").Drain(t.Context(), host); err == nil {
			t.Errorf("host %q was accepted", host)
		}
	}
	missing, err := NewCommand("site", Commands{Drain: []string{filepath.Join(dir, "none")}, Ready: []string{path}, State: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	if err := missing.Drain(t.Context(), "mw1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing command: %v", err)
	}
	if _, err := NewCommand("site", Commands{Drain: []string{path}, Ready: []string{path}}); err == nil {
		t.Error("a balancer that cannot be asked was accepted")
	}
}

func TestCommandThatHangs(t *testing.T) {
	path, dir := tool(t)
	c, err := NewCommand("site", Commands{Drain: []string{path, "hang"}, Ready: []string{path}, State: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Drain(ctx, "mw1") }()
	var pid []byte
	until(t, "the command's child", func() bool {
		pid, _ = os.ReadFile(filepath.Join(dir, "child"))
		return strings.HasSuffix(string(pid), "\n")
	})
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the command held its caller")
	}
	// Its children ended with it.
	until(t, "the end of its child", func() bool {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}
