package sim

import (
	"time"

	"scap/canary"
)

// judge is a rule under test: ours or a peer's. It is fed the ticks of one run in order and speaks once.
type judge interface {
	// begin forgets the last run. before is the number of failures a window of 20 s on the canaries had on average in
	// the hour before.
	begin(before float64)
	// look is told what the two arms served in one tick and how old the deploy was at its end.
	look(age time.Duration, canaries, control arm) canary.Verdict
}

// counting is scap 4.283's rule (canary_threshold 10, canary_wait_time 20 of scap/config.py): wait, count the error lines of
// the canaries in the window that ends now, fail at the threshold. One look; no control group, no denominator. What has
// not arrived yet counts as nothing.
type counting struct {
	threshold   int64
	wait, delay time.Duration
	count       int64
}

func (c *counting) begin(float64) { c.count = 0 }

func (c *counting) look(age time.Duration, canaries, _ arm) canary.Verdict {
	if age <= c.wait-c.delay {
		c.count += canaries.x
	}
	return verdictAt(age, c.wait, c.count >= c.threshold)
}

func verdictAt(age, when time.Duration, bad bool) canary.Verdict {
	switch {
	case age < when:
		return canary.Hold
	case bad:
		return canary.Fail
	}
	return canary.Pass
}

// increase is the comparison with the time before that Wikimedia used until 2018: fail when the canaries' failures of the
// 20 s after are more than 10 times those of a window in the hour before. A base below one failure a window counts as one,
// for else a quiet service fails at its first.
type increase struct {
	factor      float64
	wait, delay time.Duration
	before      float64
	after       int64
}

func (i *increase) begin(before float64) { i.before, i.after = max(1, before), 0 }

func (i *increase) look(age time.Duration, canaries, _ arm) canary.Verdict {
	if age <= i.wait-i.delay {
		i.after += canaries.x
	}
	return verdictAt(age, i.wait, float64(i.after) > i.factor*i.before)
}

// threshold is a check in the manner of Flagger: its builtin request-success-rate over 1 m must be at least 99 %
// (docs.flagger.app/usage/metrics), looked at every minute; no data is a failed check; checks that failed are never taken
// back, the third ends the deploy; 5 steps (stepWeight 10, maxWeight 50 of its example) and it is promoted. The share is
// left as it is, so that every rule judges the same traffic.
type threshold struct {
	limit         float64
	every, delay  time.Duration
	checks, steps int
	failed, good  int
	ticks         []arm // of the minute
}

func (f *threshold) begin(float64) { f.failed, f.good, f.ticks = 0, 0, f.ticks[:0] }

func (f *threshold) look(age time.Duration, canaries, _ arm) canary.Verdict {
	f.ticks = append(f.ticks, canaries)
	if age%f.every != 0 {
		return canary.Hold
	}
	var seen arm
	for i, a := range f.ticks {
		if f.every/time.Duration(len(f.ticks))*time.Duration(i+1) <= f.every-f.delay { // has arrived
			seen.add(a)
		}
	}
	f.ticks = f.ticks[:0]
	if seen.n == 0 || float64(seen.x) > f.limit*float64(seen.n) {
		f.failed++
	} else {
		f.good++
	}
	switch {
	case f.failed >= f.checks:
		return canary.Fail
	case f.good >= f.steps:
		return canary.Pass
	}
	return canary.Hold
}

// ranks is Kayenta's judge (NetflixACAJudge-v1.0): the error rates of the two arms in buckets of time, compared by
// Mann-Whitney. Its defaults, read in its source (kayenta-judge, NetflixACAJudge.scala and MannWhitneyClassifier.scala):
// confidence 0.98; the lower confidence limit of the shift must be above 0.25 times the Hodges-Lehmann estimate; effect sizes
// allowedIncrease and criticalIncrease 1.0, so that any increase counts; missing values are 0; outliers beyond the 99th
// percentile go, which below 100 points removes none. It judges once, after the 50 points that its guide asks for
// (spinnaker.io, canary best practices, which counts on hours).
type ranks struct {
	bucket                time.Duration
	points                int
	canaries, control     []float64
	thisCanary, thisOther arm
	test                  mannWhitney
}

func (k *ranks) begin(float64) {
	k.canaries, k.control = k.canaries[:0], k.control[:0]
	k.thisCanary, k.thisOther = arm{}, arm{}
}

func (k *ranks) look(age time.Duration, canaries, control arm) canary.Verdict {
	k.thisCanary.add(canaries)
	k.thisOther.add(control)
	if age%k.bucket != 0 {
		return canary.Hold
	}
	k.canaries, k.control = append(k.canaries, rate(k.thisCanary)), append(k.control, rate(k.thisOther))
	k.thisCanary, k.thisOther = arm{}, arm{}
	if len(k.canaries) < k.points {
		return canary.Hold
	}
	if k.test.higher(k.canaries, k.control, .98, .25) {
		return canary.Fail
	}
	return canary.Pass
}

func rate(a arm) float64 {
	if a.n == 0 {
		return 0
	}
	return float64(a.x) / float64(a.n)
}

// The names of the rules, as they stand in results.
const (
	Ours        = "this gate"
	Counting    = "10 in 20 s"
	Increase    = "before/after"
	Threshold   = "rate > 1 %"
	MannWhitney = "Mann-Whitney"
)

// look20 is how long the rules that look once wait.
const look20 = 20 * time.Second

// peers are the other tools' rules. Those that look at the clock count what has arrived by then, the last one waits
// for it.
func peers(s Scenario) []contender {
	return []contender{
		{name: Counting, judge: &counting{threshold: 10, wait: look20, delay: s.Lag}},
		{name: Increase, judge: &increase{factor: 10, wait: look20, delay: s.Lag}},
		{name: Threshold, judge: &threshold{limit: .01, every: time.Minute, delay: s.Lag, checks: 3, steps: 5}},
		{name: MannWhitney, judge: &ranks{bucket: 10 * time.Second, points: 50}, late: s.Lag},
	}
}
