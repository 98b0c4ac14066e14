package pool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scap/sync/release"
	"scap/targets"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	relA, relB = release.ID{0xa}, release.ID{0xb}
	errDead    = errors.New("connection reset by peer")
)

// world is one host and the balancers around it; every act is written down in order.
type world struct {
	mu  sync.Mutex
	log []string

	disk, running, desired release.ID
	intent                 release.Intent
	// broken names the release that the runtime cannot prove.
	broken release.ID
	// fail, by the name of an act, is called with how often the act has been called; its error is the act's.
	fail  map[string]func(n int) error
	calls map[string]int
	quiet func(n int) release.Quiet
	// road is the host's road to another release, and trial what it tries; a host that must stop refuses while it serves.
	road  release.Road
	trial release.ID
	hands []release.Hand // that the host was asked for
	// lost makes Activate end and then lose its answer.
	lost bool
	// dieAt is the number of the act from which on nothing reaches anybody: the deploy host is dead. Zero: never.
	dieAt int
	bals  []*fakeBalancer
}

func newWorld(balancers ...string) *world {
	w := &world{disk: relA, running: relA, desired: relA, fail: map[string]func(int) error{}, calls: map[string]int{}}
	for _, name := range balancers {
		w.bals = append(w.bals, &fakeBalancer{w: w, name: name})
	}
	return w
}

func (w *world) target(o Options) *Target {
	bs := make([]Balancer, 0, len(w.bals))
	for _, b := range w.bals {
		bs = append(bs, b)
	}
	return New(&fakeHost{w}, bs, o)
}

// act writes down name and answers with what fail orders for it.
func (w *world) act(name string) error {
	w.log = append(w.log, name)
	w.calls[name]++
	if w.dieAt > 0 && len(w.log) >= w.dieAt {
		return errDead
	}
	if f := w.fail[name]; f != nil {
		return f(w.calls[name])
	}
	return nil
}

// story is the log without the looks.
func (w *world) story() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var acts []string
	for _, a := range w.log {
		if !strings.HasPrefix(a, "state") && !strings.HasPrefix(a, "idle") && !strings.HasPrefix(a, "healthy") {
			acts = append(acts, a)
		}
	}
	return strings.Join(acts, " ")
}

// pooled reports whether users reach the host.
func (w *world) pooled() bool {
	for _, b := range w.bals {
		if !b.drained && !w.intent.Out {
			return true
		}
	}
	return len(w.bals) == 0 && !w.intent.Out
}

func always(err error) func(int) error { return func(int) error { return err } }

func once(err error) func(int) error {
	return func(n int) error {
		if n == 1 {
			return err
		}
		return nil
	}
}

type fakeHost struct{ *world }

var _ Host = (*fakeHost)(nil)

func (h *fakeHost) Name() string                                          { return "mw1" }
func (h *fakeHost) Stage(context.Context, release.Release) error          { return nil }
func (h *fakeHost) Verify(context.Context, release.ID) error              { return nil }
func (h *fakeHost) Prune(context.Context, uint64, []release.ID) error     { return nil }
func (h *fakeHost) Claim(_ context.Context, token uint64, _ string) error { return h.fence(token) }

func (h *fakeHost) Activate(ctx context.Context, s targets.Switch) error {
	return h.turn(ctx, "activate", s)
}

func (h *fakeHost) Repair(ctx context.Context, s targets.Switch) error {
	return h.turn(ctx, "repair", s)
}

func (h *fakeHost) Quiet(_ context.Context, d time.Duration) (release.Quiet, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.act("quiet"); err != nil {
		return release.Quiet{}, err
	}
	if h.quiet != nil {
		q := h.quiet(h.calls["quiet"])
		q.Window = d
		return q, nil
	}
	return release.Quiet{Window: d}, nil
}

func (h *fakeHost) State(context.Context) (targets.State, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.act("state"); err != nil {
		return targets.State{}, err
	}
	st := targets.State{Disk: h.disk, Running: h.running, Desired: h.desired, Intent: h.intent, Proof: release.Proof{Road: h.road}}
	if !h.trial.IsZero() {
		st.Proof.Trial = &release.Trial{Release: h.trial}
	}
	return st, nil
}

func (h *fakeHost) fence(token uint64) error {
	if token < h.intent.Token {
		return fmt.Errorf("token %d: %w", token, targets.ErrFenced)
	}
	h.intent.Token = token
	return nil
}

func (h *fakeHost) Out(_ context.Context, token uint64, out bool, owner string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.act(fmt.Sprintf("out=%t", out)); err != nil {
		return err
	}
	if err := h.fence(token); err != nil {
		return err
	}
	h.intent.Out, h.intent.Owner = out, owner
	return nil
}

// turn is what the agent does: to s.To, or back to s.From when s.To cannot be proven.
func (h *fakeHost) turn(_ context.Context, name string, s targets.Switch) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.Serving {
		name = "serving-" + name
	}
	name = fmt.Sprintf("%s:%x", name, s.To[0])
	if err := h.act(name); err != nil {
		return err
	}
	if err := h.fence(s.Token); err != nil {
		return err
	}
	if s.Serving && !h.road.Beside(s.To) {
		h.intent.Switch, h.intent.Outcome = s, release.ProvenOld
		return fmt.Errorf("it would have to stop: %w", targets.ErrReturned)
	}
	if s.Hand != "" {
		h.hands = append(h.hands, s.Hand)
	}
	h.trial = release.ID{}
	h.intent.Switch, h.intent.Outcome = s, release.ProvenNew
	h.disk, h.running, h.desired = s.To, s.To, s.To
	if h.broken == s.To {
		h.intent.Outcome = release.ProvenOld
		h.disk, h.running, h.desired = s.From, s.From, s.From
		return fmt.Errorf("prove %s: %w", s.To.Short(), targets.ErrReturned)
	}
	if h.lost {
		h.lost = false
		return errDead
	}
	return nil
}

type fakeBalancer struct {
	w       *world
	name    string
	drained bool
	busy    int // how many looks still find it busy; below zero: for ever
	red     bool
	stuck   bool // Ready says yes and does nothing
	deaf    bool // Drain does
}

var _ Balancer = (*fakeBalancer)(nil)

func (b *fakeBalancer) Name() string { return b.name }

func (b *fakeBalancer) State(context.Context, string) (targets.Pooling, string, error) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	if err := b.w.act("state@" + b.name); err != nil {
		return "", "", err
	}
	if b.drained {
		return targets.PoolOut, "DRAIN", nil
	}
	return targets.PoolIn, "UP", nil
}

func (b *fakeBalancer) Drain(ctx context.Context, _ string) error {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := b.w.act("drain@" + b.name); err != nil {
		return err
	}
	b.drained = !b.deaf
	return nil
}

func (b *fakeBalancer) Ready(context.Context, string) error {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	if err := b.w.act("ready@" + b.name); err != nil {
		return err
	}
	b.drained = b.stuck
	return nil
}

func (b *fakeBalancer) Idle(context.Context, string) (bool, error) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	if err := b.w.act("idle@" + b.name); err != nil {
		return false, err
	}
	if b.busy != 0 {
		b.busy--
		return false, nil
	}
	return true, nil
}

func (b *fakeBalancer) Healthy(context.Context, string) (bool, error) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	if err := b.w.act("healthy@" + b.name); err != nil {
		return false, err
	}
	return !b.red && !b.w.intent.Out, nil
}
