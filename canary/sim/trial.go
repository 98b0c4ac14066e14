package sim

import (
	"math"
	"slices"
	"time"

	"scap/canary"
)

// trial is one split of the hosts of a window: every setting judges it twice, as it was and with harm put on the canaries.
type trial struct {
	canaries, control     []int // indices of hosts
	canaryCells, harmed   []canary.Cell
	controlCells          []canary.Cell
	draws                 random
	harm                  float64 // failures added a canary request
	asWas, withHarm       []*ours // one a setting
	endAsWas, endWithHarm []ending
	first20               int64 // failures of the canaries in the first 20 s
}

func newTrial(p *replay, canaries, control []int, stream uint64) *trial {
	t := &trial{
		canaries: canaries, control: control, draws: newRandom(p.o.Seed, stream+2),
		canaryCells: make([]canary.Cell, len(canaries)), controlCells: make([]canary.Cell, len(control)),
		harm: (p.o.Ratio - 1) * rate(p.past.sum),
	}
	slices.Sort(t.canaries)
	slices.Sort(t.control)
	for _, s := range p.o.Settings {
		t.asWas = append(t.asWas, p.judge(s))
		if t.harm > 0 {
			t.withHarm = append(t.withHarm, p.judge(s))
		}
	}
	t.endAsWas, t.endWithHarm = make([]ending, len(t.asWas)), make([]ending, len(t.withHarm))
	return t
}

// step judges one tick.
func (t *trial) step(p *replay) {
	age := p.at.Add(p.tick).Sub(p.opened)
	for i, h := range t.canaries {
		t.canaryCells[i] = p.cells[h]
		if age <= look20 {
			t.first20 += p.cells[h].X
		}
	}
	for i, h := range t.control {
		t.controlCells[i] = p.cells[h]
	}
	judgeAll(t.asWas, t.endAsWas, age, canary.Counts{At: p.at, Canary: t.canaryCells, Control: t.controlCells})
	if len(t.withHarm) == 0 {
		return
	}
	t.harmed = append(t.harmed[:0], t.canaryCells...)
	for i := range t.harmed {
		c := &t.harmed[i]
		c.X = min(c.N, c.X+t.draws.poisson(float64(c.N)*t.harm))
	}
	judgeAll(t.withHarm, t.endWithHarm, age, canary.Counts{At: p.at, Canary: t.harmed, Control: t.controlCells})
}

func judgeAll(list []*ours, ends []ending, age time.Duration, c canary.Counts) {
	for i, o := range list {
		if ends[i].verdict == canary.Hold {
			ends[i].verdict = o.see(c)
			ends[i].at = age
		}
	}
}

// tally counts how one setting's trials ended.
type tally struct {
	trials, windows        int
	verdicts               [canary.Suspect + 1]int
	fails, suspects        cluster
	harmed, caught, missed int
	passAt, caughtAt       []int // by ticks
	causes                 map[canary.Cause]int
}

func newTally(ticks int) tally {
	return tally{passAt: make([]int, ticks+2), caughtAt: make([]int, ticks+2), causes: map[canary.Cause]int{}}
}

// window counts the trials of one window for the i-th setting. why is the cause of those that the record left without a verdict.
func (y *tally) window(trials []*trial, i int, tick time.Duration, why canary.Cause) {
	y.windows++
	fails, suspects := 0, 0
	for _, t := range trials {
		y.trials++
		e := t.endAsWas[i]
		y.verdicts[e.verdict]++
		switch e.verdict {
		case canary.Fail:
			fails++
		case canary.Suspect:
			suspects++
		case canary.Pass:
			y.passAt[min(int(e.at/tick), len(y.passAt)-1)]++
		default:
			y.causes[or(why, t.asWas[i].why())]++
		}
		if len(t.withHarm) == 0 {
			continue
		}
		y.harmed++
		switch e := t.endWithHarm[i]; e.verdict {
		case canary.Fail:
			y.caught++
			y.caughtAt[min(int(e.at/tick), len(y.caughtAt)-1)]++
		case canary.Pass:
			y.missed++
		}
	}
	y.fails.add(fails, len(trials))
	y.suspects.add(suspects, len(trials))
}

// cluster counts events in groups whose trials are alike, as the splits of one window are.
type cluster struct {
	groups, n, k, squares float64
}

func (c *cluster) add(k, n int) {
	c.groups++
	c.n += float64(n)
	c.k += float64(k)
	c.squares += float64(k) * float64(k)
}

// interval is that of the share of events, with as many trials as the groups are worth: at least one each, fewer than were
// made when their events come together (Kish's design effect). Without an event there is nothing to estimate it by, and
// a group counts as one trial.
func (c *cluster) interval() Interval {
	if c.groups == 0 {
		return Interval{High: 1}
	}
	size := c.n / c.groups
	p := c.k / c.n
	effect := size
	if c.groups > 1 && p > 0 && p < 1 {
		between := (c.squares - c.k*c.k/c.groups) / (c.groups - 1) // variance of a group's count
		effect = min(size, max(1, between/(size*p*(1-p))))
	}
	worth := c.n / effect
	i := binomial(p*worth, worth)
	i.Share = p
	return i
}

// atTick gives the median and 95 % of a histogram by ticks.
func atTick(histogram []int, tick time.Duration) Times {
	total := 0
	for _, n := range histogram {
		total += n
	}
	at := func(p float64) float64 {
		left := int(math.Ceil(p * float64(total)))
		for i, n := range histogram {
			if left -= n; left <= 0 {
				return (time.Duration(i) * tick).Seconds()
			}
		}
		return 0
	}
	if total == 0 {
		return Times{}
	}
	return Times{T50: at(.5), T95: at(.95)}
}

// counts20 is the record by the measure of scap 4.283: failures of the canaries in a window of 20 s.
type counts20 struct {
	alarms cluster
	seen   [maxCounted + 1]int // trials by their count; the last one is that many or more
}

const maxCounted = 2000

func (c *counts20) window(trials []*trial) {
	over := 0
	for _, t := range trials {
		if t.first20 >= 10 {
			over++
		}
		c.seen[min(t.first20, maxCounted)]++
	}
	c.alarms.add(over, len(trials))
}

// suggest is the threshold of analyze-logstash: mean and three standard deviations of the windows that are left when those
// at three deviations and more are taken out, rounded up. It counts only windows with an error, as its aggregation returns no
// other; zeros puts the rest in.
func (c *counts20) suggest(zeros bool) int {
	from := 1
	if zeros {
		from = 0
	}
	low, high := from, maxCounted
	mean, dev := c.moments(low, high)
	if dev > 0 {
		low, high = max(from, int(math.Floor(mean-3*dev))+1), min(maxCounted, int(math.Ceil(mean+3*dev))-1)
		mean, dev = c.moments(low, high)
	}
	return max(1, int(math.Ceil(mean+3*dev))) // 0 would fail everything
}

// moments are of the counts from low to high.
func (c *counts20) moments(low, high int) (mean, deviation float64) {
	var n, sum, squares float64
	for x := low; x <= high; x++ {
		k := float64(c.seen[x])
		n, sum, squares = n+k, sum+k*float64(x), squares+k*float64(x)*float64(x)
	}
	if n < 2 {
		return sum / max(1, n), 0
	}
	mean = sum / n
	return mean, math.Sqrt(max(0, (squares-n*mean*mean)/(n-1)))
}

// over is the share of windows with at least so many failures.
func (c *counts20) over(threshold int) float64 {
	n, over := 0, 0
	for x, k := range c.seen {
		n += k
		if x >= threshold {
			over += k
		}
	}
	return float64(over) / float64(max(1, n))
}
