package config

import (
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"
)

// Phase is one step of a deploy: the hosts that get the release together, and what must hold before the next phase.
type Phase struct {
	Name        string        `yaml:"name"`
	Groups      []string      `yaml:"groups"`
	Width       Width         `yaml:"width"`          // hosts that change at a time
	MaxFailures Budget        `yaml:"max_failures"`   // hosts that may fail, and go back, before the phase fails
	Timeout     time.Duration `yaml:"timeout"`        // for one host, from drain to pool
	Test        bool          `yaml:"test"`           // its hosts are for looking at a change before users see it
	Confirm     bool          `yaml:"confirm"`        // ask the deployer before the next phase
	Hint        string        `yaml:"hint,omitempty"` // what the deployer is told with that question
	Bake        time.Duration `yaml:"bake"`           // wait after the last host before the gate may pass
	// Share is the part of its hosts' requests that the release is tried on first, beside the old one; 0: none.
	Share Rate  `yaml:"share,omitempty"`
	Gate  *Gate `yaml:"gate" show:"none"`

	// Hosts are those deployed in this phase: of its groups, those that no earlier phase has. Resolved, not written.
	Hosts []Host `yaml:"-"`
}

// Host is a host and the group whose settings it has.
type Host struct {
	Name  string
	Group string
}

// phases reads the list. Whether groups are used well is looked at by resolve.
func (s *section) phases(key string, groups []Group, e eyes) []Phase {
	known := make([]string, len(groups))
	for i, g := range groups {
		known[i] = g.Name
	}
	items, ok := s.items(key)
	if ok && len(items) == 0 {
		s.r.wrong(s.values[key], "phases is empty: nothing would be deployed")
	}
	if len(items) > maxNames {
		s.r.wrong(items[maxNames], "phases: more than %d", maxNames)
		items = items[:maxNames]
	}
	list, names := []Phase{}, map[string]bool{}
	for i, n := range items {
		sub := s.r.section(n, nil, fmt.Sprintf("%s[%d]", s.path(key), i))
		p := sub.phase(known, e)
		if names[p.Name] && p.Name != "" {
			s.r.wrong(sub.values["name"], "%s: another phase has the name %s", sub.name, p.Name)
		}
		names[p.Name] = true
		if last := len(list) - 1; p.Test && last >= 0 && !list[last].Test {
			s.r.wrong(sub.keyNode("test"), "%s: phase %s comes before it and is no test: phases with test: true must come first", sub.path("test"), list[last].Name)
		}
		list = append(list, p)
	}
	return list
}

func (s *section) phase(groups []string, e eyes) Phase {
	s.missing("name", "a word for this phase, such as canaries")
	s.missing("groups", "the groups that get the release in this phase")
	s.missing("gate", "what must be seen before the next phase; say gate: none if nothing")
	p := Phase{
		Name:        s.text("name", "", isWord),
		Groups:      s.texts("groups", nil, isWord),
		Width:       s.width("width", Width{Count: 1}),
		MaxFailures: s.budget("max_failures", Budget{}),
		Timeout:     s.duration("timeout", 5*time.Minute, time.Second, 24*time.Hour),
		Test:        s.truth("test", false),
		Confirm:     s.truth("confirm", false),
		Hint:        s.text("hint", "", notEmpty, noControl, isHint),
		Bake:        s.duration("bake", 0, 0, 24*time.Hour),
		Share:       s.rate("share", 0, 1e-3, 0.5),
		Gate:        s.gate("gate", e),
	}
	if n := s.values["groups"]; n != nil && n.Kind == yaml.SequenceNode {
		if len(n.Content) == 0 {
			s.r.wrong(n, "%s is empty", s.path("groups"))
		}
		for _, item := range n.Content {
			if item.Kind == yaml.ScalarNode && isWord(item.Value) == "" && !contains(groups, item.Value) {
				s.r.unlike(item, nearest(item.Value, groups), "%s: there is no group %q", s.path("groups"), item.Value)
			}
		}
	}
	if p.Share > 0 && (p.Gate == nil || len(p.Gate.Sources) == 0) {
		s.r.wrong(s.keyNode("share"), "%s wants a gate with sources: a release that is tried on users must be judged by what they see", s.path("share"))
	}
	if p.Hint != "" && !p.Test && !p.Confirm {
		s.r.wrong(s.keyNode("hint"), "%s goes with test or confirm: without them nobody is asked, and nobody would read it", s.path("hint"))
	}
	s.close()
	return p
}

// isHint is for a sentence or two.
func isHint(text string) string {
	if len(text) > 500 {
		return "is longer than 500 bytes"
	}
	return ""
}

func contains(list []string, text string) bool {
	for _, x := range list {
		if x == text {
			return true
		}
	}
	return false
}
