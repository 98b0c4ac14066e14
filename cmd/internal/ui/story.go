package ui

import (
	"encoding/json"
	"time"

	"scap/phases/journal"
)

// cell is what a view shows of one host.
type cell byte

// The cells, by the letter that stands for them.
const (
	waiting    cell = '.'
	staging    cell = ','
	staged     cell = 'o'
	trying     cell = '+'
	onTrial    cell = '%' // a share of its requests gets the new release, the others the old one
	activating cell = '>'
	proven     cell = '#'
	failed     cell = 'x' // not on the new release; may still be proven on the old one
	returning  cell = '-'
	returned   cell = '<' // proven on the old release
	out        cell = '!' // proven on nothing: out of the pool
	isolated   cell = '?' // a gate suspects the host itself: out of the pool, whatever it runs
)

// legend names the cells in the order in which a host passes through them.
var legend = []struct {
	cell
	word string
}{
	{waiting, "waiting"},
	{staging, "staging"},
	{staged, "staged"},
	{trying, "trying"},
	{onTrial, "on trial"},
	{activating, "activating"},
	{proven, "proven"},
	{failed, "failed"},
	{returning, "returning"},
	{returned, "returned"},
	{out, "out"},
	{isolated, "isolated"},
}

// host is one target in the story.
type host struct {
	name    string
	cell    cell
	touched bool // an activation was intended: until a proof nobody knows what it serves
	tried   bool // it was on trial when that was
}

// stage is one phase in the story.
type stage struct {
	name        string
	gateOff     string
	share       float64 // of the requests, that the release is tried on first
	hosts       []*host
	began       time.Time
	ended       time.Time
	how         journal.Kind // Done, Failed, or empty
	verdict     string       // the gate's last word
	ruling      ruling
	reason      string
	told        time.Time // when a ruling was last told
	saidVerdict string    // which; empty when hosts have changed since
}

func (p *stage) count(c cell) int {
	n := 0
	for _, h := range p.hosts {
		if h.cell == c {
			n++
		}
	}
	return n
}

// story is a deploy as its records tell it so far. It is a fold: the same records make the same story.
type story struct {
	deploy   string
	outline  journal.Outline
	from, to string
	began    time.Time
	now      time.Time // of the last record
	phases   []*stage
	hosts    map[string]*host
	intents  map[string]time.Time // by act and target, without an outcome yet
	bulk     map[string]*bulk     // what is done on all hosts, by act
	back     bool                 // the deploy is being taken back
	why      string
	watch    *watch
	causes   []string // reasons that were told, so that those who pass one on need not repeat it
	end      *journal.Record
}

// bulk counts an act that concerns every host.
type bulk struct {
	began        time.Time
	done, failed int
	marked       int // done when it was last told
}

func newStory() *story {
	return &story{hosts: map[string]*host{}, intents: map[string]time.Time{}, bulk: map[string]*bulk{}}
}

// phase returns the phase with that name and makes it when no outline named it.
func (s *story) phase(name string) *stage {
	for _, p := range s.phases {
		if p.name == name {
			return p
		}
	}
	p := &stage{name: name}
	s.phases = append(s.phases, p)
	return p
}

// host returns the host with that name; one that no outline named joins the phase of its record.
func (s *story) host(name, phase string) *host {
	h := s.hosts[name]
	if h == nil {
		h = &host{name: name, cell: waiting}
		s.hosts[name] = h
		if phase == "" {
			phase = "hosts"
		}
		p := s.phase(phase)
		p.hosts = append(p.hosts, h)
	}
	return h
}

// begin takes up the outline of a Begin record. One that cannot be read leaves a story without phases; they appear as
// records name them.
func (s *story) begin(r journal.Record) {
	s.deploy, s.began, s.from, s.to = r.Deploy, r.At, r.From, r.To
	var o journal.Outline
	if json.Unmarshal(r.Data, &o) != nil {
		return
	}
	s.outline = o
	for _, g := range o.Phases {
		p := s.phase(g.Name)
		p.gateOff, p.share = g.GateOff, g.Share
		for _, t := range g.Targets {
			s.host(t, g.Name)
		}
	}
}

// took returns how long the act of an outcome took, and forgets its intent.
func (s *story) took(r journal.Record) time.Duration {
	if r.Kind.Idle() { // word of an act under way
		return 0
	}
	key := r.Act + " " + r.Phase + " " + r.Target
	began, ok := s.intents[key]
	if r.Kind == journal.Intent {
		s.intents[key] = r.At
		return 0
	}
	delete(s.intents, key)
	if !ok {
		return 0
	}
	return max(r.At.Sub(began), 0)
}

