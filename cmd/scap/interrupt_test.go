package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	embedded "scap/fixtures/fleet"
	"scap/fixtures/tree"
	"scap/phases/journal"
)

// console is a terminal of 80 columns with a process of scap in front of it.
type console struct {
	t     testing.TB
	cmd   *exec.Cmd
	tty   *os.File
	ended chan struct{}
	read  sync.WaitGroup
	mu    sync.Mutex
	shown bytes.Buffer
}

// console starts scap in a terminal.
func (s *site) console(t testing.TB, hook string, args ...string) *console {
	t.Helper()
	cmd := s.command(args...)
	cmd.Env = append(cmd.Env, "TERM=xterm", hookEnv+"="+hook)
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	c := &console{t: t, cmd: cmd, tty: tty, ended: make(chan struct{})}
	go c.reap()
	c.read.Go(func() { _, _ = io.Copy(c, tty) }) // until the terminal is closed
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-c.ended
		_ = tty.Close()
		c.read.Wait()
	})
	return c
}

func (c *console) reap() {
	_ = c.cmd.Wait() // the code is in ProcessState
	close(c.ended)
}

// Write takes what the terminal shows.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shown.Write(p)
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shown.String()
}

// press sends a key; Ctrl-C becomes a SIGINT by the terminal's own line discipline.
func (c *console) press(key byte) {
	c.t.Helper()
	if _, err := c.tty.Write([]byte{key}); err != nil {
		c.t.Fatal(err)
	}
}

// What keys send.
const (
	ctrlC = 3
	ctrlS = 19
)

func (c *console) over() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// wait returns the exit code.
func (c *console) wait() int {
	c.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	select {
	case <-c.ended:
		return c.cmd.ProcessState.ExitCode()
	case <-deadline.C:
		if c.tty != nil {
			_ = c.cmd.Process.Signal(syscall.SIGQUIT) // it then says where it hangs
		} else {
			_ = c.cmd.Process.Kill()
		}
		<-c.ended
		c.t.Fatalf("scap hangs\n%s", c)
		return 0
	}
}

// anyHost is the target of a record about any host.
const anyHost = "*"

// recorded waits until the newest journal holds a record.
func (s *site) recorded(t testing.TB, kind journal.Kind, act, target string) {
	t.Helper()
	until(t, string(kind)+" "+act+" "+target, func() bool {
		last, ok, err := journal.Latest(filepath.Join(s.DeployDir(), "journal"))
		if err != nil || !ok || slices.Contains(s.past, last.Name) {
			return false
		}
		records, err := journal.Load(last.Path)
		return err == nil && slices.ContainsFunc(records, func(r journal.Record) bool {
			return r.Kind == kind && r.Act == act && (target == "" || r.Target == target || target == anyHost && r.Target != "")
		})
	})
}

