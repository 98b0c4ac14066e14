package logs

import (
	"fmt"
	"time"

	"scap/canary"
)

// loosen adds a request whose release is not known to the second of its first line, or takes it out.
func (l *ledger) loosen(list []waiting, sign int64) {
	if len(list) == 0 {
		return
	}
	first := list[0].e.at
	logs := uint32(0)
	for _, x := range list {
		logs |= 1 << x.log
		if x.e.at.Before(first) {
			first = x.e.at
		}
	}
	s := l.ring.of(first.Unix())
	if s == nil {
		return
	}
	s.looseIDs += sign
	for i := range l.sources {
		if logs&(1<<i) != 0 {
			l.looseIn(s)[i] += sign
		}
	}
}

func (l *ledger) looseIn(s *second) []int64 {
	if s.loose == nil {
		s.loose = make([]int64, len(l.sources))
	}
	return s.loose
}

// lost counts a failing line that names no request and no release.
func (l *ledger) lost(i int, e event) {
	if e.conn != "" {
		for _, s := range l.sides() {
			if k, ok := s.ids.m[s.ids.key(byte(i)+1, e.conn)]; ok && k.last == e.at.UnixMilli() {
				return // the same request as a line before, which named the server
			}
		}
	}
	if s := l.ring.of(e.at.Unix()); s != nil {
		l.looseIn(s)[i]++
		l.arms.stray = l.kind(e)
	}
}

// strays is how many distinct requests failed at least in the seconds [from, to) of which it cannot be told whose they are: those of
// all logs, less those that may be what others of the logs have attributed.
func (l *ledger) strays(from, to int64) int64 {
	if l.arms == nil {
		return 0
	}
	var ids, known [2]int64
	var loose int64
	by := [2][]int64{make([]int64, len(l.sources)), make([]int64, len(l.sources))}
	all := make([]int64, len(l.sources))
	for sec := from; sec < to; sec++ {
		for n, side := range l.sides() {
			s := side.ring.get(sec)
			if s == nil {
				continue
			}
			ids[n] += s.ids
			for i, x := range s.by {
				by[n][i] += x
				all[i] += x
			}
			if n > 0 {
				continue
			}
			loose += s.looseIDs
			for i, x := range s.loose {
				all[i] += x
			}
		}
	}
	for n := range known {
		known[n] = failing(ids[n], by[n])
	}
	sure := known[0] + known[1]
	return failing(sure+loose, all) - sure
}

// noteStrays says how many failures are of neither release since the trial began.
func (l *ledger) noteStrays(p *Page, q Query, to int64) {
	if l.arms == nil || q.Arm != Trial {
		return
	}
	step := int64(q.Step / time.Second)
	from := to - step
	for ; from-step >= max(q.Since.Unix(), l.ring.floor()); from -= step {
	}
	var n int64
	for ; from < to; from += step {
		n += l.strays(from, from+step)
	}
	if n == 0 {
		return
	}
	p.Note = fmt.Sprintf("%d failing requests are of neither of its two releases by its logs", n)
	if l.arms.stray != nil {
		p.Note += " (" + clean(l.arms.stray.text, maxClass) + ")"
	}
}

// anonymous says that requests were served of which the access log does not say by which release.
func (l *ledger) anonymous(q Query, skew time.Duration, says says) {
	if l.arms == nil {
		return
	}
	const share, few = 100, 3
	var n, all int64
	for sec := q.From.Add(skew).Unix(); sec < q.To.Add(skew).Unix(); sec++ {
		for i, side := range l.sides() {
			if s := side.ring.get(sec); s != nil {
				all += s.n
				if i == 0 {
					n += s.anon
				}
			}
		}
	}
	if n < few || n*share <= all+n {
		return
	}
	const again = 100 // lines in a row that say it
	var until time.Time
	if l.arms.named >= again {
		until = l.arms.nobody.Add(time.Second + slack)
	}
	says(canary.SourceDown, until, "%d of %d requests in its access log cannot be told to be of one of its two releases: log $upstream_addr (nginx), "+
		"%%{BALANCER_WORKER_NAME}e (Apache) or the release, and name the trial's socket or worker", n, all+n)
}
