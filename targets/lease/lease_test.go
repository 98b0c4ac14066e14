package lease

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("SCAP_LEASE_HOLD"); path != "" {
		hold(path)
		return
	}
	goleak.VerifyTestMain(m)
}

// hold is a process that takes the lease, says so and lives until it is killed.
func hold(path string) {
	l, ctx, err := Acquire(context.Background(), path, Holder{Who: "alice", Why: "the other process"})
	if err != nil {
		_, _ = os.Stdout.WriteString("error: " + err.Error() + "\n")
		os.Exit(1)
	}
	_, _ = os.Stdout.WriteString("held\n")
	<-ctx.Done()
	_ = l.Release()
}

func TestSecondIsToldWhoHoldsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, _, err := Acquire(t.Context(), path, Holder{Who: "alice", Why: "T327196\nwith \x1b[2J a hostile reason"})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = Acquire(t.Context(), path, Holder{Who: "bob"})
	if !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "alice") || !strings.Contains(err.Error(), "T327196") {
		t.Fatalf("second holder: %v", err)
	}
	if strings.ContainsAny(err.Error(), "\x1b\n") {
		t.Errorf("%q can move the cursor", err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	again, _, err := Acquire(t.Context(), path, Holder{Who: "bob"})
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	if err := errors.Join(again.Release(), again.Release()); err != nil {
		t.Error(err)
	}
}

func TestLostWhenTheFileIsTakenAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, ctx, err := Acquire(t.Context(), path, Holder{Who: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(time.Minute):
		t.Fatal("nobody noticed that the lock is gone")
	}
	if !errors.Is(context.Cause(ctx), ErrLost) {
		t.Fatalf("cause: %v", context.Cause(ctx))
	}
}

// The kernel frees the lock of a holder that was killed, whatever it left behind.
func TestKilledHolderHoldsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SCAP_LEASE_HOLD="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 5)
	if _, err := out.Read(said); err != nil || string(said) != "held\n" {
		t.Fatalf("child said %q, %v", said, err)
	}
	if _, _, err := Acquire(t.Context(), path, Holder{Who: "bob"}); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "the other process") {
		t.Fatalf("while the child lives: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	l, _, err := Acquire(t.Context(), path, Holder{Who: "bob"})
	if err != nil {
		t.Fatalf("after the child was killed: %v", err)
	}
	_ = l.Release()
}

func TestNext(t *testing.T) {
	if n := Next(nil); n != 1 {
		t.Errorf("Next(nil) = %d", n)
	}
	if n := Next([]uint64{3, 9, 4}); n != 10 {
		t.Errorf("Next(3, 9, 4) = %d", n)
	}
}