// fresh stages what the fleet does not serve, and returns what it serves.
func (s *site) fresh(t *testing.T) (old, next string) {
	t.Helper()
	_, old = s.one(t)
	app := tree.GoodB()
	if old == app.Mark {
		app = tree.GoodA()
	}
	s.stage(t, app)
	ds, err := journal.List(filepath.Join(s.DeployDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range ds {
		s.past = append(s.past, d.Name)
	}
	return old, app.Mark
}

// talkative is a site whose gates let a release bake for a minute, which -D shortens.
func talkative(t *testing.T) *site {
	t.Helper()
	s := newSite(t, []embedded.Group{{Name: "test", Hosts: 1, Unpooled: true}, {Name: "canary", Hosts: 1}, {Name: "prod", Hosts: 3}},
		embedded.YAMLOptions{Width: "1", Bake: time.Minute, QuietWindow: 100 * time.Millisecond, Tick: 100 * time.Millisecond})
	s.users(t, 20)
	return s
}

func quickCanary() []string { return []string{"-D", "phases.canary.bake:0s"} }
func quick() []string       { return append(quickCanary(), "-D", "phases.prod.bake:0s") }

// Ctrl-C brings the previous release back everywhere, proven, and no user notices. Ctrl-C again leaves at once, and a
// resume ends it.
func TestCtrlC(t *testing.T) {
	s := talkative(t)
	for _, c := range []struct {
		name, hook string
		args       []string
		kind       journal.Kind
		act        string
		target     string
	}{
		{"while it stages", "pause:" + journal.Stage, nil, journal.Intent, journal.Stage, anyHost},
		{"while the canary's gate looks", "", nil, journal.Done, journal.Activate, "canary01"},
		{"in the middle of production", "", quickCanary(), journal.Done, journal.Activate, "prod01"},
	} {
		t.Run(c.name, func(t *testing.T) {
			old, _ := s.fresh(t)
			tty := s.console(t, c.hook, append(c.args, "sync", c.name)...)
			s.recorded(t, c.kind, c.act, c.target)
			tty.press(ctrlC)
			code := tty.wait()
			tty.read.Wait() // what it said last may still be on its way
			if code != exitCancelled {
				t.Errorf("exit code %d\n%s", code, tty)
			}
			if _, mark := s.one(t); mark != old {
				t.Errorf("every host serves %s, not %s\n%s", mark, old, tty)
			}
			if !strings.Contains(tty.String(), "CANCELLED") {
				t.Errorf("it does not say that it is cancelled:\n%s", tty)
			}
			s.want(t, exitOK, "status")
		})
	}
	t.Run("again", func(t *testing.T) {
		old, _ := s.fresh(t)
		tty := s.console(t, "pause:"+journal.Rollback, append(quickCanary(), "sync", "again")...)
		s.recorded(t, journal.Done, journal.Activate, "prod01")
		tty.press(ctrlC)
		s.recorded(t, journal.Intent, journal.Rollback, anyHost) // behind the first it waits
		tty.press(ctrlC)
		if code := tty.wait(); code != exitInconsistent {
			t.Errorf("exit code %d\n%s", code, tty)
		}
		if _, mark, err := s.One(t.Context()); err == nil {
			t.Errorf("it left and yet every host serves %s: this shows nothing", mark)
		}
		if r := s.want(t, exitError, "sync", "too early"); !strings.Contains(r.output, "scap resume") {
			t.Errorf("it does not say what to do: %s", r)
		}
		s.want(t, exitRolledBack, "resume")
		if _, mark := s.one(t); mark != old {
			t.Errorf("every host serves %s, not %s", mark, old)
		}
	})
}

// A phase that asks waits for a word: yes goes on, no takes back, and a terminal that closes is no yes.
func TestConfirm(t *testing.T) {
	s := newSite(t, []embedded.Group{{Name: "test", Hosts: 1, Unpooled: true}, {Name: "prod", Hosts: 2}},
		embedded.YAMLOptions{Width: "1", QuietWindow: 100 * time.Millisecond, Tick: 100 * time.Millisecond, Confirm: true})
	s.users(t, 20)
	for _, c := range []struct {
		name, keys string
		code       int
		deployed   bool
	}{
		{"no", "n\n", exitDeclined, false},
		{"the end of input", "\x04", exitRolledBack, false},
		{"Ctrl-C", "\x03", exitCancelled, false},
		{"not understood, then yes", "what?\ny\n", exitOK, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, next := s.fresh(t)
			if c.deployed {
				want = next
			}
			tty := s.console(t, "", "sync", c.name)
			until(t, "the question", func() bool { return tty.over() || strings.Contains(tty.String(), "[y]es") })
			for _, key := range []byte(c.keys) {
				tty.press(key)
			}
			if code := tty.wait(); code != c.code {
				t.Errorf("exit code %d\n%s", code, tty)
			}
			if _, mark := s.one(t); mark != want {
				t.Errorf("every host serves %s, not %s\n%s", mark, want, tty)
			}
		})
	}
}

// A deploy outlives whatever becomes of the terminal, and ends deployed.
func TestDeployOutlivesItsTerminal(t *testing.T) {
	s := talkative(t)
	deployed := func(t *testing.T, code int, mark, shown string) {
		t.Helper()
		if code != exitOK {
			t.Errorf("exit code %d\n%s", code, shown)
		}
		if _, got := s.one(t); got != mark {
			t.Errorf("every host serves %s, not %s", got, mark)
		}
	}
	t.Run("the terminal is closed", func(t *testing.T) { // a hang-up, and errors for every word after it
		_, next := s.fresh(t)
		tty := s.console(t, "", append(quick(), "sync", "closed")...)
		s.recorded(t, journal.Done, journal.Activate, "canary01")
		_ = tty.tty.Close()
		deployed(t, tty.wait(), next, tty.String())
	})
	t.Run("SIGHUP", func(t *testing.T) {
		_, next := s.fresh(t)
		tty := s.console(t, "", append(quick(), "sync", "hang-up")...)
		s.recorded(t, journal.Done, journal.Activate, "canary01")
		if err := tty.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		deployed(t, tty.wait(), next, tty.String())
	})
	t.Run("the terminal is stopped", func(t *testing.T) {
		_, next := s.fresh(t)
		tty := s.console(t, "", append(quick(), "sync", "stopped")...)
		tty.press(ctrlS)
		deployed(t, tty.wait(), next, tty.String())
	})
	t.Run("nobody reads its pipe", func(t *testing.T) { // and it can still be interrupted
		old, _ := s.fresh(t)
		cmd := s.command(append(quickCanary(), "sync", "unread")...)
		cmd.Stdout = fullPipe(t)
		cmd.Stderr = cmd.Stdout
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c := &console{t: t, cmd: cmd, ended: make(chan struct{})}
		go c.reap()
		s.recorded(t, journal.Done, journal.Activate, "prod01")
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if code := c.wait(); code != exitCancelled {
			t.Errorf("exit code %d", code)
		}
		if _, mark := s.one(t); mark != old {
			t.Errorf("every host serves %s, not %s", mark, old)
		}
	})
	t.Run("its pipe is closed", func(t *testing.T) {
		_, next := s.fresh(t)
		cmd := s.command(append(quick(), "sync", "pipe")...)
		out, in, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdout, cmd.Stderr = in, in
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_ = in.Close()
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		_ = out.Close()
		err = cmd.Wait()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		deployed(t, cmd.ProcessState.ExitCode(), next, "")
	})
}

// fullPipe returns the end of a pipe to which nothing can be written any more, and which nobody reads.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(out.Close(), in.Close()) })
	if err := in.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = in.Write([]byte{'.'})
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return in
}
