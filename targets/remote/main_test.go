package remote

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scap/fixtures/paper"
	"scap/sync/agent"
	"scap/sync/release"
	"scap/sync/store"
)

// agentEnv makes the test program an agent for the host in the directory that it names.
const agentEnv = "SCAP_REMOTE_TEST_AGENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(agentEnv); dir != "" {
		os.Exit(serve(dir))
	}
	flag.Parse()
	// A session that is opened while its connection is cut may be lost: see newSession.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("golang.org/x/crypto/ssh.(*mux).openChannel"))
}

// serve is an agent on stdin and stdout, with a runtime of paper.
func serve(dir string) int {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGPIPE)
	h, err := paperHost(dir)
	if err == nil {
		err = agent.Serve(context.Background(), h, struct {
			io.Reader
			io.Writer
		}{os.Stdin, os.Stdout})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// paperHost is the host in dir. What its runtime shall suffer is ordered by files there: "hold" stops a switch while it
// exists, after "held" was written; "broken-<release>" makes that release fail to start; "kill" kills a process agent. While
// "handover" exists, releases start beside each other and can be tried; a trial is held as a switch is.
func paperHost(dir string) (*agent.Host, error) {
	st, err := store.Open(filepath.Join(dir, "root"))
	if err != nil {
		return nil, err
	}
	exists := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return !errors.Is(err, fs.ErrNotExist)
	}
	hook := func(ctx context.Context, step string, s release.Switch) error {
		if (step == "stopped" || step == "tried") && exists("hold") {
			if err := os.WriteFile(filepath.Join(dir, "held"), nil, 0o644); err != nil {
				return err
			}
			await(ctx, func() bool { return !exists("hold") })
		}
		if step == "linked" && exists("kill") {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		if (step == "started" || step == "trying") && exists("broken-"+s.To.String()) {
			return errors.New("this release does not start")
		}
		return nil
	}
	road := func() release.Road {
		if exists("handover") {
			return release.Road{Strategy: release.ByHandover}
		}
		return release.Road{Strategy: release.ByDrain, Wanted: release.ByHandover, Why: "no room for two"}
	}
	return &agent.Host{
		Store: st, Served: filepath.Join(dir, "served"), Flag: filepath.Join(dir, "flag"),
		Runtime: paper.Trier{Runtime: &paper.Runtime{
			File: filepath.Join(dir, "running"), Current: filepath.Join(dir, "root", "current"), Hook: hook, Road: road,
		}},
		Answer: map[string]agent.Answerer{"echo": echo},
	}, nil
}

// await polls until ok, or until ctx ends.
func await(ctx context.Context, ok func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
