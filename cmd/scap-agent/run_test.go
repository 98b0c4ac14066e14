package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"scap/sync/release"
	"scap/sync/store"
	"scap/targets/fpm/namespace"
)

// runEnv makes the test program `scap-agent run`.
const runEnv = "SCAP_AGENT_RUN_TEST"

// asRun is `scap-agent run` with arguments, by a user.
func asRun(uid uint32, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), runEnv+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.Dir = "/"
	if int(uid) != os.Geteuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	return cmd
}

// wiki is a store with two releases, each of a script's two parts, and the link to the current one.
type wiki struct {
	*store.Store
	served string
	ids    [2]release.ID
}

func newWiki(t *testing.T) *wiki {
	t.Helper()
	dir := t.TempDir()
	st, err := store.Open(filepath.Join(dir, "root"))
	if err := errors.Join(err, os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	w := &wiki{Store: st, served: filepath.Join(dir, "served")}
	for i := range w.ids {
		src := t.TempDir()
		part := fmt.Sprintf("<?php\nfunction %%s() { return '%d'; }\n", i)
		err := errors.Join(
			os.WriteFile(filepath.Join(src, "one.php"), fmt.Appendf(nil, part, "one"), 0o644),
			os.WriteFile(filepath.Join(src, "two.php"), fmt.Appendf(nil, part, "two"), 0o644),
			os.WriteFile(filepath.Join(src, "data.json"), fmt.Appendf(nil, "%d\n", i), 0o644),
		)
		if err != nil {
			t.Fatal(err)
		}
		r, err := st.Snapshot(t.Context(), src, store.SnapshotOptions{})
		if err != nil {
			t.Fatal(err)
		}
		w.ids[i] = r.ID
	}
	w.swap(t, release.ID{}, w.ids[0])
	if err := os.Symlink(filepath.Join(st.Root(), "current"), w.served); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *wiki) swap(t *testing.T, from, to release.ID) {
	t.Helper()
	if err := w.Swap(context.Background(), from, to); err != nil {
		t.Fatal(err)
	}
}

// TestLongScript has a deploy in the middle of a script that loads its code and data by the absolute path, piece by piece,
// and a pruning that would take its release away.
func TestLongScript(t *testing.T) {
	for _, uid := range []uint32{uint32(os.Geteuid()), 65533} {
		if uid == 65533 && os.Geteuid() != 0 {
			continue
		}
		w := newWiki(t)
		script := fmt.Sprintf(`require '%[1]s/one.php'; echo one(), "\n"; fgets(STDIN); require '%[1]s/two.php'; echo two(), file_get_contents('%[1]s/data.json'); exit(7);`, w.served)
		cmd := asRun(uid, "--root", w.Root(), "--served", w.served, "--", "php", "-n", "-r", script)
		cmd.Stderr = os.Stderr
		in, err1 := cmd.StdinPipe()
		out, err2 := cmd.StdoutPipe()
		if err := errors.Join(err1, err2, cmd.Start()); err != nil {
			t.Fatal(err)
		}
		said := bufio.NewReader(out)
		if line, err := said.ReadString('\n'); line != "0\n" {
			t.Fatalf("%q, %v", line, err)
		}
		w.swap(t, w.ids[0], w.ids[1])
		gone, err := w.Prune(t.Context(), nil)
		if err != nil || len(gone) != 0 || !w.Has(w.ids[0]) {
			t.Errorf("pruned %v under a script: %v", gone, err)
		}
		_, _ = io.WriteString(in, "\n")
		rest, _ := io.ReadAll(said)
		_ = cmd.Wait()
		if string(rest) != "00\n" || cmd.ProcessState.ExitCode() != 7 {
			t.Errorf("after the swap the script saw %q, exit %d", rest, cmd.ProcessState.ExitCode())
		}
		if gone, err := w.Prune(t.Context(), nil); err != nil || len(gone) != 1 {
			t.Errorf("after the script: %v, %v", gone, err)
		}
	}
}

func TestRunArguments(t *testing.T) {
	w := newWiki(t)
	here := []string{"--root", w.Root(), "--served", w.served}
	conf := filepath.Join(t.TempDir(), "keeper.json")
	text := fmt.Sprintf(`{"user": "mw", "root": %q, "served": %q}`, w.Root(), w.served)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(w.served, "data.json")
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"the current one":  {append(here[:4:4], "cat", data), 0, "0\n"},
		"another":          {append(here[:4:4], "--release", w.ids[1].String(), "--", "cat", data), 0, "1\n"},
		"the host's words": {[]string{"--conf", conf, "cat", data}, 0, "0\n"},
		"its code":         {append(here[:4:4], "false"), 1, ""},
		"no command":       {here, 2, "usage"},
		"no store":         {[]string{"--conf", "/nowhere", "true"}, 2, "--root"},
		"no ID":            {append(here[:4:4], "--release", "x", "true"), 2, "release"},
		"no such release":  {append(here[:4:4], "--release", strings.Repeat("ab", 32), "true"), namespace.NotStarted, "abab"},
		"no such command":  {append(here[:4:4], "no-such-command"), namespace.NotStarted, "no-such-command"},
	} {
		out, err := asRun(uint32(os.Geteuid()), c.args...).CombinedOutput()
		code := 0
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if code != c.code || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: exit %d: %s", name, code, out)
		}
	}
}
