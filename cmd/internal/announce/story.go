package announce

import (
	"fmt"
	"strings"
	"time"

	"scap/phases/journal"
)

// story makes events of a deploy's records.
type story struct {
	*facts
	test func(phase string) bool // whether a phase is of test servers
	live bool                    // a record was told
	past bool                    // records were recalled that are not to be told
}

// recall takes what happened before.
func (s *story) recall(r journal.Record) {
	s.take(r)
	s.past = true
}

// tell takes a record and returns what there is to tell of it: nothing or one event, or two where a deploy that is taken up
// again ends at once.
func (s *story) tell(r journal.Record) []Event {
	if r.Kind == journal.End && r.At.IsZero() {
		r.At = s.now // it could not be journaled
	}
	takenUp := s.take(r)
	if s.past && !s.live && !r.Kind.Idle() && r.Kind != journal.Begin { // it died, or ended, before this process came
		s.resumed, s.run, takenUp = true, r.At, r.Kind != journal.End
	}
	s.live = s.live || !r.Kind.Idle()
	switch {
	case r.Kind == journal.Begin, takenUp && r.Kind != journal.End:
		s.said[Started] = true
		return []Event{s.event(Started, r.At, "Started "+s.verb(), s.about(), "", "")}
	case r.Kind == journal.End:
		return []Event{s.tellEnd(r)}
	case r.Kind == journal.Watched:
		return s.tellWatch(r)
	case r.Act == journal.Rollback && r.Kind == journal.Intent && r.Target == "":
		return s.tellReturn(r)
	case s.passed(r):
		return s.tellTested(r)
	}
	return nil
}

func (s *story) event(what What, at time.Time, did, about, rest, full string) Event {
	e := Event{What: what, At: at, Deploy: s.name, Did: strings.TrimSpace(s.who() + " " + did), About: about, Rest: rest, facts: s.frozen()}
	if !s.private {
		e.Full = full
	}
	return e
}

func (s *story) who() string { return who(s.outline.User, s.outline.Host) }

func who(user, host string) string {
	user, host = clean(user), clean(host)
	if host == "" {
		return user
	}
	return user + "@" + host
}

// verb is what runs: "scap backport".
func (s *story) verb() string { return "scap " + s.word() }

func (f *facts) word() string {
	switch {
	case f.resumed:
		return "resume"
	case f.outline.Verb != "":
		return clean(f.outline.Verb)
	case f.outline.Back:
		return "rollback"
	}
	return "sync"
}

// about is what the deploy is about. The message of one with a change that is not public tells of that change too, so it
// is left out.
func (f *facts) about() string {
	var parts []string
	if !f.private {
		parts = append(parts, clean(f.outline.Message))
	}
	if len(f.outline.Changes) > 0 && (f.private || parts[0] == "") {
		parts = parts[:0]
		private := 0
		for _, c := range f.outline.Changes {
			if c.Number <= 0 {
				private++
				continue
			}
			parts = append(parts, fmt.Sprintf("[[gerrit:%d|%s]]", c.Number, clean(c.Subject)))
		}
		switch {
		case private == 1:
			parts = append(parts, "a private change")
		case private > 1:
			parts = append(parts, fmt.Sprintf("%d private changes", private))
		}
	}
	text := strings.Join(parts, ", ")
	if f.outline.Back && f.to != "" {
		text = strings.TrimSpace("to release " + short(f.to) + " " + text)
	}
	return text
}

// passed reports whether r says that a phase of test servers serves the release and its gate has passed.
func (s *story) passed(r journal.Record) bool {
	if s.outline.Back || s.said[Tested] || !s.test(r.Phase) && r.Act != journal.Merge {
		return false
	}
	switch r.Act {
	case journal.Confirm, journal.Merge:
		return r.Kind == journal.Intent
	case journal.PhaseAct:
		return r.Kind == journal.Done
	}
	return false
}

func (s *story) tellTested(r journal.Record) []Event {
	hosts := s.proven(r.Phase)
	if len(hosts) == 0 {
		return nil
	}
	s.said[Tested] = true
	return []Event{s.event(Tested, r.At, s.verb(), s.about(), " synced to the testservers ("+some(hosts)+")", "")}
}

