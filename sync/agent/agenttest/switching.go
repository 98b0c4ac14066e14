package agenttest

import (
	"context"
	"errors"
	"testing"
	"time"

	"scap/sync/release"
)

func provesWhatRuns(ctx context.Context, t *testing.T, r Rig) {
	proof := r.proves(ctx, t, r.A)
	if len(proof.Instances) == 0 {
		t.Fatal("the proof names no instance")
	}
	for _, i := range proof.Instances {
		if len(i.Workers) == 0 || i.Master == 0 {
			t.Errorf("instance %q: master %d, workers %v", i.Name, i.Master, i.Workers)
		}
		for _, w := range i.Workers {
			if w.Release != r.A {
				t.Errorf("worker %d answered with %s", w.PID, w.Release.Short())
			}
		}
	}
	if err := r.Runtime.Check(ctx); err != nil {
		t.Errorf("check of a good host: %v", err)
	}
	if byHandover := proof.Road.Strategy == release.ByHandover; byHandover != r.Handover {
		t.Errorf("the road is %+v on a rig with Handover %t", proof.Road, r.Handover)
	}
	if proof.Trial != nil {
		t.Errorf("a trial of %s that nobody began", proof.Trial.Release.Short())
	}
	r.serves(ctx, t, r.A)
}

func switchesThereAndBack(ctx context.Context, t *testing.T, r Rig) {
	before := r.proves(ctx, t, r.A)
	for _, step := range []struct{ from, to release.ID }{{r.A, r.B}, {r.B, r.A}, {r.A, r.B}} {
		proof, _, err := r.switchTo(ctx, step.from, step.to)
		if err != nil {
			t.Fatalf("switch %s to %s: %v", step.from.Short(), step.to.Short(), err)
		}
		if proof.Release != step.to || proof.Reason != "" {
			t.Errorf("switch answers with a proof of %s, reason %q; want %s", proof.Release.Short(), proof.Reason, step.to.Short())
		}
		if !r.Handover && proof.Started.Before(before.Started) { // a kept runtime began before
			t.Errorf("started at %v, before the one it replaced, %v", proof.Started, before.Started)
		}
		r.serves(ctx, t, step.to)
		before = r.proves(ctx, t, step.to)
	}
}

// refusesLinkWithoutRestart is the danger itself: bytecode stays what it was until a restart while data files are read
// through the link. A runtime that were to prove the new release here would lie.
func refusesLinkWithoutRestart(ctx context.Context, t *testing.T, r Rig) {
	if err := r.Link(ctx, r.B); err != nil {
		t.Fatal(err)
	}
	if r.Expire != nil {
		r.Expire(t)
	}
	page, err := r.Get(ctx, View)
	if err != nil {
		t.Fatal(err)
	}
	switch pure := page.Pure(r.Marks[r.A]) == nil || page.Pure(r.Marks[r.B]) == nil; {
	case r.Handover:
		if err := page.Pure(r.Marks[r.A]); err != nil {
			t.Errorf("a view after a link behind its back: %v; what serves must not see it", err)
		}
		if proof, err := r.Runtime.State(ctx); err != nil || proof.Release == r.B {
			t.Errorf("after a link behind its back the runtime proves %s, %v", proof.Release.Short(), err)
		}
	case !pure:
		t.Logf("a view without a restart: status %d, marks %v", page.Status, page.Marks)
		r.refuses(ctx, t)
	default:
		if r.Expire != nil {
			t.Errorf("a view without a restart is good: status %d, marks %v; the rig does not show the danger", page.Status, page.Marks)
		}
		r.refuses(ctx, t)
	}
	if proof, _, err := r.switchTo(ctx, r.A, r.B); err != nil || proof.Release != r.B {
		t.Fatalf("switch of a host that was linked behind its back: %s, %v", proof.Release.Short(), err)
	}
	r.serves(ctx, t, r.B)
}

func linksOnce(ctx context.Context, t *testing.T, r Rig) {
	calls, running := 0, []int(nil)
	_, err := r.Runtime.Switch(ctx, release.Switch{From: r.A, To: r.B, Token: 1}, func(ctx context.Context) error {
		calls++
		running = r.Running()
		if r.Handover {
			r.serves(ctx, t, r.A) // what has started is proven, and users know nothing of it
		}
		return r.Link(ctx, r.B)
	})
	if err != nil {
		t.Fatal(err)
	}
	if calls != 1 {
		t.Errorf("link was called %d times", calls)
	}
	switch beside := r.Reload || r.Handover; {
	case !beside && len(running) > 0:
		t.Errorf("processes %v ran while the link was swapped", running)
	case r.Handover && len(running) == 0:
		t.Error("nothing ran while the link was swapped: users were not served")
	}
}

