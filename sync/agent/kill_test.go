package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"scap/fixtures/paper"
	"scap/sync/push"
	"scap/sync/release"
	"scap/sync/store"
	"scap/sync/wire"
)

// childEnv makes the test program an agent on its stdin and stdout: "<host's directory>|<number of the step to die at>".
const childEnv = "SCAP_AGENT_TEST_CHILD"

// child serves one session with a runtime on disk. It writes each step's name to stderr and kills itself at the chosen one.
func child() int {
	dir, number, _ := strings.Cut(os.Getenv(childEnv), "|")
	die, err := strconv.Atoi(number)
	if err != nil {
		return 3
	}
	st, err := store.Open(filepath.Join(dir, "root"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	n := 0
	step := func(name string) {
		fmt.Fprintln(os.Stderr, name)
		if n++; n == die {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	h := &Host{
		Store: st, Flag: filepath.Join(dir, "flag"), step: step,
		Runtime: &paper.Runtime{
			File: filepath.Join(dir, "running"), Current: filepath.Join(dir, "root", "current"),
			Hook: func(_ context.Context, name string, s release.Switch) error {
				step("runtime " + name)
				if _, err := os.Stat(filepath.Join(dir, "broken-"+s.To.String())); err == nil && name == "started" {
					return errors.New("this release does not start")
				}
				return nil
			},
		},
	}
	if err := Serve(context.Background(), h, stdio{os.Stdin, os.Stdout}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

type stdio struct {
	io.Reader
	io.Writer
}

// play runs a session in a child that dies at the given step (0: never). It returns the steps that were begun.
func play(t *testing.T, dir string, die int, ask func(*push.Client) error) (steps []string, killed bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%d", childEnv, dir, die))
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c, err := push.Connect(t.Context(), pipes{out, in}, wire.Hello{Token: 1, Owner: "one"})
	if err != nil {
		t.Fatalf("%v: %s", err, said.String())
	}
	err = ask(c)
	_ = c.Close()
	werr := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(werr, &exit) {
		ws, _ := exit.Sys().(syscall.WaitStatus)
		killed = ws.Signaled() && ws.Signal() == syscall.SIGKILL
	}
	if killed != errors.Is(err, push.ErrLost) {
		t.Errorf("killed: %v, but the asker got %v", killed, err)
	}
	if said.Len() > 0 {
		steps = strings.Split(strings.TrimSpace(said.String()), "\n")
	}
	return steps, killed
}

type pipes struct {
	io.ReadCloser
	w io.WriteCloser
}

func (p pipes) Write(b []byte) (int, error) { return p.w.Write(b) }
func (p pipes) Close() error                { return errors.Join(p.w.Close(), p.ReadCloser.Close()) }

// TestKilledAnywhere kills the agent at every step of a switch that succeeds and of one that goes back, and then lets a
// new agent finish the work from what is on disk: forward by the same switch, or to either release by repair.
func TestKilledAnywhere(t *testing.T) {
	for name, c := range map[string]struct {
		broken bool
		atMost int      // steps that there may be
		least  int      // steps that there must be
		finish []string // how the new agent finishes
	}{
		"good release":   {false, 40, 8, []string{"switch", "repair to new", "repair to old"}},
		"broken release": {true, 40, 14, []string{"repair to old"}},
	} {
		t.Run(name, func(t *testing.T) {
			die, killed := 0, true
			for killed && die < c.atMost {
				die++
				for _, finish := range c.finish {
					if killed = killAndFinish(t, c.broken, die, finish); !killed {
						break
					}
				}
			}
			if killed || die-1 < c.least {
				t.Errorf("%d steps were died at, want at least %d and an end", die-1, c.least)
			}
			t.Logf("killed at each of %d steps, finished in %d ways", die-1, len(c.finish))
		})
	}
}

// killAndFinish has the agent die at one step and another finish. It reports false when there is no such step.
func killAndFinish(t *testing.T, broken bool, die int, finish string) bool {
	t.Helper()
	r := newRig(t)
	if broken {
		if err := os.WriteFile(filepath.Join(r.dir, "broken-"+r.b.String()), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := release.Switch{From: r.a, To: r.b, Token: 1, Owner: "one"}
	steps, killed := play(t, r.dir, die, func(c *push.Client) error { return c.Call(t.Context(), wire.OpSwitch, s, nil) })
	if !killed {
		return false
	}
	if len(steps) != die {
		t.Fatalf("was to die at step %d, did %q", die, steps)
	}
	r.finish(t, fmt.Sprintf("killed after %q, %s", steps[die-1], finish), s, finish)
	return true
}

// finish opens the host as a new agent under a new claim and brings it to one release.
func (r *rig) finish(t *testing.T, name string, s release.Switch, how string) {
	t.Helper()
	n := openRig(t, r.dir)
	st, err := n.host.state(t.Context(), wire.StateAsk{})
	if err != nil || st.Busy != "" {
		t.Fatalf("%s: state: %v, busy %q", name, err, st.Busy)
	}
	if st.Intent.Switch != s {
		t.Errorf("%s: the journal forgot the switch: %+v", name, st.Intent)
	}
	if st.Intent.Outcome == release.ProvenNew && (st.Disk != s.To || st.Proof.Release != s.To) ||
		st.Intent.Outcome == release.ProvenOld && (st.Disk != s.From || st.Proof.Release != s.From) {
		t.Errorf("%s: outcome %q, but disk %s and running %s", name, st.Intent.Outcome, st.Disk.Short(), st.Proof.Release.Short())
	}
	who := claim{2, "two"}
	if err := n.host.claim(t.Context(), who); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	want := s.To
	s.Token, s.Owner = 2, "two"
	switch how {
	case "switch":
		_, err = n.host.change(t.Context(), who, s)
	case "repair to old":
		want = s.From
		_, err = n.host.repair(t.Context(), who, release.Switch{To: want, Token: 2, Owner: "two"})
	default:
		_, err = n.host.repair(t.Context(), who, release.Switch{To: want, Token: 2, Owner: "two"})
	}
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	n.is(t, want, release.ProvenNew)
}

// TestKilledWhileTakenOut kills the agent at every step of out and in: a host whose flag file exists always has an owner.
func TestKilledWhileTakenOut(t *testing.T) {
	for die := 1; die <= 2; die++ {
		r := newRig(t)
		_, killed := play(t, r.dir, die, func(c *push.Client) error {
			if err := c.Call(t.Context(), wire.OpOut, wire.Out{Token: 1, Out: true, Owner: "one"}, nil); err != nil {
				return err
			}
			return c.Call(t.Context(), wire.OpOut, wire.Out{Token: 1, Out: false, Owner: "one"}, nil)
		})
		in, err := r.store.Host()
		_, ferr := os.Stat(r.host.Flag)
		if !killed || err != nil || ferr == nil && !in.Out {
			t.Errorf("step %d: killed %v, journal %+v (%v), flag %v", die, killed, in, err, ferr)
		}
		if !in.Out || in.Owner != "one" {
			t.Errorf("step %d: nobody owns the host: %+v", die, in)
		}
	}
}
