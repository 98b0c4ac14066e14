package keeper_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"scap/fixtures/real"
	"scap/targets/fpm/keeper"
)

// TestHandover takes a host over from its distribution, hands it from one release to the next and back, tries a third, and
// gives it back.
func TestHandover(t *testing.T) {
	r := newRig(t, options{})
	r.distribution()
	if got, err := r.ask(t.Context(), r.listen(), ""); err != nil || got != "AA2" {
		t.Fatalf("the distribution's php-fpm: %q %v", got, err)
	}
	r.denied(keeper.Request{Op: keeper.OpStart, Pool: "www", Release: r.a, Until: soon()}, keeper.NotOurs, "adopt")
	r.adopt()
	r.adopt()
	if s := r.state(); !s.Adopted || s.Watched || s.Pools[0].Published != 0 || s.Pools[0].Problem != "" {
		t.Fatalf("adopted: %+v", s)
	}
	if left := r.processes(); len(left) > 0 {
		t.Fatalf("after adoption: %+v", left)
	}
	one := r.start(r.a)
	if one.Number != 1 || len(one.Workers) != 2 || one.Release != r.a || one.Wrong != "" || one.Namespace == 0 || (one.Status == "") != real.PHP7() {
		t.Fatalf("%+v", one)
	}
	r.serves(one.Socket, "A")
	r.publish(one.Number, 0, time.Time{})
	r.serves(r.listen(), "A")

	two := r.start(r.b)
	r.serves(two.Socket, "B")
	r.serves(r.listen(), "A")
	r.denied(keeper.Request{Op: keeper.OpPublish, Pool: "www", Generation: two.Number, From: 7, Until: soon()}, keeper.Refused, "generation 1 is published")
	r.publish(two.Number, one.Number, soon())
	r.serves(r.listen(), "B")
	p := r.pool0()
	if p.Published != 2 || len(p.Generations) != 2 || !p.Generations[0].Alive || p.Generations[0].Until.IsZero() || !p.Generations[1].Until.IsZero() || p.Problem != "" {
		t.Fatalf("%+v", p)
	}
	if p.Need < 1<<20 || p.Free < p.Need {
		t.Errorf("need %d, free %d", p.Need, p.Free)
	}
	r.denied(keeper.Request{Op: keeper.OpEnd, Generation: 2}, keeper.Refused, "published")
	r.publish(one.Number, two.Number, soon()) // the way back
	r.serves(r.listen(), "A")

	r.do(keeper.Request{Op: keeper.OpTry, Pool: "www", Generation: two.Number, Until: soon()})
	r.serves(r.conf.Pools[0].Trial, "B")
	if p := r.pool0(); p.Tried != 2 || p.Published != 1 {
		t.Fatalf("tried: %+v", p)
	}
	r.denied(keeper.Request{Op: keeper.OpEnd, Generation: 2}, keeper.Refused, "tried")
	r.publish(two.Number, one.Number, time.Time{}) // promoted, and the old one ends at once
	r.serves(r.listen(), "B")
	if p := r.pool0(); p.Tried != 0 || p.Published != 2 || len(p.Generations) != 1 {
		t.Fatalf("promoted: %+v", p)
	}
	r.do(keeper.Request{Op: keeper.OpReopen})
	r.do(keeper.Request{Op: keeper.OpHalt})
	r.do(keeper.Request{Op: keeper.OpHalt, Kill: true})
	if left := r.processes(); len(left) > 0 || len(r.pool0().Generations) > 0 {
		t.Fatalf("halted: %+v", left)
	}
	if _, err := os.Lstat(r.listen()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("halted, and users are still sent there: %v", err)
	}
	three := r.start(r.a)
	if three.Number != 3 {
		t.Errorf("number %d", three.Number)
	}
	r.publish(3, 0, time.Time{})
	r.do(keeper.Request{Op: keeper.OpGiveUp})
	r.do(keeper.Request{Op: keeper.OpGiveUp})
	if got, err := r.ask(t.Context(), r.listen(), ""); err != nil || got != "AA2" {
		t.Fatalf("given back: %q %v", got, err)
	}
	if s := r.state(); s.Adopted || s.Pools[0].Published != 0 {
		t.Errorf("given back: %+v", s)
	}
	r.adopt()
	if four := r.start(r.b); four.Number != 4 {
		t.Errorf("number %d", four.Number)
	}
}
