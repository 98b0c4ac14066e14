package agenttest

import (
	"context"
	"testing"
	"time"

	"scap/sync/agent"
	"scap/sync/release"
)

// trier is the rig's runtime as one that can try; the test is skipped on a rig on which nothing can be tried.
func (r Rig) trier(t *testing.T) agent.Trier {
	t.Helper()
	if r.Tries == 0 {
		t.Skip("nothing can be tried on this rig")
	}
	trier, ok := r.Runtime.(agent.Trier)
	if !ok {
		t.Fatal("the rig says that releases can be tried, but its runtime is no agent.Trier")
	}
	return trier
}

func (r Rig) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

// aWhile is a deadline that no test waits for.
func (r Rig) aWhile() time.Time { return r.now().Add(time.Hour) }

func (r Rig) toB() release.Switch {
	return release.Switch{From: r.A, To: r.B, Token: 1, Owner: "suite", Serving: true}
}

// tries begins a trial of B beside A.
func (r Rig) tries(ctx context.Context, t *testing.T, until time.Time) release.Trial {
	t.Helper()
	proof, err := r.trier(t).Try(ctx, r.toB(), until)
	if err != nil {
		t.Fatalf("try: %v", err)
	}
	if proof.Trial == nil || proof.Trial.Release != r.B {
		t.Fatalf("the proof names the trial %+v, want one of %s", proof.Trial, r.B.Short())
	}
	return *r.trial(ctx, t)
}

// trial fails the test unless B is tried beside A, proven.
func (r Rig) trial(ctx context.Context, t *testing.T) *release.Trial {
	t.Helper()
	trial := r.proves(ctx, t, r.A).Trial
	if trial == nil {
		t.Fatal("no trial is named, asked afresh")
	}
	if trial.Release != r.B || trial.Reason != "" {
		t.Errorf("the trial is one of %s, reason %q; want %s proven", trial.Release.Short(), trial.Reason, r.B.Short())
	}
	return trial
}

// untried fails the test unless A alone serves and is proven.
func (r Rig) untried(ctx context.Context, t *testing.T) {
	t.Helper()
	if trial := r.proves(ctx, t, r.A).Trial; trial != nil {
		t.Errorf("a trial of %s is named", trial.Release.Short())
	}
	r.only(ctx, t, r.A)
}

// only fails the test unless id answers as many requests as would show another one.
func (r Rig) only(ctx context.Context, t *testing.T, id release.ID) {
	t.Helper()
	for range 2 * r.Tries {
		r.serves(ctx, t, id)
	}
}

// shared fails the test unless requests, in any order, are answered by A and by B, each page by one of them.
func (r Rig) shared(ctx context.Context, t *testing.T) {
	t.Helper()
	// The web server may take a moment to send the first one to a second upstream; so it is asked until it does.
	var ofA, ofB int
	for ; ctx.Err() == nil && (ofA == 0 || ofB == 0 || ofA+ofB < r.Tries); ofA, ofB = r.count(ctx, t, ofA, ofB) {
		if t.Failed() {
			return
		}
	}
	t.Logf("%d pages of what serves, %d of what is tried", ofA, ofB)
	if ofA == 0 || ofB == 0 {
		t.Errorf("%d pages were of what serves and %d of what is tried: want some of each", ofA, ofB)
	}
}

func (r Rig) count(ctx context.Context, t *testing.T, ofA, ofB int) (int, int) {
	t.Helper()
	page, err := r.Get(ctx, View)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		t.Errorf("view: %v", err)
	case page.Pure(r.Marks[r.A]) == nil:
		ofA++
	case page.Pure(r.Marks[r.B]) == nil:
		ofB++
	default:
		t.Errorf("a view during a trial: status %d, marks %v", page.Status, page.Marks)
	}
	return ofA, ofB
}

func triesAndAbandons(ctx context.Context, t *testing.T, r Rig) {
	r.trier(t)
	nonce := r.proves(ctx, t, r.A).Nonce
	until := r.aWhile()
	first := r.tries(ctx, t, until)
	if first.Until.Before(until.Add(-time.Second)) || first.Until.After(until.Add(time.Second)) {
		t.Errorf("the trial says that it ends at %v, asked for %v", first.Until, until)
	}
	if first.Nonce == "" || first.Nonce == nonce {
		t.Errorf("nonce %q of the trial, %q of what serves", first.Nonce, nonce)
	}
	r.shared(ctx, t)
	if seen := r.trial(ctx, t); seen.Requests == 0 {
		t.Error("no request of others counted of the trial")
	}
	// Repeatable: kept, until the later time.
	before := r.Running()
	if again := r.tries(ctx, t, until.Add(time.Hour)); !again.Started.Equal(first.Started) || !again.Until.After(first.Until) {
		t.Errorf("tried again: started %v until %v, before %v until %v", again.Started, again.Until, first.Started, first.Until)
	}
	r.startedNothing(t, before)
	r.shared(ctx, t)
	for range 2 {
		proof, err := r.trier(t).Abandon(ctx)
		if err != nil || proof.Trial != nil || proof.Release != r.A {
			t.Fatalf("abandon: %v; the proof says %s, trial %+v", err, proof.Release.Short(), proof.Trial)
		}
		r.untried(ctx, t)
	}
	r.tries(ctx, t, until) // and once more
	r.shared(ctx, t)
}

