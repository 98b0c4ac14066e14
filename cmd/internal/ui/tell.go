package ui

import (
	"fmt"
	"strings"
	"time"

	"scap/phases/journal"
)

// line is one thing to tell, and what more is to be said of it. A loud one must be seen by whoever looks at hosts only:
// failures, rulings, notes.
type line struct {
	text string
	more []string
	loud bool
}

// whole is all of it on one line.
func (l line) whole() string { return strings.Join(append([]string{l.text}, l.more...), "; ") }

func say(format string, args ...any) []line {
	return []line{{text: strings.TrimRight(fmt.Sprintf(format, args...), ": ")}} // a reason may be empty
}

func cry(format string, args ...any) []line {
	lines := say(format, args...)
	lines[0].loud = true
	return lines
}

// again is how long a gate that says the same is not told again.
const again = 30 * time.Second

// tell adds a record to the story and returns what is to be told of it: mostly nothing or one line. All text is clean.
func (s *story) tell(r journal.Record) []line {
	took := s.took(r)
	s.take(r)
	switch {
	case r.Kind == journal.Begin:
		return s.tellBegin()
	case r.Kind == journal.Ruled:
		return s.tellRuled(r)
	case r.Kind == journal.Watched:
		return s.tellWatch(r)
	case r.Kind == journal.Note:
		return cry("note: %s", Clean(joined(r.Target, r.Act, r.Text)))
	case r.Kind == journal.End:
		return nil // the closing block says it
	case r.Act == journal.PhaseAct:
		return s.tellPhase(r, took)
	case r.Act == journal.Confirm:
		return s.tellConfirm(r)
	case r.Act == journal.Rollback && r.Target == "":
		if r.Kind == journal.Intent {
			return cry("%s", joined("going back to "+Short(s.from), s.fresh(r.Text)))
		}
		return nil
	case r.Act == journal.Try && r.Target == "":
		return nil // trials are kept for longer while the gate looks
	case r.Act == journal.Try || r.Act == journal.Abandon:
		return s.tellTrial(r, took)
	case r.Target == "":
		return s.tellStep(r, took)
	case r.Act == journal.Activate || r.Act == journal.Rollback || r.Act == journal.Repair || r.Act == journal.Isolate:
		return s.tellHost(r, took)
	}
	return s.tellBulk(r, took)
}

// fresh is text without the reason at its end that was told before: a failure is told once, by whoever it struck, and not
// again by the phase, the deploy and the way back. The closing block says it in full.
func (s *story) fresh(text string) string {
	text = Clean(text)
	if text == "" {
		return ""
	}
	for _, told := range s.causes {
		if passed, ok := strings.CutSuffix(text, told); ok {
			return strings.TrimRight(passed, ": ")
		}
	}
	s.causes = append(s.causes, text)
	return text
}

// joined writes "a: b: c" of those that are not empty.
func joined(parts ...string) string {
	var some []string
	for _, p := range parts {
		if p != "" {
			some = append(some, p)
		}
	}
	return strings.Join(some, ": ")
}

func (s *story) tellBegin() []line {
	var b strings.Builder
	fmt.Fprintf(&b, "deploy %s", Clean(s.deploy))
	if s.outline.Back {
		b.WriteString(" (a rollback)")
	}
	if s.outline.Message != "" {
		fmt.Fprintf(&b, ": %s", quote(s.outline.Message))
	}
	if s.outline.User != "" {
		fmt.Fprintf(&b, " by %s", Clean(s.outline.User))
	}
	if s.outline.Host != "" {
		fmt.Fprintf(&b, " on %s", Clean(s.outline.Host))
	}
	if s.to != "" {
		fmt.Fprintf(&b, ": release %s", Short(s.to))
	}
	for i, p := range s.phases {
		sep := ", "
		if i == 0 {
			sep = " to "
		}
		fmt.Fprintf(&b, "%s%s (%s)", sep, Clean(p.name), hosts(len(p.hosts)))
	}
	return say("%s", b.String())
}

func (s *story) tellPhase(r journal.Record, took time.Duration) []line {
	p, name := s.phase(r.Phase), Clean(r.Phase)
	switch r.Kind {
	case journal.Intent:
		return say("%s: begins, %s", name, hosts(len(p.hosts)))
	case journal.Done:
		return say("%s: passed, %d/%d hosts, %s", name, p.count(proven), len(p.hosts), Took(took))
	case journal.Failed:
		return cry("%s: failed, %d/%d hosts proven, %s: %s", name, p.count(proven), len(p.hosts), Took(took), s.fresh(r.Text))
	}
	return nil
}

