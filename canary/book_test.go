package canary

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// epoch is when the tests' deploys begin.
var epoch = time.Date(2026, 3, 2, 13, 0, 0, 0, time.UTC)

// world makes ticks of traffic: what a fleet would log.
type world struct {
	rng     *rand.Rand
	canary  int     // hosts
	control int     //
	rate    float64 // requests a second of all hosts
	base    float64 // share of them that fails with the old release
	ratio   float64 // of the canary's rate to it
	shock   float64 // sigma of what moves both arms
	burst   int     // failures come in bursts of so many on one host; 0, 1: alone
}

func poisson(rng *rand.Rand, mean float64) int64 {
	if mean > 200 {
		return int64(max(0, math.Round(mean+math.Sqrt(mean)*rng.NormFloat64())))
	}
	l, k, p := math.Exp(-mean), int64(0), 1.0
	for {
		if p *= rng.Float64(); p <= l {
			return k
		}
		k++
	}
}

func (w *world) arm(name string, hosts int, rate float64) []Cell {
	cells := make([]Cell, hosts)
	for i := range cells {
		n := poisson(w.rng, 5*w.rate/float64(w.canary+w.control))
		b := int64(max(1, w.burst))
		cells[i] = Cell{Host: fmt.Sprint(name, i), N: n, X: min(n, b*poisson(w.rng, float64(n)*rate/float64(b)))}
	}
	return cells
}

func (w *world) tick(at time.Time) Counts {
	base := w.base * math.Exp(w.shock*w.rng.NormFloat64()-w.shock*w.shock/2)
	return Counts{At: at, Canary: w.arm("a", w.canary, min(1, base*w.ratio)), Control: w.arm("b", w.control, base)}
}

// run lets a deploy go on for ten minutes at most, and returns the verdict and when it came.
func (w *world) run(r Rule, history int) (Verdict, Cause, time.Duration) {
	var b Book
	for range history {
		c := w.tick(epoch)
		b.Learn(c.Control)
	}
	b.Open(epoch)
	for i := range 120 {
		b.Add(r, w.tick(epoch.Add(time.Duration(i)*5*time.Second)))
		if v, c, _ := b.Verdict(r); v != Hold {
			return v, c, time.Duration(i+1) * 5 * time.Second
		}
	}
	_, c, _ := b.Verdict(r)
	return Hold, c, 10 * time.Minute
}

// The figures of the rule on made-up traffic with shocks that both arms share. Bounds are loose enough for forty runs;
// the simulation proves the exact ones.
func TestFigures(t *testing.T) {
	for _, tt := range []struct {
		name       string
		w          world
		want       Verdict
		share      float64 // of the runs that end so, at least
		never      Verdict
		tolerated  int           // runs that end so
		median     time.Duration // at most, of the wanted verdict
		notEarlier time.Duration
	}{
		{"no harm", world{rate: 8000, canary: 5, control: 95, base: 1e-4, ratio: 1}, Pass, .9, Fail, 1, 120 * time.Second, time.Minute},
		{"no harm, many errors", world{rate: 8000, canary: 5, control: 95, base: 1e-3, ratio: 1}, Pass, .98, Fail, 1, time.Minute, time.Minute},
		{"no harm, in bursts", world{rate: 8000, canary: 5, control: 95, base: 1e-3, ratio: 1, burst: 5}, Pass, .9, Fail, 1, 90 * time.Second, time.Minute},
		{"five times", world{rate: 8000, canary: 5, control: 95, base: 1e-4, ratio: 5}, Fail, .9, Pass, 2, 95 * time.Second, 0},
		{"ten times", world{rate: 8000, canary: 5, control: 95, base: 1e-4, ratio: 10}, Fail, .95, Pass, 0, 30 * time.Second, 0},
		{"ten times, many errors", world{rate: 8000, canary: 5, control: 95, base: 1e-3, ratio: 10}, Fail, .95, Pass, 0, 5 * time.Second, 0},
		{"a hundred times on a small site", world{rate: 200, canary: 4, control: 16, base: 1e-4, ratio: 100}, Fail, .95, Pass, 0, 20 * time.Second, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const runs = 40
			var ends [4]int
			var times []time.Duration
			for i := range runs {
				w := tt.w
				w.rng, w.shock = rand.New(rand.NewPCG(uint64(i), 7)), .3
				v, _, at := w.run(Rule{}, 70)
				ends[v]++
				if v == tt.want {
					times = append(times, at)
				}
			}
			slices.Sort(times)
			if float64(ends[tt.want]) < tt.share*runs || ends[tt.never] > tt.tolerated {
				t.Fatalf("hold, pass, fail, suspect: %v", ends)
			}
			if m := times[len(times)/2]; m > tt.median || times[0] < tt.notEarlier {
				t.Errorf("%s after %v, the first after %v; want %v, not before %v", tt.want, m, times[0], tt.median, tt.notEarlier)
			}
			t.Logf("%s in %d of %d, median %v", tt.want, ends[tt.want], runs, times[len(times)/2])
		})
	}
}

