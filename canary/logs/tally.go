package logs

import (
	"hash/maphash"
	"slices"
	"strings"
)

// side is what was counted for one release.
type side struct {
	ring *ring
	ids  *idset
}

func newSide(c Config) side { return side{newRing(len(c.Sources), len(c.Signals)), newIDs()} }

// count counts a line of a user's request.
func (l *ledger) count(to *side, i int, e event) {
	s := to.ring.of(e.at.Unix())
	if s != nil && e.web {
		for n, g := range l.c.Signals {
			if g.matches(e) {
				s.good[n]++
			}
		}
	}
	if s != nil && e.served && !e.fails {
		s.n++
	}
	if !e.fails {
		return
	}
	if s != nil && e.worker != "" && len(s.workers) < secondHands {
		if h := (hand{i, maphash.String(l.seed, e.worker)}); !slices.Contains(s.workers, h) {
			s.workers = append(s.workers, h)
		}
	}
	if e.id == "" {
		l.nameless(to, i, s, e)
	} else {
		l.named(to, i, s, e)
	}
}

// nameless counts a failing line that names no request.
func (l *ledger) nameless(to *side, i int, s *second, e event) {
	if e.conn != "" {
		key, ms := to.ids.key(byte(i)+1, e.conn), e.at.UnixMilli()
		if k, ok := to.ids.m[key]; ok && k.last == ms {
			return // nginx tells of each upstream that it tried, in whole seconds
		}
		to.ids.m[key] = known{first: ms, last: ms}
	}
	if s == nil {
		return
	}
	s.by[i]++
	if e.web {
		s.n++
	}
	to.ring.print(s, l.kind(e), l.others).n++
}

// named counts a failing line of a request: in the second of the request's first line, whichever log has it and whichever is read
// first, and by the fingerprint that says most.
func (l *ledger) named(to *side, i int, s *second, e event) {
	ms, kind := e.at.UnixMilli(), l.kind(e)
	if s != nil {
		p := to.ring.print(s, kind, l.others)
		if id := clip(e.id); p.id == "" || id < p.id {
			p.id = strings.Clone(id)
		}
	}
	key := to.ids.key(0, e.id)
	k, ok := to.ids.m[key]
	far := together.Milliseconds()
	switch {
	case !ok || ms > k.last+far || ms < k.first-far:
		k = known{first: ms, last: ms, printed: ms, kind: kind, rank: rankOf(e)}
		l.book(to, k, +1)
	case ms < k.first:
		l.book(to, k, -1)
		k.first = ms
		l.book(to, k, +1)
	default:
		k.last = max(k.last, ms)
	}
	home := to.ring.get(k.first / 1000)
	if home != nil && k.logs&(1<<i) == 0 {
		k.logs |= 1 << i
		home.by[i]++
	}
	if home != nil && e.web && !k.served {
		k.served = true
		home.n++
	}
	if rank := rankOf(e); rank < k.rank || rank == k.rank && (ms < k.printed || ms == k.printed && kind.text < k.kind.text) {
		if home != nil {
			to.ring.print(home, k.kind, l.others).n--
			to.ring.print(home, kind, l.others).n++
		}
		k.rank, k.printed, k.kind = rank, ms, kind
	}
	to.ids.m[key] = k
}

// book adds a request to the second of its first line, or takes it out.
func (l *ledger) book(to *side, k known, sign int64) {
	s := to.ring.of(k.first / 1000)
	if s == nil {
		return
	}
	s.ids += sign
	if k.served {
		s.n += sign
	}
	for i := range s.by {
		if k.logs&(1<<i) != 0 {
			s.by[i] += sign
		}
	}
	to.ring.print(s, k.kind, l.others).n += sign
}

// kind returns the one copy of a line's fingerprint.
func (l *ledger) kind(e event) *printKind {
	p := l.print.of(e)
	if k := l.kinds[p]; k != nil {
		return k
	}
	const pause = 60
	if len(l.kinds) >= maxKinds && l.ring.top >= l.swept+pause {
		l.swept = l.ring.top
		l.thin()
	}
	if len(l.kinds) >= maxKinds {
		return l.others
	}
	k := &printKind{strings.Clone(p.text), strings.Clone(p.file)}
	l.kinds[*k] = k
	return k
}

// thin forgets the fingerprints that are in no second and of no known request.
func (l *ledger) thin() {
	used := map[*printKind]bool{}
	for _, s := range l.sides() {
		for i := range s.ring.slots {
			for _, p := range s.ring.slots[i].prints {
				used[p.kind] = true
			}
		}
		for _, k := range s.ids.m {
			used[k.kind] = true
		}
	}
	for p, k := range l.kinds {
		if !used[k] {
			delete(l.kinds, p)
		}
	}
}
