package sim

import (
	"math"
	"math/rand/v2"
)

// random draws what traffic is made of. One belongs to one goroutine.
type random struct{ *rand.Rand }

// newRandom is the source number stream of a seed: the same numbers on every machine, and others for every stream.
func newRandom(seed, stream uint64) random {
	return random{rand.New(rand.NewPCG(mix(seed), mix(stream^0x9e3779b97f4a7c15)))}
}

// mix spreads neighbouring seeds over all 64 bits (the finaliser of splitmix64, Steele, Lea and Flood 2014): PCG streams of
// near seeds are alike at first.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// poisson draws a Poisson variable of the given mean: by sequential inversion below 10, above by the transformed rejection
// of Hörmann (PTRS; Insurance: Mathematics and Economics 12, 1993, 39-45). A mean that is not above 0 gives 0.
func (r random) poisson(mean float64) int64 {
	switch {
	case !(mean > 0):
		return 0
	case mean < 10:
		u, p, k := r.Float64(), math.Exp(-mean), int64(0)
		for sum := p; u > sum && k < 200; sum += p { // the tail beyond 200 of a mean below 10 is below 1e-100
			k++
			p *= mean / float64(k)
		}
		return k
	}
	root := math.Sqrt(mean)
	b := 0.931 + 2.53*root
	a := -0.059 + 0.02483*b
	vr := 0.9277 - 3.6224/(b-2)
	for {
		u := r.Float64() - .5
		v := 1 - r.Float64() // in (0, 1]
		us := .5 - math.Abs(u)
		k := math.Floor((2*a/us+b)*u + mean + .43)
		switch {
		case us >= .07 && v <= vr:
			return int64(k)
		case k < 0 || us < .013 && v > us:
			continue
		}
		lg, _ := math.Lgamma(k + 1)
		if math.Log(v)+math.Log(1.1239+1.1328/(b-3.4))-math.Log(a/(us*us)+b) <= k*math.Log(mean)-mean-lg {
			return int64(k)
		}
	}
}

// bursts is how failures arrive: in bursts whose number is Poisson and whose size is log-series, which together is the
// negative binomial with the given variance over mean (Quenouille, Biometrics 5, 1949, 162-164). Drawing the bursts instead
// of a count for each host costs as much as there are failures, not as there are hosts.
type bursts struct {
	perMean float64 // bursts a failure
	p       float64 // of the log-series; 0: every burst is one failure, so the counts are Poisson
	logq    float64 // ln(1-p)
}

func newBursts(varOverMean float64) bursts {
	if varOverMean <= 1.000001 {
		return bursts{perMean: 1}
	}
	return bursts{perMean: math.Log(varOverMean) / (varOverMean - 1), p: 1 - 1/varOverMean, logq: -math.Log(varOverMean)}
}

// size draws one burst's size, at least 1 (Kemp's LK; Applied Statistics 30, 1981, 249-253).
func (b bursts) size(r random) int64 {
	if b.p == 0 {
		return 1
	}
	v := r.Float64()
	if v >= b.p {
		return 1
	}
	q := -math.Expm1(b.logq * r.Float64())
	switch {
	case v <= q*q:
		if n := 1 + math.Floor(math.Log(v)/math.Log(q)); n > 1 && n < 1e9 {
			return int64(n)
		}
		return 1
	case v <= q:
		return 2
	}
	return 1
}
