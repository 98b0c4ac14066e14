package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scap/fixtures/real"
	"scap/targets/fpm/keeper"
)

// askKeeper calls the command as main does and returns its exit code and outputs.
func askKeeper(t *testing.T, in string, args ...string) (code int, out, said string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = keeperCommand(t.Context(), args, io.NopCloser(strings.NewReader(in)), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestKeeperArguments(t *testing.T) {
	if code, _, said := askKeeper(t, "", "--help"); code != 0 || !strings.Contains(said, "sudoers") {
		t.Errorf("--help: %d %q", code, said)
	}
	if code, _, _ := askKeeper(t, "", "--frobnicate"); code != 2 {
		t.Errorf("an unknown flag: %d", code)
	}
	if code, _, said := askKeeper(t, "", "--conf", filepath.Join(t.TempDir(), "none.json")); code != 2 || !strings.Contains(said, "root") && !strings.Contains(said, "none.json") {
		t.Errorf("no configuration: %d %q", code, said)
	}
}

func TestKeeperSession(t *testing.T) {
	dir := real.RootDir(t) // skips where the test is not root's
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	conf := keeper.Config{
		User: me.Username, Root: dir + "/root", Served: dir + "/served", State: dir + "/state", Run: dir + "/run",
		Pools: []keeper.Pool{{
			Name: "www", Listen: dir + "/fpm.sock", Binary: program, ConfigFile: dir + "/keeper.json", PingPath: "/ping", Stop: time.Second,
			Start: []string{"true"},
		}},
	}
	b, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "keeper.json")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	code, out, said := askKeeper(t, `{"op":"state"}`+"\n"+`{"op":"exec"}`+"\n", "--conf", file)
	if code != 0 || strings.Count(out, "\n") != 2 || !strings.Contains(out, `"state":{"adopted":false`) || !strings.Contains(out, `"code":"refused"`) {
		t.Errorf("a session: %d %q %q", code, out, said)
	}
	if code, _, said := askKeeper(t, "", "--conf", file, "frobnicate"); code != 2 || !strings.Contains(said, "usage") {
		t.Errorf("another word: %d %q", code, said)
	}
	for _, args := range [][]string{{}, {"x"}, {"1"}, {"1", "0"}, {"1", "3", "4"}} { // nothing is to start here
		if code, _, said := askKeeper(t, "", append([]string{"--conf", file, "enter"}, args...)...); code != 1 || said == "" {
			t.Errorf("enter %v: %d %q", args, code, said)
		}
	}
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	if code, _, said := askKeeper(t, `{"op":"state"}`+"\n", "--conf", file); code != 2 || !strings.Contains(said, "chmod go-w") {
		t.Errorf("a configuration that others can write: %d %q", code, said)
	}
}