func failingLink(ctx context.Context, t *testing.T, r Rig) {
	wrong := errors.New("the disk is read-only")
	_, err := r.Runtime.Switch(ctx, release.Switch{From: r.A, To: r.B, Token: 1}, func(context.Context) error { return wrong })
	if !errors.Is(err, wrong) {
		t.Fatalf("switch whose link fails: %v", err)
	}
	if r.Handover {
		r.untouched(ctx, t)
	}
	if proof, _, err := r.switchTo(ctx, r.B, r.A); err != nil || proof.Release != r.A {
		t.Fatalf("the way back: %s, %v", proof.Release.Short(), err)
	}
	r.serves(ctx, t, r.A)
}

func cancelledBefore(ctx context.Context, t *testing.T, r Rig) {
	dead, cancel := context.WithCancel(ctx)
	cancel()
	before := r.proves(ctx, t, r.A)
	if _, calls, err := r.switchTo(dead, r.A, r.B); err == nil || calls != 0 {
		t.Errorf("switch on a cancelled context: %v, link called %d times", err, calls)
	}
	after := r.proves(ctx, t, r.A)
	if !after.Started.Equal(before.Started) {
		t.Error("the runtime was restarted although the deploy was cancelled before the switch")
	}
	r.serves(ctx, t, r.A)
}

func cancelledInTheMiddle(ctx context.Context, t *testing.T, r Rig) {
	mortal, cancel := context.WithCancel(ctx)
	defer cancel()
	proof, err := r.Runtime.Switch(mortal, release.Switch{From: r.A, To: r.B, Token: 1}, func(ctx context.Context) error {
		cancel()
		if ctx.Err() != nil {
			t.Error("the link was given a context that ended with the connection's")
		}
		return r.Link(ctx, r.B)
	})
	if err != nil || proof.Release != r.B {
		t.Errorf("a switch cancelled in the middle ends with %s, %v; want B proven", proof.Release.Short(), err)
	}
	r.proves(ctx, t, r.B)
	r.serves(ctx, t, r.B)
}

func inFlight(ctx context.Context, t *testing.T, r Rig) {
	busy, err := r.Busy(ctx, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	proof, _, err := r.switchTo(ctx, r.A, r.B)
	if err != nil || proof.Release != r.B {
		t.Fatalf("switch: %s, %v", proof.Release.Short(), err)
	}
	page := await(ctx, t, busy)
	// By handover the old runtime ends it. By reload it goes on while the link is swapped; a long one may then be mixed in
	// the layout that preflight refuses, but it is never killed.
	if err := page.Pure(r.Marks[r.A]); err != nil {
		t.Errorf("the request in flight: %v", err)
	}
}

func emergency(ctx context.Context, t *testing.T, r Rig) {
	busy, err := r.Busy(ctx, 8*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := r.Runtime.Switch(ctx, release.Switch{From: r.A, To: r.B, Token: 1, Emergency: true}, func(ctx context.Context) error {
		return r.Link(ctx, r.B)
	})
	if err != nil || proof.Release != r.B {
		t.Fatalf("switch: %s, %v", proof.Release.Short(), err)
	}
	if r.Handover {
		r.nobodyWaited(ctx, t, busy)
	} else if page := await(ctx, t, busy); page.Pure(r.Marks[r.A]) == nil {
		t.Error("the emergency switch waited for the request in flight")
	}
	r.serves(ctx, t, r.B)
}

// nobodyWaited fails the test when a request, begun before a switch that has just ended, has been waited for. The old
// runtime may end it afterwards; no other may.
func (r Rig) nobodyWaited(ctx context.Context, t *testing.T, busy <-chan Page) {
	t.Helper()
	select {
	case page := <-busy:
		if page.Pure(r.Marks[r.A]) == nil {
			t.Error("the emergency switch waited for the request in flight")
		}
	default:
		if page := await(ctx, t, busy); page.Status != 0 && page.Pure(r.Marks[r.A]) != nil {
			t.Errorf("the request in flight: status %d, marks %v", page.Status, page.Marks)
		}
	}
}

func await(ctx context.Context, t *testing.T, c <-chan Page) Page {
	t.Helper()
	select {
	case p := <-c:
		return p
	case <-ctx.Done():
		t.Fatal("the long request never ended")
		return Page{}
	}
}
