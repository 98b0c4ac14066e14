package sourcetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"scap/canary"
)

// memory is a source over events in memory; broken is what it does wrong, "" nothing.
type memory struct {
	broken string
	step   time.Duration

	mu      sync.Mutex
	events  []Event
	arrived []time.Time // of events
	beats   map[string]time.Time
	nonces  map[string]bool // by host and nonce
	ahead   map[string]time.Duration
	down    error
	late    bool // what comes in is kept back
	hang    bool
	reads   int
}

func (m *memory) Read(ctx context.Context, q canary.Query) (canary.Reading, error) {
	m.mu.Lock()
	hang := m.hang
	m.mu.Unlock()
	if hang && m.broken != "answers zero when broken" {
		if m.broken == "ignores its context" {
			ctx = context.Background()
		}
		<-ctx.Done()
	}
	if ctx.Err() != nil && m.broken != "ignores its context" {
		return canary.Reading{}, context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	if m.down != nil && m.broken != "answers zero when broken" {
		return canary.Reading{}, m.down
	}
	step := max(q.Step, m.step)
	if m.broken == "invents finer ticks" {
		step = q.Step
	}
	r := canary.Reading{Step: step}
	for _, h := range q.Hosts {
		r.Hosts = append(r.Hosts, m.host(q, h, step))
	}
	switch m.broken {
	case "sorts the hosts":
		slices.SortFunc(r.Hosts, func(a, b canary.HostReading) int { return strings.Compare(a.Host, b.Host) })
	case "leaves out the unknown":
		r.Hosts = slices.DeleteFunc(r.Hosts, func(h canary.HostReading) bool { return h.Problem != "" })
	}
	return r, nil
}

func (m *memory) host(q canary.Query, h canary.Host, step time.Duration) canary.HostReading {
	at := h.Machine()
	if m.broken == "asks for the name" {
		at = h.Name
	}
	r := canary.HostReading{Host: h.Name, Through: m.beats[at], Skew: m.ahead[at]}
	if m.down != nil {
		r.Through = q.To
		return r
	}
	switch m.broken {
	case "zero for unknown":
		if r.Through.IsZero() {
			r.Through = q.To
		}
	case "closes by the clock":
		r.Through = q.Now
	case "closes by the newest event":
		for _, e := range m.events {
			if e.Host == h.Name && e.At.After(r.Through) {
				r.Through = e.At.Add(m.step)
			}
		}
	case "one watermark for all":
		for _, at := range m.beats {
			if at.After(r.Through) {
				r.Through = at
			}
		}
	case "never closes":
		r.Through = time.Time{}
	case "no zero":
		if !slices.ContainsFunc(m.events, func(e Event) bool { return e.Host == h.Name }) {
			r.Through = time.Time{}
		}
	case "does not notice clocks":
		r.Through, r.Skew = r.Through.Add(r.Skew), 0
	}
	if r.Through.IsZero() {
		r.Problem, r.Cause = "nothing was ever heard of "+strings.Map(printableOnly, h.Name), canary.SourceDown
		return r
	}
	if h.On != "" && m.broken == "knows no arms" {
		r.Problem, r.Cause = "cannot tell two releases of one host apart", canary.SourceDown
		return r
	}
	r.Ticks = m.ticks(q, h, step)
	if m.broken != "shuffles ticks" {
		r.Ticks = m.strays(q, h, step, r.Ticks)
	}
	if q.Prints {
		r.Prints = m.prints(q, h)
	}
	r.Nonce = h.Nonce != "" && m.nonces[at+" "+h.Nonce]
	switch m.broken {
	case "believes every nonce":
		r.Nonce = h.Nonce != ""
	case "believes a nonce of others":
		for k := range m.nonces {
			r.Nonce = r.Nonce || strings.HasSuffix(k, " "+h.Nonce)
		}
	}
	return r
}

func printableOnly(r rune) rune {
	if r < ' ' || r >= 0x7f {
		return '?'
	}
	return r
}

func (m *memory) mine(h canary.Host, e Event, at time.Time) bool {
	name := e.Host == h.Machine()
	if m.broken == "takes names for patterns" {
		name = strings.Contains(e.Host, strings.Trim(h.Name, "*"))
	}
	if m.broken == "mixes hosts" {
		name = true
	}
	release := h.Release == "" || e.Release == h.Release || m.broken == "ignores the release"
	if h.On != "" && m.broken == "mixes releases" {
		release = true
	}
	if e.Stray && h.On != "" && m.broken != "gives strays to the trial" {
		return false
	}
	return name && (!at.Before(h.Since) || m.broken == "ignores Since") && release
}

// strays counts what may be of either release into ticks.
func (m *memory) strays(q canary.Query, h canary.Host, step time.Duration, list []canary.Tick) []canary.Tick {
	for _, e := range m.events {
		if !e.Stray || e.Host != h.Machine() || h.On == "" || e.At.Before(q.From) || !e.At.Before(q.To) || m.broken == "forgets strays" {
			continue
		}
		at := floor(e.At, step)
		i, ok := slices.BinarySearchFunc(list, at, func(t canary.Tick, at time.Time) int { return t.At.Compare(at) })
		if !ok {
			list = slices.Insert(list, i, canary.Tick{At: at})
		}
		list[i].Stray++
	}
	return list
}

func (m *memory) ticks(q canary.Query, h canary.Host, step time.Duration) []canary.Tick {
	type key struct {
		tick time.Time
		id   string
	}
	served, failed := map[key]bool{}, map[key]bool{}
	ticks := map[time.Time]*canary.Tick{}
	lines := 0
	for i, e := range m.events {
		at := e.At
		if m.broken == "arrival time" {
			at = m.arrived[i]
		}
		in := !at.Before(q.From) && at.Before(q.To)
		if m.broken == "takes the end in" {
			in = !at.Before(q.From) && !at.After(q.To)
		}
		if !in || !m.mine(h, e, at) {
			continue
		}
		if lines++; lines > 500 && m.broken == "stops at a page" {
			break
		}
		t := floor(at, step)
		if ticks[t] == nil {
			ticks[t] = &canary.Tick{At: t}
		}
		k := key{t, e.ID}
		if e.ID == "" && m.broken != "drops those without an id" || m.broken == "counts lines" {
			k.id = fmt.Sprint("line", i)
		}
		if m.broken == "remembers ids over ticks" {
			k.tick = time.Time{}
		}
		if !served[k] {
			ticks[t].Requests++
		}
		if e.Failing && !failed[k] {
			ticks[t].Failing++
		}
		served[k], failed[k] = true, failed[k] || e.Failing
		m.good(ticks[t], e)
	}
	var list []canary.Tick
	for _, t := range ticks {
		list = append(list, *t)
	}
	slices.SortFunc(list, func(a, b canary.Tick) int { return a.At.Compare(b.At) })
	if m.broken == "shuffles ticks" {
		slices.Reverse(list)
	}
	if m.broken == "counts what it read before" && len(list) > 0 {
		list[0].Requests += int64(m.reads)
	}
	return list
}

func (m *memory) good(t *canary.Tick, e Event) {
	for _, s := range e.Good {
		if m.broken == "one signal for all" {
			s = Edits
		}
		if t.Good == nil {
			t.Good = map[string]int64{}
		}
		t.Good[s]++
	}
}

func (m *memory) prints(q canary.Query, h canary.Host) []canary.Print {
	seen, counts := map[string]bool{}, map[string]*canary.Print{}
	for i, e := range m.events {
		if !e.Failing || e.At.Before(q.From) || !e.At.Before(q.To) || !m.mine(h, e, e.At) && m.broken != "prints of all" {
			continue
		}
		text := e.Print.Text
		if m.broken != "lets control characters through" {
			text = strings.Map(printableOnly, text)
		}
		if len(text) > 300 && m.broken != "keeps long texts" {
			text = text[:300]
		}
		id := e.ID
		if id == "" || m.broken == "counts lines of prints" {
			id = fmt.Sprint(i)
		}
		if seen[text+"\x00"+id] {
			continue
		}
		seen[text+"\x00"+id] = true
		if counts[text] == nil {
			counts[text] = &canary.Print{Text: text, File: e.Print.File, ID: e.ID}
		}
		counts[text].Count++
	}
	var list []canary.Print
	for _, p := range counts {
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b canary.Print) int { return int(b.Count - a.Count) })
	if len(list) > MaxPrints/2 && m.broken != "keeps every print" {
		list = list[:MaxPrints/2]
	}
	return list
}

