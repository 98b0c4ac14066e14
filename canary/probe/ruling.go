package probe

import (
	"fmt"
	"strings"

	"scap/canary"
)

// finding is one probe that was not as expected at one place.
type finding struct {
	Where  string `json:"where"`
	Result Result `json:"result"`
}

func (f finding) String() string { return f.Where + ": " + f.Result.String() }

// figures are one look's numbers.
type figures struct {
	Probes      int       `json:"probes"`
	Hosts       int       `json:"hosts"`
	Failed      []finding `json:"failed,omitempty"`      // on canaries
	Front       []finding `json:"front,omitempty"`       // through the balancer
	Unreachable []string  `json:"unreachable,omitempty"` // places nothing is known of
	Controls    int       `json:"controls"`              // hosts that were compared with
}

// take sorts one place's answer.
func (f *figures) take(s seen) {
	if s.err == nil && len(s.report.Results) == 0 {
		s.err = errNoProbes
	}
	if s.err != nil {
		f.Unreachable = append(f.Unreachable, fmt.Sprintf("%s: %v", s.where, s.err))
		return
	}
	for _, r := range s.report.Results {
		switch {
		case r.Outcome == OK:
		case r.Outcome != Failed:
			f.Unreachable = append(f.Unreachable, s.where+": "+r.String())
		case s.where == front:
			f.Front = append(f.Front, finding{s.where, r})
		default:
			f.Failed = append(f.Failed, finding{s.where, r})
		}
	}
}

// rule turns the figures into a ruling and its reason.
func (g *Gate) rule(f *figures, hosts []string, control int, old map[string]Outcome, trial bool) canary.Ruling {
	var ours, alike, unknown []finding
	for _, bad := range f.Failed {
		switch o := old[bad.Result.Name]; {
		case o == Failed, control == 0 && g.wasRed(bad.Result.Name):
			alike = append(alike, bad)
		case control == 0 || o == OK:
			ours = append(ours, bad)
		default:
			unknown = append(unknown, bad)
		}
	}
	hold := func(c canary.Cause, format string, args ...any) canary.Ruling {
		return canary.Ruling{Cause: c, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case trial && len(ours) > 0:
		return canary.Ruling{Verdict: canary.Fail, Reason: list(ours) + "; as expected on the same machine a moment later, by its other release"}
	case len(hosts) >= suspectHosts && alone(ours) != "" && len(unknown) == 0:
		return canary.Ruling{
			Verdict: canary.Suspect, Suspects: []string{alone(ours)},
			Reason: fmt.Sprintf("%s; as expected on the other %d canaries: that host, not the release", list(ours), len(hosts)-1),
		}
	case len(ours) > 0 && control == 0:
		return canary.Ruling{Verdict: canary.Fail, Reason: list(ours) + "; no host with the old release is left to compare with"}
	case len(ours) > 0:
		return canary.Ruling{Verdict: canary.Fail, Reason: list(ours) + "; as expected on a host with the old release"}
	case len(unknown) > 0:
		return hold(canary.SourceDown, "%s; no host with the old release could be asked: %s", list(unknown), strings.Join(few(f.Unreachable), "; "))
	case len(alike) > 0 && g.DespiteRed == "":
		if trial {
			return hold(canary.BothRed, "not this release by all signs: %s; the machine fails alike when it is asked again", list(alike))
		}
		return hold(canary.BothRed, "not this release: %s; the hosts without it fail alike", list(alike))
	case len(f.Unreachable) > 0:
		return hold(canary.SourceDown, "could not ask %s", strings.Join(few(f.Unreachable), "; "))
	case g.stillRed(f.Front):
	case len(f.Front) > 0:
		return hold(canary.Contradict, "%s (%s); on the canaries themselves all is as expected", list(f.Front), g.Front)
	}
	why := fmt.Sprintf("%d probes as expected on %s", f.Probes, strings.Join(few(hosts), ", "))
	if red := append(alike, f.Front...); len(red) > 0 {
		why = fmt.Sprintf("%s; red before the deploy, which goes on: %s", list(red), g.DespiteRed)
	} else if g.Front != "" {
		why += " and through " + g.Front
	}
	return canary.Ruling{Verdict: canary.Pass, Reason: why}
}

// suspectHosts are needed, so that what one of them does alone speaks against it and not against the release.
const suspectHosts = 3

// alone is the one host that all findings are of, and "" when there are several.
func alone(fs []finding) (host string) {
	for i, f := range fs {
		if i > 0 && f.Where != host {
			return ""
		}
		host = f.Where
	}
	return host
}

// stillRed reports whether all that fails through the balancer did so before the deploy, and the deployer knows.
func (g *Gate) stillRed(front []finding) bool {
	for _, f := range front {
		if !g.wasRed(f.Result.Name) {
			return false
		}
	}
	return len(front) > 0
}

func list(fs []finding) string {
	texts := make([]string, 0, len(fs))
	for _, f := range fs {
		texts = append(texts, f.String())
	}
	return strings.Join(few(texts), "; ")
}

// few keeps a list short.
func few(texts []string) []string {
	const most = 3
	if len(texts) > most+1 {
		return append(texts[:most:most], fmt.Sprintf("and %d more", len(texts)-most))
	}
	return texts
}
