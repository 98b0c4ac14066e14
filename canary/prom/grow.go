package prom

import (
	"fmt"
	"slices"
	"time"
)

// away is how many scrapes a series may miss and still be taken for one that was never gone.
const away = 1

// never is earlier than any sample.
const never = int64(-1 << 61)

// piece is how much counters of one kind grew in (a, b], which lies between two scrapes of their target.
type piece struct {
	kind int // index of Source.counts
	a, b int64
	d    int64
	born bool // the counter was not there at a
}

// target is one thing that was scraped: all its series have their samples at the same times.
type target struct {
	scrapes  []int64  // in order
	resets   []int64  // when a counter of requests was found to have begun anew
	requests []series // that it has
}

// targets learns from the counters of requests and the heartbeat which scrapes there were. What it learns of a time is the
// same whenever it is asked, if samples from twice the memory before that are at hand.
func targets(requests, alive []series) map[string]*target {
	all := map[string]*target{}
	at := func(x series) *target {
		t := all[x.target]
		if t == nil {
			t = &target{}
			all[x.target] = t
		}
		for _, p := range x.samples {
			t.scrapes = append(t.scrapes, p.at)
		}
		return t
	}
	for _, x := range requests {
		t := at(x)
		t.requests = append(t.requests, x)
		for k, p := range x.samples {
			if k > 0 && p.v < x.samples[k-1].v && p.at-x.samples[k-1].at <= memory.Milliseconds() {
				t.resets = append(t.resets, p.at)
			}
		}
	}
	for _, x := range alive {
		at(x)
	}
	for name, t := range all {
		if len(t.scrapes) == 0 {
			delete(all, name)
		}
		slices.Sort(t.scrapes)
		t.scrapes = slices.Compact(t.scrapes)
	}
	return all
}

// before is the last scrape before at, or never.
func (t *target) before(at int64) int64 {
	i, _ := slices.BinarySearch(t.scrapes, at)
	if i == 0 {
		return never
	}
	return t.scrapes[i-1]
}

// between counts the scrapes in (a, b).
func (t *target) between(a, b int64) int {
	i, _ := slices.BinarySearch(t.scrapes, a+1)
	j, _ := slices.BinarySearch(t.scrapes, b)
	return max(0, j-i)
}

// restarted says whether the target's process was seen to have begun anew in (a, b].
func (t *target) restarted(a, b int64) bool {
	return slices.ContainsFunc(t.resets, func(r int64) bool { return a < r && r <= b })
}

// fresh says that the target was heard of a release, but not shortly before since: its counters of that release began then.
func (t *target) fresh(release string, since, gap int64) bool {
	return since != never && !slices.ContainsFunc(t.requests, func(x series) bool {
		return x.release == release && slices.ContainsFunc(x.samples, func(p sample) bool {
			return since-max(memory.Milliseconds(), gap) < p.at && p.at <= since
		})
	})
}

// grown turns the samples of one series into pieces: only what happened after since, as far as that can be told. A piece
// begins at the scrape before its sample even if the series was not there then: what is closed by that scrape stays as it was.
//
// A problem is one of the window only when the sample that shows it is in it; over is the time of the last of these.
func (t *target) grown(x series, kind int, since int64, fresh bool, w window) (list []piece, problem string, over int64) {
	for i, p := range x.samples {
		g, said := t.growth(x, i)
		if said != "" {
			if p.at > max(w.from, since) {
				problem, over = said, p.at
			}
			continue
		}
		from := t.before(p.at)
		if g.since < since {
			// Part of it may be older than the runtime. What began at 0 with the runtime does not contain that part.
			if counts := g.again || fresh && g.born; p.at <= since || !counts {
				continue
			}
			from = max(from, since)
		}
		if p.at-from > w.gap || g.d == 0 {
			continue // in a hole: its ticks are not answered at all
		}
		list = append(list, piece{kind: kind, a: from, b: p.at, d: g.d, born: g.born})
	}
	return list, problem, over
}

// growth is how much a series grew since a time.
type growth struct {
	since, d    int64
	born, again bool // it was not there before; its process began anew meanwhile
}

func (t *target) growth(x series, i int) (growth, string) {
	p := x.samples[i]
	if i == 0 || p.at-x.samples[i-1].at > memory.Milliseconds() {
		scrape := t.before(p.at)
		return growth{since: scrape, d: p.v, born: true, again: t.restarted(scrape, p.at)}, ""
	}
	last := x.samples[i-1]
	switch {
	case p.v < last.v || t.restarted(last.at, p.at):
		return growth{since: last.at, d: p.v, again: true}, ""
	case p.v > last.v && t.between(last.at, p.at) > away:
		return growth{}, fmt.Sprintf("a counter was away from %s to %s and came back higher: whether it began anew is not known", clock(last.at), clock(p.at))
	}
	return growth{since: last.at, d: p.v - last.v}, ""
}

func clock(ms int64) string { return time.UnixMilli(ms).UTC().Format("15:04:05") }

// hole finds ticks of the window in which nothing is known of the target although something is afterwards, and when the last such
// time was over. What a runtime served from since to its first sample may be lost, if that sample came soon.
func (t *target) hole(w window, since int64) (problem string, over int64) {
	lo := max(w.from, since)
	last := never
	for _, at := range t.scrapes {
		from := max(last, since)
		last = at
		var said string
		switch {
		case at <= lo || at-from <= w.gap:
		case from == never:
			said = fmt.Sprintf("Prometheus has no sample from before %s, so what was served earlier is not known", clock(at))
		case max(from, lo) < w.to:
			said = fmt.Sprintf("Prometheus has no sample between %s and %s, so what was served then cannot be told by ticks", clock(from), clock(at))
		}
		if said != "" {
			over = at
			if problem == "" {
				problem = said
			}
		}
	}
	return problem, over
}
