package sim

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"scap/canary"
)

// Setting is a candidate: a rule, and whether phi is estimated (0) or taken for granted.
type Setting struct {
	Name string      `json:"name"`
	Rule canary.Rule `json:"rule"`
	Phi  float64     `json:"phi,omitempty"`
}

// Settings are base and its variations, one setting changed in each.
func Settings(base canary.Rule) []Setting {
	list := []Setting{{Name: "as configured", Rule: base}}
	vary := func(name string, change func(*Setting)) {
		s := Setting{Name: name, Rule: base}
		change(&s)
		list = append(list, s)
	}
	for _, at := range []float64{50, 100, 500} {
		vary(fmt.Sprintf("fail_at %g", at), func(s *Setting) { s.Rule.FailAt = at })
	}
	for _, phi := range []float64{1, 3, 10} {
		vary(fmt.Sprintf("phi always %g", phi), func(s *Setting) { s.Phi = phi })
	}
	for _, rate := range []float64{1e-4, 1e-3} {
		vary(fmt.Sprintf("harm_rate %g", rate), func(s *Setting) { s.Rule.HarmRate = rate })
	}
	for _, d := range []time.Duration{30 * time.Second, 2 * time.Minute} {
		vary(fmt.Sprintf("dwell %v", d), func(s *Setting) { s.Rule.Dwell = d })
	}
	return list
}

// BacktestOptions say how past days are replayed. A field that is 0 has its default.
type BacktestOptions struct {
	Settings []Setting     // the candidates, all with the same Tick; default Settings of the default rule
	Canaries int           // hosts that play canary in each trial; default 5, at most half of the hosts
	Controls int           // hosts that play control at most; default 40
	Splits   int           // trials in each window, with other canaries; default 10
	MaxWait  time.Duration // length of a window, and the longest wait for a verdict; default 10 min
	Ratio    float64       // of the harm that is put on the canaries of a second trial, to see whether it is caught; default 10, 1 none
	Seed     uint64
}

const maxSplits = 1000

func (o BacktestOptions) filled() (BacktestOptions, error) {
	if len(o.Settings) == 0 {
		o.Settings = Settings(canary.Rule{})
	}
	o.Canaries = or(o.Canaries, 5)
	o.Controls = or(o.Controls, 40)
	o.Splits = or(o.Splits, 10)
	o.MaxWait = or(o.MaxWait, 10*time.Minute)
	o.Ratio = or(o.Ratio, 10)
	tick := tickOf(o.Settings[0].Rule)
	switch {
	case o.Canaries < 0 || o.Controls < 0 || o.Canaries > maxHosts || o.Controls > maxHosts:
		return o, fmt.Errorf("backtest: %d canaries against %d control hosts are not 1 to %d each", o.Canaries, o.Controls, maxHosts)
	case o.Splits < 0 || o.Splits > maxSplits:
		return o, fmt.Errorf("backtest: %d splits are not 1 to %d", o.Splits, maxSplits)
	case o.MaxWait < look20 || o.MaxWait/tick > maxTicks:
		return o, fmt.Errorf("backtest: a window of %v is not between %v and %d ticks of %v", o.MaxWait, look20, maxTicks, tick)
	case !(o.Ratio >= 1 && o.Ratio <= 1e6):
		return o, fmt.Errorf("backtest: ratio %g is not between 1 and 1,000,000", o.Ratio)
	}
	for _, s := range o.Settings {
		if err := s.Rule.Check(); err != nil {
			return o, fmt.Errorf("backtest: %s: %w", s.Name, err)
		}
		if tickOf(s.Rule) != tick {
			return o, fmt.Errorf("backtest: %s has another tick than %s", s.Name, o.Settings[0].Name)
		}
		if s.Phi != 0 && !(s.Phi >= 1 && s.Phi <= 1000) {
			return o, fmt.Errorf("backtest: %s: phi %g is not between 1 and 1000", s.Name, s.Phi)
		}
	}
	return o, nil
}

var errTooShort = errors.New("backtest: the counts end before one window is over; give it hours, better days")

// Backtest replays counts of hosts that all ran a good release: in each window some of them play canary, so that every Fail
// is a false alarm. It streams: its memory is that of one window's books, whatever the length of counts. It ends
// at the first error of counts, or early with ctx.
func Backtest(ctx context.Context, counts iter.Seq2[Count, error], o BacktestOptions) (Report, error) {
	o, err := o.filled()
	if err != nil {
		return Report{}, err
	}
	p := newReplay(o)
	for c, err := range counts {
		if err == nil {
			err = p.count(c)
		}
		if err != nil {
			return Report{}, fmt.Errorf("backtest: %w", err)
		}
		if p.fresh && ctx.Err() != nil {
			return Report{}, context.Cause(ctx)
		}
	}
	if ctx.Err() != nil {
		return Report{}, context.Cause(ctx)
	}
	if !p.at.IsZero() {
		p.close()
	}
	if p.windows == 0 {
		return Report{}, errTooShort
	}
	return p.report(), nil
}

// replay is a backtest on its way through the counts.
type replay struct {
	o     BacktestOptions
	tick  time.Duration
	rule  canary.Rule // of the first setting, full
	draws random

	hosts map[string]int // index in cells
	cells []canary.Cell  // of the tick that is being read
	seen  []int          // the last tick that a host had a line in
	at    time.Time      // of the tick that is being read; zero before the first
	fresh bool           // the last count began a tick
	first time.Time
	ticks int
	sum   arm

	past    history
	trials  []*trial // of the open window; empty: none
	opened  time.Time
	before  canary.Dispersion // of the history when it opened
	windows int
	gaps    int

	tallies []tally
	scap    counts20
	phis    [24]float64
}

