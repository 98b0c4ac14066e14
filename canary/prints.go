package canary

import (
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxPrints = 48   // kinds of failure on the canaries that are told apart
	maxText   = 160  // bytes kept of each
	maxKnown  = 1024 // kinds known from the control
)

// printBook is one kind of failure that the canaries had.
type printBook struct {
	Text    string    `json:"text"`
	File    string    `json:"file,omitempty"`
	ID      string    `json:"id,omitempty"`
	Count   int64     `json:"k"`
	Control int64     `json:"c,omitempty"`    // on the control, in this deploy
	Host    string    `json:"host"`           // the first that had it
	More    bool      `json:"more,omitempty"` // others had it too
	First   time.Time `json:"first"`          // the ticks begin here in which it was read first
	Known   bool      `json:"known,omitempty"`
	Asked   bool      `json:"asked,omitempty"`  // memory and change were looked up
	Change  string    `json:"change,omitempty"` // in or out of this change; "": not known
}

// isNew says that the control never had it, neither in this deploy nor in the memory of the last days.
func (p *printBook) isNew() bool { return !p.Known && p.Control == 0 }

// Prints adds fingerprints of ticks that were added before. What the control had is no news.
func (b *Book) Prints(side Arm, host string, ps []Print) {
	for _, p := range ps {
		text := clean(p.Text, maxText)
		if p.Count <= 0 || text == "" {
			continue
		}
		n := min(p.Count, maxCell)
		i := slices.IndexFunc(b.Kinds, func(k printBook) bool { return k.Text == text })
		switch {
		case side == OnControl:
			b.Know(text)
			if i >= 0 {
				b.Kinds[i].Control += n
			}
		case i >= 0:
			k := &b.Kinds[i]
			k.Count += n
			k.More = k.More || k.Host != host
		default:
			first := b.from
			if first.IsZero() {
				first = b.Next
			}
			b.kind(printBook{
				Text: text, File: clean(p.File, maxText), ID: clean(p.ID, 64), Count: n, Host: host, First: first,
				Known: b.knows(text),
			})
		}
	}
	slices.SortStableFunc(b.Kinds, func(x, y printBook) int {
		switch {
		case x.isNew() != y.isNew():
			if x.isNew() {
				return -1
			}
			return 1
		case x.Count != y.Count:
			return int(max(-1, min(1, y.Count-x.Count)))
		}
		return strings.Compare(x.Text, y.Text)
	})
}

// kind adds k. In a full table it takes the place of the last: a known one, or the rarest.
func (b *Book) kind(k printBook) {
	if len(b.Kinds) < maxPrints {
		b.Kinds = append(b.Kinds, k)
		return
	}
	b.More++
	last := &b.Kinds[len(b.Kinds)-1]
	if last.Count <= k.Count || !last.isNew() && k.isNew() {
		*last = k
	}
}

// Know notes a fingerprint as one that the old release has too.
func (b *Book) Know(text string) {
	h := hash(clean(text, maxText))
	i, ok := slices.BinarySearch(b.Known, h)
	switch {
	case ok:
	case len(b.Known) >= maxKnown:
		b.Forgot = true
	default:
		b.Known = slices.Insert(b.Known, i, h)
	}
}

// knows says whether a fingerprint is no news. With more kinds on the control than can be kept nothing is.
func (b *Book) knows(text string) bool {
	_, ok := slices.BinarySearch(b.Known, hash(text))
	return ok || b.Forgot
}

// Whether the file of an error is part of the change.
const (
	inside  = "in"
	outside = "out"
)

// Resolve looks up what is not known yet of each kind of failure: seen says whether the fleet had it lately, changed
// whether its file is part of the change: in, out or "". Each is asked once for each kind.
func (b *Book) Resolve(seen func(string) bool, changed func(string) string) {
	for i := range b.Kinds {
		k := &b.Kinds[i]
		if k.Asked {
			continue
		}
		k.Asked = true
		k.Known = k.Known || seen(k.Text)
		if k.File != "" {
			k.Change = changed(k.File)
		}
	}
}

// enough is the count from which a kind of failure that only the canaries had is theirs:
// k >= max(3, ceil(ln(F/.01)/ln(1/theta))). If it had nothing to do with the release, each of the k would be on the canary
// with probability theta, their share of the requests; F kinds are watched, so some one is all on the canary by chance with
// probability F theta^k <= .01 (Bonferroni).
func (b *Book) enough(r *Rule) int64 {
	c, o := b.Canary.N+b.Lone.N, b.Control.N
	if b.ControlHosts == 0 { // compared with the time before too, when nobody had the release
		o += b.Past.N
	}
	if c <= 0 || o <= 0 {
		return maxCell
	}
	f := float64(len(b.Kinds)+b.More) + float64(len(b.Known))
	k := math.Ceil(math.Log(f/.01) / math.Log(float64(c+o)/float64(c)))
	if !(k < maxCell) {
		return maxCell
	}
	return max(r.MinFailing, 3, int64(k))
}

func hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}

// clean bounds what came from outside and takes control characters out of it.
func clean(s string, most int) string {
	if len(s) > 4*most {
		s = s[:4*most]
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == utf8.RuneError || r == 0x2028 || r == 0x2029 {
			return -1
		}
		return r
	}, s)
	for len(s) > most {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}
