package sim

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"scap/canary"
)

// Rollout is a deploy in batches whose harm shows only when the last batch opens: until then the canaries were as good as
// the rest, which speaks against harm.
type Rollout struct {
	Scenario               // Share, Canaries and Controls are of no matter: Hosts and Batches say who runs what
	Hosts    int           // of the fleet; default 50
	Batches  []float64     // share of the hosts that run the new release after each; default .05, .25, .5
	Bake     time.Duration // from one batch to the next; default 5 min. The last one is watched for MaxWait
}

// Onset is how the harm of the last batch was found: with a new start of the test at each batch, as the gate does, and
// with the one start of the first batch. Both judged the same traffic. Times are from when the last batch opened; a fail
// before is in Early.
type Onset struct {
	Rollout         Rollout
	Restarted       Outcome
	RestartedEarly  float64
	OneStart        Outcome
	OneStartedEarly float64
}

// Later tries rule on a rollout whose last batch brings the harm. It ends early with ctx.
func Later(ctx context.Context, ro Rollout, rule canary.Rule) (Onset, error) {
	ro, err := ro.filled()
	if err == nil {
		err = rule.Check()
	}
	if err != nil {
		return Onset{}, err
	}
	tick := tickOf(rule)
	if (ro.Bake*time.Duration(len(ro.Batches)-1)+ro.MaxWait)/tick > maxTicks {
		return Onset{}, fmt.Errorf("simulate: the rollout has more than %d ticks of %v", maxTicks, tick)
	}
	var ends [2][]ending
	for i := range ends {
		ends[i] = make([]ending, ro.Runs)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), ro.Runs) {
		wg.Go(func() {
			w := newRolloutRun(ro, rule, tick)
			for run := int(next.Add(1)) - 1; run < ro.Runs && ctx.Err() == nil; run = int(next.Add(1)) - 1 {
				for i := range ends {
					ends[i][run] = w.once(run, i == 0)
				}
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return Onset{}, context.Cause(ctx)
	}
	o := Onset{Rollout: ro}
	o.Restarted, o.RestartedEarly = late("restarted", ro, ends[0])
	o.OneStart, o.OneStartedEarly = late("one start", ro, ends[1])
	return o, nil
}

func (ro Rollout) filled() (Rollout, error) {
	ro.Hosts = or(ro.Hosts, 50)
	ro.Bake = or(ro.Bake, 5*time.Minute)
	if len(ro.Batches) == 0 {
		ro.Batches = []float64{.05, .25, .5}
	}
	ro.Share, ro.Canaries, ro.Controls = .5, 1, max(1, ro.Hosts-1)
	var err error
	if ro.Scenario, err = ro.Scenario.filled(); err != nil {
		return ro, err
	}
	if !slices.IsSorted(ro.Batches) || ro.batch(0) < 1 || ro.batch(len(ro.Batches)-1) >= ro.Hosts {
		return ro, errors.New("simulate: batches must grow, from at least one host to less than all")
	}
	if ro.Bake <= 0 || ro.Bake > 24*time.Hour || len(ro.Batches) > 100 {
		return ro, errors.New("simulate: a batch bakes for above 0 and at most 24 h, and there are at most 100")
	}
	return ro, nil
}

// batch is how many hosts run the new release after the i-th batch.
func (ro Rollout) batch(i int) int {
	return int(ro.Batches[i]*float64(ro.Hosts) + .5)
}

// rolloutRun runs rollouts one after the other.
type rolloutRun struct {
	ro    Rollout
	rule  canary.Rule
	tick  time.Duration
	t     *traffic
	fleet []canary.Cell
}

func newRolloutRun(ro Rollout, rule canary.Rule, tick time.Duration) *rolloutRun {
	rule.Share = 1
	return &rolloutRun{ro: ro, rule: rule, tick: tick, t: newTraffic(ro.Scenario, tick), fleet: cells("host", ro.Hosts)}
}

// once is one rollout until it is failed or watched to the end, with a new start of the test at each batch or without.
func (w *rolloutRun) once(run int, restart bool) ending {
	w.t.begin(run)
	j := newJudge(w.rule, w.ro.Phi, epoch)
	if w.ro.Phi == 0 {
		w.take(0)
		for range w.rule.Full().History / w.tick {
			j.book.Learn(w.t.learn())
		}
	}
	onset := w.ro.Bake * time.Duration(len(w.ro.Batches)-1)
	for age := time.Duration(0); age < onset+w.ro.MaxWait; age += w.tick {
		i := min(int(age/w.ro.Bake), len(w.ro.Batches)-1)
		w.take(i)
		if restart && i > 0 && age >= w.ro.Bake*time.Duration(i) && age < w.ro.Bake*time.Duration(i)+w.tick {
			j.book.Open(epoch.Add(age))
		}
		ratio := 1.
		if age >= onset {
			ratio = w.ro.Ratio
		}
		w.t.next(ratio, true)
		if v := j.see(canary.Counts{At: epoch.Add(age), Canary: w.t.canaries, Control: w.t.control}); v == canary.Fail {
			return ending{verdict: v, at: age + w.tick - onset}
		}
	}
	return ending{cause: j.why()}
}

// take gives the traffic the hosts of a batch.
func (w *rolloutRun) take(i int) {
	n := w.ro.batch(i)
	w.t.canaries, w.t.control = w.fleet[:n], w.fleet[n:]
	w.t.s.Share = float64(n) / float64(w.ro.Hosts)
}

func late(name string, ro Rollout, ends []ending) (o Outcome, early float64) {
	kept := make([]ending, 0, len(ends))
	for _, e := range ends {
		if e.verdict == canary.Fail && e.at <= 0 {
			early += 1 / float64(len(ends))
			continue
		}
		kept = append(kept, e)
	}
	return outcome(name, ro.Scenario, kept), early
}

// String is both in words for people.
func (o Onset) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d rollouts of %g requests/s, batches", o.Rollout.Runs, o.Rollout.Rate)
	for _, s := range o.Rollout.Batches {
		fmt.Fprintf(&b, " %g %%", s*100)
	}
	fmt.Fprintf(&b, " each %v, %g times as bad from the last one on:\n", o.Rollout.Bake, o.Rollout.Ratio)
	for _, l := range []struct {
		name  string
		o     Outcome
		early float64
	}{{"a new start each batch", o.Restarted, o.RestartedEarly}, {"one start", o.OneStart, o.OneStartedEarly}} {
		fmt.Fprintf(&b, "%-23s caught %s after %s s, failed before %s\n", l.name, percent(l.o.Fail), l.o.FailAfter, percent(l.early))
	}
	return b.String()
}
