package canary

import (
	"math"
	"slices"
)

// maxHosts are told apart: those with failures, as many as fail most.
const maxHosts = 32

// hostBook is one canary host with failures: its totals, and the e-process of all the others.
type hostBook struct {
	Host   string    `json:"host"`
	N      int64     `json:"n"`
	X      int64     `json:"x"`
	Wealth []float64 `json:"wealth"`      // leaves the host out
	Alone  int64     `json:"a,omitempty"` // failing since the onset of a rise without control
	Hands  int       `json:"w,omitempty"` // workers whose requests failed; 0: not known
	at     int       // where its cell was in the last tick: most ticks have it there again
}

// track finds or makes the entry of each host that fails in this tick. It begins with the wealth of all before its first
// failure, which is no more than what the others alone have.
func (b *Book) track(cells []Cell, nc int64) {
	for i := range cells {
		n, x := cells[i].counts()
		if x == 0 {
			continue
		}
		if j := b.host(cells, i); j >= 0 {
			b.Hosts[j].Hands = max(b.Hosts[j].Hands, cells[i].Workers)
			continue
		}
		h := hostBook{Host: cells[i].Host, Hands: cells[i].Workers, at: i, Wealth: append([]float64(nil), b.Wealth...)}
		if nc > 0 { // what it served before is not known any more; its share of this tick says about how much
			h.N = int64(float64(n) / float64(nc) * float64(b.Canary.N))
		}
		if len(b.Hosts) < maxHosts {
			b.Hosts = append(b.Hosts, h)
			continue
		}
		least := 0
		for j := range b.Hosts {
			if b.Hosts[j].X < b.Hosts[least].X {
				least = j
			}
		}
		if b.Hosts[least].X <= x {
			b.Hosts[least] = h
		}
	}
}

// host is where the host of cells[i] is in the book; -1: nowhere.
func (b *Book) host(cells []Cell, i int) int {
	for j := range b.Hosts {
		if b.Hosts[j].at == i && b.Hosts[j].Host == cells[i].Host {
			return j
		}
	}
	for j := range b.Hosts {
		if b.Hosts[j].Host == cells[i].Host {
			b.Hosts[j].at = i
			return j
		}
	}
	return -1
}

// cell finds the host's cell in this tick.
func (h *hostBook) cell(cells []Cell) *Cell {
	if h.at < len(cells) && cells[h.at].Host == h.Host {
		return &cells[h.at]
	}
	for i := range cells {
		if cells[i].Host == h.Host {
			h.at = i
			return &cells[i]
		}
	}
	return nil
}

// leaveOut takes one tick of both arms for the e-processes that leave one host out each.
func (b *Book) leaveOut(cells []Cell, list []stratum, phi float64) {
	for j := range b.Hosts {
		h := &b.Hosts[j]
		c := h.cell(cells)
		trial := slices.ContainsFunc(list, func(s stratum) bool { return s.host == h.Host })
		for _, s := range list {
			switch {
			case s.host == h.Host: // a machine is left out with both of its releases
				continue
			case s.host == "" && c != nil && !trial:
				s = s.without(c.counts())
			}
			harms.step(h.Wealth, s.x, s.m, s.theta(), phi)
		}
	}
}

// worst is the host without which the least evidence is left, and how many hosts leave less than at.
func (b *Book) worst(at float64) (h *hostBook, below int) {
	for j := range b.Hosts {
		e := harms.mean(b.Hosts[j].Wealth)
		if e < at {
			below++
		}
		if h == nil || e < harms.mean(h.Wealth) || e == harms.mean(h.Wealth) && b.Hosts[j].Host < h.Host {
			h = &b.Hosts[j]
		}
	}
	return h, below
}

// apart is the e-value of a host against the other canary hosts, from its totals: x of xs failing on n of ns requests. It is
// the binomial mixture of mixture.step with the null r = 1.
func apart(x, n, xs, ns int64, phi float64) float64 {
	if xs <= 0 || n <= 0 || n >= ns {
		return 0
	}
	share := float64(n) / float64(ns)
	var s float64
	for _, r1 := range harms.r1 {
		s += min(maxWealth, math.Exp((float64(x)*math.Log(r1)-float64(xs)*math.Log(1-share+share*r1))/phi))
	}
	return s / float64(len(harms.r1))
}

// Drop forgets what a host brought: it was suspected and taken out. What it did to the e-processes of the others is divided
// out, which is exact for one start and the same share in every tick, and near it else; they keep no more than what is left.
func (b *Book) Drop(host string) {
	b.Kinds = slices.DeleteFunc(b.Kinds, func(k printBook) bool { return k.Host == host && !k.More })
	for j := range b.Hosts {
		h := b.Hosts[j]
		if h.Host != host {
			continue
		}
		b.Hosts = append(b.Hosts[:j], b.Hosts[j+1:]...)
		for k := range b.Hosts {
			for i := range h.Wealth {
				w := b.Hosts[k].Wealth[i] * (h.Wealth[i] / b.Wealth[i])
				if !(w <= h.Wealth[i]) { // also NaN, of zeros
					w = h.Wealth[i]
				}
				b.Hosts[k].Wealth[i] = w
			}
		}
		b.Wealth = h.Wealth
		b.Canary.less(h.N, h.X)
		b.Batch.less(min(h.N, b.Batch.N), min(h.X, b.Batch.X))
		b.Rise = drift{}
		b.Hard = nil
		break
	}
	r := Rule{}.Full()
	b.Own.drop(host, b.Phi.phi(&r, b.Largest))
	for i := range b.Signals {
		b.Signals[i].drop(host)
	}
}

// several reports whether the one canary host that there is fails on more than one of its workers: then it is not one broken
// worker, and nothing speaks for the host being at fault and not what was deployed to it. Going back is the safe side.
//
// A canary that is only the first to be seen, or the only one that can be read, is not the only one there is.
func (b *Book) several() bool {
	return max(b.CanaryHosts, b.Canaries) == 1 && len(b.Hosts) == 1 && b.Hosts[0].Hands >= 2
}

// keep drops every host that is told apart and is not there any more.
func (b *Book) keep(there func(host string) bool) {
	var gone []string
	for i := range b.Hosts {
		gone = append(gone, b.Hosts[i].Host)
	}
	for i := range b.Kinds {
		gone = append(gone, b.Kinds[i].Host)
	}
	for i := range b.Signals {
		for _, h := range b.Signals[i].Hosts {
			gone = append(gone, h.Host)
		}
	}
	slices.Sort(gone)
	for _, h := range slices.Compact(gone) {
		if !there(h) {
			b.Drop(h)
		}
	}
}
