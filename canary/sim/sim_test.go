package sim

import (
	"context"
	"errors"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"scap/canary"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustRun(t *testing.T, s Scenario) Result {
	t.Helper()
	r, err := Run(context.Background(), s, canary.Rule{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestASeedGivesOneResultOnAnyNumberOfProcessors(t *testing.T) {
	s := Scenario{Rate: 2000, Share: .1, Base: 1e-4, Ratio: 5, Clustering: 3, Shock: .3, Seed: 11, Runs: 60}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	one := mustRun(t, s)
	runtime.GOMAXPROCS(7)
	if seven := mustRun(t, s); !reflect.DeepEqual(one, seven) {
		t.Errorf("on one processor %+v, on seven %+v", one, seven)
	}
	s.Seed++
	if other := mustRun(t, s); reflect.DeepEqual(one.Outcomes, other.Outcomes) {
		t.Error("another seed gives the same")
	}
}

func TestEveryRuleSeesTheSameTraffic(t *testing.T) {
	s := Scenario{Rate: 2000, Share: .1, Base: 1e-4, Ratio: 10, Shock: .3, Seed: 5, Runs: 200, Phi: 1}
	a, err := Run(context.Background(), s, canary.Rule{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Run(context.Background(), s, canary.Rule{FailAt: 1e6})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a.Outcomes[1:], b.Outcomes[1:]) {
		t.Error("our own rule changes what the peers make of it")
	}
	if a.Of(Ours).FailAfter.T50 >= b.Of(Ours).FailAfter.T50 {
		t.Errorf("a fail at 200 takes %v, at a million %v", a.Of(Ours).FailAfter, b.Of(Ours).FailAfter)
	}
}

// Late telemetry: ours waits for it, or says that it is late; a rule that counts what is there passes the worst release.
func TestLateTelemetryIsNoPass(t *testing.T) {
	s := Scenario{Rate: 8000, Share: .05, Base: 1e-4, Ratio: 100, Shock: .3, Seed: 5, Runs: 200, Phi: 1, Lag: 45 * time.Second}
	r := mustRun(t, s)
	if o := r.Of(Ours); o.Fail != 1 || o.FailAfter.T50 != 50 {
		t.Errorf("45 s late: %+v", o)
	}
	if o := r.Of(Counting); o.Pass != 1 || o.Miss != 1 {
		t.Errorf("a fixed count, 45 s late: %+v", o)
	}
	if o := r.Of(Increase); o.Pass != 1 {
		t.Errorf("before/after, 45 s late: %+v", o)
	}
	s.Lag = 61 * time.Second
	r = mustRun(t, s)
	if o := r.Of(Ours); o.Hold != 1 || math.Abs(o.Causes[canary.Late]-1) > 1e-9 {
		t.Errorf("61 s late: %+v", o)
	}
	if o := r.Of(Threshold); o.Fail != 1 { // no data is a failed check
		t.Errorf("a threshold without data: %+v", o)
	}
}

func TestBothArmsGettingWorseIsNotThisRelease(t *testing.T) {
	s := Fleets()[0]
	s.Surge, s.Seed, s.Runs, s.Phi = 10, 3, 500, 1
	r := mustRun(t, s)
	if o := r.Of(Ours); o.Fail > maxFalseFail || o.Pass > .05 || o.Causes[canary.BothRed] < .9 {
		t.Errorf("ten times as many failures on both arms: %+v", o)
	}
}

func TestHarmOfALaterBatchIsFoundSoonerWithANewStart(t *testing.T) {
	s := Fleets()[0]
	s.Ratio, s.Phi, s.Seed, s.Runs = 10, 1, 2, 200
	o, err := Later(context.Background(), Rollout{Scenario: s}, canary.Rule{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", o)
	if o.Restarted.Fail != 1 || o.Restarted.FailAfter.T95 > 20 {
		t.Errorf("with a new start each batch: %+v", o.Restarted)
	}
	if o.OneStart.FailAfter.T50 <= o.Restarted.FailAfter.T50 || o.OneStart.FailAfter.T95 <= o.Restarted.FailAfter.T95 {
		t.Errorf("one start takes %v, new starts %v: what are they for?", o.OneStart.FailAfter, o.Restarted.FailAfter)
	}
	s.Ratio, s.Runs = 1, 500
	o, err = Later(context.Background(), Rollout{Scenario: s}, canary.Rule{})
	if err != nil {
		t.Fatal(err)
	}
	most(t, "false fail over all batches", o.RestartedEarly+o.Restarted.Fail, maxFalseFail)
	for _, bad := range []Rollout{
		{Scenario: s, Batches: []float64{.5, .25}},
		{Scenario: s, Batches: []float64{.001}},
		{Scenario: s, Batches: []float64{.5, 1}},
		{Scenario: s, Bake: -1},
		{},
	} {
		if _, err := Later(context.Background(), bad, canary.Rule{}); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

func TestAScenarioIsHeldToItsRanges(t *testing.T) {
	good := Scenario{Rate: 100, Share: .1, Base: .01, Runs: 1, MaxWait: time.Minute}
	for want, change := range map[string]func(*Scenario){
		"rate must be":          func(s *Scenario) { s.Rate = math.NaN() },
		"share must":            func(s *Scenario) { s.Share = 1 },
		"base error rate":       func(s *Scenario) { s.Base = 0 },
		"ratio must":            func(s *Scenario) { s.Ratio = -1 },
		"surge must":            func(s *Scenario) { s.Surge = math.Inf(1) },
		"clustering must":       func(s *Scenario) { s.Clustering = .5 },
		"shock must":            func(s *Scenario) { s.Shock = 4 },
		"lag must":              func(s *Scenario) { s.Lag = -1 },
		"1 to 2,000 canaries":   func(s *Scenario) { s.Canaries = 1e9 },
		"2,000 control hosts":   func(s *Scenario) { s.Controls = -1 },
		"longest wait":          func(s *Scenario) { s.MaxWait = -1 },
		"phi must":              func(s *Scenario) { s.Phi = .5 },
		"1 to 1,000,000 runs":   func(s *Scenario) { s.Runs = 1 << 40 },
		"more than 20000 ticks": func(s *Scenario) { s.MaxWait = 24 * time.Hour; s.Runs = -1 },
	} {
		s := good
		change(&s)
		rule := canary.Rule{}
		if s.Runs < 0 {
			s.Runs, rule.Tick = 1, time.Second
		}
		if _, err := Run(context.Background(), s, rule); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := Run(context.Background(), good, canary.Rule{FailAt: -1}); err == nil {
		t.Error("a rule that makes no sense is taken")
	}
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(stop)
	if _, err := Run(ctx, good, canary.Rule{}); !errors.Is(err, stop) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := Later(ctx, Rollout{Scenario: good}, canary.Rule{}); !errors.Is(err, stop) {
		t.Errorf("cancelled: %v", err)
	}
}

// What is made up costs nothing but time: no tick of the traffic or of a peer allocates.
func TestATickDoesNotAllocate(t *testing.T) {
	s, err := Scenario{Rate: 8000, Share: .05, Base: 1e-3, Clustering: 5, Shock: .3}.filled()
	if err != nil {
		t.Fatal(err)
	}
	tr := newTraffic(s, 5*time.Second)
	race := peers(s)
	tr.begin(1)
	once := func() {
		for _, c := range race {
			c.judge.begin(1)
		}
		for age := 5 * time.Second; age <= 500*time.Second; age += 5 * time.Second {
			a, b := tr.next(1, true)
			for _, c := range race {
				c.judge.look(age, a, b)
			}
		}
	}
	for range 20 { // the memory that is kept grows at first
		once()
	}
	if n := testing.AllocsPerRun(20, once); n > .2 {
		t.Errorf("%g allocations in 100 ticks", n)
	}
}
