package config

import (
	"time"

	"go.yaml.in/yaml/v3"
)

// Gate is what must be seen after a phase. Nil is no gate.
type Gate struct {
	Probes  string        `yaml:"probes,omitempty"` // a YAML file of HTTP probes; empty: none
	Front   string        `yaml:"front,omitempty"`  // http://host:port of the balancer: the probes go through it too; empty: not
	MaxWait time.Duration `yaml:"max_wait"`         // then a hold is asked about; unattended it rolls back
	Tick    time.Duration `yaml:"tick"`             // between looks

	// Sources say which traffic is judged: HostLogs and names of Config.Sources. Empty: what users see is not looked at.
	Sources []string `yaml:"sources,omitempty"`
	Judge   `yaml:",inline"`
}

// Judge is the rule by which traffic is judged: zero for a gate without sources.
type Judge struct {
	Signals     []string      `yaml:"signals,omitempty"`      // names of Config.Signals that must not drop
	MinRequests int           `yaml:"min_requests,omitempty"` // served by the new release, else it cannot pass
	Dwell       time.Duration `yaml:"dwell,omitempty"`        // of closed ticks since the runtime was proven, else it cannot pass
	HarmRatio   float64       `yaml:"harm_ratio,omitempty"`   // times the control's failing rate; less is no harm
	HarmRate    Rate          `yaml:"harm_rate,omitempty"`    // of all requests; fewer failing is no harm
	Controls    int           `yaml:"controls,omitempty"`     // hosts of the old release that are read for comparison, at most
}

// Judges reports whether the source with that name judges here. A nil Gate has none.
func (g *Gate) Judges(source string) bool { return g != nil && contains(g.Sources, source) }

// retired are keys of the rule before this one, and of older tools.
var retired = []string{"error_threshold", "canary_threshold", "error_rate_threshold", "logstash_checker_threads"}

// eyes are what gates and signals may name.
type eyes struct {
	sources []string // HostLogs and all of Config.Sources
	signals []Signal
}

func (s *section) gate(key string, e eyes) *Gate {
	n := s.get(key)
	if n == nil || isNone(n) {
		return nil
	}
	sub := s.sub(key)
	g := &Gate{
		Probes:  sub.text("probes", "", isPath),
		Front:   sub.text("front", "", isWeb),
		MaxWait: sub.duration("max_wait", 10*time.Minute, time.Second, 24*time.Hour),
		Tick:    sub.duration("tick", 5*time.Second, 100*time.Millisecond, 10*time.Minute),
	}
	if names := sub.references("sources", e.sources); len(names) > 0 {
		g.Sources = names
	}
	blind := !sub.has("sources") || isNone(sub.values["sources"])
	old := sub.retired()
	g.Judge = sub.judge(g, blind, e)
	if n.Kind == yaml.MappingNode && !old && !sub.has("probes") && blind {
		sub.r.wrong(n, "%s has neither probes nor sources: it could never pass; say gate: none if nothing shall be looked at", sub.name)
	}
	if sub.has("front") && !sub.has("probes") {
		sub.r.wrong(sub.keyNode("front"), "%s goes with probes: without them nothing is asked", sub.path("front"))
	}
	if g.Tick > g.MaxWait {
		sub.r.wrong(sub.place, "%s: tick %s is longer than max_wait %s", sub.name, FormatDuration(g.Tick), FormatDuration(g.MaxWait))
	}
	sub.close()
	return g
}

// retired refuses thresholds, and says what is judged by now.
func (s *section) retired() bool {
	found := false
	for _, key := range retired {
		if s.has(key) {
			s.get(key)
			s.r.wrong(s.keyNode(key), "%s: gates have no threshold any more: a count of errors says nothing without the requests it is of and the "+
				"old release beside it; say sources: [logs], and harm_ratio and harm_rate if 3 times the old rate and 0.03%% are not what harm means here", s.path(key))
			found = true
		}
	}
	return found
}

// judge reads the rule of a gate with sources.
func (s *section) judge(g *Gate, blind bool, e eyes) Judge {
	j := Judge{
		Signals:     s.signalNames(g, e),
		MinRequests: s.integer("min_requests", 1000, 1, 100000000),
		Dwell:       s.duration("dwell", time.Minute, time.Second, 24*time.Hour),
		HarmRatio:   s.number("harm_ratio", 3, 1.5, 100),
		HarmRate:    s.rate("harm_rate", 3e-4, 1e-7, 0.5),
		Controls:    s.integer("controls", 40, 1, 1000),
	}
	if len(g.Sources) > 0 {
		if j.Dwell > g.MaxWait {
			at := s.values["dwell"]
			if at == nil {
				at = s.place
			}
			s.r.wrong(at, "%s: dwell %s is longer than max_wait %s: it could never pass", s.name, FormatDuration(j.Dwell), FormatDuration(g.MaxWait))
		}
		return j
	}
	for _, key := range []string{"signals", "min_requests", "dwell", "harm_ratio", "harm_rate", "controls"} {
		if blind && s.has(key) {
			s.r.wrong(s.keyNode(key), "%s goes with sources: without them no traffic is judged", s.path(key))
		}
	}
	return Judge{}
}

// signalNames reads the signals of a gate, each of which must come from a source that the gate reads.
func (s *section) signalNames(g *Gate, e eyes) []string {
	known := make([]string, len(e.signals))
	for i, x := range e.signals {
		known[i] = x.Name
	}
	names := s.references("signals", known)
	for _, name := range names {
		for _, x := range e.signals {
			if x.Name == name && x.From != "" && len(g.Sources) > 0 && !contains(g.Sources, x.From) {
				s.r.wrong(s.values["signals"], "%s: %s is counted by %s, which is not among the sources of this gate: add it", s.path("signals"), name, x.From)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	return names
}
