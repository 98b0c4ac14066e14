package phases

import (
	"testing"

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
