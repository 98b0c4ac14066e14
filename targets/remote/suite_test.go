package remote

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scap/sync/release"
	"scap/sync/wire"
	"scap/targets"
)

// TestHost holds every way to reach a host to the same promises.
func TestHost(t *testing.T) {
	for name, connect := range map[string]func(*testing.T, string) link{
		"memory": inMemory, "ssh in process": inProcess, "openssh": openSSH,
	} {
		t.Run(name, func(t *testing.T) {
			t.Run("deploys", func(t *testing.T) { deploys(t, deployed(t, connect)) })
			t.Run("goes back", func(t *testing.T) { goesBack(t, deployed(t, connect)) })
			t.Run("fences", func(t *testing.T) { fences(t, deployed(t, connect)) })
			t.Run("stewards", func(t *testing.T) { stewards(t, deployed(t, connect)) })
			t.Run("adopts", func(t *testing.T) { adopts(t, newWorld(t, connect)) })
			t.Run("asks while it switches", func(t *testing.T) { asksWhileItSwitches(t, deployed(t, connect)) })
			t.Run("connection lost in a switch", func(t *testing.T) { lostInSwitch(t, deployed(t, connect)) })
			t.Run("connection lost in a failing switch", func(t *testing.T) { lostInFailingSwitch(t, deployed(t, connect)) })
			t.Run("connection lost while idle", func(t *testing.T) { lostWhileIdle(t, deployed(t, connect)) })
			t.Run("cancelled in a switch", func(t *testing.T) { cancelledInSwitch(t, deployed(t, connect)) })
			t.Run("cancelled while waiting", func(t *testing.T) { cancelledWhileWaiting(t, deployed(t, connect)) })
			t.Run("tries", func(t *testing.T) { tries(t, deployed(t, connect)) })
			t.Run("connection lost in a trial", func(t *testing.T) { lostInTrial(t, deployed(t, connect)) })
			t.Run("cancelled in a trial", func(t *testing.T) { cancelledInTrial(t, deployed(t, connect)) })
			t.Run("staging resumes", func(t *testing.T) { stagingResumes(t, deployed(t, connect)) })
		})
	}
}

