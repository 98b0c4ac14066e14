package agenttest

import (
	"context"
	"strings"
	"testing"
	"time"

	"scap/sync/release"
)

// window is how long the suite watches a host: several times what a request takes, and the suite never depends on a
// request that comes by itself.
const window = 400 * time.Millisecond

func quietSeesBusy(ctx context.Context, t *testing.T, r Rig) {
	busy, err := r.Busy(ctx, 4*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	q, err := r.Runtime.Quiet(ctx, window)
	if err != nil {
		t.Fatal(err)
	}
	if q.Active != 1 || q.Calm() {
		t.Errorf("quiet with one long request: %+v", q)
	}
	if err := await(ctx, t, busy).Pure(r.Marks[r.A]); err != nil {
		t.Errorf("the long request: %v", err)
	}
	if q, err = r.Runtime.Quiet(ctx, window); err != nil || !q.Calm() {
		t.Errorf("quiet of an idle host: %+v, %v", q, err)
	}
}

func quietSeesOutside(ctx context.Context, t *testing.T, r Rig) {
	type seen struct {
		q   release.Quiet
		err error
	}
	result := make(chan seen, 1)
	// The window is long enough for the page below to fall into it on any machine: the page is asked for until the
	// watching has ended.
	go func() {
		q, err := r.Runtime.Quiet(ctx, 2*window)
		result <- seen{q, err}
	}()
	for pages := 0; ; pages++ {
		select {
		case got := <-result:
			if got.err != nil || got.q.Outside == 0 || got.q.Calm() || !strings.Contains(got.q.Last, View) {
				t.Errorf("quiet while %d pages were asked for: %+v, %v", pages, got.q, got.err)
			}
			return
		default:
			r.serves(ctx, t, r.A)
		}
	}
}

func countsRequests(ctx context.Context, t *testing.T, r Rig) {
	proof, _, err := r.switchTo(ctx, r.A, r.B)
	if err != nil {
		t.Fatal(err)
	}
	if proof.Requests != 0 {
		t.Errorf("%d requests of others counted right after the switch", proof.Requests)
	}
	const pages = 7
	for range pages {
		r.serves(ctx, t, r.B)
	}
	for range 3 {
		if _, err := r.Runtime.Quiet(ctx, window/4); err != nil {
			t.Fatal(err)
		}
		if got := r.proves(ctx, t, r.B).Requests; got != pages {
			t.Errorf("%d requests of others counted, want %d: the runtime's own questions must not count", got, pages)
		}
	}
}

func writesNonce(ctx context.Context, t *testing.T, r Rig) {
	proof, _, err := r.switchTo(ctx, r.A, r.B)
	if err != nil {
		t.Fatal(err)
	}
	if len(proof.Nonce) < 16 {
		t.Fatalf("nonce %q is guessable", proof.Nonce)
	}
	log, err := r.Log()
	if err != nil || !strings.Contains(log, proof.Nonce) {
		t.Errorf("nonce %s is not in the runtime's error log (%v): %s", proof.Nonce, err, log)
	}
	// The gate asks later, and through another agent: the runtime itself must know what it wrote.
	later, err := r.Runtime.State(ctx)
	if err != nil || later.Nonce != proof.Nonce {
		t.Errorf("asked afresh: nonce %q, %v; it wrote %q", later.Nonce, err, proof.Nonce)
	}
	again, _, err := r.switchTo(ctx, r.B, r.A)
	if err != nil || again.Nonce == proof.Nonce {
		t.Errorf("second switch: nonce %q, %v", again.Nonce, err)
	}
}
