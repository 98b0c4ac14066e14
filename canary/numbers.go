package canary

import (
	"encoding/json"
	"math"
	"time"
)

// Numbers are all figures of one look, for whoever checks or draws it.
type Numbers struct {
	Rule    string        `json:"rule"`             // what decided: hard-stop, ratio, rise, new-error, signal, ...
	Ticks   time.Time     `json:"ticks,omitzero"`   // the end of the last closed tick
	Opened  time.Time     `json:"opened,omitzero"`  // when the batch was proven
	Batch   int           `json:"batch"`            // from 1
	Dwelt   time.Duration `json:"dwelt"`            // of closed ticks since
	Sample  int64         `json:"sample"`           // requests of the batch's own hosts since
	Canary  Side          `json:"canary"`           // in ticks with a control, all batches
	Control Side          `json:"control"`          // in the same ticks
	Lone    Side          `json:"lone,omitzero"`    // the canary in ticks without control hosts
	Since   Side          `json:"since"`            // the canary since the batch opened
	Against Side          `json:"against"`          // the control since
	Ratio   float64       `json:"ratio,omitempty"`  // of the rates of Canary and Control; 0: no failure to compare with
	E       float64       `json:"e"`                // e-value of harm; a Fail at FailAt
	Without float64       `json:"without"`          // the least of it that leaving one host out leaves
	Host    string        `json:"host,omitempty"`   // that host
	Hosts   int           `json:"hosts"`            // canary hosts with failures
	PassBy  float64       `json:"pass_by"`          // evidence against harm by its ratio; a Pass at PassAt
	PassBy0 float64       `json:"pass_by_rate"`     // and by its rate
	Phi     float64       `json:"phi"`              // what evidence was divided by
	Chi2    float64       `json:"chi2,omitempty"`   // it is this
	DF      int           `json:"df,omitempty"`     // over this
	Share   float64       `json:"share"`            // of the requests, on the canary, in the last tick
	Due     float64       `json:"share_due"`        // what it should be
	Frozen  float64       `json:"frozen,omitempty"` // the old release's rate of failing, for when it has no hosts left
	Red     float64       `json:"red,omitempty"`    // cumulative evidence that the control is worse than before the deploy
	Rise    float64       `json:"rise,omitempty"`   // and, without control, the canary
	Onset   time.Time     `json:"onset,omitzero"`   // when the one of them began
	Needs   int64         `json:"needs,omitempty"`  // clean requests in all until a Pass is possible
	More    time.Duration `json:"more,omitempty"`   // about how long that takes; -1: at this rate it does not come
	Errors  []Error       `json:"errors,omitempty"` // the foremost kinds of failure on the canary
	Strays  int64         `json:"strays,omitempty"` // failures since the batch opened that are of neither of a machine's releases
	NewAt   int64         `json:"new_at,omitempty"` // from how many a new kind is a Fail
	Signals []SignalSide  `json:"signals,omitempty"`
	Limits  Rule          `json:"limits"`
	// Of the look itself.
	Lag     time.Duration `json:"lag,omitempty"`      // of the telemetry that is furthest behind
	LeftOut []string      `json:"left_out,omitempty"` // control hosts that were not compared with, and why
	Missing []string      `json:"missing,omitempty"`  // what stands in the way of a Pass besides
	Notes   []string      `json:"notes,omitempty"`    // what did not, and should be known
}

// Side counts requests and distinct failing ones.
type Side struct {
	Requests int64 `json:"n"`
	Failing  int64 `json:"x"`
}

// Error is one kind of failure on the canary.
type Error struct {
	Text   string `json:"text"`
	Count  int64  `json:"k"`
	New    bool   `json:"new,omitempty"`
	Change bool   `json:"in_change,omitempty"` // its file is part of the change
	ID     string `json:"id,omitempty"`
}