func newReplay(o BacktestOptions) *replay {
	p := &replay{
		o: o, tick: tickOf(o.Settings[0].Rule), rule: o.Settings[0].Rule.Full(),
		draws: newRandom(o.Seed, 1), hosts: map[string]int{},
		tallies: make([]tally, len(o.Settings)),
	}
	p.past = newHistory(int(p.rule.History / p.tick))
	for i := range p.tallies {
		p.tallies[i] = newTally(int(o.MaxWait / p.tick))
	}
	return p
}

// count takes the next line of the record.
func (p *replay) count(c Count) error {
	p.fresh = false
	if c.At.UnixNano()%int64(p.tick) != 0 {
		return fmt.Errorf("%s of %s is not the beginning of a tick of %v; set the rule's tick to that of the counts", c.At.Format(time.RFC3339Nano), c.Host, p.tick)
	}
	if !c.At.Equal(p.at) {
		p.fresh = true
		p.turn(c.At)
	}
	h, known := p.hosts[c.Host]
	if !known {
		if len(p.hosts) == maxHosts {
			return fmt.Errorf("%s: more than %d hosts", c.Host, maxHosts)
		}
		h = len(p.cells)
		p.hosts[c.Host] = h
		p.cells = append(p.cells, canary.Cell{Host: c.Host})
		p.seen = append(p.seen, -1)
	}
	if p.seen[h] == p.ticks {
		return fmt.Errorf("%s has two lines for %s", c.Host, c.At.Format(time.RFC3339))
	}
	p.seen[h] = p.ticks
	p.cells[h].N, p.cells[h].X = c.Requests, c.Failing
	return nil
}

// turn ends the tick that was read and begins the one at. Where the whole fleet is missing for a while, nothing was
// served; for longer than telemetry may lag, the record has a hole, and what is in it is not known.
func (p *replay) turn(at time.Time) {
	if p.at.IsZero() {
		p.first = at
	} else {
		p.close()
		next := p.at.Add(p.tick)
		if at.Sub(next) > p.rule.LateStop {
			p.gaps++
			p.end(canary.Late)
		} else {
			for ; next.Before(at); next = next.Add(p.tick) {
				p.at = next
				p.close()
			}
		}
	}
	p.at = at
}

// close judges the tick that was read and clears it.
func (p *replay) close() {
	if len(p.trials) == 0 && p.past.full() {
		p.open()
	}
	if len(p.trials) > 0 {
		for _, t := range p.trials {
			t.step(p)
		}
		if p.at.Add(p.tick).Sub(p.opened) >= p.o.MaxWait {
			p.end("")
		}
	}
	var a arm
	for i := range p.cells {
		a.add(arm{p.cells[i].N, p.cells[i].X})
	}
	p.sum.add(a)
	p.past.add(p.cells, a)
	for i := range p.cells {
		p.cells[i].N, p.cells[i].X = 0, 0
	}
	p.ticks++
}

// open begins a window: hosts that served lately are split into canaries and controls, anew for each trial.
func (p *replay) open() {
	var live []int
	for h, seen := range p.seen {
		if p.ticks-seen <= int(p.rule.LateStop/p.tick) {
			live = append(live, h)
		}
	}
	canaries := min(p.o.Canaries, len(live)/2)
	if canaries == 0 {
		return
	}
	p.opened = p.at
	hour := p.at.UTC().Hour()
	p.before = p.past.dispersion()
	p.phis[hour] = max(p.phis[hour], p.before.Phi(p.rule, 0))
	for split := range p.o.Splits {
		p.draws.Shuffle(len(live), func(i, j int) { live[i], live[j] = live[j], live[i] })
		end := min(len(live), canaries+p.o.Controls)
		t := newTrial(p, slices.Clone(live[:canaries]), slices.Clone(live[canaries:end]), uint64(p.windows*p.o.Splits+split))
		p.trials = append(p.trials, t)
	}
}

// judge begins a deploy of the open window, knowing what was before.
func (p *replay) judge(s Setting) *ours {
	j := newJudge(s.Rule, s.Phi, p.at)
	if s.Phi == 0 {
		j.book.Phi = p.before
	}
	j.book.Past.N, j.book.Past.X = p.past.sum.n, p.past.sum.x
	return j
}

// end closes the window, if one is open, and counts its trials. why is not empty when the record broke off.
func (p *replay) end(why canary.Cause) {
	if len(p.trials) == 0 {
		return
	}
	p.windows++
	for i := range p.tallies {
		p.tallies[i].window(p.trials, i, p.tick, why)
	}
	p.scap.window(p.trials)
	p.trials = p.trials[:0]
}

// enough ticks of history are needed before a window opens.
const enough = 60

// history is the fleet's last History, from which phi and the usual error rate come.
type history struct {
	ring  []past
	ticks int
	sum   arm
}

// past is one tick of it.
type past struct {
	d canary.Dispersion
	a arm
}

func newHistory(ticks int) history { return history{ring: make([]past, max(ticks, enough))} }

func (h *history) full() bool { return h.ticks >= enough }

func (h *history) add(cells []canary.Cell, a arm) {
	now := past{a: a}
	now.d.Add(cells)
	old := &h.ring[h.ticks%len(h.ring)]
	h.sum.n, h.sum.x = h.sum.n+a.n-old.a.n, h.sum.x+a.x-old.a.x
	*old = now
	h.ticks++
}

// dispersion is that of the ring. It is summed anew, once a window: differences would gather errors of rounding.
func (h *history) dispersion() (d canary.Dispersion) {
	for _, p := range h.ring {
		d.Chi2, d.DF, d.Ticks = d.Chi2+p.d.Chi2, d.DF+p.d.DF, d.Ticks+p.d.Ticks
	}
	return d
}
