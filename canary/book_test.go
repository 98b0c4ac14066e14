package canary

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
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

func TestFigures(t *testing.T) {
	type row struct {
		name            string
		rate, base      float64
		canary, control int
		burst           int
		ratio           float64
	}
	for _, tt := range []row{
		{name: "8000/s", rate: 8000, canary: 5, control: 95, base: 1e-4, ratio: 1},
		{name: "8000/s", rate: 8000, canary: 5, control: 95, base: 1e-4, ratio: 5},
		{name: "8000/s", rate: 8000, canary: 5, control: 95, base: 1e-4, ratio: 10},
		{name: "8000/s", rate: 8000, canary: 5, control: 95, base: 1e-4, ratio: 3},
		{name: "8000/s b5", rate: 8000, canary: 5, control: 95, base: 1e-4, burst: 5, ratio: 1},
		{name: "8000/s b5", rate: 8000, canary: 5, control: 95, base: 1e-3, burst: 5, ratio: 1},
		{name: "8000/s 1e-3", rate: 8000, canary: 5, control: 95, base: 1e-3, ratio: 1},
		{name: "8000/s 1e-3", rate: 8000, canary: 5, control: 95, base: 1e-3, ratio: 10},
		{name: "2000/s", rate: 2000, canary: 5, control: 45, base: 1e-4, ratio: 1},
		{name: "2000/s", rate: 2000, canary: 5, control: 45, base: 1e-4, ratio: 10},
		{name: "200/s", rate: 200, canary: 4, control: 16, base: 1e-4, ratio: 1},
		{name: "200/s", rate: 200, canary: 4, control: 16, base: 1e-4, ratio: 100},
	} {
		var n [4]int
		var times [4][]time.Duration
		causes := map[Cause]int{}
		const runs = 200
		for i := range runs {
			w := world{rng: rand.New(rand.NewPCG(uint64(i), 7)), canary: tt.canary, control: tt.control, rate: tt.rate, base: tt.base, ratio: tt.ratio, shock: .3, burst: tt.burst}
			v, c, d := w.run(Rule{}, 120)
			n[v]++
			times[v] = append(times[v], d)
			causes[c]++
		}
		q := func(v Verdict) string {
			if len(times[v]) == 0 {
				return "-"
			}
			slices.Sort(times[v])
			return fmt.Sprint(times[v][len(times[v])/2], "-", times[v][len(times[v])*95/100])
		}
		t.Logf("%-12s base %g r=%g: pass %d (%s) fail %d (%s) suspect %d (%s) hold %d %v", tt.name, tt.base, tt.ratio, n[Pass], q(Pass), n[Fail], q(Fail), n[Suspect], q(Suspect), n[Hold], causes)
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
