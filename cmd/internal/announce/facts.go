package announce

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"scap/phases/journal"
)

// facts are a deploy as its records tell it so far: what lines, metrics and traces are made of. It is a fold: the same
// records make the same facts.
type facts struct {
	name     string
	outline  journal.Outline
	private  bool // a change of it is not public, or nothing says that all are
	from, to string
	began    time.Time // the deploy
	run      time.Time // this run of it: the deploy, or who took it up again
	now      time.Time // of the last record
	resumed  bool
	runs     int // how often it has ended
	end      *journal.Record
	ended    time.Time

	hosts   map[string]state
	order   []string // the hosts, as they appeared
	reached map[string]bool
	back    bool // the way back has begun
	merged  bool
	touched bool // a host was told to serve it

	acts  []act
	open  map[string]int // acts without an outcome
	gates []gate
	said  map[What]bool // what of this run was told, of what is told once
}

// state is what the records prove of a host.
type state byte

const (
	onOld state = iota
	onNew
	unsure // it was told to change, and nobody knows
	apart  // isolated by a gate
)

// act is what was done, from its intent to its outcome. What is done on all hosts alike, such as staging, is one act.
type act struct {
	act, phase, target string
	began, ended       time.Time // ended is zero while there is no outcome
	hosts, failed      int       // of an act on all hosts
	bad                bool
	verdict            string
}

// gate is a gate at work on one batch.
type gate struct {
	phase        string
	began, ended time.Time
	verdict      string // the last
	cause        string
	counts       string
	looks        int
	over         bool
}

// most is how many acts and gates are remembered of one deploy.
const most = 50_000

func newFacts(name string) *facts {
	f := &facts{name: name, private: true, hosts: map[string]state{}}
	f.fresh()
	return f
}

// fresh forgets what belongs to one run.
func (f *facts) fresh() {
	f.acts, f.gates, f.open, f.reached, f.said = nil, nil, map[string]int{}, map[string]bool{}, map[What]bool{}
	f.back, f.end, f.ended = false, nil, time.Time{}
}

// frozen is f as it is now.
func (f *facts) frozen() *facts {
	c := *f
	c.acts, c.gates, c.order = slices.Clone(f.acts), slices.Clone(f.gates), slices.Clone(f.order)
	c.hosts, c.reached = maps.Clone(f.hosts), maps.Clone(f.reached)
	c.open, c.said = nil, nil
	return &c
}

// take adds a record. It reports whether the deploy, which had ended or died, is taken up again by it.
func (f *facts) take(r journal.Record) (takenUp bool) {
	if r.At.After(f.now) {
		f.now = r.At
	}
	if f.began.IsZero() {
		f.began, f.run = r.At, r.At
	}
	if f.end != nil && !r.Kind.Idle() {
		f.fresh()
		f.run, f.resumed, takenUp = r.At, true, true
	}
	switch r.Kind {
	case journal.Begin:
		f.begin(r)
	case journal.End:
		f.finish(r)
	case journal.Note, journal.Watched:
	case journal.Ruled:
		f.rule(r)
	default:
		f.did(r)
	}
	return takenUp
}

// begin takes up the outline. Of one that cannot be read nothing is known to be public.
func (f *facts) begin(r journal.Record) {
	f.from, f.to, f.began, f.run = r.From, r.To, r.At, r.At
	f.private = json.Unmarshal(r.Data, &f.outline) != nil
	for _, c := range f.outline.Changes {
		f.private = f.private || c.Number <= 0
	}
	for _, g := range f.outline.Phases {
		for _, t := range g.Targets {
			f.host(t, onOld)
		}
	}
}

func (f *facts) finish(r journal.Record) {
	f.runs++
	f.closeGates("")
	f.end, f.ended = &r, f.now
	f.from, f.to = or(r.From, f.from), or(r.To, f.to)
}

func (f *facts) host(name string, s state) {
	if _, known := f.hosts[name]; !known {
		f.order = append(f.order, name)
	}
	f.hosts[name] = s
}

// are names the hosts in one of these states.
func (f *facts) are(states ...state) (names []string) {
	for _, h := range f.order {
		if slices.Contains(states, f.hosts[h]) {
			names = append(names, h)
		}
	}
	return names
}

// proven names the hosts of a phase that serve the new release.
func (f *facts) proven(phase string) (names []string) {
	for _, g := range f.outline.Phases {
		for _, t := range g.Targets {
			if g.Name == phase && f.hosts[t] == onNew {
				names = append(names, t)
			}
		}
	}
	return names
}

