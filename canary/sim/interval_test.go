package sim

import "testing"

// The bounds are those of the textbooks: k = 0 has 1-(0.025)^(1/n), 10 of 100 is (0.0490, 0.1762).
func TestBinomialIntervalIsExact(t *testing.T) {
	for _, c := range []struct{ k, n, low, high float64 }{
		{0, 10, 0, .30850},
		{10, 10, .69150, 1},
		{10, 100, .04900, .17622},
		{1, 2000, .0000127, .0027826},
		{5, 10, .18709, .81291},
	} {
		i := binomial(c.k, c.n)
		near(t, "share", i.Share, c.k/c.n, 1e-12)
		near(t, "low", i.Low, c.low, 2e-5)
		near(t, "high", i.High, c.high, 2e-5)
	}
	if i := binomial(0, 0); i.Low != 0 || i.High != 1 {
		t.Errorf("nothing tried is known to be in %v to %v", i.Low, i.High)
	}
}
