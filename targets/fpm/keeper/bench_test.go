package keeper_test

import (
	"testing"
	"time"

	"scap/fixtures/real"
	"scap/targets/fpm/keeper"
)

// BenchmarkClient measures operations as the agent asks for them: one process of the real program a question.
func BenchmarkClient(b *testing.B) {
	r := newRig(b, options{workers: 4})
	r.client.Command[0] = real.BuildAgent(b)
	r.quiet = true
	r.adopt()
	one := r.start(r.a)
	r.publish(one.Number, 0, time.Time{})
	b.Run("state", func(b *testing.B) {
		for b.Loop() {
			r.state()
		}
	})
	b.Run("start", func(b *testing.B) { // until it listens; its end is not counted
		for b.Loop() {
			g := r.start(r.b)
			b.StopTimer()
			r.do(keeper.Request{Op: keeper.OpEnd, Generation: g.Number})
			b.StartTimer()
		}
	})
	two := r.start(r.b)
	b.Run("publish", func(b *testing.B) { // there and back
		from, to := one.Number, two.Number
		for b.Loop() {
			r.publish(to, from, soon())
			from, to = to, from
		}
		if p := r.pool0(); p.Published != from {
			b.Errorf("%+v", p)
		}
		if from != one.Number {
			r.publish(one.Number, from, soon())
		}
	})
}
