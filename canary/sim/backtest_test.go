package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"scap/canary"
)

// record makes up past counts of a fleet of equal hosts.
type record struct {
	rate, base, clustering float64
	hosts                  int
	long                   time.Duration
	seed                   uint64
	hole                   func(age time.Duration) bool // no line of any host then
	dead                   string                       // a host that has no line after the first hour
}

func (r record) counts() iter.Seq2[Count, error] {
	return func(yield func(Count, error) bool) {
		s, err := Scenario{Rate: r.rate, Share: .5, Base: r.base, Clustering: r.clustering, Shock: .3, Controls: r.hosts, Seed: r.seed}.filled()
		if err != nil {
			yield(Count{}, err)
			return
		}
		const tick = 5 * time.Second
		t := newTraffic(s, tick)
		t.begin(0)
		for age := time.Duration(0); age < r.long; age += tick {
			t.serve(1, r.base*t.shock(), t.control, true)
			if r.hole != nil && r.hole(age) {
				continue
			}
			for _, c := range t.control {
				if c.Host == r.dead && age > time.Hour {
					continue
				}
				if !yield(Count{At: epoch.Add(age), Host: c.Host, Requests: c.N, Failing: c.X}, nil) {
					return
				}
			}
		}
	}
}

func backtest(t *testing.T, r record, o BacktestOptions) Report {
	t.Helper()
	rep, err := Backtest(context.Background(), r.counts(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", rep)
	return rep
}

func (r Report) of(name string) SettingReport {
	for _, s := range r.Settings {
		if s.Name == name {
			return s
		}
	}
	return SettingReport{}
}

func TestBacktestTellsFalseAlarmsOfAFleet(t *testing.T) {
	o := BacktestOptions{Splits: 5, Seed: 1, Settings: []Setting{
		{Name: "as configured"},
		{Name: "phi always 1", Phi: 1, Rule: canary.Rule{LeaveOut: 1.01}},
		{Name: "phi always 20", Phi: 20, Rule: canary.Rule{PhiMax: 20}},
	}}
	r := backtest(t, record{rate: 3000, base: 1e-3, clustering: 12, hosts: 20, long: 5 * time.Hour, seed: 1}, o)
	usual, one, twenty := r.of("as configured"), r.of("phi always 1"), r.of("phi always 20")
	if r.Hosts != 20 || r.Windows < 29 || r.Windows > 30 || r.Gaps != 0 || usual.Trials != 5*r.Windows {
		t.Errorf("%d hosts, %d windows, %d holes, %d trials", r.Hosts, r.Windows, r.Gaps, usual.Trials)
	}
	near(t, "requests a second", r.PerSecond, 3000, 10)
	near(t, "base rate", r.BaseRate, 1e-3*math.Exp(.045), 1e-4)
	if usual.FalseAlarms.Share > .02 || usual.FalseAlarms.High < .01 {
		t.Errorf("false alarms as configured: %v of %d trials", usual.FalseAlarms, usual.Trials)
	}
	if one.FalseAlarms.Share+one.Suspects.Share < .05 {
		t.Errorf("bursts taken for independent give no alarm: %+v", one)
	}
	if usual.Pass < .9 || usual.PassAfter.T50 < 60 || usual.PassAfter.T50 > 300 || usual.Caught < .9 || usual.Missed > .01 {
		t.Errorf("as configured: %+v", usual)
	}
	if twenty.PassAfter.T50 <= one.PassAfter.T50 {
		t.Errorf("phi 20 passes after %v, phi 1 after %v", twenty.PassAfter, one.PassAfter)
	}
	if r.PhiOverall < 6 || r.PhiOverall > 20 || len(r.LargestPhi) < 4 || len(r.LargestPhi) > 5 {
		t.Errorf("largest phi %v", r.LargestPhi)
	}
	if again := backtest(t, record{rate: 3000, base: 1e-3, clustering: 12, hosts: 20, long: 5 * time.Hour, seed: 1}, o); !reflect.DeepEqual(r, again) {
		t.Error("the same record and seed give another report")
	}
}

// A quiet fleet has mostly windows of 20 s without a failure. Whoever leaves them out suggests a threshold that is too high.
func TestBacktestCountsEmptyWindows(t *testing.T) {
	r := backtest(t, record{rate: 300, base: 2e-4, clustering: 5, hosts: 10, long: 6 * time.Hour, seed: 2}, BacktestOptions{Canaries: 2, Splits: 10, Seed: 4, Settings: []Setting{{Name: "as configured"}}})
	f := r.FixedCounts
	if f.Empty < .7 || f.SuggestedSurvivors < 2*f.Suggested || f.FalseAlarms.Share > .02 {
		t.Errorf("%+v", f)
	}
	if s := r.of("as configured"); s.Hold < .5 || s.Causes[canary.Gathering] < .5 {
		t.Errorf("60 requests a second on the canaries: %+v", s)
	}
	var c counts20
	for x, n := range map[int]int{0: 90, 1: 5, 2: 4, 9: 1} {
		c.seen[x] = n
	}
	// With zeros: mean .22, deviation 1.00; 9 is out; then mean .131, deviation .466: 1.53. Without: mean 2.2, deviation 2.44;
	// 9 is within 3 deviations: 9.52.
	if zeros, survivors := c.suggest(true), c.suggest(false); zeros != 2 || survivors != 10 {
		t.Errorf("suggested %d of all, %d of those with a failure", zeros, survivors)
	}
}

func TestBacktestSaysWhyWindowsEndWithoutVerdict(t *testing.T) {
	o := BacktestOptions{Canaries: 2, Splits: 4, Settings: []Setting{{Name: "as configured"}}}
	// Short holes are ticks without traffic; long ones are holes of the record.
	r := backtest(t, record{rate: 100, base: 1e-4, hosts: 8, long: 2 * time.Hour, seed: 3, hole: func(age time.Duration) bool {
		return age%(10*time.Minute) == 0 || age >= 65*time.Minute && age < 70*time.Minute
	}}, o)
	if r.Gaps != 1 || r.of("as configured").Causes[canary.Late] == 0 {
		t.Errorf("%d holes, %v", r.Gaps, r.of("as configured").Causes)
	}
	// A host that is gone plays no canary any more.
	r = backtest(t, record{rate: 3000, base: 1e-4, hosts: 4, long: 3 * time.Hour, seed: 3, dead: "control3"}, o)
	if s := r.of("as configured"); s.Pass+s.FalseAlarms.Share < .8 {
		t.Errorf("a host that is gone: %+v", s)
	}
}

func TestBacktestRefusesWhatItCannotUse(t *testing.T) {
	lines := func(list ...string) iter.Seq2[Count, error] {
		return Read(strings.NewReader(header + "\n" + strings.Join(list, "\n")))
	}
	for want, c := range map[string]struct {
		counts iter.Seq2[Count, error]
		o      BacktestOptions
	}{
		"line 3: 11 failing":     {counts: lines("0,a,10,1", "5,a,10,11")},
		"not the beginning of":   {counts: lines("0,a,10,1", "7,a,10,1")},
		"two lines for":          {counts: lines("0,a,10,1", "0,b,1,0", "0,a,10,1")},
		"before one window":      {counts: lines("0,a,10,1", "5,a,10,1")},
		"read after line 1":      {counts: Read(broken{})},
		"no line at all":         {counts: Read(strings.NewReader(""))},
		"more than 2000 hosts":   {counts: manyHosts},
		"canaries against":       {o: BacktestOptions{Canaries: -1}},
		"splits are not":         {o: BacktestOptions{Splits: 1e6}},
		"a window of 1s":         {o: BacktestOptions{MaxWait: time.Second}},
		"ratio NaN":              {o: BacktestOptions{Ratio: math.NaN()}},
		"and fail_at -1":         {o: BacktestOptions{Settings: []Setting{{Name: "bad", Rule: canary.Rule{FailAt: -1}}}}},
		"bad: phi 0.5":           {o: BacktestOptions{Settings: []Setting{{Name: "bad", Phi: .5}}}},
		"b has another tick":     {o: BacktestOptions{Settings: []Setting{{Name: "a"}, {Name: "b", Rule: canary.Rule{Tick: 10 * time.Second}}}}},
		"backtest: enough of it": {counts: func(yield func(Count, error) bool) { yield(Count{}, errors.New("enough of it")) }},
	} {
		if c.counts == nil {
			c.counts = lines("0,a,10,1")
		}
		if strings.HasPrefix(want, "read after") {
			want = "read after line 0"
		}
		if _, err := Backtest(context.Background(), c.counts, c.o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(stop)
	if _, err := Backtest(ctx, record{rate: 10, base: .1, hosts: 3, long: time.Minute}.counts(), BacktestOptions{}); !errors.Is(err, stop) {
		t.Errorf("cancelled: %v", err)
	}
}

func manyHosts(yield func(Count, error) bool) {
	for i := range maxHosts + 1 {
		if !yield(Count{At: epoch, Host: fmt.Sprintf("mw%d", i), Requests: 1}, nil) {
			return
		}
	}
}

func TestTheReportCanBeReadAndParsed(t *testing.T) {
	r := backtest(t, record{rate: 500, base: 1e-3, clustering: 3, hosts: 12, long: 90 * time.Minute, seed: 9}, BacktestOptions{Splits: 3, Seed: 2})
	text := r.String()
	for _, line := range strings.Split(text, "\n") {
		if n := utf8.RuneCountInString(line); n > 100 || strings.TrimRight(line, " ") != line {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	if len(r.Settings) != len(Settings(canary.Rule{})) {
		t.Errorf("%d settings", len(r.Settings))
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(data, &back); err != nil || back.String() != text {
		t.Errorf("through JSON: %v\n%s", err, back)
	}
}
