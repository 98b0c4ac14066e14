// Package sim tries rules of a canary gate on traffic that is made up, beside the rules of other tools on the same
// traffic, and on the record of past days. It drives the statistics that a deploy drives, canary.Book, without clock or hosts.
package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"scap/canary"
)

// Scenario is a deploy that is tried Runs times. A field that is 0 has its default, except Shock and Lag, which are then none.
type Scenario struct {
	Rate       float64       `json:"rate"`       // requests a second of the whole fleet
	Share      float64       `json:"share"`      // of them that the canaries get, in (0, 1)
	Base       float64       `json:"base"`       // the old release's error rate, in (0, 1)
	Ratio      float64       `json:"ratio"`      // the new release's error rate over the old one's; default 1
	Surge      float64       `json:"surge"`      // both arms' error rates over those before the deploy: something else broke as it began; default 1
	Clustering float64       `json:"clustering"` // variance over mean of the failures of one host in one tick; 1 (Poisson) is the default
	Shock      float64       `json:"shock"`      // sigma of the log-normal factor on both arms' error rates, anew each tick
	Lag        time.Duration `json:"lag"`        // from a request to its count
	Canaries   int           `json:"canaries"`   // hosts; default 5
	Controls   int           `json:"controls"`   // hosts; default 20
	// Within says that the canaries are no hosts of their own: Share of the requests of each of Canaries machines goes to the new release, and
	// the rest of them to the old one. Controls are then the same machines.
	Within  bool          `json:"within,omitempty"`
	Sick    float64       `json:"sick,omitempty"` // what one machine that serves the new release fails with either release, over the others; default 1
	MaxWait time.Duration `json:"max_wait"`       // without a verdict by then a run holds; default 10 min
	Phi     float64       `json:"phi"`            // the overdispersion that our rule is given; 0: it estimates it from a history before the deploy
	Seed    uint64        `json:"seed"`
	Runs    int           `json:"runs"` // default 2000
}

// spelled is s with its times in words: what is read into it is read into s.
func (s *Scenario) spelled() any {
	type plain Scenario
	return &struct {
		*plain
		Lag     *canary.Spell `json:"lag"`
		MaxWait *canary.Spell `json:"max_wait"`
	}{(*plain)(s), (*canary.Spell)(&s.Lag), (*canary.Spell)(&s.MaxWait)}
}

