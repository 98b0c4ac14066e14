package main

import (
	"fmt"
	"iter"
	"strings"
	"time"

	"scap/phases/journal"
)

// pastDeploy is one deploy as history tells it, all of it from its journal.
type pastDeploy struct {
	Deploy     string           `json:"deploy"`
	Verb       string           `json:"verb"`
	User       string           `json:"user,omitempty"`
	Host       string           `json:"host,omitempty"` // the deploy host
	Message    string           `json:"message,omitempty"`
	Changes    []journal.Change `json:"changes,omitempty"`
	From       string           `json:"from,omitempty"`
	To         string           `json:"to,omitempty"`
	Began      time.Time        `json:"began"`
	Ended      time.Time        `json:"ended,omitzero"`
	Seconds    float64          `json:"seconds,omitempty"` // from Began to Ended
	How        string           `json:"how,omitempty"`     // empty: it runs, or died
	Text       string           `json:"text,omitempty"`    // why
	DespiteRed string           `json:"despite_red,omitempty"`
	Phases     []pastPhase      `json:"phases,omitempty"`
	Answers    []pastAnswer     `json:"answers,omitempty"`
	Watched    journal.Watching `json:"watched,omitempty"`
	WatchText  string           `json:"watch_text,omitempty"`
	Error      string           `json:"error,omitempty"` // why the journal could not be read to its end
}

// pastPhase is one phase of a pastDeploy.
type pastPhase struct {
	Name    string    `json:"name"`
	Hosts   int       `json:"hosts"`
	Began   time.Time `json:"began,omitzero"` // zero: it was not reached
	Seconds float64   `json:"seconds,omitempty"`
	How     string    `json:"how,omitempty"`  // passed or failed; empty: it did not end
	Gate    string    `json:"gate,omitempty"` // its last ruling, word: passed on the deployer's word, off; empty: none, or no look
	Looks   int       `json:"looks,omitempty"`
	Reason  string    `json:"reason,omitempty"` // of that ruling, or why the gate was off
}

// pastAnswer is what a deployer was asked and said.
type pastAnswer struct {
	At     time.Time `json:"at"`
	Phase  string    `json:"phase,omitempty"`
	Asked  string    `json:"asked"`
	Answer string    `json:"answer"`
	Text   string    `json:"text,omitempty"` // who, and why
}

// pastOf tells d, whose records are given.
func pastOf(d journal.Deploy, records iter.Seq2[journal.Record, error]) pastDeploy {
	o := d.Outline
	p := pastDeploy{
		Deploy: d.Name, Verb: verbIn(o), User: o.User, Host: o.Host, Message: o.Message, Changes: o.Changes, From: d.From, To: d.To,
		Began: d.Began, Ended: d.Ended, How: d.How, Text: d.Text, DespiteRed: o.DespiteRed, Watched: d.Watched, WatchText: d.WatchText,
	}
	if !d.Ended.IsZero() {
		p.Seconds = d.Ended.Sub(d.Began).Seconds()
	}
	if d.Err != nil {
		p.Error = d.Err.Error()
	}
	for _, g := range o.Phases {
		ph := pastPhase{Name: g.Name, Hosts: len(g.Targets)}
		if g.GateOff != "" {
			ph.Gate, ph.Reason = "off", g.GateOff
		}
		p.Phases = append(p.Phases, ph)
	}
	asked := map[string]bool{} // phases that are asked whether to go on
	for r, err := range records {
		if err != nil {
			break // the summary says so
		}
		p.take(r, asked)
	}
	return p
}

// verbIn is what the deployer typed.
func verbIn(o journal.Outline) string {
	switch {
	case o.Verb != "":
		return o.Verb
	case o.Back:
		return "rollback"
	}
	return "sync"
}

func (p *pastDeploy) phase(name string) *pastPhase {
	for i := range p.Phases {
		if p.Phases[i].Name == name {
			return &p.Phases[i]
		}
	}
	return &pastPhase{} // what concerns no phase of the outline goes nowhere
}

func (p *pastDeploy) take(r journal.Record, asked map[string]bool) {
	ph := p.phase(r.Phase)
	switch {
	case r.Kind == journal.Ruled:
		ph.Gate, ph.Reason, ph.Looks = r.Verdict, r.Text, ph.Looks+1
	case r.Act == journal.PhaseAct && r.Kind == journal.Intent:
		ph.Began = r.At
	case r.Act == journal.PhaseAct && (r.Kind == journal.Done || r.Kind == journal.Failed):
		ph.How, ph.Seconds = "passed", r.At.Sub(ph.Began).Seconds()
		if r.Kind == journal.Failed {
			ph.How = "failed"
		}
	case r.Act == journal.Confirm && r.Kind == journal.Intent:
		asked[r.Phase] = true
	case r.Act == journal.Confirm && (r.Kind == journal.Done || r.Kind == journal.Failed):
		p.answer(r, *ph, asked[r.Phase])
		delete(asked, r.Phase)
	}
}

// answer takes a deployer's word. Only the question whether to go on has a record of its own.
func (p *pastDeploy) answer(r journal.Record, ph pastPhase, confirm bool) {
	a := pastAnswer{At: r.At, Phase: r.Phase, Answer: orText(r.Verdict, "none"), Text: r.Text}
	switch {
	case confirm:
		a.Asked = "go on after phase " + r.Phase
	case ph.Gate == "hold":
		a.Asked = fmt.Sprintf("the gate of phase %s held: %s", r.Phase, ph.Reason)
	default:
		a.Asked = "what to do in phase " + r.Phase
	}
	p.Answers = append(p.Answers, a)
}

// gates says in short how the gates ruled.
func (p *pastDeploy) gates() string {
	var said []string
	for _, ph := range p.Phases {
		if ph.Gate != "" {
			said = append(said, ph.Name+" "+ph.Gate)
		}
	}
	return orText(strings.Join(said, ", "), "-")
}

// numbers names the changes.
func (p *pastDeploy) numbers() string {
	var list []string
	for _, c := range p.Changes {
		if c.Number == 0 {
			list = append(list, "private")
			continue
		}
		list = append(list, fmt.Sprint(c.Number))
	}
	return orText(strings.Join(list, ","), "-")
}
