package agenttest

import (
	"context"
	"testing"
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
	r.refuses(ctx, t)
	mend()
	back(ctx, t, r)
}

func brokenRelease(ctx context.Context, t *testing.T, r Rig) {
	if _, _, err := r.switchTo(ctx, r.A, r.Broken); err == nil {
		t.Fatal("the switch to a release that fails on every view succeeded")
	} else {
		t.Log(err)
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
	_, _, err := r.switchTo(ctx, r.A, r.B)
	if err == nil {
		t.Error("the switch proved a runtime whose code follows the disk")
	} else {
		t.Log(err)
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
	proof := r.refuses(ctx, t)
	strays := 0
	for _, i := range proof.Instances {
		strays += len(i.Strays)
	}
	if strays == 0 {
		t.Errorf("no stray worker named; reason %q", proof.Reason)
	}
	if proof, _, err := r.switchTo(ctx, r.A, r.B); err != nil || proof.Release != r.B {
		t.Fatalf("switch with orphans: %s, %v", proof.Release.Short(), err)
	}
	r.serves(ctx, t, r.B)
	for _, i := range r.proves(ctx, t, r.B).Instances {
		if len(i.Strays) > 0 {
			t.Errorf("strays %v are left", i.Strays)
		}
	}
}

func stopped(ctx context.Context, t *testing.T, r Rig) {
	if r.Stop == nil {
		t.Skip("the rig has no way to stop the runtime")
	}
	r.Stop(t)
	t.Log(r.refuses(ctx, t).Reason)
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
