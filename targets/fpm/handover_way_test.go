package fpm

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"scap/sync/release"
	"scap/targets/fpm/keeper"
)

// TestWayBackToWhatServes: a handover that was taken back by a rename is ended by a switch to what is published. Whatever was
// found to be in a handover's way by then (connections that the web server keeps), nobody has to stop for that.
func TestWayBackToWhatServes(t *testing.T) {
	for name, c := range map[string]struct {
		edit    func(*fakeKeeper)
		stopped bool // it would have to be
	}{
		"sound": {func(*fakeKeeper) {}, false},
		"dead":  {func(f *fakeKeeper) { f.state.Pools[0].Generations[0].Alive = false }, true},
		"wrong": {func(f *fakeKeeper) { f.state.Pools[0].Generations[0].Wrong = "its release is gone" }, true},
		"other": {func(f *fakeKeeper) { f.state.Pools[0].Generations[0].Release = idOf("C") }, true},
		"one of two": {func(f *fakeKeeper) {
			beside(f, keeper.Generation{Number: 2, Release: idOf("C"), Alive: true})
			f.state.Pools[0].Published = 2
		}, true},
	} {
		r, f := handing(t, func(c *Config) { c.Instances[0].Listen = "127.0.0.1:9" }) // the way that the fake can be unfit
		c.edit(f)
		_, err := r.Switch(t.Context(), release.Switch{From: idOf("B"), To: idOf("A"), Serving: true}, func(context.Context) error { return nil })
		if err == nil || errors.Is(err, errServing) != c.stopped || slices.Contains(f.asked, keeper.OpHalt) {
			t.Errorf("%s: %v; the keeper was asked for %v", name, err, f.asked)
		}
	}
}

// TestKeptOneThatIsAboutToEnd is gone by the time it is to be published: it is no way back.
func TestKeptOneThatIsAboutToEnd(t *testing.T) {
	for name, c := range map[string]struct {
		left  time.Duration
		tried bool
		warm  bool
	}{"fresh": {leastLeft + time.Minute, false, true}, "ending": {leastLeft / 2, false, false}, "ending, but tried": {leastLeft / 2, true, true}} {
		r, f := handing(t)
		beside(f, keeper.Generation{Number: 2, Release: idOf("B"), Alive: true, Until: time.Now().Add(c.left)})
		if c.tried {
			f.state.Pools[0].Tried = 2
		}
		g := r.stand(t.Context())
		if got := slices.Contains(r.road(g, took{}).Warm, idOf("B")); got != c.warm || g.roster.has(idOf("B")) != c.warm {
			t.Errorf("%s: warm %t", name, got)
		}
		// Nobody answers, so what is looked at is ended, and what is not is left to end by itself.
		i := r.conf.Instances[0]
		known := register{}
		known.put(i.of(f.state.Pools[0].Generations[1]), term{Proven: true})
		_, ok, err := r.standing(t.Context(), known, i, f.state.Pools[0], idOf("B"))
		if looked := slices.Contains(f.asked, keeper.OpEnd); ok || looked != (c.warm && !c.tried) {
			t.Errorf("%s: looked at %t, %v", name, looked, err)
		}
	}
}

// TestTrialThatNobodyWouldEnd: without a watch a deadline is kept by the next question only, and a dead deploy asks none.
func TestTrialThatNobodyWouldEnd(t *testing.T) {
	r, f := handing(t)
	f.state.Watched = false
	_, err := r.Try(t.Context(), release.Switch{From: idOf("A"), To: idOf("B")}, time.Now().Add(time.Hour))
	if road := r.road(r.stand(t.Context()), took{}); err == nil || len(f.asked) > 0 || !strings.Contains(road.NoTrial, "keeper watch") || road.Strategy != release.ByHandover {
		t.Errorf("%v; the keeper was asked for %v; road %+v", err, f.asked, road)
	}
}
