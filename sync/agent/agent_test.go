package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scap/fixtures/paper"
	"scap/sync/push"
	"scap/sync/release"
	"scap/sync/store"
	"scap/sync/wire"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	goleak.VerifyTestMain(m)
}

// rig is a host with two releases on it, a served and running.
type rig struct {
	host  *Host
	rt    *paper.Runtime
	store *store.Store
	dir   string
	a, b  release.ID
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	r := openRig(t, dir)
	r.a, r.b = r.add(t, "A"), r.add(t, "B")
	if err := r.store.Swap(t.Context(), release.ID{}, r.a); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.rt.File, []byte(r.a.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return r
}

// openRig is a further agent on the host in dir.
func openRig(t *testing.T, dir string) *rig {
	t.Helper()
	st, err := store.Open(filepath.Join(dir, "root"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	rt := &paper.Runtime{File: filepath.Join(dir, "running"), Current: filepath.Join(dir, "root", "current")}
	return &rig{dir: dir, store: st, rt: rt, host: &Host{
		Store: st, Runtime: rt, Served: filepath.Join(dir, "served"), Flag: filepath.Join(dir, "flag"), SwitchLimit: time.Minute,
	}}
}

// add puts a release into the host's store.
func (r *rig) add(t *testing.T, mark string) release.ID {
	t.Helper()
	return snapshot(t, r.store, mark).ID
}

func snapshot(t *testing.T, st *store.Store, mark string) release.Release {
	t.Helper()
	src := t.TempDir()
	for name, content := range map[string]string{"index.php": "<?php //" + mark, "conf/x.json": "{}", "odd \xff\n-rf": "odd"} {
		file := filepath.Join(src, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	rel, err := st.Snapshot(t.Context(), src, store.SnapshotOptions{Message: mark})
	if err != nil {
		t.Fatal(err)
	}
	return rel
}

// dial starts an agent session with the host and returns its client; wait returns how Serve ended.
func (r *rig) dial(t *testing.T, hello wire.Hello) (*push.Client, func() error) {
	t.Helper()
	ours, theirs := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Serve(context.Background(), r.host, theirs) }()
	c, err := push.Connect(t.Context(), ours, hello)
	if err != nil {
		t.Fatal(err)
	}
	done := false
	wait := func() error {
		if done {
			return nil
		}
		done = true
		_ = c.Close()
		select {
		case err := <-ended:
			return err
		case <-time.After(time.Minute):
			return errors.New("Serve did not end")
		}
	}
	t.Cleanup(func() {
		if err := wait(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return c, wait
}

// state asks the host on which nobody works. A machine so slow that the lock of the host takes its time is asked again.
func (r *rig) state(t *testing.T) wire.State {
	t.Helper()
	for {
		st, err := r.host.state(t.Context(), wire.StateAsk{})
		if err != nil {
			t.Fatal(err)
		}
		unlock, err := r.store.Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		unlock()
		if st.Busy == "" {
			return st
		}
	}
}

// is fails the test unless disk and runtime are on id and the journal's outcome is o.
func (r *rig) is(t *testing.T, id release.ID, o release.Outcome) {
	t.Helper()
	st := r.state(t)
	if st.Disk != id || st.Proof.Release != id || st.Intent.Outcome != o || st.Busy != "" {
		t.Errorf("disk %s, running %s (%s), outcome %q, busy %q; want %s and %q",
			st.Disk.Short(), st.Proof.Release.Short(), st.Proof.Reason, st.Intent.Outcome, st.Busy, id.Short(), o)
	}
}

func (r *rig) toB() release.Switch {
	return release.Switch{From: r.a, To: r.b, Token: 1, Owner: "deploy 1"}
}

func TestSwitchIsProvenAndRepeatable(t *testing.T) {
	r := newRig(t)
	c, _ := r.dial(t, wire.Hello{Owner: "deploy 1"})
	for range 2 {
		var p release.Proof
		if err := c.Call(t.Context(), wire.OpSwitch, r.toB(), &p); err != nil || p.Release != r.b {
			t.Fatalf("%v, proof %s", err, p.Release.Short())
		}
		r.is(t, r.b, release.ProvenNew)
	}
	in, err := r.store.Host()
	if err != nil || in.Switch != r.toB() || in.Token != 1 || in.Claimer != "deploy 1" || in.At.IsZero() {
		t.Errorf("journal %+v, %v", in, err)
	}
}

func TestFailedSwitchGoesBackProven(t *testing.T) {
	for _, at := range []string{"stopped", "linked", "started"} {
		r := newRig(t)
		r.rt.Hook = func(_ context.Context, step string, s release.Switch) error {
			if step == at && s.To == r.b {
				return errors.New("php-fpm says no")
			}
			return nil
		}
		c, _ := r.dial(t, wire.Hello{})
		err := c.Call(t.Context(), wire.OpSwitch, r.toB(), nil)
		if !errors.Is(err, wire.Returned) || !strings.Contains(err.Error(), "php-fpm says no") {
			t.Errorf("%s: %v", at, err)
		}
		r.is(t, r.a, release.ProvenOld)
		if in, _ := r.store.Host(); !strings.Contains(in.Error, "php-fpm says no") {
			t.Errorf("%s: the journal says %q", at, in.Error)
		}
	}
}

func TestHostThatCannotGoBackIsBrokenAndRepairable(t *testing.T) {
	r := newRig(t)
	broken := true
	r.rt.Hook = func(_ context.Context, step string, _ release.Switch) error {
		if broken && step == "linked" {
			return errors.New("nothing starts any more")
		}
		return nil
	}
	c, _ := r.dial(t, wire.Hello{})
	if err := c.Call(t.Context(), wire.OpSwitch, r.toB(), nil); !errors.Is(err, wire.Broken) || errors.Is(err, wire.Returned) {
		t.Errorf("switch: %v", err)
	}
	in, err := r.store.Host()
	if err != nil || in.Outcome != release.Broken {
		t.Errorf("journal %+v, %v", in, err)
	}
	back := release.Switch{To: r.a, Token: 1}
	if err := c.Call(t.Context(), wire.OpRepair, back, nil); !errors.Is(err, wire.Broken) {
		t.Errorf("repair of what cannot start: %v", err)
	}
	broken = false
	if err := c.Call(t.Context(), wire.OpRepair, back, nil); err != nil {
		t.Errorf("repair: %v", err)
	}
	r.is(t, r.a, release.ProvenNew)
}

func TestSwitchFromElsewhereIsRefused(t *testing.T) {
	r := newRig(t)
	other := r.add(t, "C")
	c, _ := r.dial(t, wire.Hello{})
	for name, s := range map[string]struct {
		s    release.Switch
		kind wire.Kind
	}{
		"disk is neither":    {release.Switch{From: other, To: r.b, Token: 1}, wire.Refused},
		"to nothing":         {release.Switch{From: r.a, Token: 1}, wire.Refused},
		"not staged":         {release.Switch{From: r.a, To: release.ID{7}, Token: 1}, wire.NotFound},
		"no way back":        {release.Switch{From: release.ID{7}, To: r.a, Token: 1}, wire.Refused},
		"no current release": {release.Switch{To: r.b, Token: 1}, wire.Refused},
	} {
		if err := c.Call(t.Context(), wire.OpSwitch, s.s, nil); !errors.Is(err, s.kind) {
			t.Errorf("%s: %v, want %s", name, err, s.kind)
		}
	}
	if err := c.Call(t.Context(), wire.OpRepair, release.Switch{To: release.ID{7}, Token: 1}, nil); !errors.Is(err, wire.NotFound) {
		t.Errorf("repair to what is not here: %v", err)
	}
	r.is(t, r.a, release.Unknown)
}

func TestFirstReleaseOfAHost(t *testing.T) {
	dir := t.TempDir()
	r := openRig(t, dir)
	r.b = r.add(t, "B")
	c, _ := r.dial(t, wire.Hello{})
	if err := c.Call(t.Context(), wire.OpSwitch, r.toB(), nil); err != nil {
		t.Fatal(err)
	}
	r.is(t, r.b, release.ProvenNew)
}

// TestSmallerTokenChangesNothing asks for every change under a token that another deploy has outbid.
func TestSmallerTokenChangesNothing(t *testing.T) {
	r := triable(t)
	old, _ := r.dial(t, wire.Hello{})
	if err := old.Call(t.Context(), wire.OpClaim, wire.Claim{Token: 4, Owner: "old"}, nil); err != nil {
		t.Fatal(err)
	}
	next, _ := r.dial(t, wire.Hello{})
	if err := next.Call(t.Context(), wire.OpClaim, wire.Claim{Token: 5, Owner: "next"}, nil); err != nil {
		t.Fatal(err)
	}
	before, err := r.store.Host()
	if err != nil {
		t.Fatal(err)
	}
	s := r.toB()
	s.Token = 4
	for op, in := range map[wire.Op]any{
		wire.OpClaim: wire.Claim{Token: 4, Owner: "old"}, wire.OpSwitch: s, wire.OpRepair: s,
		wire.OpOut: wire.Out{Token: 4, Out: true, Owner: "old"}, wire.OpPrune: wire.Prune{Token: 4}, wire.OpAdopt: wire.Token{Token: 4},
		wire.OpTry: wire.Try{Switch: s, For: time.Hour}, wire.OpEndTry: wire.Token{Token: 4},
	} {
		err := old.Call(t.Context(), op, in, nil)
		if !errors.Is(err, wire.Fenced) {
			t.Errorf("%s: %v", op, err)
			continue
		}
		for _, part := range []string{"4", "5", "next"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q does not name %s", op, err, part)
			}
		}
	}
	if err := push.Send(t.Context(), old, r.store, release.Release{ID: release.ID{9}}, nil); !errors.Is(err, wire.Fenced) && err == nil {
		t.Errorf("stage: %v", err)
	}
	if err := next.Call(t.Context(), wire.OpClaim, wire.Claim{Token: 5, Owner: "impostor"}, nil); !errors.Is(err, wire.Fenced) {
		t.Errorf("two deploys with one token: %v", err)
	}
	if after, err := r.store.Host(); err != nil || after != before {
		t.Errorf("journal was %+v, is %+v, %v", before, after, err)
	}
	r.is(t, r.a, release.Unknown)
}

func TestOutIsDurableAndOwned(t *testing.T) {
	r := newRig(t)
	c, _ := r.dial(t, wire.Hello{})
	claim := func(token uint64, owner string) {
		t.Helper()
		if err := c.Call(t.Context(), wire.OpClaim, wire.Claim{Token: token, Owner: owner}, nil); err != nil {
			t.Fatal(err)
		}
	}
	flagged := func(want bool) {
		t.Helper()
		if _, err := os.Stat(r.host.Flag); (err == nil) != want {
			t.Errorf("flag file: %v, want it there: %v", err, want)
		}
	}
	claim(1, "one")
	for range 2 {
		if err := c.Call(t.Context(), wire.OpOut, wire.Out{Token: 1, Out: true, Owner: "one"}, nil); err != nil {
			t.Fatal(err)
		}
		flagged(true)
	}
	if err := c.Call(t.Context(), wire.OpSwitch, release.Switch{From: r.a, To: r.b, Token: 1, Owner: "one"}, nil); err != nil {
		t.Fatal(err)
	}
	in, err := r.store.Host()
	if err != nil || !in.Out || in.Owner != "one" {
		t.Errorf("a switch forgot who took the host out: %+v, %v", in, err)
	}
	if err := c.Call(t.Context(), wire.OpOut, wire.Out{Token: 1, Out: true, Owner: "two"}, nil); err != nil {
		t.Errorf("the claimer may hand the host on: %v", err)
	}
	stranger, _ := r.dial(t, wire.Hello{})
	err = stranger.Call(t.Context(), wire.OpOut, wire.Out{Token: 1, Owner: "three"}, nil)
	if !errors.Is(err, wire.Fenced) && !errors.Is(err, wire.Refused) {
		t.Errorf("a stranger puts the host back: %v", err)
	}
	claim(2, "four")
	if err := c.Call(t.Context(), wire.OpOut, wire.Out{Token: 2, Owner: "four"}, nil); err != nil {
		t.Errorf("a later deploy puts the host back: %v", err)
	}
	flagged(false)
	if in, err = r.store.Host(); err != nil || in.Out || in.Owner != "" {
		t.Errorf("journal %+v, %v", in, err)
	}
	if err := os.WriteFile(r.host.Flag, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	st, err := r.host.state(t.Context(), wire.StateAsk{})
	if err != nil || !strings.Contains(strings.Join(st.Problems, "\n"), r.host.Flag) {
		t.Errorf("a flag that nobody owns is not a problem: %v, %v", st.Problems, err)
	}
}

// TestConnectionGoneInTheMiddle drops the connection while the runtime is stopped.
func TestConnectionGoneInTheMiddle(t *testing.T) {
	r := newRig(t)
	begun, proceed := make(chan struct{}), make(chan struct{})
	r.rt.Hook = func(_ context.Context, step string, _ release.Switch) error {
		if step == "stopped" {
			close(begun)
			<-proceed
		}
		return nil
	}
	c, wait := r.dial(t, wire.Hello{})
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the deploy host died")
	asked := make(chan error, 1)
	go func() { asked <- c.Call(ctx, wire.OpSwitch, r.toB(), nil) }()
	<-begun
	cancel(gone)
	if err := <-asked; !errors.Is(err, push.ErrLost) || !errors.Is(err, gone) {
		t.Errorf("the asker: %v", err)
	}

	// Another orchestrator asks meanwhile: it is told, and may change nothing.
	other := openRig(t, r.dir)
	oc, _ := other.dial(t, wire.Hello{})
	var st wire.State
	if err := oc.Call(t.Context(), wire.OpState, wire.StateAsk{Check: true}, &st); err != nil {
		t.Fatal(err)
	}
	if st.Busy == "" || st.Intent.Outcome != release.Unknown || st.Intent.Switch != r.toB() || !st.Proof.Release.IsZero() {
		t.Errorf("while another agent switches: %+v", st)
	}
	short, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	if err := oc.Call(short, wire.OpClaim, wire.Claim{Token: 2}, nil); err == nil {
		t.Error("claimed in the middle of a switch")
	}
	close(proceed)
	if err := wait(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	r.is(t, r.b, release.ProvenNew)
	if r.rt.Overlaps.Load() > 0 {
		t.Error("the runtime was called twice at a time")
	}
}

func TestCancelledBeforeItBegan(t *testing.T) {
	r := newRig(t)
	unlock, err := r.store.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, wait := r.dial(t, wire.Hello{})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := c.Call(ctx, wire.OpSwitch, r.toB(), nil); err == nil {
		t.Error("switched although another agent held the lock")
	}
	if err := wait(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	unlock()
	r.is(t, r.a, release.Unknown)
	if in, err := r.store.Host(); err != nil || !in.Switch.To.IsZero() {
		t.Errorf("journal %+v, %v", in, err)
	}
}

func TestSwitchThatHangsEndsWithinItsLimit(t *testing.T) {
	r := newRig(t)
	r.host.SwitchLimit = 50 * time.Millisecond
	r.host.Runtime = hung{r.rt}
	c, _ := r.dial(t, wire.Hello{})
	if err := c.Call(t.Context(), wire.OpSwitch, r.toB(), nil); !errors.Is(err, wire.Returned) {
		t.Errorf("%v", err)
	}
	r.is(t, r.a, release.ProvenOld)
}

// hung is a runtime whose switch waits for its context.
type hung struct{ *paper.Runtime }

func (h hung) Switch(ctx context.Context, _ release.Switch, _ func(context.Context) error) (release.Proof, error) {
	<-ctx.Done()
	return release.Proof{}, fmt.Errorf("hung: %w", ctx.Err())
}
