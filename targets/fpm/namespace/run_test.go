package namespace

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"scap/sync/release"
)

// talker is a command that is spoken with.
type talker struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func talk(t *testing.T, cmd *exec.Cmd) *talker {
	t.Helper()
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	return &talker{cmd, in, bufio.NewReader(out)}
}

func (k *talker) hear(t *testing.T) string {
	t.Helper()
	line, err := k.out.ReadString('\n')
	must(t, err)
	return strings.TrimSuffix(line, "\n")
}

func (k *talker) say(t *testing.T) {
	t.Helper()
	_, err := io.WriteString(k.in, "\n")
	must(t, err)
}

// TestScriptKeepsItsRelease swaps `current` under a script, and removes the host's names of the release as well.
func TestScriptKeepsItsRelease(t *testing.T) {
	users(t, func(t *testing.T, uid uint32) {
		s := newSite(t)
		k := talk(t, hosted(s.spec(), uid, "sh", "-c", `while cat `+s.served+`/RELEASE && read x; do :; done; exit 0`))
		if got := k.hear(t); got != one.Short() {
			t.Fatal(got)
		}
		s.point(t, two)
		k.say(t)
		if got := k.hear(t); got != one.Short() {
			t.Errorf("after the swap it sees %s", got)
		}
		if got := say(t, s.spec(), uid, "cat "+s.served+"/RELEASE"); got != two.Short()+"\n" {
			t.Errorf("one that begins after the swap sees %s", got)
		}
		must(t, os.Rename(s.path(one), filepath.Join(s.dir, "moved")))
		k.say(t)
		if got := k.hear(t); got != one.Short() {
			t.Errorf("after it was moved it sees %s", got)
		}
	})
}

func TestExitCodes(t *testing.T) {
	users(t, func(t *testing.T, uid uint32) {
		s := newSite(t)
		for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -9 $$": 137, "kill -TERM $$": 143} {
			cmd := hosted(s.spec(), uid, "sh", "-c", script)
			_ = cmd.Run()
			if got := cmd.ProcessState.ExitCode(); got != want {
				t.Errorf("%s: %d, not %d", script, got, want)
			}
		}
		cmd := hosted(s.spec(), uid, "no-such-command-here")
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 99 || !strings.Contains(string(out), "no-such-command-here") {
			t.Errorf("no command: %v: %s", cmd.ProcessState, out)
		}
	})
}

func TestSignalsArePassedOn(t *testing.T) {
	users(t, func(t *testing.T, uid uint32) {
		s := newSite(t)
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGINT, syscall.SIGQUIT} {
			if signal.Ignored(sig) { // by whoever runs the tests, as nohup does: a shell cannot trap it then
				continue
			}
			name := unix.SignalName(sig)
			cmd := hosted(s.spec(), uid, "sh", "-c", `trap "echo `+name+`; exit 5" `+strings.TrimPrefix(name, "SIG")+`; echo ready; while read x; do :; done`)
			if cmd.SysProcAttr == nil {
				cmd.SysProcAttr = &syscall.SysProcAttr{}
			}
			cmd.SysProcAttr.Setsid = true // no terminal
			k := talk(t, cmd)
			if got := k.hear(t); got != "ready" {
				t.Fatal(got)
			}
			must(t, k.Process.Signal(sig))
			heard := make(chan string, 1)
			go func() {
				line, _ := k.out.ReadString('\n')
				heard <- line
			}()
			within(t, func() error { // a shell that reads looks at its traps between lines
				select {
				case got := <-heard:
					if got != name+"\n" {
						t.Errorf("%v: it says %q", sig, got)
					}
					return nil
				default:
					_, _ = io.WriteString(k.in, "\n")
					return errors.New("no word of " + name)
				}
			})
			_ = k.Wait()
			if got := k.ProcessState.ExitCode(); got != 5 {
				t.Errorf("%v: exit %d", sig, got)
			}
		}
	})
}

// TestCancelled ends a command with its context, and says why.
func TestCancelled(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	why := errors.New("enough")
	r, w := io.Pipe()
	go func() {
		_, _ = r.Read(make([]byte, 16))
		cancel(why)
		_, _ = io.Copy(io.Discard, r)
	}()
	got, err := Run(ctx, s.spec(), []string{"sh", "-c", "echo on; exec cat"}, neverEnds(t), w, io.Discard)
	_ = w.Close()
	if !errors.Is(err, why) || got != 128+int(syscall.SIGTERM) {
		t.Errorf("%d, %v", got, err)
	}
}

// neverEnds is a file that nothing is read from.
func neverEnds(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	t.Cleanup(func() { r.Close(); w.Close() })
	return r
}

// TestSeenBy looks at processes from outside: one in the release, one that is not.
func TestSeenBy(t *testing.T) {
	users(t, func(t *testing.T, uid uint32) {
		s := newSite(t)
		k := talk(t, hosted(s.spec(), uid, "sh", "-c", "echo $$; read x"))
		pid, err := strconv.Atoi(k.hear(t))
		must(t, err)
		spec := s.spec()
		for id, ok := range map[release.ID]bool{one: true, two: false} {
			spec.Release = id
			r, err := Open(spec)
			must(t, err)
			if err := r.SeenBy(pid); (err == nil) != ok {
				t.Errorf("the command and %s: %v", id.Short(), err)
			}
			if err := r.SeenBy(os.Getpid()); err == nil {
				t.Error("this process is in no release")
			}
			must(t, r.Close())
		}
		own, err := Inside(os.Getpid())
		must(t, err)
		if theirs, err := Inside(pid); err != nil || theirs == own {
			t.Errorf("mount namespaces %d and %d: %v", own, theirs, err)
		}
		// The directory is replaced by hand: what is there now is not what the process sees.
		must(t, os.Rename(s.path(one), filepath.Join(s.dir, "old")))
		must(t, os.Mkdir(s.path(one), 0o755))
		spec.Release = one
		r, err := Open(spec)
		must(t, err)
		defer r.Close()
		if err := r.SeenBy(pid); err == nil {
			t.Error("another directory is taken for the release")
		}
	})
}
