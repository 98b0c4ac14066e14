package phases

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"scap/sync/release"
)

// Kinds of a RoadGroup besides those of release.Road.To.
const (
	RoadNone   = "none"   // it serves the release already
	RoadSilent = "silent" // it does not answer, so nobody knows
)

// roadKinds are the kinds from the fastest to the slowest, then those that go nowhere.
var roadKinds = []string{release.ByRename, release.ByStart, release.ByReload, release.ByDrain, RoadNone, RoadSilent}

// RoadMap says how each target would get to a release now.
type RoadMap struct {
	Groups []RoadGroup // none of them empty
	seen   []Seen
	to     release.ID
	took   map[string]time.Duration // by target; 0: not known
}

// RoadGroup are the targets that take one kind of road.
type RoadGroup struct {
	Kind  string
	Hosts []string
	// Why says of targets that would take another road, as configured, why they do not: by target. Of silent ones, their error.
	Why map[string]string
	// Took is how long one of them takes, of those with a known time the longest; 0: of none is it known.
	Took time.Duration
}

// Roads says by which road each target gets to a release, and how long that takes: by its own last time, else by known (how
// long a switch took lately, by kind), else by the longest time of the others on that road.
func Roads(seen []Seen, to release.ID, known map[string]time.Duration) RoadMap {
	m := RoadMap{seen: seen, to: to, took: map[string]time.Duration{}}
	groups := map[string]*RoadGroup{}
	for _, s := range seen {
		kind, took := road(s, to)
		g := groups[kind]
		if g == nil {
			g = &RoadGroup{Kind: kind, Why: map[string]string{}}
			groups[kind] = g
		}
		g.Hosts = append(g.Hosts, s.Name())
		if took == 0 {
			took = known[kind]
		}
		g.Took, m.took[s.Name()] = max(g.Took, took), took
		if s.Err != nil {
			g.Why[s.Name()] = s.Err.Error()
		} else if r := s.State.Proof.Road; r.Wanted != "" && r.Wanted != r.Strategy && kind != RoadNone && !r.Beside(to) {
			g.Why[s.Name()] = or(r.Why, "it does not say why")
		}
	}
	for _, kind := range roadKinds {
		g := groups[kind]
		if g == nil {
			continue
		}
		for _, h := range g.Hosts {
			m.took[h] = or(m.took[h], g.Took)
		}
		m.Groups = append(m.Groups, *g)
	}
	return m
}

func road(s Seen, to release.ID) (kind string, took time.Duration) {
	if s.Err != nil {
		return RoadSilent, 0
	}
	if on, ok := s.State.Consistent(); ok && on == to && !s.State.Intent.Out {
		return RoadNone, 0
	}
	kind, took = s.State.Proof.Road.To(to)
	if !slices.Contains(roadKinds, kind) { // a word of a newer host
		return release.ByDrain, 0
	}
	return kind, took
}

// Lasts is how long p takes over the whole fleet by these roads, with its widths and what its pools can spare, and nothing
// going wrong. Gates, checks and people are not in it. AtLeast says that of some targets the time is not known.
func (m RoadMap) Lasts(p Plan) (d time.Duration, atLeast bool) {
	r := &run{p: p, from: p.From, first: map[string]Seen{}}
	for _, ph := range p.Phases {
		todo := slices.Clone(ph.Targets)
		for len(todo) > 0 {
			wave := r.pick(todo, m.capacity(r), p.Back)
			if len(wave) == 0 { // it would wait and ask; then one at a time
				wave = todo[:1]
			}
			var longest time.Duration
			for _, t := range wave {
				took := m.took[t.Name()]
				atLeast = atLeast || took == 0 && !m.is(RoadNone, t.Name())
				longest = max(longest, took)
			}
			d += longest
			todo = without(todo, names(wave))
		}
	}
	return d, atLeast
}

func (m RoadMap) is(kind, name string) bool {
	return slices.ContainsFunc(m.Groups, func(g RoadGroup) bool { return g.Kind == kind && slices.Contains(g.Hosts, name) })
}

// capacity is what the pools of r's plan can spare by what was seen.
func (m RoadMap) capacity(r *run) *capacity {
	c := &capacity{well: map[string]bool{}, silent: map[string]bool{}, stays: map[string]bool{}, pools: r.p.Pools}
	for _, s := range m.seen {
		name := s.Name()
		c.well[name], c.silent[name], c.stays[name] = s.Err == nil && (s.State.Serving || unasked(s.State)), s.Err != nil, r.stays(s, m.to)
	}
	c.count()
	return c
}

// String is the map for people: "38 hosts by rename to a warm php-fpm, about 0.3 s; 1 is drained, about 12 s: mw1007 (no
// memory)". The hosts of the largest group are not named.
func (m RoadMap) String() string {
	var parts []string
	largest := 0
	for i, g := range m.Groups {
		if len(g.Hosts) > len(m.Groups[largest].Hosts) {
			largest = i
		}
	}
	for i, g := range m.Groups {
		text := fmt.Sprintf("%d %s", len(g.Hosts), g.words(i == 0, i > 0 && m.Groups[0].Kind == release.ByRename))
		switch {
		case g.Took > 0:
			text += ", " + About(g.Took)
		case g.Kind != RoadNone && g.Kind != RoadSilent:
			text += ", how long is not known"
		}
		if len(g.Why) > 0 || i != largest || len(m.Groups) > 1 && len(g.Hosts) == 1 {
			text += ": " + g.named()
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

// words say what the targets of the group do.
func (g RoadGroup) words(first, warm bool) string {
	s, are, host := "s", "is", ""
	if len(g.Hosts) != 1 {
		s, are = "", "are"
	}
	if first {
		host = "hosts "
		if len(g.Hosts) == 1 {
			host = "host "
		}
	}
	switch {
	case g.Kind == release.ByRename:
		return host + "by rename to a warm php-fpm"
	case g.Kind == release.ByStart && warm:
		return host + "start" + s + " one first"
	case g.Kind == release.ByStart:
		return host + "start" + s + " a new php-fpm beside the old one first"
	case g.Kind == release.ByReload:
		return host + "reload" + s + " php-fpm"
	case g.Kind == RoadNone:
		return host + "serve" + s + " it already"
	case g.Kind == RoadSilent && len(g.Hosts) == 1:
		return host + "does not answer"
	case g.Kind == RoadSilent:
		return host + "do not answer"
	}
	return host + are + " drained"
}

// named lists the targets, those with a reason together with it.
func (g RoadGroup) named() string {
	var why reasons
	for _, h := range g.Hosts {
		why.add(h, g.Why[h])
	}
	var parts []string
	for _, reason := range why.order {
		text := some(why.by[reason])
		if reason != "" {
			text += " (" + reason + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// Way says for people by which roads p's targets get to its release, and how long the whole fleet takes.
func (p Plan) Way(seen []Seen) string {
	m := Roads(seen, p.Release.ID, p.Took)
	lasts, atLeast := m.Lasts(p)
	switch {
	case lasts == 0:
		return m.String()
	case atLeast:
		return fmt.Sprintf("%s; the fleet: %s or more", m, About(lasts))
	}
	return fmt.Sprintf("%s; the fleet: %s", m, About(lasts))
}

// About writes a duration that is an estimate: about 0.3 s, about 12 s, about 4 min.
func About(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("about %.1f s", max(d, 100*time.Millisecond).Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("about %.0f s", d.Seconds())
	}
	return fmt.Sprintf("about %.0f min", d.Minutes())
}