func (s *story) tellConfirm(r journal.Record) []line {
	name := Clean(r.Phase)
	switch r.Kind {
	case journal.Intent:
		return say("%s: waiting for the deployer's word", name)
	case journal.Done, journal.Failed:
		return say("%s", joined(name, "the deployer says "+Clean(or(r.Verdict, "nothing")), Clean(r.Text)))
	}
	return nil
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// tellStep tells the end of what concerns no single host: lock, preflight, snapshot.
func (s *story) tellStep(r journal.Record, took time.Duration) []line {
	switch r.Kind {
	case journal.Done:
		text := fmt.Sprintf("%s: done, %s", Clean(r.Act), Took(took))
		if r.Act == journal.Preflight && s.from != "" {
			text += ", the fleet serves " + Short(s.from)
		}
		return say("%s", joined(text, Clean(r.Text)))
	case journal.Failed:
		return cry("%s: failed, %s: %s", Clean(r.Act), Took(took), Clean(r.Text))
	}
	return nil
}

// tellHost tells what became of one host. The intents are seen in the grid and told by their outcomes.
func (s *story) tellHost(r journal.Record, took time.Duration) []line {
	h := s.hosts[r.Target]
	p := s.phaseOf(h)
	p.saidVerdict = ""
	name := joined(Clean(p.name), Clean(r.Target))
	switch {
	case r.Kind == journal.Intent:
		return nil
	case r.Act == journal.Isolate && h.cell == isolated:
		return cry("%s", joined(fmt.Sprintf("%s ISOLATED: out of the pool and left there, %s", name, Took(took)), s.fresh(r.Text)))
	case r.Act == journal.Isolate:
		return cry("%s", joined(fmt.Sprintf("%s NOT isolated, it may still serve, %s", name, Took(took)), s.fresh(r.Text)))
	case h.cell == proven && r.Act == journal.Activate && h.tried:
		return say("%s promoted from its trial, proven on %s, %d/%d, %s", name, Short(s.to), p.count(proven), len(p.hosts), Took(took))
	case h.cell == proven:
		return say("%s proven on %s, %d/%d, %s", name, Short(s.to), p.count(proven), len(p.hosts), Took(took))
	case h.cell == returned:
		text := fmt.Sprintf("%s returned, proven on %s, %s", name, Short(s.from), Took(took))
		if r.Kind == journal.Failed {
			return cry("%s", joined(text, s.fresh(r.Text)))
		}
		return say("%s", text)
	case h.cell == waiting:
		return say("%s repaired, proven on %s, %s", name, Short(s.from), Took(took))
	case h.cell == out:
		return cry("%s OUT, proven on nothing, %s: %s", name, Took(took), Clean(r.Text))
	}
	return cry("%s", joined(name+" failed, "+Took(took), s.fresh(r.Text)))
}

func (s *story) phaseOf(h *host) *stage {
	for _, p := range s.phases {
		for _, x := range p.hosts {
			if x == h {
				return p
			}
		}
	}
	return s.phase("hosts")
}

// tellBulk tells what is done on every host: failures at once, progress by quarters, and the end.
func (s *story) tellBulk(r journal.Record, took time.Duration) []line {
	b := s.bulk[r.Act]
	total := len(s.hosts)
	if b == nil || b.done+b.failed >= total {
		b = &bulk{began: r.At.Add(-took)}
		s.bulk[r.Act] = b
	}
	var lines []line
	switch r.Kind {
	case journal.Done:
		b.done++
	case journal.Failed:
		b.failed++
		lines = cry("%s: %s failed, %s: %s", Clean(r.Act), Clean(r.Target), Took(took), Clean(r.Text))
	default:
		if r.At.Before(b.began) {
			b.began = r.At
		}
		return nil
	}
	all := b.done+b.failed == total
	if all || (total >= 8 && (b.done-b.marked)*4 >= total) {
		b.marked = b.done
		text := fmt.Sprintf("%s: %d/%d hosts, %s", Clean(r.Act), b.done, total, Took(r.At.Sub(b.began)))
		if b.failed > 0 {
			text += fmt.Sprintf(", %d failed", b.failed)
		}
		lines = append(lines, line{text: text})
	}
	return lines
}
