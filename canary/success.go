package canary

import (
	"math"
	"slices"
	"strings"
	"time"
)

const (
	maxSignals = 16
	maxLone    = 24 // with more canary hosts than this none alone makes a drop
)

// signalBook is the evidence of one business signal: successes (edits saved, logins) in place of failures.
type signalBook struct {
	Name    string     `json:"name"`
	Wealth  []float64  `json:"wealth"`
	Canary  total      `json:"canary"`  // X counts successes, in ticks with both arms
	Control total      `json:"control"` // likewise
	Past    total      `json:"past"`    // of the control before the deploy
	Hosts   []goodBook `json:"hosts,omitempty"`
	Phi     Dispersion `json:"phi"`
	Fall    drift      `json:"fall,omitzero"` // without control
	Minute  []minute   `json:"minute,omitempty"`
}

// goodBook is one canary host's part.
type goodBook struct {
	Host string `json:"host"`
	N    int64  `json:"n"`
	Good int64  `json:"g"`
}

// minute is one tick of the last minute, both arms.
type minute struct {
	Good  int64 `json:"g"`
	Hosts int   `json:"h"`
}

// signals makes an entry for each signal that a cell names, in the order of their names.
func (b *Book) signals(cells []Cell) {
	for i := range cells {
		for name := range cells[i].Good {
			at, ok := slices.BinarySearchFunc(b.Signals, name, func(s signalBook, n string) int { return strings.Compare(s.Name, n) })
			if ok || len(b.Signals) >= maxSignals || len(name) > maxText {
				continue
			}
			s := signalBook{Name: name, Wealth: make([]float64, len(drops.r1))}
			inject(s.Wealth, 1)
			b.Signals = slices.Insert(b.Signals, at, s)
		}
	}
}

// good adds up a signal's successes.
func good(cells []Cell, name string) (g int64) {
	for i := range cells {
		g += min(max(cells[i].Good[name], 0), maxCell)
	}
	return g
}

// learn takes a tick of the control before the deploy.
func (s *signalBook) learn(cells []Cell) {
	s.Phi.Add(s.cells(cells))
	n, _ := sum(cells)
	s.Past.more(n, good(cells, s.Name))
	s.Past.Hosts += int64(len(cells))
}

// cells has the successes in the place of the failures, for the dispersion.
func (s *signalBook) cells(cells []Cell) []Cell {
	list := make([]Cell, len(cells))
	for i, c := range cells {
		list[i] = Cell{Host: c.Host, N: c.N, X: c.Good[s.Name]}
	}
	return list
}

// add takes one closed tick.
func (s *signalBook) add(r *Rule, c *Counts, nc, nb int64) {
	x, y := good(c.Canary, s.Name), good(c.Control, s.Name)
	phi := s.Phi.phi(r, 0)
	switch {
	case nb > 0 && nc > 0:
		inject(s.Wealth, trickle)
		drops.step(s.Wealth, x, x+y, float64(nc)/float64(nc+nb), phi)
		s.Canary.more(nc, x)
		s.Control.more(nb, y)
		s.hosts(c.Canary)
	case len(c.Control) == 0:
		if q := s.usual(); q > 0 {
			s.Fall.add(c.At, x, q*float64(nc), drops.r0, 0.5, phi)
		}
	}
	if len(c.Control) > 1 {
		s.Phi.Add(s.cells(c.Control))
	}
	t, _ := c.trials()
	s.Minute = append(s.Minute, minute{x + y, len(c.Canary) + len(c.Control) - len(t.Canary)}) // machines
	if most := int(math.Ceil(float64(time.Minute) / float64(r.Tick))); len(s.Minute) > most {
		s.Minute = slices.Delete(s.Minute, 0, len(s.Minute)-most)
	}
}