// MarshalJSON writes times as the configuration has them: "10m0s".
func (s Scenario) MarshalJSON() ([]byte, error) { return json.Marshal(s.spelled()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (s *Scenario) UnmarshalJSON(data []byte) error { return json.Unmarshal(data, s.spelled()) }

// The bounds of a Scenario: what keeps a run's memory and time within reason.
const (
	maxHosts = 2000
	maxRuns  = 1_000_000
	maxTicks = 20_000
	maxRate  = 1e6
)

// filled puts the defaults in and says what is out of range.
func (s Scenario) filled() (Scenario, error) {
	s.Ratio = or(s.Ratio, 1)
	s.Surge = or(s.Surge, 1)
	s.Clustering = or(s.Clustering, 1)
	s.Canaries = or(s.Canaries, 5)
	s.Controls = or(s.Controls, 20)
	s.Sick = or(s.Sick, 1)
	if s.Within {
		s.Controls = s.Canaries
	}
	s.MaxWait = or(s.MaxWait, 10*time.Minute)
	s.Runs = or(s.Runs, 2000)
	for _, c := range []struct {
		ok   bool
		what string
	}{
		{s.Rate > 0 && s.Rate <= maxRate, "rate must be above 0 and at most 1,000,000 requests a second"},
		{s.Share > 0 && s.Share < 1, "share must be between 0 and 1"},
		{s.Base > 0 && s.Base < 1, "the base error rate must be between 0 and 1"},
		{s.Ratio >= 0 && s.Ratio <= 1e6, "ratio must be between 0 and 1,000,000"},
		{s.Surge >= 0 && s.Surge <= 1e6, "surge must be between 0 and 1,000,000"},
		{s.Clustering >= 1 && s.Clustering <= 100, "clustering must be between 1 and 100"},
		{s.Shock >= 0 && s.Shock <= 3, "shock must be between 0 and 3"},
		{s.Lag >= 0 && s.Lag <= 24*time.Hour, "lag must be between 0 and 24 h"},
		{s.Canaries > 0 && s.Canaries <= maxHosts, "there must be 1 to 2,000 canaries"},
		{s.Controls > 0 && s.Controls <= maxHosts, "there must be 1 to 2,000 control hosts"},
		{s.Sick >= 1 && s.Sick <= 1e6, "a sick machine must fail 1 to 1,000,000 times as often"},
		{s.MaxWait > 0 && s.MaxWait <= 24*time.Hour, "the longest wait must be above 0 and at most 24 h"},
		{s.Phi == 0 || s.Phi >= 1 && s.Phi <= 1000, "phi must be at least 1, or 0 to be estimated"},
		{s.Runs > 0 && s.Runs <= maxRuns, "there must be 1 to 1,000,000 runs"},
	} {
		if !c.ok {
			return s, fmt.Errorf("simulate: %s", c.what)
		}
	}
	return s, nil
}

func or[T comparable](v, otherwise T) T {
	var none T
	if v == none {
		return otherwise
	}
	return v
}

// Result is what each rule made of a Scenario, ours first.
type Result struct {
	Scenario Scenario  `json:"scenario"`
	Outcomes []Outcome `json:"outcomes"`
}

// Of is the outcome of the rule of that name; a zero Outcome when there is none.
func (r Result) Of(name string) Outcome {
	for _, o := range r.Outcomes {
		if o.Rule == name {
			return o
		}
	}
	return Outcome{}
}

// Outcome is how one rule ended its runs. The four shares add up to 1.
type Outcome struct {
	Rule         string                   `json:"rule"`
	Runs         int                      `json:"runs"`
	Fail         float64                  `json:"fail"`
	Pass         float64                  `json:"pass"`
	Suspect      float64                  `json:"suspect"`
	Hold         float64                  `json:"hold"`
	Causes       map[canary.Cause]float64 `json:"causes,omitempty"` // of what held
	FailAfter    Times                    `json:"fail_after"`
	PassAfter    Times                    `json:"pass_after"`
	SuspectAfter Times                    `json:"suspect_after"`
	FalseAlarm   float64                  `json:"false_alarm"` // fail or suspect of a release that does no more harm than the old one
	Miss         float64                  `json:"miss"`        // pass of one that does
}

// Times are seconds from the proof of the new runtime to a verdict, over the runs that ended with it: the median and what 95 %
// stayed within; 0 when none did.
type Times struct {
	T50 float64 `json:"t50"`
	T95 float64 `json:"t95"`
}

// contender is a rule in the race.
type contender struct {
	name  string
	judge judge
	late  time.Duration // from the end of a tick to when the rule sees it
}

// ending is how one rule ended one run.
type ending struct {
	verdict canary.Verdict
	cause   canary.Cause
	at      time.Duration
}

// Run tries rule and the peers' rules on the same traffic, on all processors. The same scenario gives the same
// result on any number of them. It ends early with ctx, and then gives its cause.
func Run(ctx context.Context, s Scenario, rule canary.Rule) (Result, error) {
	return run(ctx, s, rule, false)
}

// run is Run, with a control arm or blind to it.
func run(ctx context.Context, s Scenario, rule canary.Rule, blind bool) (Result, error) {
	s, err := s.filled()
	if err != nil {
		return Result{}, err
	}
	if err := rule.Check(); err != nil {
		return Result{}, fmt.Errorf("simulate: %w", err)
	}
	tick := tickOf(rule)
	if s.MaxWait/tick > maxTicks {
		return Result{}, fmt.Errorf("simulate: %v are more than %d ticks of %v", s.MaxWait, maxTicks, tick)
	}
	names := []string{Ours}
	for _, p := range peers(s) {
		names = append(names, p.name)
	}
	ends := make([][]ending, len(names))
	for i := range ends {
		ends[i] = make([]ending, s.Runs)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), s.Runs) {
		wg.Go(func() {
			t := newTraffic(s, tick)
			our := newOurs(t, rule, tick)
			our.blind = blind
			race := append([]contender{{name: Ours, judge: our, late: s.Lag}}, peers(s)...)
			for run := int(next.Add(1)) - 1; run < s.Runs && ctx.Err() == nil; run = int(next.Add(1)) - 1 {
				for i, e := range once(t, race, tick, run) {
					ends[i][run] = e
				}
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	res := Result{Scenario: s}
	for i, name := range names {
		res.Outcomes = append(res.Outcomes, outcome(name, s, ends[i]))
	}
	return res, nil
}

// once is one run: the same ticks for every rule, until all have spoken or the time is over.
func once(t *traffic, race []contender, tick time.Duration, run int) []ending {
	t.begin(run)
	before := float64(t.before(time.Hour)) / (time.Hour.Seconds() / look20.Seconds())
	for _, c := range race {
		c.judge.begin(before)
	}
	ends := make([]ending, len(race))
	for open, age := len(race), tick; open > 0 && age <= t.s.MaxWait; age += tick {
		canaries, control := t.next(t.s.Ratio, ends[0].verdict == canary.Hold)
		for i, c := range race {
			if ends[i].verdict != canary.Hold || age+c.late > t.s.MaxWait {
				continue
			}
			if v := c.judge.look(age, canaries, control); v != canary.Hold {
				ends[i] = ending{verdict: v, at: age + c.late}
				open--
			}
		}
	}
	for i, c := range race {
		if w, ok := c.judge.(interface{ why() canary.Cause }); ok && ends[i].verdict == canary.Hold {
			ends[i].cause = w.why()
		}
	}
	return ends
}

func outcome(name string, s Scenario, ends []ending) Outcome {
	o := Outcome{Rule: name, Runs: len(ends)}
	var times [canary.Suspect + 1][]float64
	one := 1 / float64(len(ends))
	for _, e := range ends {
		times[e.verdict] = append(times[e.verdict], e.at.Seconds())
		if e.verdict == canary.Hold && e.cause != "" {
			if o.Causes == nil {
				o.Causes = map[canary.Cause]float64{}
			}
			o.Causes[e.cause] += one
		}
	}
	part := func(v canary.Verdict) float64 { return float64(len(times[v])) / float64(len(ends)) }
	o.Fail, o.Pass, o.Suspect, o.Hold = part(canary.Fail), part(canary.Pass), part(canary.Suspect), part(canary.Hold)
	o.FailAfter, o.PassAfter, o.SuspectAfter = quantiles(times[canary.Fail]), quantiles(times[canary.Pass]), quantiles(times[canary.Suspect])
	if s.Ratio <= 1 {
		o.FalseAlarm = o.Fail + o.Suspect
	} else {
		o.Miss = o.Pass
	}
	return o
}

func quantiles(seconds []float64) Times {
	if len(seconds) == 0 {
		return Times{}
	}
	slices.Sort(seconds)
	at := func(p float64) float64 { return seconds[int(math.Ceil(p*float64(len(seconds))))-1] }
	return Times{T50: at(.5), T95: at(.95)}
}