// rig is a memory that hosts write to.
func (m *memory) rig(epoch time.Time) Rig {
	locked := func(do func()) {
		m.mu.Lock()
		defer m.mu.Unlock()
		do()
	}
	var kept [][]Event
	clock := epoch
	put := func(es ...Event) {
		for _, e := range es {
			m.events, m.arrived = append(m.events, e), append(m.arrived, clock)
		}
	}
	beats := func(at time.Time, hosts ...string) {
		for _, h := range hosts {
			m.beats[h] = at
		}
	}
	r := Rig{
		Source: m, Step: m.step, Epoch: epoch,
		Log: func(_ *testing.T, es ...Event) {
			locked(func() {
				if m.late {
					kept = append(kept, es)
					return
				}
				put(es...)
			})
		},
		Beat: func(_ *testing.T, at time.Time, hosts ...string) {
			locked(func() {
				clock = at
				if m.late {
					if m.broken == "closes what lags" {
						beats(at, hosts...)
					}
					return
				}
				beats(at, hosts...)
			})
		},
		Nonce: func(_ *testing.T, h canary.Host) { locked(func() { m.nonces[h.Name+" "+h.Nonce] = true }) },
		Skew:  func(_ *testing.T, host string, ahead time.Duration) { locked(func() { m.ahead[host] = ahead }) },
		Faults: map[string]func(*testing.T) func(){
			"down": func(*testing.T) func() {
				locked(func() { m.down = errors.New("connection refused") })
				return func() { locked(func() { m.down = nil }) }
			},
			"hangs": func(*testing.T) func() {
				locked(func() { m.hang = true })
				return func() { locked(func() { m.hang = false }) }
			},
			"lags": func(*testing.T) func() {
				locked(func() { m.late = true })
				return func() {
					locked(func() {
						m.late = false
						for _, b := range kept {
							put(b...)
						}
					})
				}
			},
		},
	}
	r.NoArms = m.broken == "knows no arms" || m.broken == "mixes what it cannot tell"
	if m.broken == "never mends" {
		r.Faults["down"] = func(*testing.T) func() {
			locked(func() { m.down = errors.New("connection refused") })
			return func() {}
		}
	}
	return r
}

func newMemory(broken string) func(t *testing.T, hosts []canary.Host) Rig {
	return func(*testing.T, []canary.Host) Rig {
		m := &memory{broken: broken, step: 5 * time.Second, beats: map[string]time.Time{}, nonces: map[string]bool{}, ahead: map[string]time.Duration{}}
		return m.rig(time.Date(2023, 1, 17, 20, 13, 2, 0, time.UTC))
	}
}