func deploys(t *testing.T, w *world) {
	ctx := t.Context()
	w.serves(t, w.a.ID)
	for range 2 { // all is repeatable
		if err := w.host.Stage(ctx, w.b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.host.Verify(ctx, w.b.ID); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := w.host.Activate(ctx, w.toB()); err != nil {
			t.Fatal(err)
		}
		w.serves(t, w.b.ID)
	}
	b, err := os.ReadFile(filepath.Join(w.dir, "root", "current", "index.php"))
	if err != nil || string(b) != "<?php //B" {
		t.Errorf("the file says %q, %v", b, err)
	}
	want, err1 := os.Stat(filepath.Join(w.source.Path(w.b.ID), "big"))
	got, err2 := os.Stat(filepath.Join(w.dir, "root", "current", "big"))
	if err1 != nil || err2 != nil || got.Size() != want.Size() || !got.ModTime().Equal(want.ModTime()) {
		t.Errorf("big: %v %v, want the size and mtime of %v (%v)", got, err2, want, err1)
	}
	back := release.Switch{From: w.b.ID, To: w.a.ID, Token: 1, Owner: "first"}
	if err := w.host.Activate(ctx, back); err != nil {
		t.Error(err)
	}
	w.serves(t, w.a.ID)
}

func goesBack(t *testing.T, w *world) {
	ctx := t.Context()
	fails(t, "activate what is not staged", w.host.Activate(ctx, w.toB()), wire.NotFound)
	if err := w.host.Stage(ctx, w.b); err != nil {
		t.Fatal(err)
	}
	w.order(t, "broken-"+w.b.ID.String())
	err := w.host.Activate(ctx, w.toB())
	fails(t, "activate", err, targets.ErrReturned)
	if !strings.Contains(err.Error(), "does not start") {
		t.Errorf("%q lacks the reason", err)
	}
	w.serves(t, w.a.ID)
	w.order(t, "broken-"+w.a.ID.String())
	fails(t, "activate with no way back", w.host.Activate(ctx, w.toB()), targets.ErrOut)
}

func fences(t *testing.T, w *world) {
	ctx := t.Context()
	other := New("host1", w.link.opener, w.source, nil)
	if err := other.Claim(ctx, 7, "second"); err != nil {
		t.Fatal(err)
	}
	fails(t, "claim", w.host.Claim(ctx, 6, "first"), targets.ErrFenced)
	fails(t, "stage", w.host.Stage(ctx, w.b), targets.ErrFenced)
	fails(t, "activate", w.host.Activate(ctx, w.toB()), targets.ErrFenced)
	fails(t, "repair", w.host.Repair(ctx, w.toB()), targets.ErrFenced)
	fails(t, "out", w.host.Out(ctx, 1, true, "first"), targets.ErrFenced)
	fails(t, "prune", w.host.Prune(ctx, 1, nil), targets.ErrFenced)
	fails(t, "adopt", w.host.Adopt(ctx, 1), targets.ErrFenced)
	fails(t, "try", w.host.Try(ctx, w.toB(), anHour()), targets.ErrFenced)
	fails(t, "abandon", w.host.Abandon(ctx, 1), targets.ErrFenced)
	w.serves(t, w.a.ID)
	if err := other.Stage(ctx, w.b); err != nil {
		t.Error(err)
	}
}

func stewards(t *testing.T, w *world) {
	ctx := t.Context()
	if err := errors.Join(w.host.Stage(ctx, w.b), w.host.Stage(ctx, w.c)); err != nil {
		t.Fatal(err)
	}
	if err := w.host.Out(ctx, 1, true, "first"); err != nil {
		t.Error(err)
	}
	st, err := w.host.State(ctx)
	if err != nil || !st.Intent.Out || st.Intent.Owner != "first" || len(st.Releases) != 3 || st.Free == 0 || st.Plain {
		t.Errorf("%+v, %v", st, err)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "flag")); err != nil {
		t.Error(err)
	}
	if err := w.host.Out(ctx, 1, false, "first"); err != nil {
		t.Error(err)
	}
	if err := w.host.Prune(ctx, 1, []release.ID{w.c.ID}); err != nil {
		t.Error(err)
	}
	if st, err = w.host.State(ctx); err != nil || len(st.Releases) != 2 {
		t.Errorf("after pruning: %v, %v", st.Releases, err)
	}
	write(t, w.dir, "running", nil) // php-fpm died
	if st, err = w.host.State(ctx); err != nil || !st.Running.IsZero() || st.Reason == "" {
		t.Errorf("with nothing running: %+v, %v", st, err)
	}
	if err := w.host.Repair(ctx, release.Switch{To: w.c.ID, Token: 1}); err != nil {
		t.Error(err)
	}
	w.serves(t, w.c.ID)
	q, err := w.host.Quiet(ctx, 10*time.Millisecond)
	if err != nil || !q.Calm() || q.Window != 10*time.Millisecond {
		t.Errorf("quiet: %+v, %v", q, err)
	}
	var answer string
	if err := w.host.Ask(ctx, "echo", "ab\xff", &answer); err != nil || !strings.HasPrefix(answer, "ab") {
		t.Errorf("ask: %q, %v", answer, err)
	}
	if err := w.host.Ask(ctx, "echo", "fail", &answer); err == nil || !strings.Contains(err.Error(), "the echo is broken") {
		t.Errorf("ask: %v", err)
	}
	fails(t, "ask nobody", w.host.Ask(ctx, "oracle", "?", &answer), wire.NotFound)
	if m, err := w.host.Welcome(ctx); err != nil || m.Hostname == "" || time.Since(m.Clock).Abs() > time.Hour {
		t.Errorf("welcome: %+v, %v", m, err)
	}
	index := filepath.Join(w.dir, "root", "releases", w.a.ID.String(), "index.php")
	if err := w.host.Stage(ctx, w.a); err != nil { // pruned, or kept as the last switch's other end
		t.Error(err)
	}
	if err := errors.Join(os.Remove(index), os.WriteFile(index, []byte("hand-made"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := w.host.Verify(ctx, w.a.ID); err == nil || !strings.Contains(err.Error(), "index.php") {
		t.Errorf("verify of an edited release: %v", err)
	}
}

func adopts(t *testing.T, w *world) {
	ctx := t.Context()
	write(t, w.dir, "served/index.php", []byte("by hand"))
	if err := w.host.Claim(ctx, 1, "first"); err != nil {
		t.Fatal(err)
	}
	if st, err := w.host.State(ctx); err != nil || !st.Plain || !st.Disk.IsZero() {
		t.Errorf("%+v, %v", st, err)
	}
	if err := w.host.Adopt(ctx, 1); err != nil {
		t.Fatal(err)
	}
	st, err := w.host.State(ctx)
	if err != nil || st.Plain || st.Disk.IsZero() || len(st.Releases) != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	b, err := os.ReadFile(filepath.Join(w.dir, "served", "index.php"))
	if err != nil || string(b) != "by hand" {
		t.Errorf("served: %q, %v", b, err)
	}
}

func asksWhileItSwitches(t *testing.T, w *world) {
	ctx := t.Context()
	if err := w.host.Stage(ctx, w.b); err != nil {
		t.Fatal(err)
	}
	release := w.order(t, "hold")
	done := make(chan error, 1)
	go func() { done <- w.host.Activate(ctx, w.toB()) }()
	w.held(t)
	st, err := w.host.State(ctx)
	if err != nil || st.Intent.Switch != w.toB() || st.Intent.Outcome != "" || !st.Running.IsZero() || len(st.Problems) == 0 {
		t.Errorf("%+v, %v", st, err)
	}
	release()
	if err := <-done; err != nil {
		t.Error(err)
	}
	w.serves(t, w.b.ID)
}

func lostInSwitch(t *testing.T, w *world) {
	ctx := t.Context()
	if err := w.host.Stage(ctx, w.b); err != nil {
		t.Fatal(err)
	}
	release := w.order(t, "hold")
	done := make(chan error, 1)
	go func() { done <- w.host.Activate(ctx, w.toB()) }()
	w.held(t)
	w.link.cut()
	w.link.cut() // and what was connected again by then
	release()
	if err := <-done; err != nil {
		t.Errorf("the host ended its switch, but Activate says %v", err)
	}
	w.serves(t, w.b.ID)
}

func lostInFailingSwitch(t *testing.T, w *world) {
	ctx := t.Context()
	if err := w.host.Stage(ctx, w.b); err != nil {
		t.Fatal(err)
	}
	w.order(t, "broken-"+w.b.ID.String())
	release := w.order(t, "hold")
	done := make(chan error, 1)
	go func() { done <- w.host.Activate(ctx, w.toB()) }()
	w.held(t)
	w.link.cut()
	release()
	fails(t, "activate", <-done, targets.ErrReturned)
	w.serves(t, w.a.ID)
}

func lostWhileIdle(t *testing.T, w *world) {
	w.serves(t, w.a.ID)
	w.link.cut()
	w.serves(t, w.a.ID)
	w.link.cut()
	if err := errors.Join(w.host.Stage(t.Context(), w.b), w.host.Activate(t.Context(), w.toB())); err != nil {
		t.Error(err)
	}
	w.serves(t, w.b.ID)
}

func cancelledInSwitch(t *testing.T, w *world) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := w.host.Stage(ctx, w.b); err != nil {
		t.Fatal(err)
	}
	release := w.order(t, "hold")
	done := make(chan error, 1)
	go func() { done <- w.host.Activate(ctx, w.toB()) }()
	w.held(t)
	cancel()
	release()
	if err := <-done; err != nil {
		t.Errorf("a begun switch was cancelled: %v", err)
	}
	w.serves(t, w.b.ID)
	fails(t, "activate when cancelled", w.host.Activate(ctx, w.toB()), context.Canceled)
	fails(t, "stage when cancelled", w.host.Stage(ctx, w.c), context.Canceled)
}

func cancelledWhileWaiting(t *testing.T, w *world) {
	ctx, cancel := context.WithCancelCause(t.Context())
	w.serves(t, w.a.ID)
	enough := errors.New("enough")
	done := make(chan error, 1)
	go func() {
		_, err := w.host.Quiet(ctx, time.Minute)
		done <- err
	}()
	cancel(enough)
	fails(t, "quiet", <-done, enough)
	w.serves(t, w.a.ID)
}

// stagingResumes cuts the connection again and again while a release is sent.
func stagingResumes(t *testing.T, w *world) {
	ctx := t.Context()
	if err := errors.Join(w.host.Claim(ctx, 2, "again"), os.RemoveAll(w.source.Path(w.c.ID)+"/none")); err != nil {
		t.Fatal(err)
	}
	whole := false
	for limit := time.Millisecond; !whole && limit < time.Minute; limit *= 2 {
		short, cancel := context.WithTimeout(ctx, limit)
		err := w.host.Stage(short, w.b)
		cancel()
		whole = err == nil
		if !whole && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stage within %v: %v", limit, err)
		}
	}
	if !whole {
		t.Fatal("it never ended")
	}
	if err := w.host.Verify(ctx, w.b.ID); err != nil {
		t.Error(err)
	}
}