// SignalSide is a signal's evidence. In Canary and Control Failing counts its successes.
type SignalSide struct {
	Name    string  `json:"name"`
	Canary  Side    `json:"canary"`
	Control Side    `json:"control"`
	Ratio   float64 `json:"ratio,omitempty"`
	E       float64 `json:"e"`                // e-value of a drop; a Fail at FailAt
	Fall    float64 `json:"fall,omitempty"`   // without control, against the frozen rate
	Minute  float64 `json:"minute,omitempty"` // both arms, in the last minute
	Usual   float64 `json:"usual,omitempty"`  // before the deploy, on as many hosts
}

func side(t total) Side { return Side{t.N, t.X} }

// Numbers returns the figures as they are.
func (b *Book) Numbers(r Rule) Numbers {
	r = r.Full()
	n := Numbers{
		Ticks: b.Next, Opened: b.Opened, Batch: b.Batches, Dwelt: b.dwelt(&r), Sample: b.Sample,
		Canary: side(b.Canary), Control: side(b.Control), Lone: side(b.Lone), Since: side(b.Batch), Against: side(b.Against),
		Ratio: ratio(b.Canary.X, b.Canary.N, b.Control.X, b.Control.N), E: harms.mean(b.Wealth), Hosts: len(b.Hosts),
		PassBy: evalue(b.Refuted.Ratio), PassBy0: evalue(b.Refuted.Rate),
		Phi: b.Phi.phi(&r, b.Largest), Chi2: b.Phi.Chi2, DF: b.Phi.DF,
		Share: b.Theta, Due: b.Expected, Frozen: b.old(&r).rate(), Strays: b.Strays, Red: b.Red.G, Rise: b.Rise.G, Limits: r,
	}
	if h, _ := b.worst(r.LeaveOut); h != nil {
		n.Host, n.Without = h.Host, harms.mean(h.Wealth)
	}
	if n.Onset = b.Red.From; b.Rise.G > 0 {
		n.Onset = b.Rise.From
	}
	if at := b.enough(&r); at < maxCell {
		n.NewAt = at
	}
	for i := range b.Kinds[:min(len(b.Kinds), 5)] {
		k := &b.Kinds[i]
		n.Errors = append(n.Errors, Error{k.Text, k.Count, k.isNew(), k.Change == inside, k.ID})
	}
	for i := range b.Signals {
		s := &b.Signals[i]
		now, usual, _ := s.minuteRate(&r)
		n.Signals = append(n.Signals, SignalSide{
			Name: s.Name, Canary: side(s.Canary), Control: side(s.Control), E: drops.mean(s.Wealth), Fall: s.Fall.G, Minute: now, Usual: usual,
			Ratio: ratio(s.Canary.X, s.Canary.N, s.Control.X, s.Control.N),
		})
	}
	n.Needs, n.More = b.outlook(&r)
	return n
}

// evalue is exp(l) within what JSON can say.
func evalue(l float64) float64 { return math.Exp(max(-230, min(230, l))) }

// Rule gives the ruling on what is in the book, with its reason and its Numbers, without Evidence.
func (b *Book) Rule(r Rule, _ time.Time) Ruling { return b.rule(r, View{}) }

// RuleWith is Rule with an eye on the signals.
func (b *Book) RuleWith(r Rule, v View) Ruling { return b.rule(r, v) }

func (b *Book) rule(r Rule, v View) Ruling {
	r = r.Full()
	f := b.decide(&r, v)
	n := b.Numbers(r)
	n.Rule = f.rule
	out := Ruling{Verdict: f.verdict, Cause: f.cause, Reason: b.reason(&r, f, &n)}
	if f.verdict == Suspect {
		out.Suspects = f.hosts
	}
	out.set(n)
	return out
}

// set writes the numbers into a ruling. Without them nobody can check it, so it is no pass.
func (r *Ruling) set(n Numbers) {
	var err error
	if r.Numbers, err = json.Marshal(n); err == nil {
		return
	}
	r.Numbers = nil
	if r.Verdict == Pass {
		r.Verdict, r.Cause = Hold, Contradict
	}
	r.Reason += " (figures not to be written: " + err.Error() + ")"
}