// Harm that begins late in a long batch is found too.
func TestLateHarm(t *testing.T) {
	w := world{rng: rand.New(rand.NewPCG(3, 4)), rate: 8000, canary: 5, control: 95, base: 1e-3, ratio: 1}
	var b Book
	b.Open(epoch)
	at := epoch
	for range 400 {
		b.Add(Rule{}, w.tick(at))
		at = at.Add(5 * time.Second)
	}
	if v, c, _ := b.Verdict(Rule{}); v != Pass {
		t.Fatalf("%s %s", v, c)
	}
	w.ratio = 5
	for i := range 24 {
		b.Add(Rule{}, w.tick(at))
		at = at.Add(5 * time.Second)
		switch v, _, _ := b.Verdict(Rule{}); {
		case v == Fail:
			t.Logf("fail %d ticks after", i+1)
			return
		case v == Pass && i > 3:
			t.Errorf("still passes %d ticks after", i+1)
		}
	}
	t.Errorf("no fail: %s", b.Rule(Rule{}, at).Reason)
}

func TestDispersion(t *testing.T) {
	for _, tt := range []struct {
		burst       int
		shock, base float64
		low, high   float64
	}{
		{1, 0, 1e-4, .9, 1.1}, {1, .8, 1e-3, .9, 1.1}, {5, 0, 1e-3, 4.2, 5.8}, {5, .8, 1e-4, 3.5, 6.5}, {80, 0, 1e-3, 20, 200},
	} {
		w := world{rng: rand.New(rand.NewPCG(1, 2)), rate: 4000, canary: 1, control: 19, base: tt.base, burst: tt.burst, shock: tt.shock}
		var d Dispersion
		for range 540 {
			d.Add(w.tick(epoch).Control)
		}
		if raw, ok := d.estimate(); !ok || raw < tt.low || raw > tt.high {
			t.Errorf("bursts of %d, shocks %g, rate %g: phi %g, want %g to %g", tt.burst, tt.shock, tt.base, raw, tt.low, tt.high)
		}
		if phi := d.Phi(Rule{}, 0); phi < 1 || phi > 20 {
			t.Errorf("phi %g", phi)
		}
	}
	short := Dispersion{Chi2: 900, DF: 100, Ticks: 59}
	if a, b := short.Phi(Rule{}, 0), short.Phi(Rule{}, 7); a != 3 || b != 7 {
		t.Errorf("with 59 ticks %g, and %g where 7 was seen; want 3 and 7", a, b)
	}
	var one Dispersion
	for range 100 {
		one.Add([]Cell{{Host: "b", N: 1000, X: 9}})
	}
	if _, ok := one.estimate(); ok {
		t.Error("one host alone tells of clusters")
	}
}

func TestAlign(t *testing.T) {
	for at, want := range map[int64]int64{-1: -7, 0: 0, 6: 0, 7: 7, 1_772_456_403: 1_772_456_399} {
		if got := align(time.Unix(at, 999), 7*time.Second); got.Unix() != want || got.Nanosecond() != 0 || want%7 != 0 {
			t.Errorf("%d: %d, want %d", at, got.Unix(), want)
		}
	}
}

func TestRuleCheck(t *testing.T) {
	if err := (Rule{}).Check(); err != nil {
		t.Fatal(err)
	}
	nan := math.NaN()
	for name, r := range map[string]Rule{
		"tick": {Tick: time.Millisecond}, "harm_ratio": {HarmRatio: 1.2}, "harm_rate": {HarmRate: nan}, "min_requests": {MinRequests: -1},
		"dwell": {Dwell: time.Second}, "min_failing": {MinFailing: -1}, "leave_out": {LeaveOut: 300}, "pass_at": {PassAt: math.Inf(1)},
		"phi_unknown": {PhiUnknown: 30}, "history": {History: -1}, "late_stop": {LateHold: time.Second}, "share": {Share: -1}, "red_below": {RedBelow: 1},
		"fail_at": {FailAt: nan},
	} {
		if err := r.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A failed try's errors are as new in the next try.
func TestFailedTryIsNoHistory(t *testing.T) {
	m, err := OpenMemory(t.TempDir() + "/memory.json")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{rate: worse(1e-4, 12, "a"), prints: typeError("a")}
	for range 2 {
		d := newDeploy(s, 5, 20)
		d.gate.Memory = m
		r, at := d.run(t, time.Minute)
		if r.Verdict != Fail || !strings.Contains(r.Reason, "TypeError") || !strings.Contains(r.Reason, "new error") {
			t.Errorf("%s at %v: %s", r.Verdict, at, r.Reason)
		}
	}
	if _, ok := m.Seen("DBQueryError in includes/Db.php:7: deadlock"); !ok {
		t.Error("an error of the old release is not remembered")
	}
	if err := m.Note([]string{"TypeError in includes/Foo.php:88: must be array, null given"}, 0, epoch); err != nil {
		t.Fatal(err)
	}
	d := newDeploy(s, 5, 20)
	d.gate.Memory = m
	if r, _ := d.run(t, time.Minute); strings.Contains(r.Reason, "new error") {
		t.Errorf("what the old release had is new: %s", r.Reason)
	}
}

func BenchmarkBookAdd(b *testing.B) {
	w := world{rng: rand.New(rand.NewPCG(1, 2)), canary: 5, control: 15, rate: 8000, base: 1e-3, ratio: 1}
	cs := make([]Counts, 1000)
	for i := range cs {
		cs[i] = w.tick(epoch)
	}
	var k Book
	k.Open(epoch)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c := cs[i%len(cs)]
		c.At = epoch.Add(time.Duration(i) * 5 * time.Second)
		k.Add(Rule{}, c)
	}
	_, _ = json.Marshal(k)
}
