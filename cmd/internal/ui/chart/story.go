// Package chart draws the evidence of a deploy's gates over time, for a terminal and as SVG. It reads the journal and
// nothing else, and nothing in a journal can reach the terminal's or the browser's own commands.
package chart

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"

	"scap/cmd/internal/ui"
	"scap/phases/journal"
)

// Bounds on what is kept of a journal, far above what a deploy writes in a day.
const (
	maxPoints = 200000
	maxMarks  = 2000
	maxPanels = 24
)

// Story is what a journal tells of its gates. The zero value is that of an empty journal.
type Story struct {
	deploy, message string
	from, to        string
	how             string // the end, at closed
	closed          time.Time
	off             []string
	records         int
	began           time.Time
	panels          []*panel
	marks           []mark
	moments         []time.Time // of all records, for the axis
	broken, beyond  int         // rulings whose data cannot be read, and that were too many

	proven   map[string]bool // hosts on the new release
	since    int             // hosts proven since the last mark of a batch
	sinceAt  time.Time
	watching bool
}

// Kinds of marks.
const (
	phaseMark = iota // a phase begins
	batchMark        // hosts were proven, and the gate looks at them
	eventMark        // something that changes how the evidence is to be read
)

// mark is a moment on the time axis.
type mark struct {
	at   time.Time
	kind int
	text string
	n    int // of a batch: hosts that run the new release by then
}

// Evidence folds a deploy's records, in the journal's order. Records that it cannot read are counted and said.
func Evidence(records iter.Seq[journal.Record]) *Story {
	s := &Story{proven: map[string]bool{}}
	for r := range records {
		s.take(r)
	}
	return s
}

func (s *Story) take(r journal.Record) {
	s.records++
	if s.began.IsZero() || r.At.Before(s.began) {
		s.began = r.At
	}
	if s.deploy == "" {
		s.deploy = r.Deploy
	}
	switch {
	case r.Kind == journal.Begin:
		s.from, s.to = r.From, r.To
		var o journal.Outline
		if json.Unmarshal(r.Data, &o) == nil {
			s.message = o.Message
			if o.DespiteRed != "" {
				s.mark(mark{at: r.At, kind: eventMark, text: joined("despite red", o.DespiteRed)})
			}
		}
	case r.Kind == journal.Ruled, r.Kind == journal.Watched:
		s.rule(r)
		return
	case r.Kind == journal.End:
		s.how, s.closed = r.Verdict, r.At
		s.from, s.to = or(r.From, s.from), or(r.To, s.to)
		s.mark(mark{at: r.At, kind: eventMark, text: or(r.Verdict, "end")})
	case r.Act == journal.PhaseAct && r.Kind == journal.Intent:
		s.mark(mark{at: r.At, kind: phaseMark, text: r.Phase})
	case r.Act == journal.Rollback && r.Target == "" && r.Kind == journal.Intent:
		s.mark(mark{at: r.At, kind: eventMark, text: "going back"})
	case r.Act == journal.Isolate && r.Kind == journal.Done:
		delete(s.proven, r.Target)
		s.mark(mark{at: r.At, kind: eventMark, text: r.Target + " isolated"})
	case r.Act == journal.Activate && r.Kind == journal.Done && !s.proven[r.Target]:
		s.proven[r.Target] = true
		s.since++
		s.sinceAt = r.At
	}
}

func (s *Story) mark(m mark) {
	if len(s.marks) < maxMarks {
		s.marks = append(s.marks, m)
		s.moments = append(s.moments, m.at)
	}
}

// rule takes a ruling into the panels of its gates.
func (s *Story) rule(r journal.Record) {
	if s.since > 0 {
		s.mark(mark{at: s.sinceAt, kind: batchMark, n: len(s.proven)})
		s.since = 0
	}
	if r.Kind == journal.Watched && !s.watching {
		s.watching = true
		s.mark(mark{at: r.At, kind: phaseMark, text: "watch"})
	}
	switch r.Verdict {
	case "off":
		s.off = append(s.off, joined(r.Phase, or(r.Text, "no gate")))
		return
	case "word":
		s.mark(mark{at: r.At, kind: eventMark, text: joined("passed on the deployer's word", r.Text)})
		return
	case journal.VerdictOver, journal.VerdictLeft, journal.VerdictSuperseded: // no look of its own: it repeats the last
		s.mark(mark{at: r.At, kind: eventMark, text: "watch " + r.Verdict})
		return
	}
	if len(s.moments) >= maxPoints {
		s.beyond++
		return
	}
	s.moments = append(s.moments, r.At)
	looks, ok := readLooks(r)
	if !ok {
		s.broken++
	}
	for i, l := range looks {
		p := s.panel(r.Phase, l, i, len(looks))
		if p == nil {
			continue
		}
		p.add(r, l)
	}
}

// panel returns the panel of the gate that took a look: by its name. One without a name is found by its place among of in
// all, in one phase: another phase may have other gates.
func (s *Story) panel(phase string, l look, place, of int) *panel {
	name := l.name
	if name == "" {
		name = "gate"
		if of > 1 {
			name = fmt.Sprintf("gate %d", place+1)
		}
		if phase != "" {
			name += " of " + phase
		}
	}
	for _, p := range s.panels {
		if p.name == name {
			return p
		}
	}
	if len(s.panels) == maxPanels {
		s.beyond++
		return nil
	}
	p := &panel{name: name}
	s.panels = append(s.panels, p)
	return p
}

// title is the deploy in one clean line.
func (s *Story) title() string {
	text := "evidence of deploy " + ui.Clean(or(s.deploy, "(without a name)"))
	if s.message != "" {
		text += ` "` + ui.Clean(s.message) + `"`
	}
	return text
}

// subtitle says what was deployed and how that ended.
func (s *Story) subtitle() string {
	text := fmt.Sprintf("%s to %s, %s", ui.Short(s.from), ui.Short(s.to), s.began.UTC().Format("2006-01-02 15:04:05 UTC"))
	if s.how == "" {
		return text + ", no end seen"
	}
	return text + ", " + strings.ReplaceAll(ui.Clean(s.how), "-", " ") + " after " + ui.Took(s.closed.Sub(s.began))
}

// nothing says why there is no chart; "" when there is one.
func (s *Story) nothing() string {
	switch {
	case s.records == 0:
		return "the journal is empty: no deploy, no evidence"
	case len(s.panels) > 0:
		return ""
	case len(s.off) > 0:
		return "no gate has looked: " + strings.Join(cleaned(s.off), "; ")
	case s.broken > 0:
		return fmt.Sprintf("nothing can be read of the %d rulings in the journal", s.broken)
	}
	return "no gate has ruled in this deploy"
}

// notes say what the chart leaves out.
func (s *Story) notes() []string {
	var list []string
	if s.broken > 0 && len(s.panels) > 0 {
		list = append(list, fmt.Sprintf("the figures of %d rulings cannot be read: their verdicts are shown, their curves have gaps", s.broken))
	}
	if s.beyond > 0 {
		list = append(list, fmt.Sprintf("%d rulings are beyond what is drawn", s.beyond))
	}
	if len(s.off) > 0 && len(s.panels) > 0 {
		list = append(list, "no gate: "+strings.Join(cleaned(s.off), "; "))
	}
	return list
}

func cleaned(texts []string) []string {
	out := make([]string, 0, len(texts))
	for i, t := range texts {
		if i == 10 {
			return append(out, fmt.Sprintf("and %d more", len(texts)-i))
		}
		out = append(out, ui.Clean(t))
	}
	return out
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// joined writes "a: b", or the one that is not empty.
func joined(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ": " + b
}
