package lease

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

// TestMain is also the other process of TestAnotherProcess and TestOneThatDiesLeavesNoPlace.
// try takes the lease or fails at once.
func try(ctx context.Context, path string, h Holder) (*Lease, error) {
	return Acquire(ctx, path, h, WaitOptions{})
}

func TestMain(m *testing.M) {
	if path := os.Getenv("LEASE_TEST_WAIT"); path != "" {
		_, _ = Acquire(context.Background(), path, Holder{Who: "mortal"}, WaitOptions{Limit: time.Hour, Tell: func(Position) { os.Stdout.WriteString("waits\n") }})
		os.Exit(0)
	}
	if path := os.Getenv("LEASE_TEST_HOLD"); path != "" {
		if _, err := try(context.Background(), path, Holder{Who: "other", Why: "T42"}); err != nil {
			os.Exit(3)
		}
		os.Stdout.WriteString("held\n")
		bufio.NewReader(os.Stdin).ReadString('\n') // until it is killed
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func lockPath(t *testing.T) string { return filepath.Join(t.TempDir(), "scap.lock") }

func TestOneAtATimeAndTheHolderIsNamed(t *testing.T) {
	path := lockPath(t)
	l, err := try(t.Context(), path, Holder{Who: "jd", Why: "T1: fix\x1b[2J\nit", Since: time.Unix(0, 0).UTC(), PID: 77})
	if err != nil {
		t.Fatal(err)
	}
	_, err = try(t.Context(), path, Holder{Who: "x"})
	var held *HeldError
	if !errors.Is(err, ErrHeld) || !errors.As(err, &held) || held.Holder.Who != "jd" || held.Holder.PID != 77 {
		t.Fatalf("%v", err)
	}
	if want := "another deploy holds the lease: jd since 1970-01-01 00:00:00 UTC (pid 77): T1: fix [2J it"; err.Error() != want {
		t.Errorf("says %q", err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if l.Release() != nil || !errors.Is(context.Cause(l.Context()), ErrReleased) {
		t.Errorf("released: %v", context.Cause(l.Context()))
	}
	again, err := try(t.Context(), path, Holder{Who: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if h, err := Read(path); err != nil || h.Who != "x" || h.PID != os.Getpid() || h.Since.IsZero() {
		t.Errorf("%+v, %v", h, err)
	}
	again.Release()
}

func TestManyRaceForIt(t *testing.T) {
	path := lockPath(t)
	var got atomic.Int64
	var tried, over sync.WaitGroup
	tried.Add(20)
	for range 20 {
		over.Go(func() {
			l, err := try(context.Background(), path, Holder{Who: "jd"})
			tried.Done()
			if err == nil {
				got.Add(1)
				tried.Wait() // nobody else gets it as long as it is held
				err = l.Release()
			} else if errors.Is(err, ErrHeld) {
				return
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	over.Wait()
	if n := got.Load(); n != 1 {
		t.Errorf("%d got it", n)
	}
}

func TestTheContextEndsWhenTheLeaseIsLost(t *testing.T) {
	for name, spoil := range map[string]func(string) error{
		"removed": os.Remove,
		"replaced": func(path string) error {
			return errors.Join(os.WriteFile(path+".new", nil, 0o644), os.Rename(path+".new", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "lock")
				l, err := try(t.Context(), path, Holder{Who: "jd"})
				if err != nil {
					t.Fatal(err)
				}
				defer l.Release()
				<-time.After(time.Minute)
				if l.Context().Err() != nil {
					t.Fatalf("lost on its own: %v", context.Cause(l.Context()))
				}
				if err := spoil(path); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				<-l.Context().Done()
				if !errors.Is(context.Cause(l.Context()), ErrLost) || time.Since(start) > watch {
					t.Errorf("%v after %v", context.Cause(l.Context()), time.Since(start))
				}
				next, err := try(t.Context(), path, Holder{Who: "next"})
				if err != nil {
					t.Fatal(err)
				}
				defer next.Release()
				if err := l.Release(); err != nil {
					t.Error(err)
				}
				if h, err := Read(path); err != nil || h.Who != "next" {
					t.Errorf("the loser took away the holder's name: %+v, %v", h, err)
				}
			})
		})
	}
}

func TestTheContextEndsWithItsParent(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	l, err := try(ctx, lockPath(t), Holder{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	cause := errors.New("interrupt")
	cancel(cause)
	<-l.Context().Done()
	if !errors.Is(context.Cause(l.Context()), cause) {
		t.Error(context.Cause(l.Context()))
	}
	if _, err := try(ctx, lockPath(t), Holder{}); !errors.Is(err, cause) {
		t.Error(err)
	}
}

// another starts this test as another process, which says a word once it is where it should be.
func another(t *testing.T, env, word string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if said, err := bufio.NewReader(out).ReadString('\n'); said != word+"\n" {
		t.Fatalf("%q, %v", said, err)
	}
	return cmd
}

func TestAnotherProcess(t *testing.T) {
	path := lockPath(t)
	cmd := another(t, "LEASE_TEST_HOLD="+path, "held")
	_, err := try(t.Context(), path, Holder{})
	var held *HeldError
	if !errors.As(err, &held) || held.Holder.Who != "other" || held.Holder.PID != cmd.Process.Pid {
		t.Errorf("%v", err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	l, err := try(t.Context(), path, Holder{Who: "me"}) // the kernel freed it
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
}

func TestAHolderThatCannotBeReadIsHeldAllTheSame(t *testing.T) {
	for name, text := range map[string]string{"none": "", "garbage": "{", "endless": `{"who":"` + strings.Repeat("x", 2*maxHolder) + `"}`} {
		path := lockPath(t)
		l, err := try(t.Context(), path, Holder{})
		if err != nil {
			t.Fatal(err)
		}
		os.Remove(holderPath(path))
		if text != "" {
			if err := os.WriteFile(holderPath(path), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		_, err = try(t.Context(), path, Holder{})
		var held *HeldError
		if !errors.As(err, &held) || held.Known || !strings.Contains(err.Error(), "could not be read") {
			t.Errorf("%s: %v", name, err)
		}
		l.Release()
	}
}