// promotes makes the release that is tried what all users get: what was proven for the trial is what serves afterwards.
func promotes(ctx context.Context, t *testing.T, r Rig) {
	r.tries(ctx, t, r.aWhile())
	r.shared(ctx, t)
	tried := r.proves(ctx, t, r.A).Trial
	before := r.Running()
	proof, calls, err := r.switchServing(ctx, r.A, r.B)
	if err != nil || proof.Release != r.B || calls != 1 {
		t.Fatalf("switch to what is tried: %s, %v, link called %d times", proof.Release.Short(), err, calls)
	}
	r.startedNothing(t, before)
	if trial := r.proves(ctx, t, r.B).Trial; trial != nil {
		t.Errorf("after it became what all get, a trial of %s is named", trial.Release.Short())
	}
	if tried == nil || !proof.Started.After(tried.Started) || proof.Requests >= tried.Requests {
		t.Errorf("it serves all since %v, %d requests; what it did as a trial (%+v) is no part of that", proof.Started, proof.Requests, tried)
	}
	r.only(ctx, t, r.B)
	if _, err := r.trier(t).Abandon(ctx); err != nil {
		t.Errorf("abandon without a trial: %v", err)
	}
	r.only(ctx, t, r.B)
}

func triesBroken(ctx context.Context, t *testing.T, r Rig) {
	trier := r.trier(t)
	s := r.toB()
	s.To = r.Broken
	if proof, err := trier.Try(ctx, s, r.aWhile()); err == nil {
		t.Fatalf("a release that fails on every view is tried on users: %+v", proof.Trial)
	} else {
		t.Log(err)
	}
	r.untried(ctx, t)
	r.tries(ctx, t, r.aWhile()) // nothing of it is in the way of a good one
	r.shared(ctx, t)
}

func triesWithoutStart(ctx context.Context, t *testing.T, r Rig) {
	trier := r.trier(t)
	if r.BreakStart == nil {
		t.Skip("the rig has no start that fails")
	}
	mend := r.BreakStart(t)
	if _, err := trier.Try(ctx, r.toB(), r.aWhile()); err == nil {
		t.Error("tried although the start fails")
	}
	r.untried(ctx, t)
	mend()
	r.tries(ctx, t, r.aWhile())
}

func triesWithoutRoad(ctx context.Context, t *testing.T, r Rig) {
	trier := r.trier(t)
	if r.NoRoad == nil {
		t.Skip("the rig has no way to make a handover impossible")
	}
	mend := r.NoRoad(t)
	defer mend()
	if _, err := trier.Try(ctx, r.toB(), r.aWhile()); err == nil {
		t.Error("tried on a host that cannot run two releases now")
	}
	r.untried(ctx, t)
}

func trialCancelledBefore(ctx context.Context, t *testing.T, r Rig) {
	trier := r.trier(t)
	dead, cancel := context.WithCancel(ctx)
	cancel()
	before := r.Running()
	if _, err := trier.Try(dead, r.toB(), r.aWhile()); err == nil {
		t.Error("tried on a cancelled context")
	}
	r.startedNothing(t, before)
	r.untried(ctx, t)
}

// trialCancelledInTheMiddle ends the context once the second runtime is there: whole or not at all is the trial then.
func trialCancelledInTheMiddle(ctx context.Context, t *testing.T, r Rig) {
	trier := r.trier(t)
	mortal, cancel := context.WithCancel(ctx)
	defer cancel()
	before := len(r.Running())
	over := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-over:
				return
			}
			if len(r.Running()) > before {
				cancel()
				return
			}
		}
	}()
	_, err := trier.Try(mortal, r.toB(), r.aWhile())
	close(over)
	<-watched
	t.Logf("it ended with %v", err)
	if err == nil {
		r.trial(ctx, t)
		r.shared(ctx, t)
		return
	}
	r.untried(ctx, t)
}

// trialEnds lets a trial's time pass: the host ends it, whoever began it is gone.
func trialEnds(ctx context.Context, t *testing.T, r Rig) {
	trier := r.trier(t)
	var until time.Time
	for short := 3 * time.Second; ; short *= 2 { // longer than it takes to begin one, on any machine
		until = r.now().Add(short)
		_, err := trier.Try(ctx, r.toB(), until)
		if err == nil {
			break
		}
		if r.now().Before(until) || ctx.Err() != nil {
			t.Fatalf("try: %v", err)
		}
	}
	if r.Pass != nil {
		r.Pass(t, until)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for r.proves(ctx, t, r.A).Trial != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the trial never ended")
		}
	}
	if r.now().Before(until.Add(-time.Second)) {
		t.Errorf("the trial ended at %v, before its time, %v", r.now(), until)
	}
	r.untried(ctx, t)
}