func (s *signalBook) hosts(cells []Cell) {
	if len(cells) > maxLone {
		s.Hosts = nil
		return
	}
	for i := range cells {
		n, _ := cells[i].counts()
		g := min(max(cells[i].Good[s.Name], 0), maxCell)
		j := slices.IndexFunc(s.Hosts, func(h goodBook) bool { return h.Host == cells[i].Host })
		if j < 0 && len(s.Hosts) < maxLone {
			j = len(s.Hosts)
			s.Hosts = append(s.Hosts, goodBook{Host: cells[i].Host})
		}
		if j >= 0 {
			s.Hosts[j].N += n
			s.Hosts[j].Good += g
		}
	}
}

func (s *signalBook) drop(host string) {
	j := slices.IndexFunc(s.Hosts, func(h goodBook) bool { return h.Host == host })
	if j < 0 {
		return
	}
	// What remains is begun anew: the drop that this host made is in every factor of the e-process.
	h := s.Hosts[j]
	s.Canary.less(h.N, h.Good)
	s.Hosts = slices.Delete(s.Hosts, j, j+1)
	for i := range s.Wealth {
		s.Wealth[i] = 1
	}
	s.Fall = drift{}
}

// usual is the successes a request that the old release has: of the control in this deploy when it saw enough of them, else of the
// time before.
func (s *signalBook) usual() float64 {
	switch {
	case s.Control.X >= 100:
		return s.Control.rate()
	case s.Past.N+s.Control.N > 0:
		return float64(s.Past.X+s.Control.X) / float64(s.Past.N+s.Control.N)
	}
	return 0
}

// lone is the host without which the canary's successes are as they should be.
func (s *signalBook) lone() string {
	for _, h := range s.Hosts {
		rest := total{N: s.Canary.N - h.N, X: s.Canary.X - h.Good}
		if rest.N > 0 && rest.rate() >= drops.r0*s.Control.rate() {
			return h.Host
		}
	}
	return ""
}

// minuteRate is the successes a minute of both arms together over the last minute, and what is usual for as many hosts;
// ok is false before a whole minute was seen.
func (s *signalBook) minuteRate(r *Rule) (now, usual float64, ok bool) {
	var g, hosts int64
	for _, m := range s.Minute {
		g += m.Good
		hosts += int64(m.Hosts)
	}
	span := time.Duration(len(s.Minute)) * r.Tick
	if span < time.Minute {
		return 0, 0, false
	}
	per := float64(time.Minute) / float64(span)
	if s.Past.Hosts > 0 {
		usual = float64(s.Past.X) / float64(s.Past.Hosts) * float64(hosts) * per
	}
	return float64(g) * per, usual, true
}

// redness says that a signal is low on both arms together, in words; "" is not. Below the usual rate counts only where chance
// does not explain it: the Poisson likelihood ratio of what is against what is usual, exp(g ln(g/e) - g + e), is at
// least FailAt.
func (s *signalBook) redness(r *Rule, sig Signal, fleet int) string {
	now, usual, ok := s.minuteRate(r)
	if !ok {
		return ""
	}
	read := 0
	if n := len(s.Minute); n > 0 {
		read = s.Minute[n-1].Hosts
	}
	all := now
	if fleet > read && read > 0 {
		all *= float64(fleet) / float64(read)
	}
	below := sig.RedBelow
	if below == 0 {
		below = r.RedBelow
	}
	switch {
	case sig.AtLeast > 0 && all < sig.AtLeast:
		return s.Name + " " + count(all) + " a minute on all hosts, below " + count(sig.AtLeast)
	case usual > 0 && now < below*usual && surprise(now, usual)/s.Phi.phi(r, 0) >= math.Log(r.FailAt):
		return s.Name + " " + count(now) + " a minute on both arms, below " + percent(below) + " of the usual " + count(usual)
	}
	return ""
}

// surprise is the Poisson log likelihood ratio of g events at their own rate against e expected.
func surprise(g, e float64) float64 {
	if g <= 0 {
		return e
	}
	return g*math.Log(g/e) - g + e
}
