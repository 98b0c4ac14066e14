package logs

import (
	"cmp"
	"slices"
	"strings"

	"scap/canary"
)

// Bounds of what is kept of a log. The ring is of seconds, so that a question may have any step and a host's clock may be
// wrong by any whole second.
const (
	ringSeconds  = 4096 // 68 minutes
	secondPrints = 256  // fingerprints in one second; more count as others
	ringPrints   = 40_000
	secondHands  = 64 // failing workers in one second
	pagePrints   = 200
	others       = "other failures"
)

// second is what was logged of one second.
type second struct {
	at      int64 // Unix time; 0: nothing yet
	n       int64
	ids     int64   // distinct failing requests that have an id
	by      []int64 // failing requests by log, those without an id too
	good    []int64 // by signal
	read    []int64 // lines by log
	odd     []int64 // of them, those in a foreign form, which came next after one of this second
	prints  []secondPrint
	workers []hand
	// Of a host with two releases: requests of which nobody can say whose they are, and failing ones, by log those that each
	// knows and in all those with an id.
	anon, looseIDs int64
	loose          []int64
}

type secondPrint struct {
	kind *printKind
	n    int64
	id   string // the least id of a request that failed so
}

// hand is one worker as one log names it.
type hand struct {
	log  int
	name uint64
}

// ring holds the last seconds of a host's logs.
type ring struct {
	slots         []second
	top           int64 // the newest second
	logs, signals int
	prints        int
}

func newRing(logs, signals int) *ring {
	return &ring{slots: make([]second, ringSeconds), logs: logs, signals: signals}
}

// floor is the oldest second that is held.
func (r *ring) floor() int64 { return max(1, r.top-int64(len(r.slots))+1) }

// get returns a second that something was logged of; nil when there is none.
func (r *ring) get(sec int64) *second {
	if sec < r.floor() || sec > r.top {
		return nil
	}
	if s := &r.slots[sec%int64(len(r.slots))]; s.at == sec {
		return s
	}
	return nil
}

// of returns the second to count in; nil when it is older than what is held.
func (r *ring) of(sec int64) *second {
	r.top = max(r.top, sec)
	if sec < r.floor() {
		return nil
	}
	s := &r.slots[sec%int64(len(r.slots))]
	if s.at != sec {
		r.prints -= len(s.prints)
		*s = second{
			at: sec, by: clear64(s.by, r.logs), good: clear64(s.good, r.signals),
			read: clear64(s.read, r.logs), odd: clear64(s.odd, r.logs), workers: s.workers[:0],
		}
	}
	return s
}

func clear64(s []int64, n int) []int64 {
	if len(s) != n {
		return make([]int64, n)
	}
	clear(s)
	return s
}

// print returns the place of a fingerprint in a second, or of the others when there are too many.
func (r *ring) print(s *second, k, others *printKind) *secondPrint {
	find := func(k *printKind) int {
		return slices.IndexFunc(s.prints, func(p secondPrint) bool { return p.kind == k })
	}
	i := find(k)
	if i < 0 && (len(s.prints) >= secondPrints || r.prints >= ringPrints) {
		k = others
		i = find(k)
	}
	if i < 0 {
		i = len(s.prints)
		s.prints = append(s.prints, secondPrint{kind: k})
		r.prints++
	}
	return &s.prints[i]
}

// failing is how many distinct requests failed at least, of those with an id and those that each log knows.
func failing(ids int64, by []int64) int64 {
	most := ids
	for _, n := range by {
		most = max(most, n)
	}
	return most
}

// tick adds up the seconds [from, to).
func (r *ring) tick(from, to int64, signals []Signal) (t canary.Tick) {
	var ids int64
	by := make([]int64, r.logs)
	for sec := from; sec < to; sec++ {
		s := r.get(sec)
		if s == nil {
			continue
		}
		t.Requests += s.n
		ids += s.ids
		for i, n := range s.by {
			by[i] += n
		}
		for i, n := range s.good {
			if n > 0 {
				if t.Good == nil {
					t.Good = map[string]int64{}
				}
				t.Good[signals[i].Name] += n
			}
		}
	}
	t.Failing = failing(ids, by)
	return t
}

// forms counts the lines of one log in [from, to), and those of them in a foreign form, and says which second has the last of these.
func (r *ring) forms(log int, from, to int64) (read, odd, last int64) {
	for sec := from; sec < to; sec++ {
		if s := r.get(sec); s != nil {
			read += s.read[log]
			if odd += s.odd[log]; s.odd[log] > 0 {
				last = sec
			}
		}
	}
	return read, odd, last
}

// list returns the fingerprints of [from, to), the most frequent first; what is beyond the bound stands under others.
func (r *ring) list(from, to int64) []canary.Print {
	sums := map[string]*canary.Print{}
	for sec := from; sec < to; sec++ {
		s := r.get(sec)
		if s == nil {
			continue
		}
		for _, p := range s.prints {
			if p.n <= 0 {
				continue
			}
			sum := sums[p.kind.text]
			if sum == nil {
				sum = &canary.Print{Text: p.kind.text, File: p.kind.file, ID: p.id}
				sums[p.kind.text] = sum
			}
			sum.Count += p.n
			sum.ID = least(sum.ID, p.id)
		}
	}
	list := make([]canary.Print, 0, len(sums))
	for _, p := range sums {
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b canary.Print) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Text, b.Text))
	})
	if len(list) > pagePrints {
		rest := canary.Print{Text: others}
		for _, p := range list[pagePrints-1:] {
			rest.Count += p.Count
		}
		list = list[:pagePrints-1]
		if i := slices.IndexFunc(list, func(p canary.Print) bool { return p.Text == others }); i >= 0 {
			rest.Count += list[i].Count
			list = slices.Delete(list, i, i+1)
		}
		list = append(list, rest)
	}
	return list
}

func least(a, b string) string {
	if a == "" || b != "" && b < a {
		return b
	}
	return a
}

// workers counts the distinct workers whose requests failed in [from, to), as that log knows them which names the most.
func (r *ring) workers(from, to int64) int {
	seen := map[hand]bool{}
	by := make([]int, r.logs)
	most := 0
	for sec := max(from, r.floor(), to-int64(len(r.slots))); sec < to; sec++ { // never from 1970 on
		s := r.get(sec)
		if s == nil {
			continue
		}
		for _, h := range s.workers {
			if !seen[h] {
				seen[h] = true
				by[h.log]++
				most = max(most, by[h.log])
			}
		}
	}
	return most
}
