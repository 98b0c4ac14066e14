package remote

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"scap/fixtures/paper"
	"scap/sync/push"
	"scap/sync/release"
	"scap/targets"
)

func anHour() time.Time { return time.Now().Add(time.Hour) }

// triable is w with b staged, on a host that can try it.
func (w *world) triable(t *testing.T) *world {
	t.Helper()
	if err := w.host.Stage(t.Context(), w.b); err != nil {
		t.Fatal(err)
	}
	w.order(t, "handover")
	return w
}

// tries fails the test unless the host says that it serves a and tries id; the zero ID stands for nothing.
func (w *world) tries(t *testing.T, id release.ID) {
	t.Helper()
	w.serves(t, w.a.ID)
	st, err := w.host.State(t.Context())
	if err != nil || tried(st.Proof) != id {
		t.Errorf("the host tries %s, %v; want %s", tried(st.Proof).Short(), err, id.Short())
	}
}

func tries(t *testing.T, w *world) {
	ctx := t.Context()
	st, err := w.host.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.host.CanTry(st); err == nil || !strings.Contains(err.Error(), "drain: no room for two") {
		t.Errorf("can try on a host that drains: %v", err)
	}
	w.triable(t)
	if st, err = w.host.State(ctx); err != nil || w.host.CanTry(st) != nil {
		t.Errorf("can try: %v, %v", w.host.CanTry(st), err)
	}
	for range 2 {
		until := anHour()
		if err := w.host.Try(ctx, w.toB(), until); err != nil {
			t.Fatal(err)
		}
		w.tries(t, w.b.ID)
		st, err := w.host.State(ctx) // the agent counts from when it is asked
		if over := st.Proof.Trial.Until.Sub(until); err != nil || over < -time.Second || over > 10*time.Minute {
			t.Errorf("it is tried until %v, not %v: %v", st.Proof.Trial.Until, until, err)
		}
	}
	for range 2 {
		if err := w.host.Abandon(ctx, 1); err != nil {
			t.Error(err)
		}
		w.tries(t, release.ID{})
	}
	end := w.order(t, "broken-"+w.b.ID.String())
	if err := w.host.Try(ctx, w.toB(), anHour()); err == nil || !strings.Contains(err.Error(), "does not start") {
		t.Errorf("try what does not start: %v", err)
	}
	w.tries(t, release.ID{})
	end()
	s := w.toB()
	s.Serving = true
	if err := errors.Join(w.host.Try(ctx, s, anHour()), w.host.Activate(ctx, s)); err != nil {
		t.Error(err)
	}
	w.serves(t, w.b.ID)
	if st, err = w.host.State(ctx); err != nil || st.Proof.Trial != nil {
		t.Errorf("after it became what all get: %+v, %v", st.Proof.Trial, err)
	}
}

// lostInTrial: the agent notices that nobody hears of the trial, and takes it back. A session that had been idle is lost
// first: the trial is asked for once more then.
func lostInTrial(t *testing.T, w *world) {
	w.triable(t)
	end := w.order(t, "hold")
	defer end()
	done := make(chan error, 1)
	go func() { done <- w.host.Try(t.Context(), w.toB(), anHour()) }()
	for range 2 {
		w.held(t)
		if err := os.Remove(filepath.Join(w.dir, "held")); err != nil {
			t.Fatal(err)
		}
		w.link.cut()
	}
	fails(t, "try", <-done, push.ErrLost)
	w.tries(t, release.ID{})
}

func cancelledInTrial(t *testing.T, w *world) {
	w.triable(t)
	end := w.order(t, "hold")
	defer end()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- w.host.Try(ctx, w.toB(), anHour()) }()
	w.held(t)
	cancel()
	fails(t, "try", <-done, context.Canceled)
	w.tries(t, release.ID{})
	fails(t, "try when cancelled", w.host.Try(ctx, w.toB(), anHour()), context.Canceled)
	w.tries(t, release.ID{})
}

// deaf is memory whose answers are lost: those that are under way while lose is set, and the questions while mute is.
type deaf struct {
	*memory
	lose, mute atomic.Bool
	lost       func() // if set, is called for each answer
}

func (d *deaf) Open(ctx context.Context) (io.ReadWriteCloser, error) {
	rwc, err := d.memory.Open(ctx)
	return &deafSession{rwc, d}, err
}

type deafSession struct {
	io.ReadWriteCloser
	d *deaf
}

func (s *deafSession) Read(p []byte) (int, error) {
	n, err := s.ReadWriteCloser.Read(p)
	if s.d.lose.CompareAndSwap(true, false) {
		if s.d.lost != nil {
			s.d.lost()
		}
		return 0, errors.Join(io.ErrUnexpectedEOF, s.Close())
	}
	return n, err
}

