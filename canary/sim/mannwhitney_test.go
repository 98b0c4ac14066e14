package sim

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The data and the answer (U 223, two-sided p 0.5427) of ClickHouse's test of its mannWhitneyUTest, which agrees with scipy.
func TestRankTestAgreesWithAnother(t *testing.T) {
	m := mannWhitney{
		x: []float64{310, 195, 530, 155, 530, 245, 385, 450, 465, 545, 170, 180, 125, 180, 230, 75, 430, 480, 495, 295},
		y: []float64{116, 171, 176, 421, 111, 326, 481, 111, 346, 441, 261, 411, 206, 521, 456, 446, 296, 51, 426, 261},
	}
	slices.Sort(m.x)
	slices.Sort(m.y)
	near(t, "two-sided p", math.Erfc(math.Abs(m.z(0))/math.Sqrt2), 0.5426959774289482, 1e-9)
}

func TestRankTestIsThatOfItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 6), func(i int) float64 { return float64(i) }), 2, 12)
		var m mannWhitney
		m.x, m.y = values.Draw(t, "x"), values.Draw(t, "y")
		shift := float64(rapid.IntRange(-3, 3).Draw(t, "shift"))
		slices.Sort(m.x)
		slices.Sort(m.y)
		got, d := m.z(shift), 0. // z has the sign of U less its mean, unless the continuity correction takes it whole
		var all []float64
		for _, x := range m.x {
			for _, y := range m.y {
				all = append(all, x-y)
				switch {
				case x-shift > y:
					d += .5
				case x-shift < y:
					d -= .5
				}
			}
		}
		if d != 0 && math.Abs(d) != .5 && (got > 0) != (d > 0) {
			t.Fatalf("z %g, but pairs say %g", got, d)
		}
		slices.Sort(all)
		want := (all[(len(all)-1)/2] + all[len(all)/2]) / 2
		if e := m.estimate(); e != want {
			t.Fatalf("estimate %g, the median of differences is %g", e, want)
		}
	})
}

func TestRankTestSeesAShiftAndNoChange(t *testing.T) {
	r := newRandom(5, 1)
	draw := func(mean float64) (list []float64) {
		for range 50 {
			list = append(list, mean+r.NormFloat64())
		}
		return list
	}
	var m mannWhitney
	false1, caught := 0, 0
	for range 2000 {
		if m.higher(draw(10), draw(10), .98, .25) {
			false1++
		}
		if m.higher(draw(12), draw(10), .98, .25) {
			caught++
		}
	}
	if false1 > 30 { // 1 % one-sided, less for the quarter of the estimate
		t.Errorf("%d of 2000 equal pairs are called higher", false1)
	}
	if caught < 1990 {
		t.Errorf("only %d of 2000 pairs two sigma apart are called higher", caught)
	}
	if m.higher([]float64{0, 0, 0}, []float64{0, 0, 0}, .98, .25) {
		t.Error("all tied is called higher")
	}
}
