package phases

import (
	"fmt"
	"strings"

	"scap/sync/release"
)

// reasons groups targets by what is said of them, in the order in which it was said first.
type reasons struct {
	order []string
	by    map[string][]string
}

func (r *reasons) add(name, why string) {
	if r.by == nil {
		r.by = map[string][]string{}
	}
	if r.by[why] == nil {
		r.order = append(r.order, why)
	}
	r.by[why] = append(r.by[why], name)
}

// groups are "mw1, mw2: why", one for each reason.
func (r *reasons) groups() (list []string) {
	for _, why := range r.order {
		list = append(list, fmt.Sprintf("%s: %s", some(r.by[why]), why))
	}
	return list
}

// Remarks are what people should know of targets before a deploy of a release, and what stops none: who takes another road
// there than the one that is configured, and why; trials, which only a deploy that runs now should have; what the runtimes say
// of themselves. Targets of which the same is to be said are named together.
func Remarks(seen []Seen, to release.ID) (notes []string) {
	var roads, trials, own reasons
	for _, s := range seen {
		if s.Err != nil {
			continue
		}
		p := s.State.Proof
		if why, ok := fallback(p.Road, to); ok {
			roads.add(s.Name(), why)
		}
		if p.Trial != nil {
			who := ""
			if claimer := s.State.Intent.Claimer; claimer != "" {
				who = fmt.Sprintf(", last claimed by %s", claimer)
			}
			trials.add(s.Name(), fmt.Sprintf("a trial of %s goes on%s; a deploy that begins ends it first", p.Trial.Release.Short(), who))
		}
		for _, n := range p.Notes {
			own.add(s.Name(), n)
		}
	}
	for _, g := range roads.order { // the road comes first: "drain instead of handover: mw1003, mw1004: no memory"
		instead, why, _ := strings.Cut(g, ": ")
		notes = append(notes, fmt.Sprintf("%s: %s: %s", instead, some(roads.by[g]), why))
	}
	notes = append(notes, trials.groups()...)
	return append(notes, own.groups()...)
}

// fallback says which road a target takes instead of the one that is configured, and why.
func fallback(road release.Road, to release.ID) (text string, ok bool) {
	if road.Wanted == "" || road.Wanted == road.Strategy || road.Beside(to) {
		return "", false
	}
	return fmt.Sprintf("%s instead of %s: %s", or(road.Strategy, release.ByDrain), road.Wanted, or(road.Why, "it does not say why")), true
}
