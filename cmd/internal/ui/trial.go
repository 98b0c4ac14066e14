package ui

import (
	"fmt"
	"strconv"
	"time"

	"scap/phases/journal"
)

// shared says of a phase how much goes to the release while it is tried, in format: "" when that is not known.
func (p *stage) shared(format string) string {
	if p.share <= 0 {
		return ""
	}
	return fmt.Sprintf(format, strconv.FormatFloat(p.share*100, 'g', 4, 64)+"%")
}

// tellTrial tells what became of a trial. The intents are seen in the grid and told by their outcomes.
func (s *story) tellTrial(r journal.Record, took time.Duration) []line {
	h := s.hosts[r.Target]
	if h == nil || r.Kind == journal.Intent {
		return nil
	}
	p := s.phaseOf(h)
	p.saidVerdict = ""
	name := joined(Clean(p.name), Clean(r.Target))
	switch {
	case r.Act == journal.Try && r.Kind == journal.Done:
		tried := p.count(onTrial) + p.count(proven)
		return say("%s", joined(fmt.Sprintf("%s tries %s%s, %d/%d, %s", name, Short(r.To), p.shared(" at %s"), tried, len(p.hosts), Took(took)), Clean(r.Text)))
	case r.Act == journal.Try && h.cell == returned:
		return cry("%s", joined(fmt.Sprintf("%s not tried, proven on %s, %s", name, Short(s.from), Took(took)), s.fresh(r.Text)))
	case r.Act == journal.Try:
		return cry("%s", joined(name+" NOT tried, it may serve a share, "+Took(took), s.fresh(r.Text)))
	case r.Kind == journal.Failed:
		return cry("%s", joined(fmt.Sprintf("%s its trial of %s is NOT ended, %s", name, Short(r.To), Took(took)), Clean(r.Text)))
	case r.Kind == journal.Done:
		return say("%s trial of %s ended, all its requests get %s, %s", name, Short(r.To), Short(r.From), Took(took))
	}
	return nil
}
