package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scap/fixtures/paper"
	"scap/sync/agent"
	"scap/sync/push"
	"scap/sync/release"
	"scap/sync/store"
	"scap/sync/wire"
	"scap/targets/fpm/namespace"
)

// childEnv makes the test program the agent of the host in the directory that it names, with a runtime of paper.
const childEnv = "SCAP_AGENT_MAIN_TEST"

func TestMain(m *testing.M) {
	namespace.Entrance()
	if os.Getenv(runEnv) != "" {
		os.Exit(runCommand(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	if dir := os.Getenv(childEnv); dir != "" {
		os.Exit(run(context.Background(), []string{"--allow-root"}, pollable(os.Stdin), pollable(os.Stdout), os.Stderr,
			func(context.Context, agent.Config) (*agent.Host, error) { return paperHost(dir) }))
	}
	goleak.VerifyTestMain(m)
}

// paperHost is a host whose switches stop while the file "hold" exists, after "held" was written.
func paperHost(dir string) (*agent.Host, error) {
	st, err := store.Open(filepath.Join(dir, "root"))
	if err != nil {
		return nil, err
	}
	return &agent.Host{Store: st, Runtime: &paper.Runtime{
		File: filepath.Join(dir, "running"), Current: filepath.Join(dir, "root", "current"),
		Hook: func(ctx context.Context, step string, _ release.Switch) error {
			if step != "stopped" {
				return nil
			}
			if err := os.WriteFile(filepath.Join(dir, "held"), nil, 0o644); err != nil {
				return err
			}
			return await(ctx, func() bool { return !exists(dir, "hold") })
		},
	}}, nil
}

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

func await(ctx context.Context, ok func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// duplex joins a process's pipes.
type duplex struct {
	io.ReadCloser
	w io.WriteCloser
}

func (d duplex) Write(p []byte) (int, error) { return d.w.Write(p) }
func (d duplex) Close() error                { return errors.Join(d.w.Close(), d.ReadCloser.Close()) }

// TestOutlivesItsConnection takes everything from an agent in the middle of a switch but SIGKILL.
func TestOutlivesItsConnection(t *testing.T) {
	dir := t.TempDir()
	st, err := store.Open(filepath.Join(dir, "root"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	src := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(src, "x"), nil, 0o644), os.WriteFile(filepath.Join(dir, "hold"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	r, err := st.Snapshot(t.Context(), src, store.SnapshotOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	c, err := push.Connect(t.Context(), duplex{out, in}, wire.Hello{})
	if err != nil {
		t.Fatalf("%v: %s", err, said.String())
	}
	asked := make(chan error, 1)
	go func() { asked <- c.Call(t.Context(), wire.OpSwitch, release.Switch{To: r.ID, Token: 1}, nil) }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := await(ctx, func() bool { return exists(dir, "held") }); err != nil {
		t.Fatal("the switch did not begin")
	}
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGTERM, syscall.SIGINT, syscall.SIGTERM} {
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.Close()
	if err := <-asked; !errors.Is(err, push.ErrLost) {
		t.Errorf("the asker: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "hold")); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("exit: %v: %s", err, said.String())
	}
	intent, err := st.Host()
	if err != nil || intent.Outcome != release.ProvenNew || intent.Switch.To != r.ID {
		t.Errorf("journal %+v, %v", intent, err)
	}
	if now, err := st.Current(); err != nil || now != r.ID {
		t.Errorf("current %s, %v", now.Short(), err)
	}
}

func TestArguments(t *testing.T) {
	call := func(args ...string) (int, string, string) {
		in, _ := net.Pipe()
		_ = in.Close()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		code := run(t.Context(), args, in, w, &stderr, open)
		_ = w.Close()
		out, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return code, string(out), stderr.String()
	}
	if code, out, _ := call("--version"); code != 0 || len(strings.TrimSpace(out)) != 64 {
		t.Errorf("--version: %d %q", code, out)
	}
	if code, _, said := call("sync"); code != 2 || !strings.Contains(said, `"sync"`) {
		t.Errorf("an argument: %d %q", code, said)
	}
	if code, _, _ := call("--frobnicate"); code != 2 {
		t.Errorf("an unknown flag: %d", code)
	}
	code, _, said := call()
	if refuses := code == 2 && strings.Contains(said, "root"); refuses != (os.Geteuid() == 0) {
		t.Errorf("as user %d: %d %q", os.Geteuid(), code, said)
	}
}

func TestSettingsAreReadStrictly(t *testing.T) {
	root := t.TempDir()
	for name, c := range map[string]struct {
		conf agent.Config
		want string
	}{
		"nothing to restart":  {agent.Config{Root: root}, ""},
		"null runtime":        {agent.Config{Root: root, Runtime: json.RawMessage("null")}, ""},
		"relative root":       {agent.Config{Root: "x"}, "not an absolute path"},
		"unknown runtime key": {agent.Config{Root: root, Runtime: json.RawMessage(`{"instanses":[]}`)}, "instanses"},
		"no instances":        {agent.Config{Root: root, Runtime: json.RawMessage(`{}`)}, "php-fpm"},
		"unknown logs key":    {agent.Config{Root: root, Logs: json.RawMessage(`{"sauces":[]}`)}, "sauces"},
		"two values":          {agent.Config{Root: root, Logs: json.RawMessage(`{} {}`)}, "more than one"},
	} {
		h, err := open(t.Context(), c.conf)
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v", name, err)
		case err == nil:
			if h.Answer["probe"] == nil || h.Answer["logs"] != nil {
				t.Errorf("%s: answers %v", name, fmt.Sprint(h.Answer))
			}
			_ = h.Store.Close()
		}
	}
}