// take adds a record to the story.
func (s *story) take(r journal.Record) {
	if r.At.After(s.now) {
		s.now = r.At
	}
	if s.began.IsZero() {
		s.began, s.deploy = r.At, r.Deploy
	}
	if s.end != nil && !r.Kind.Idle() { // an earlier run's: the deploy was taken up again
		s.end, s.back, s.why, s.began, s.watch = nil, false, "", r.At, nil
	}
	switch {
	case r.Kind == journal.Begin:
		s.begin(r)
	case r.Kind == journal.End:
		s.end = &r
		if r.From != "" {
			s.from = r.From
		}
		if r.To != "" {
			s.to = r.To
		}
	case r.Act == journal.Preflight && r.From != "":
		s.from = r.From
	case r.Act == journal.Rollback && r.Target == "" && r.Kind == journal.Intent:
		s.back, s.why = true, r.Text
	case r.Kind == journal.Watched:
		s.turnWatch(r)
	case r.Kind == journal.Ruled:
		p := s.phase(r.Phase)
		p.verdict, p.reason, p.ruling = r.Verdict, r.Text, readRuling(r)
	case r.Act == journal.PhaseAct:
		s.turnPhase(r)
	case r.Target != "":
		s.turnHost(r)
	}
}

func (s *story) turnPhase(r journal.Record) {
	p := s.phase(r.Phase)
	switch r.Kind {
	case journal.Intent:
		p.began, p.how, p.verdict, p.reason, p.ruling = r.At, "", "", "", ruling{}
	case journal.Done, journal.Failed:
		p.ended, p.how = r.At, r.Kind
	}
}

// turnHost changes a host's cell.
func (s *story) turnHost(r journal.Record) {
	h := s.host(r.Target, r.Phase)
	idle := h.cell == waiting || h.cell == staging || h.cell == staged
	switch r.Act {
	case journal.Stage:
		switch {
		case !idle:
		case r.Kind == journal.Intent:
			h.cell = staging
		case r.Kind == journal.Done:
			h.cell = staged
		case r.Kind == journal.Failed:
			h.cell = failed
		}
	case journal.Try, journal.Abandon:
		s.turnTrial(h, r)
	case journal.Activate:
		s.turnActivate(h, r)
	case journal.Isolate:
		h.touched = true
		switch r.Kind {
		case journal.Done:
			h.cell = isolated
		case journal.Failed:
			h.cell = failed
		}
	case journal.Rollback, journal.Repair:
		s.back = s.back || r.Act == journal.Rollback
		h.touched = true
		switch r.Kind {
		case journal.Intent:
			h.cell = activating
			if r.To == s.from {
				h.cell = returning
			}
		case journal.Failed:
			h.cell = out
		case journal.Done, journal.Undone:
			h.cell, h.touched = returned, false
			switch {
			case r.Kind == journal.Done && r.To == s.to && r.To != s.from:
				h.cell = proven
			case r.Act == journal.Repair && !s.back:
				h.cell = waiting // repaired before the deploy: its way is still ahead
			}
		}
	}
}

func (s *story) turnActivate(h *host, r journal.Record) {
	s.from, s.to = or(s.from, r.From), or(s.to, r.To)
	switch {
	case r.Kind == journal.Intent:
		h.tried = h.cell == onTrial
		h.cell, h.touched = activating, true
	case r.Kind == journal.Done:
		h.cell, h.touched = proven, false
	case r.Kind == journal.Undone, r.Kind == journal.Failed && r.Verdict == journal.Returned:
		h.cell, h.touched = returned, false
	case r.Kind == journal.Failed:
		h.cell = failed
	}
}

// turnTrial takes a trial, or its end. What somebody else left is ended before a host's own way begins, and leaves no trace;
// nor does the end of a trial on a host that was isolated meanwhile.
func (s *story) turnTrial(h *host, r journal.Record) {
	mine := h.touched && h.cell != isolated
	switch {
	case r.Act == journal.Try && r.Kind == journal.Intent:
		s.from, s.to = or(s.from, r.From), or(s.to, r.To)
		h.cell, h.touched = trying, true
	case r.Act == journal.Try && r.Kind == journal.Done:
		h.cell = onTrial
	case r.Act == journal.Try && r.Kind == journal.Failed && r.Verdict == journal.Returned:
		h.cell, h.touched = returned, false
	case r.Kind == journal.Failed:
		h.cell, h.touched = failed, true
	case !mine:
	case r.Kind == journal.Intent:
		h.cell = returning
	case r.Kind == journal.Done:
		h.cell, h.touched = returned, false
	}
}