// did takes an intent or an outcome.
func (f *facts) did(r journal.Record) {
	if r.Act == journal.Preflight && r.From != "" {
		f.from = r.From
	}
	if r.Act == journal.Try && r.Target == "" { // trials are kept for longer
		return
	}
	switch r.Act {
	case journal.Try, journal.Abandon:
		f.tried(r)
	case journal.Activate, journal.Rollback, journal.Repair, journal.Isolate:
		if r.Target != "" {
			f.turn(r)
		} else if r.Act == journal.Rollback && r.Kind == journal.Intent {
			f.back = true
			f.closeGates("")
		}
	case journal.PhaseAct, journal.Confirm:
		f.closeGates(r.Phase)
	case journal.Merge:
		f.closeGates(r.Phase)
		f.merged = f.merged || r.Kind == journal.Done
	}
	f.span(r)
}

// turn takes what one host was told, or how it answered.
func (f *facts) turn(r journal.Record) {
	if r.Act == journal.Activate {
		f.from, f.to = or(f.from, r.From), or(f.to, r.To)
		f.reached[r.Phase], f.touched = true, true
	}
	if r.Kind == journal.Intent {
		f.host(r.Target, unsure)
		if r.Act == journal.Activate {
			f.closeGates(r.Phase)
		}
		return
	}
	s := unsure
	switch {
	case r.Kind == journal.Undone, r.Kind == journal.Failed && r.Verdict == journal.Returned:
		s = onOld
	case r.Kind != journal.Done:
	case r.Act == journal.Isolate:
		s = apart
	case r.Act == journal.Activate, r.To == f.to && r.To != f.from:
		s = onNew
	default:
		s = onOld
	}
	f.host(r.Target, s)
}

// tried takes the trial of a release on one host, or its end. Until one of them is known, so is not what the host serves.
func (f *facts) tried(r journal.Record) {
	switch {
	case r.Act == journal.Try && r.Kind == journal.Intent:
		f.from, f.to = or(f.from, r.From), or(f.to, r.To)
		f.reached[r.Phase], f.touched = true, true
		f.host(r.Target, unsure)
		f.closeGates(r.Phase)
	case r.Act == journal.Try && r.Kind == journal.Failed && r.Verdict == journal.Returned,
		r.Act == journal.Abandon && r.Kind == journal.Done && f.hosts[r.Target] != apart:
		f.host(r.Target, onOld)
	case r.Act == journal.Abandon && r.Kind == journal.Failed:
		f.host(r.Target, unsure)
	}
}

// hostly are the acts of which each is told with its host: they are few, and each matters.
var hostly = []string{journal.Activate, journal.Rollback, journal.Repair, journal.Isolate, journal.Try, journal.Abandon}

// span keeps from when to when an act was.
func (f *facts) span(r journal.Record) {
	one := r.Target == "" || slices.Contains(hostly, r.Act)
	key := r.Act + "\x00" + r.Phase + "\x00" + r.Target
	if !one {
		key = r.Act
		r.Target, r.Phase = "", ""
	}
	i, known := f.open[key]
	if !known {
		if len(f.acts) >= most {
			return
		}
		i = len(f.acts)
		f.acts = append(f.acts, act{act: r.Act, phase: r.Phase, target: r.Target, began: r.At})
		f.open[key] = i
	}
	if r.Kind == journal.Intent {
		return
	}
	a := &f.acts[i]
	a.ended, a.verdict = r.At, r.Verdict
	bad := r.Kind == journal.Failed
	if one {
		a.bad = bad
		delete(f.open, key)
		return
	}
	a.hosts++
	if bad {
		a.failed++
		a.bad = true
	}
}

// rule takes a gate's word.
func (f *facts) rule(r journal.Record) {
	i := len(f.gates) - 1
	if i < 0 || f.gates[i].phase != r.Phase || f.gates[i].over {
		if len(f.gates) >= most {
			return
		}
		began := r.At
		for _, a := range slices.Backward(f.acts) { // the batch was proven then
			if (a.act == journal.Activate || a.act == journal.Try) && a.phase == r.Phase && !a.ended.IsZero() {
				began = a.ended
				break
			}
		}
		f.gates = append(f.gates, gate{phase: r.Phase, began: began})
		i++
	}
	g := &f.gates[i]
	g.ended, g.verdict, g.looks = r.At, r.Verdict, g.looks+1
	g.cause, g.counts = counted(r.Data)
}

// closeGates ends what the gates of a phase, or of all, had to say.
func (f *facts) closeGates(phase string) {
	if i := len(f.gates) - 1; i >= 0 && (phase == "" || f.gates[i].phase == phase) {
		f.gates[i].over = true
	}
}