func (s *deafSession) Write(p []byte) (int, error) {
	if s.d.mute.CompareAndSwap(true, false) {
		return 0, errors.Join(io.ErrClosedPipe, s.Close())
	}
	return s.ReadWriteCloser.Write(p)
}

// deafWorld is a world with b staged whose answers can be lost.
func deafWorld(t *testing.T) (*world, *deaf, *paper.Runtime) {
	t.Helper()
	d := &deaf{}
	var rt *paper.Runtime
	w := deployed(t, func(t *testing.T, dir string) link {
		h, err := paperHost(dir)
		if err != nil {
			t.Fatal(err)
		}
		d.memory = &memory{host: h}
		rt = h.Runtime.(paper.Trier).Runtime
		return link{opener: d, cut: d.cut}
	})
	return w.triable(t), d, rt
}

// TestHandLost: a question that never arrived has handed nothing over, whatever switch to that release went before.
func TestHandLost(t *testing.T) {
	w, d, rt := deafWorld(t)
	var hands []release.Hand
	rt.Hook = func(_ context.Context, step string, s release.Switch) error {
		if step == "linked" {
			hands = append(hands, s.Hand)
		}
		return nil
	}
	d.mute.Store(true)
	s := release.Switch{From: w.a.ID, To: w.a.ID, Token: 1, Owner: "first", Hand: release.Adopt}
	if err := w.host.Activate(t.Context(), s); err != nil || len(hands) != 1 || hands[0] != release.Adopt || d.mute.Load() {
		t.Errorf("%v; hands %q", err, hands)
	}
	w.serves(t, w.a.ID)
}

// TestAnswerOfATrialLost: the host has begun, or ended, what was asked of it, and only the answer is gone, each time.
func TestAnswerOfATrialLost(t *testing.T) {
	w, d, rt := deafWorld(t)
	lost, deafTo := 0, "tried"
	orders := rt.Hook
	rt.Hook = func(ctx context.Context, step string, s release.Switch) error {
		if step == deafTo {
			lost++
			d.lose.Store(true)
		}
		return orders(ctx, step, s)
	}
	if err := w.host.Try(t.Context(), w.toB(), anHour()); err != nil || lost < 2 {
		t.Errorf("the host tries it, but Try says %v; %d answers were lost", err, lost)
	}
	w.tries(t, w.b.ID)
	lost, deafTo = 0, "abandoned"
	if err := w.host.Abandon(t.Context(), 1); !errors.Is(err, push.ErrLost) || lost < 2 {
		t.Errorf("nobody heard that it has ended, but: %v; %d answers were lost", err, lost)
	}
	w.tries(t, release.ID{})
	// Who does not want it any more leaves none behind: the host has answered, and the asker is gone by then.
	ctx, cancel := context.WithCancel(t.Context())
	deafTo, d.lost = "tried", cancel
	if err := w.host.Try(ctx, w.toB(), anHour()); !errors.Is(err, push.ErrLost) {
		t.Errorf("try: %v", err)
	}
	w.tries(t, release.ID{})
}

func TestCanTry(t *testing.T) {
	h := New("host1", nil, nil, nil)
	a, b := release.ID{1}, release.ID{2}
	good := func() targets.State {
		return targets.State{Disk: a, Running: a, Desired: a, Proof: release.Proof{Release: a, Road: release.Road{Strategy: release.ByHandover}}}
	}
	for name, x := range map[string]struct {
		edit func(*targets.State)
		says string // empty: it can
	}{
		"good":              {func(*targets.State) {}, ""},
		"says nothing":      {func(st *targets.State) { st.Proof.Road = release.Road{} }, "is a drain"},
		"reloads":           {func(st *targets.State) { st.Proof.Road.Strategy = release.ByReload }, "is a reload"},
		"no second server":  {func(st *targets.State) { st.Proof.Road.NoTrial = "php has no trial socket" }, "no trial socket"},
		"out":               {func(st *targets.State) { st.Intent = release.Intent{Out: true, Owner: "ann"} }, "by ann"},
		"not one release":   {func(st *targets.State) { st.Running = b }, "not one release"},
		"tries one already": {func(st *targets.State) { st.Proof.Trial, st.Proof.Road = &release.Trial{Release: b}, release.Road{} }, ""},
	} {
		st := good()
		x.edit(&st)
		err := h.CanTry(st)
		if (err == nil) != (x.says == "") || err != nil && (!strings.Contains(err.Error(), x.says) || !strings.Contains(err.Error(), "host1")) {
			t.Errorf("%s: %v, want %q", name, err, x.says)
		}
	}
}
