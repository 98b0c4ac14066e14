package store

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"scap/sync/release"
)

// times are the mtimes of a tree's files as they were when it was built, by a hash of the path. A file whose mtime is
// another one now was touched and is read again before it is linked; so a missing or damaged table costs time only.
type times struct {
	keys []uint64 // sorted
	at   []int64  // nanoseconds since 1970
}

const timesMagic = "scaptim\x01"

func timeKey(path string) uint64 {
	sum := sha256.Sum256([]byte(path))
	return binary.BigEndian.Uint64(sum[:])
}

func (t times) get(path string) (ns int64, ok bool) {
	i, ok := slices.BinarySearch(t.keys, timeKey(path))
	if !ok {
		return 0, false
	}
	return t.at[i], true
}

// with returns t without the paths that gone names and with those that put names.
func (t times) with(gone []string, put map[string]int64) times {
	type row struct {
		key  uint64
		at   int64
		drop bool
	}
	rows := make([]row, 0, len(gone)+len(put))
	for _, p := range gone {
		rows = append(rows, row{timeKey(p), 0, true})
	}
	for p, at := range put {
		rows = append(rows, row{timeKey(p), at, false})
	}
	// What is put comes after what is gone with the same key, and wins.
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(a.key, b.key) })
	out := times{make([]uint64, 0, len(t.keys)+len(put)), make([]int64, 0, len(t.keys)+len(put))}
	i := 0
	for j, r := range rows {
		for i < len(t.keys) && t.keys[i] < r.key {
			out.keys, out.at = append(out.keys, t.keys[i]), append(out.at, t.at[i])
			i++
		}
		if i < len(t.keys) && t.keys[i] == r.key {
			i++
		}
		if last := j+1 == len(rows) || rows[j+1].key != r.key; last && !r.drop {
			out.keys, out.at = append(out.keys, r.key), append(out.at, r.at)
		}
	}
	out.keys, out.at = append(out.keys, t.keys[i:]...), append(out.at, t.at[i:]...)
	return out
}

func (t times) encode() []byte {
	b := make([]byte, 0, len(timesMagic)+16*len(t.keys)+sha256.Size)
	b = append(b, timesMagic...)
	for i, k := range t.keys {
		b = binary.BigEndian.AppendUint64(b, k)
		b = binary.BigEndian.AppendUint64(b, uint64(t.at[i]))
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func decodeTimes(b []byte) (times, bool) {
	n := len(b) - len(timesMagic) - sha256.Size
	if n < 0 || n%16 != 0 || string(b[:len(timesMagic)]) != timesMagic {
		return times{}, false
	}
	body := b[:len(b)-sha256.Size]
	if sum := sha256.Sum256(body); string(sum[:]) != string(b[len(body):]) {
		return times{}, false
	}
	t := times{make([]uint64, n/16), make([]int64, n/16)}
	for i := range t.keys {
		r := body[len(timesMagic)+16*i:]
		t.keys[i], t.at[i] = binary.BigEndian.Uint64(r), int64(binary.BigEndian.Uint64(r[8:]))
	}
	return t, slices.IsSorted(t.keys)
}

// readTimes returns the table of a tree, empty when it has none that is whole.
func (s *Store) readTimes(id release.ID) times {
	b, err := s.readFile(s.meta, id.String()+".times", int64(len(timesMagic)+16*release.MaxEntries+sha256.Size))
	if err != nil {
		return times{}
	}
	t, ok := decodeTimes(b)
	if !ok {
		return times{}
	}
	return t
}

func (s *Store) writeTimes(id release.ID, t times) error {
	return s.writeFile(s.meta, id.String()+".times", t.encode(), false)
}
