package agenttest

import (
	"context"
	"slices"
	"testing"

	"scap/sync/release"
)

// switchServing is switchTo on a host that users reach.
func (r Rig) switchServing(ctx context.Context, from, to release.ID) (release.Proof, int, error) {
	calls := 0
	s := release.Switch{From: from, To: to, Token: 1, Owner: "suite", Serving: true}
	proof, err := r.Runtime.Switch(ctx, s, func(ctx context.Context) error {
		calls++
		return r.Link(ctx, to)
	})
	return proof, calls, err
}

// unlinked fails the test when a switch that failed before it published anything has moved the link.
func (r Rig) unlinked(t *testing.T, calls int) {
	t.Helper()
	if calls > 0 {
		t.Errorf("link was called %d times by a switch that failed beforehand", calls)
	}
}

// untouched fails the test unless A serves and is proven, as if nothing had been asked.
func (r Rig) untouched(ctx context.Context, t *testing.T) {
	t.Helper()
	r.proves(ctx, t, r.A)
	r.serves(ctx, t, r.A)
}

// arrives fails the test unless A -> B succeeds now.
func (r Rig) arrives(ctx context.Context, t *testing.T) {
	t.Helper()
	if proof, _, err := r.switchTo(ctx, r.A, r.B); err != nil || proof.Release != r.B {
		t.Fatalf("switch: %s, %v", proof.Release.Short(), err)
	}
	r.serves(ctx, t, r.B)
	r.proves(ctx, t, r.B)
}

// needsHandover skips the test on a rig of another strategy.
func (r Rig) needsHandover(t *testing.T) {
	t.Helper()
	if !r.Handover {
		t.Skip("the rig's runtime does not hand over")
	}
}

// stopsNobody switches a host while users reach it: where the runtime would have to stop for that it must refuse, with
// nothing changed, however late it finds out.
func stopsNobody(ctx context.Context, t *testing.T, r Rig) {
	mend := func() {}
	switch {
	case r.Reload:
		t.Skip("the rig's runtime does not stop")
	case r.Handover && r.NoRoad == nil:
		t.Skip("the rig has no way to make a handover impossible")
	case r.Handover:
		mend = r.NoRoad(t)
		if road := r.proves(ctx, t, r.A).Road; road.Strategy != release.ByDrain || road.Wanted != release.ByHandover || road.Why == "" {
			t.Errorf("the road is %+v on a host that cannot hand over now", road)
		}
	}
	defer mend()
	before, pids := r.proves(ctx, t, r.A), r.Running()
	_, calls, err := r.switchServing(ctx, r.A, r.B)
	if err == nil || calls > 0 {
		t.Errorf("a switch that has to stop a host in service: %v, link called %d times", err, calls)
	}
	if after := r.proves(ctx, t, r.A); !after.Started.Equal(before.Started) || !slices.Equal(sorted(pids), sorted(r.Running())) {
		t.Errorf("the runtime was restarted: processes %v, now %v", pids, r.Running())
	}
	r.serves(ctx, t, r.A)
	r.arrives(ctx, t) // out of the pool any road will do
	if !r.Handover {
		return
	}
	mend()
	if proof, _, err := r.switchServing(ctx, r.B, r.A); err != nil || proof.Release != r.A {
		t.Errorf("with a road again: %s, %v", proof.Release.Short(), err)
	}
	r.serves(ctx, t, r.A)
}

// servesThroughout asks for pages all the time that a host in service is switched: each is good and of one release, and
// after the end each is of the new one.
func servesThroughout(ctx context.Context, t *testing.T, r Rig) {
	r.needsHandover(t)
	for _, step := range []struct{ from, to release.ID }{{r.A, r.B}, {r.B, r.A}, {r.A, r.B}} {
		watched, stop := context.WithCancel(ctx)
		done := make(chan int, 1)
		go func() {
			pages := 0
			for ; watched.Err() == nil; pages++ {
				page, err := r.Get(ctx, View)
				if err != nil || page.Pure(r.Marks[step.from]) != nil && page.Pure(r.Marks[step.to]) != nil {
					t.Errorf("a view during the switch: %v, status %d, marks %v", err, page.Status, page.Marks)
					break
				}
			}
			done <- pages
		}()
		proof, _, err := r.switchServing(ctx, step.from, step.to)
		r.serves(ctx, t, step.to)
		stop()
		t.Logf("%d pages while %s became %s", <-done, step.from.Short(), step.to.Short())
		if err != nil || proof.Release != step.to {
			t.Fatalf("switch: %s, %v", proof.Release.Short(), err)
		}
		r.proves(ctx, t, step.to)
	}
}

// returnsByRename goes back to the release that is kept: nothing is started for that.
func returnsByRename(ctx context.Context, t *testing.T, r Rig) {
	r.needsHandover(t)
	if proof, _, err := r.switchServing(ctx, r.A, r.B); err != nil || proof.Release != r.B {
		t.Fatalf("switch: %s, %v", proof.Release.Short(), err)
	}
	road := r.proves(ctx, t, r.B).Road
	if kind, took := road.To(r.A); kind != "rename" {
		t.Errorf("the road back is %s (%v), want a rename; warm: %v", kind, took, road.Warm)
	}
	if slices.Contains(road.Warm, r.B) {
		t.Error("what serves is named among what is kept besides")
	}
	before := r.Running()
	proof, calls, err := r.switchServing(ctx, r.B, r.A)
	if err != nil || proof.Release != r.A || calls != 1 {
		t.Fatalf("the way back: %s, %v, link called %d times", proof.Release.Short(), err, calls)
	}
	r.startedNothing(t, before)
	r.untouched(ctx, t)
	if road = r.proves(ctx, t, r.A).Road; !slices.Contains(road.Warm, r.B) {
		t.Errorf("the release that was left is not kept: %+v", road)
	}
	if road.TookStart <= 0 || road.TookRename <= 0 {
		t.Errorf("how long the switches took is not known: %+v", road)
	}
}

// startedNothing fails the test when a process runs that was not among before.
func (r Rig) startedNothing(t *testing.T, before []int) {
	t.Helper()
	for _, pid := range r.Running() {
		if !slices.Contains(before, pid) {
			t.Errorf("process %d was started; %v ran before", pid, before)
		}
	}
}

// changesHands gives the runtime back to its distribution and takes it over again, out of the pool and on one release.
func changesHands(ctx context.Context, t *testing.T, r Rig) {
	if !r.Hands {
		t.Skip("the rig's runtime cannot be given back")
	}
	for _, step := range []struct {
		hand release.Hand
		road string
	}{{release.GiveUp, release.ByDrain}, {release.GiveUp, release.ByDrain}, {release.Adopt, release.ByHandover}, {release.Adopt, release.ByHandover}} {
		s := release.Switch{From: r.A, To: r.A, Token: 1, Owner: "suite", Hand: step.hand}
		proof, err := r.Runtime.Switch(ctx, s, func(ctx context.Context) error { return r.Link(ctx, r.A) })
		if err != nil || proof.Release != r.A {
			t.Fatalf("%s: %s, %v", step.hand, proof.Release.Short(), err)
		}
		if road := r.proves(ctx, t, r.A).Road; road.Strategy != step.road {
			t.Errorf("after %s the road is %+v", step.hand, road)
		}
		r.serves(ctx, t, r.A)
	}
	r.arrives(ctx, t)
}

func sorted(pids []int) []int {
	pids = slices.Clone(pids)
	slices.Sort(pids)
	return pids
}
