package logs

import (
	"hash/maphash"
	"slices"
	"time"
)

// together is how far apart two lines with one id may be and still be of one request: the longest that a request takes, and more.
// Whether a line begins a request depends on nothing older than this before it, so a reader that begins this much before
// a range knows all of the range.
const together = 2 * time.Minute

// maxIDs bounds the failing requests that are known by their ids at a time.
const maxIDs = 20_000

// known is a failing request that was seen.
type known struct {
	first, last int64 // Unix milliseconds of its lines
	printed     int64 // of the line that kind is from
	logs        uint32
	kind        *printKind
	rank        int8
	served      bool // counted among the requests
}

// idset knows failing requests by their ids, at most maxIDs of them: the ids that no line to come can belong to are
// forgotten, and when there are too many, the oldest.
type idset struct {
	seed  maphash.Seed
	m     map[uint64]known
	swept int64 // the horizon of the last sweep, Unix milliseconds
}

func newIDs() *idset { return &idset{seed: maphash.MakeSeed(), m: map[uint64]known{}} }

func (s *idset) key(kind byte, id string) uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	_ = h.WriteByte(kind)
	_, _ = h.WriteString(id)
	return h.Sum64()
}

// sweep forgets what no line at horizon or later can belong to.
func (s *idset) sweep(horizon int64) {
	const few, pause = 1024, 10_000
	if len(s.m) > few && horizon >= s.swept+pause {
		s.swept = horizon
		s.forget(horizon - together.Milliseconds())
	}
	if len(s.m) < maxIDs {
		return
	}
	times := make([]int64, 0, len(s.m))
	for _, k := range s.m {
		times = append(times, k.last)
	}
	slices.Sort(times)
	s.forget(times[len(times)/2])
	if len(s.m) >= maxIDs { // all at one time
		clear(s.m)
	}
}

func (s *idset) forget(before int64) {
	for key, k := range s.m {
		if k.last < before {
			delete(s.m, key)
		}
	}
}
