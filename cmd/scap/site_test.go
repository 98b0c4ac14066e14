package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	embedded "scap/fixtures/fleet"
	"scap/fixtures/tree"
	"scap/sync/agent"
	"scap/sync/release"
	"scap/targets/fpm/webserver"
)

// site is a fleet that lives in the test's process, users who ask it all the time, and a scap.yaml for processes of scap.
type site struct {
	*embedded.Fleet
	conf string
	load *embedded.Load
	past []string // deploys that were over before the one a test looks at
}

// newSite starts one; it ends with the test.
func newSite(t *testing.T, groups []embedded.Group, y embedded.YAMLOptions) *site {
	t.Helper()
	return newSiteWith(t, embedded.Options{Groups: groups}, y)
}

func newSiteWith(t testing.TB, o embedded.Options, y embedded.YAMLOptions) *site {
	t.Helper()
	o.SSH, o.TCP = true, true
	o.Answers = func(*embedded.Host, agent.Config) map[string]agent.Answerer {
		return map[string]agent.Answerer{"webserver": webserver.Ask, "command": agent.RunCommand} // of this machine
	}
	f, err := embedded.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	y.AgentBinary = filepath.Join(f.Dir(), "scap-agent")
	if err := os.WriteFile(y.AgentBinary, []byte("#!/bin/false\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if y.Probes, err = f.WriteProbes(); err != nil {
		t.Fatal(err)
	}
	s := &site{Fleet: f}
	if s.conf, err = f.WriteYAML(y); err != nil {
		t.Fatal(err)
	}
	return s
}

// users ask for pages until the test ends; none of their requests may fail.
func (s *site) users(t testing.TB, rate float64) {
	t.Helper()
	s.load = &embedded.Load{Do: s.Balancer.Serve, Rate: rate, LongRate: -1}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.load.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		c := s.load.Since(time.Time{})
		t.Logf("users: %s", c)
		if c.Failed() > 0 || c.Requests == 0 {
			t.Errorf("users: %s", c)
			for _, r := range s.load.Records() {
				if r.Class != embedded.OK {
					t.Logf("%s %s %s %s %s", r.Begin.Format("15:04:05.000"), r.URI, r.Host, r.Class, r.Why)
				}
			}
		}
	})
}

func (s *site) stage(t *testing.T, o tree.AppOptions) {
	t.Helper()
	if _, err := s.Stage(o); err != nil {
		t.Fatal(err)
	}
}

// command is a process of scap for this site, not yet started.
func (s *site) command(args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err) // the test binary is there while it runs
	}
	cmd := exec.Command(self)
	cmd.Args = append([]string{"scap", "-c", s.conf}, args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, hookEnv+"=") }), "USER=deployer",
		"GORACE=atexit_sleep_ms=0") // the race detector would wait a second at each end
	return cmd
}

// killed is the code of a process that was.
const killed = -1

// result is what became of a process of scap.
type result struct {
	code   int
	output string
}

func (r result) String() string { return fmt.Sprintf("exit code %d\n%s", r.code, r.output) }

// scap runs one to its end.
func (s *site) scap(t *testing.T, args ...string) result {
	t.Helper()
	r, err := watched(s.command(args...), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// patience is much longer than any process here takes; what hangs fails by it.
const patience = 1 * time.Minute

// watched runs cmd to its end and looks at it all the time.
func watched(cmd *exec.Cmd, look func()) (result, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return result{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	if look == nil {
		tick.Stop()
	}
	for {
		select {
		case err := <-ended:
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				err = nil
			}
			return result{cmd.ProcessState.ExitCode(), out.String()}, err
		case <-tick.C:
			look()
		case <-deadline.C:
			_ = cmd.Process.Kill()
			<-ended
			return result{}, fmt.Errorf("%v hangs\n%s", cmd.Args, out.String())
		}
	}
}

// want runs scap and insists on its exit code.
func (s *site) want(t *testing.T, code int, args ...string) result {
	t.Helper()
	r := s.scap(t, args...)
	if r.code != code {
		t.Fatalf("scap %v: want exit code %d: %s", args, code, r)
	}
	return r
}

// one asks the runtimes which release every host serves, in the pool.
func (s *site) one(t *testing.T) (release.ID, string) {
	t.Helper()
	id, mark, err := s.One(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id, mark
}

// until waits for an event that has no channel.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}
