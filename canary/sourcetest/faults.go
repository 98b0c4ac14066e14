package sourcetest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"scap/canary"
)

// short is how long a broken source is waited for: an error by then is as good as one earlier.
const short = time.Second

var errEnough = errors.New("the asker has gone")

// ends wants a Read to end with an error when its context does; begun is closed once it may be ended.
func (b *bench) ends(q canary.Query, before bool) {
	b.t.Helper()
	ctx, cancel := context.WithCancelCause(b.ctx)
	defer cancel(nil)
	if before {
		cancel(errEnough)
	}
	result := make(chan error, 1)
	go func() {
		_, err := b.Source.Read(ctx, q)
		result <- err
	}()
	cancel(errEnough)
	select {
	case err := <-result:
		if before && err == nil {
			b.t.Error("read answers although its context had ended")
		}
	case <-time.After(patience / 3):
		b.t.Fatal("read goes on although its context has ended")
	}
}

func cancelled(b *bench) {
	b.log(b.traffic(2, 6, one)...)
	b.beat(6 + settle)
	q := b.ask(2, 6, one)
	b.ends(q, true)
	b.ends(q, false)
	b.exact(q) // and nothing is left of it
}

func cancelledFaults(b *bench) {
	b.eachFault(func(b *bench, mend func()) {
		b.ends(b.ask(2, 6, one), true)
		b.ends(b.ask(2, 6, one), false)
		mend()
	})
}

func faults(b *bench) {
	b.eachFault(func(b *bench, mend func()) {
		b.honest("what came before", 2, 6)
		const from = 6 + settle // all before has been said to be there
		b.log(b.traffic(from, from+4, one, two, three)...)
		b.beat(from + 4 + settle)
		b.honest("all of it", 2, from+4)
		b.honest("what came meanwhile", from+2, from+4)
		b.honest("what never came", 34, 38)
		mend()
		b.log(b.traffic(34, 40, one, two, three)...)
		b.beat(40 + settle)
		// The first tick after a gap may be lost with it.
		b.exact(b.ask(36, 40, one, two, three))
		b.honest("after it was mended", 2, 40)
	})
}

// eachFault breaks fresh worlds with a little traffic in them, one for each fault.
func (b *bench) eachFault(do func(b *bench, mend func())) {
	if len(b.Faults) == 0 {
		b.t.Skip("the rig has no faults")
	}
	for _, name := range slices.Sorted(maps.Keys(b.Faults)) {
		b.t.Run(name, func(t *testing.T) {
			fresh := b.fresh(t)
			fresh.log(fresh.traffic(2, 6, one, two, three)...)
			fresh.beat(6 + settle)
			fresh.exact(fresh.ask(2, 6, one, two, three))
			mend, once := fresh.Faults[name](t), false
			again := func() {
				if !once && mend != nil {
					once = true
					mend()
				}
			}
			defer again()
			do(fresh, again)
		})
	}
}

// honest wants an error, a Problem, or the truth in whatever is called closed.
func (b *bench) honest(what string, from, to int) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, short)
	defer cancel()
	q := b.ask(from, to, one, two, three)
	r, err := b.Source.Read(ctx, q)
	if err != nil {
		b.t.Logf("%s: %v", what, err)
		return
	}
	b.form(q, r)
	for i, h := range r.Hosts {
		switch {
		case h.Problem != "":
			b.t.Logf("%s: %s: %s (%s)", what, h.Host, h.Problem, h.Cause)
		case !h.Through.After(q.From):
			b.t.Logf("%s: %s: known through %s only", what, h.Host, stamp(h.Through))
		case h.Through.After(b.beats[h.Host]):
			b.t.Errorf("%s: %s is closed through %s, its watermark is %s", what, h.Host, stamp(h.Through), stamp(b.beats[h.Host]))
		}
		b.truth(q, r.Step, q.Hosts[i], h)
	}
}
