package phases

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"scap/phases/journal"
	"scap/targets"
)

// The balancer's socket is silent for a moment: nobody knows who serves. That is no leave to take all out at once.
func TestASilentBalancerFreesNobody(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.back()
		for i := range p.Phases {
			p.Phases[i].Fanout.Width = targets.FullWidth
		}
		for _, h := range w.hosts {
			h.fail["state"] = func(n int) error {
				h.pooling, h.problems = "", nil
				if n == 2 || n == 3 { // the looks before the batches
					h.pooling, h.problems = silent, []string{"balancer lb1 does not answer"}
				}
				return nil
			}
		}
		err := (&Runner{Journal: w}).Run(t.Context(), p)
		if err != nil {
			ended(t, err, journal.Inconsistent)
		}
		w.on(t, relB)
	})
}

// A host that does not say what it serves may well serve: with nothing to spare it is not taken out.
func TestASilentHostIsNotFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("prod6")
		w.min = 5
		p := w.plan(1)
		var quiet time.Duration
		p.Phases[0].Check = func(context.Context) error {
			if quiet > 0 {
				return nil
			}
			quiet = time.Minute
			w.host("prod6").drained = true // by hand
			w.host("prod2").fail["state"] = always(errGone)
			time.AfterFunc(quiet, func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.host("prod6").drained = false
				clear(w.host("prod2").fail)
			})
			return nil
		}
		start := time.Now()
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil {
			t.Error(err)
		}
		w.on(t, relB)
		if time.Since(start) < quiet {
			t.Errorf("took %v", time.Since(start))
		}
	})
}
