package agenttest

import (
	"context"
	"testing"

	"scap/sync/release"
)

func startFails(ctx context.Context, t *testing.T, r Rig) {
	if r.BreakStart == nil {
		t.Skip("the rig has no start that fails")
	}
	mend := r.BreakStart(t)
	_, calls, err := r.switchTo(ctx, r.A, r.B)
	if err == nil {
		t.Fatal("the switch succeeded although the start fails")
	}
	t.Logf("calls of link: %d; %v", calls, err)
	if r.Handover {
		r.unlinked(t, calls)
		r.untouched(ctx, t)
		mend()
		r.arrives(ctx, t)
		return
	}
	r.refuses(ctx, t)
	mend()
	back(ctx, t, r)
}

func brokenRelease(ctx context.Context, t *testing.T, r Rig) {
	_, calls, err := r.switchTo(ctx, r.A, r.Broken)
	if err == nil {
		t.Fatal("the switch to a release that fails on every view succeeded")
	}
	t.Log(err)
	if r.Handover {
		r.unlinked(t, calls)
		r.untouched(ctx, t)
	}
	if proof, _, err := r.switchTo(ctx, r.Broken, r.A); err != nil || proof.Release != r.A {
		t.Fatalf("the way back: %s, %v", proof.Release.Short(), err)
	}
	r.serves(ctx, t, r.A)
}

func brokenConfig(ctx context.Context, t *testing.T, r Rig) {
	if r.BreakConfig == nil {
		t.Skip("the rig has no configuration to break")
	}
	mend := r.BreakConfig(t)
	defer mend()
	if err := r.Runtime.Check(ctx); err == nil {
		t.Error("check passes a broken configuration")
	} else {
		t.Log(err)
	}
	if _, calls, err := r.switchTo(ctx, r.A, r.B); err == nil || calls != 0 {
		t.Errorf("switch with a broken configuration: %v, link called %d times", err, calls)
	}
	r.serves(ctx, t, r.A)
	mend()
	r.proves(ctx, t, r.A)
}

func brokenSettings(ctx context.Context, t *testing.T, r Rig) {
	if r.BreakSettings == nil {
		t.Skip("the rig has no settings to break")
	}
	mend := r.BreakSettings(t)
	_, calls, err := r.switchTo(ctx, r.A, r.B)
	if err == nil {
		t.Error("the switch proved a runtime whose code follows the disk")
	} else {
		t.Log(err)
	}
	if r.Handover {
		r.unlinked(t, calls)
		r.untouched(ctx, t)
		mend()
		r.arrives(ctx, t)
		return
	}
	r.refuses(ctx, t)
	mend()
	back(ctx, t, r)
}

func orphans(ctx context.Context, t *testing.T, r Rig) {
	if r.KillMaster == nil {
		t.Skip("the rig has no master to kill")
	}
	r.KillMaster(t)
	if proof := r.doubts(ctx, t); proof.Release.IsZero() && strays(proof) == 0 {
		t.Errorf("no stray worker named; reason %q", proof.Reason)
	}
	if r.Handover {
		r.serves(ctx, t, r.A) // by its orphans, or by who replaced them
	}
	if proof, _, err := r.switchTo(ctx, r.A, r.B); err != nil || proof.Release != r.B {
		t.Fatalf("switch with orphans: %s, %v", proof.Release.Short(), err)
	}
	r.serves(ctx, t, r.B)
	if proof := r.proves(ctx, t, r.B); strays(proof) > 0 {
		t.Errorf("strays are left: %+v", proof.Instances)
	}
}

func strays(p release.Proof) (n int) {
	for _, i := range p.Instances {
		n += len(i.Strays)
	}
	return n
}

// doubts fails the test unless the runtime proves nothing and says why; one that something watches over may prove A again.
func (r Rig) doubts(ctx context.Context, t *testing.T) release.Proof {
	t.Helper()
	if !r.Handover {
		return r.refuses(ctx, t)
	}
	proof, err := r.Runtime.State(ctx)
	if err != nil {
		t.Fatalf("state: %v", err)
	}
	if proof.Release != r.A && (!proof.Release.IsZero() || proof.Reason == "") {
		t.Errorf("the runtime proves %s with the reason %q", proof.Release.Short(), proof.Reason)
	}
	return proof
}

func stopped(ctx context.Context, t *testing.T, r Rig) {
	if r.Stop == nil {
		t.Skip("the rig has no way to stop the runtime")
	}
	r.Stop(t)
	t.Log(r.doubts(ctx, t).Reason)
	// Whoever waits for a quiet host before it repairs it must not wait for ever.
	if q, err := r.Runtime.Quiet(ctx, window/4); err != nil || q.Active != 0 {
		t.Errorf("quiet of a stopped runtime: %+v, %v", q, err)
	}
	if proof, _, err := r.switchTo(ctx, r.A, r.B); err != nil || proof.Release != r.B {
		t.Fatalf("switch of a stopped runtime: %s, %v", proof.Release.Short(), err)
	}
	r.serves(ctx, t, r.B)
}

func hanging(ctx context.Context, t *testing.T, r Rig) {
	if r.Hang == nil {
		t.Skip("the rig has no way to make workers hang")
	}
	release := r.Hang(t)
	defer release()
	t.Log(r.refuses(ctx, t).Reason)
	release()
	r.proves(ctx, t, r.A)
}

func back(ctx context.Context, t *testing.T, r Rig) {
	t.Helper()
	if proof, _, err := r.switchTo(ctx, r.B, r.A); err != nil || proof.Release != r.A {
		t.Fatalf("the way back: %s, %v", proof.Release.Short(), err)
	}
	r.serves(ctx, t, r.A)
	r.proves(ctx, t, r.A)
}
