package ui

import (
	"fmt"
	"strings"

	"scap/phases/journal"
)

// closing says how a deploy ended: what the fleet serves now, what the exit code means, what to do next. The first line
// is the headline; the others are a label and a text.
type closing struct {
	head string
	rows [][2]string
}

// ends are the words for each way to end.
var ends = map[string]struct {
	head, exit, next string
}{
	journal.Deployed: {"DEPLOYED", "0, deployed and proven everywhere", "watch the logs; `scap rollback` brings the previous release back"},
	journal.RolledBack: {
		"ROLLED BACK", "3, rolled back; the fleet is on one release",
		"mend the change and sync again; `scap status` shows every host",
	},
	journal.Cancelled: {"CANCELLED", "130, cancelled; the previous release is proven everywhere, or nothing had changed", "sync again when ready"},
	journal.Unchanged: {"NOTHING CHANGED", "1, an error before anything was changed", "remove the cause and run it again"},
	journal.Declined:  {"DECLINED", "5, declined by the deployer; the fleet is on one release", "sync again when ready"},
	journal.Inconsistent: {
		"NOT CONSISTENT", "4, hosts are not on one release with the others",
		"run `scap resume` now; hosts that are out stay out until then; `scap repair HOST` brings back one",
	},
}

// close makes the closing block; ok is false for a story that never began.
func (s *story) close() (c closing, ok bool) {
	if s.began.IsZero() {
		return c, false
	}
	row := func(label, text string) { c.rows = append(c.rows, [2]string{label, text}) }
	until := s.now
	if s.end != nil {
		until = s.end.At
	}
	took := Took(until.Sub(s.began))
	what := Clean(s.deploy)
	if s.outline.Message != "" {
		what += " " + quote(s.outline.Message)
	}
	if s.end == nil {
		c.head = fmt.Sprintf("NO END SEEN: %s, after %s", what, took)
		for _, text := range s.census() {
			row("fleet", text)
		}
		row("next", "look with `scap status`; if the deploy does not run any more, `scap resume` ends it")
		return c, true
	}
	e, known := ends[s.end.Verdict]
	if !known {
		e = ends[journal.Inconsistent]
		e.head = strings.ToUpper(Clean(s.end.Verdict))
	}
	c.head = fmt.Sprintf("%s: %s, %s", e.head, what, took)
	if s.end.Text != "" {
		row("why", Clean(s.end.Text))
	}
	for _, text := range s.fleet() {
		row("fleet", text)
	}
	if text := s.watched(); text != "" {
		row("watch", text)
	}
	row("exit", e.exit)
	next := e.next
	switch {
	case s.watch != nil && s.watch.verdict == journal.VerdictFail:
		next = "who watched takes it back, as a deploy of its own; if nobody does: `scap rollback`"
	case s.watched() != "":
		next = "`scap rollback` brings the previous release back"
	}
	row("next", next)
	return c, true
}

// fleet says what the fleet serves after an end.
func (s *story) fleet() []string {
	all := hosts(len(s.hosts))
	switch s.end.Verdict {
	case journal.Deployed:
		return []string{fmt.Sprintf("%s, all proven on %s", all, Short(s.to))}
	case journal.RolledBack, journal.Cancelled, journal.Declined:
		if s.back || s.end.Verdict == journal.RolledBack {
			return []string{fmt.Sprintf("%s, all proven on %s again", all, Short(s.from))}
		}
		return []string{fmt.Sprintf("%s, as they were, on %s", all, serves(s.from))}
	case journal.Unchanged:
		return []string{fmt.Sprintf("%s, as they were, on %s", all, serves(s.from))}
	}
	return s.census()
}

// watched says what becomes of a deploy after its end.
func (s *story) watched() string {
	switch {
	case s.watch != nil:
		return joined(joined(s.watch.span(), s.watch.says()), Clean(s.watch.reason))
	case s.end.Verdict == journal.Deployed && s.outline.Watch > 0:
		return fmt.Sprintf("the gates go on looking for %s; a fail is announced and rolled back", Took(s.outline.Watch))
	}
	return ""
}

func serves(id string) string {
	if id == "" {
		return "what they served before"
	}
	return Short(id)
}

// census groups the hosts by what the records prove of them. Every host that is not proven is named.
func (s *story) census() []string {
	var onNew, onOld int
	var unsure, apart []string
	for _, p := range s.phases {
		for _, h := range p.hosts {
			switch {
			case h.cell == proven:
				onNew++
			case h.cell == isolated:
				apart = append(apart, Clean(h.name))
			case h.touched || h.cell == out:
				unsure = append(unsure, fmt.Sprintf("%s (%s)", Clean(h.name), wordOf(h.cell)))
			default:
				onOld++
			}
		}
	}
	var texts []string
	if onNew > 0 {
		texts = append(texts, fmt.Sprintf("%s proven on %s (new)", hosts(onNew), Short(s.to)))
	}
	if onOld > 0 {
		texts = append(texts, fmt.Sprintf("%s on %s (old)", hosts(onOld), serves(s.from)))
	}
	if len(apart) > 0 {
		texts = append(texts, fmt.Sprintf("%s isolated, out of the pool: %s", hosts(len(apart)), strings.Join(apart, ", ")))
	}
	if len(unsure) > 0 {
		texts = append(texts, fmt.Sprintf("%s NOT proven: %s", hosts(len(unsure)), strings.Join(unsure, ", ")))
	}
	return texts
}

func wordOf(c cell) string {
	for _, l := range legend {
		if l.cell == c {
			return l.word
		}
	}
	return "unknown"
}