// tellReturn tells once that the way back begins.
func (s *story) tellReturn(r journal.Record) []Event {
	if s.said[Returning] || s.resumed {
		return nil
	}
	s.said[Returning] = true
	return []Event{s.event(Returning, r.At, "Rolling back "+s.verb(), s.about(), because(s.why()), clean(r.Text))}
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

func (s *story) tellEnd(r journal.Record) Event {
	what := What(r.Verdict)
	var did, rest string
	span := " (duration: " + took(s.ended.Sub(s.run)) + ")"
	why := because(s.why())
	switch what {
	case Deployed:
		did, rest = "Finished "+s.verb(), span
		if r.Seq == 0 { // so is what scap tells the deployer
			what, did, rest = Inconsistent, "NOT CONSISTENT after "+s.verb(), ": proven on every host, but its end could not be journaled: run `scap resume`"
		}
	case RolledBack:
		did, rest = "Rolled back "+s.verb(), span+why
		if s.resumed {
			did, rest = "Rolled back by "+s.verb(), span
		}
	case Cancelled:
		did, rest = "Cancelled "+s.verb(), ": "+s.serves()+span
	case Declined:
		did, rest = "Declined "+s.verb(), ": "+s.serves()+span
	case Unchanged:
		did, rest = "Gave up "+s.verb(), ": nothing was changed"+why
	default: // also a word that is not known yet
		what, did, rest = Inconsistent, "NOT CONSISTENT after "+s.verb(), ": "+s.census()+span
	}
	return s.event(what, r.At, did, s.about(), rest, clean(r.Text))
}

// serves says what the fleet serves after a deploy that was ended on its old release.
func (f *facts) serves() string {
	if len(f.reached) == 0 && !f.back {
		return "nothing was changed"
	}
	return "every host is on the previous release"
}

// census names the hosts that are not on one release with the others.
func (f *facts) census() string {
	var parts []string
	if hosts := f.are(unsure); len(hosts) > 0 {
		parts = append(parts, some(hosts)+" not proven")
	}
	if hosts := f.are(apart); len(hosts) > 0 {
		parts = append(parts, some(hosts)+" isolated, out of the pool")
	}
	if fresh, old := f.are(onNew), f.are(onOld); len(fresh) > 0 && (len(parts) > 0 || len(old) > 0) {
		parts = append(parts, fmt.Sprintf("%d of %d hosts on the new release", len(fresh), len(f.hosts)))
	}
	if len(parts) == 0 {
		return "run `scap status`, then `scap resume`"
	}
	text := strings.Join(parts, "; ")
	if len(f.are(unsure)) > 0 {
		text += "; run `scap resume`"
	}
	return text
}

// tellWatch tells that the watch after the end failed the release, and to the metrics how it ended.
func (s *story) tellWatch(r journal.Record) []Event {
	switch r.Verdict {
	case journal.VerdictOver, journal.VerdictSuperseded:
		return []Event{s.event(watched, r.At, r.Verdict, "", "", "")}
	case journal.VerdictFail:
		after := "after its end"
		if !s.ended.IsZero() {
			after = took(r.At.Sub(s.ended)) + " after its end"
		}
		rest := ": the gate failed the release " + after
		if _, counts := counted(r.Data); counts != "" {
			rest += ": " + counts
		}
		return []Event{s.event(Watch, r.At, "FAILED: "+s.verb(), s.about(), rest, clean(r.Text))}
	}
	return nil
}

// wide reports whether more users than those of the first canaries were served the release.
func (f *facts) wide(test func(string) bool) bool {
	if f.outline.Back {
		return false
	}
	n := 0
	for _, g := range f.outline.Phases {
		if test(g.Name) {
			continue
		}
		if n++; n > 1 && f.reached[g.Name] {
			return true
		}
	}
	return n == 1 && f.reached[f.outline.Phases[len(f.outline.Phases)-1].Name]
}
