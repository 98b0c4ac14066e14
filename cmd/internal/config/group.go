package config

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// Group is a named set of hosts with what is particular to them.
type Group struct {
	Name       string   `yaml:"-"`
	Hosts      []string `yaml:"hosts"`                 // ranges expanded; dsh files read
	DataCenter string   `yaml:"data_center,omitempty"` // a word for people; `scap plan` counts by it
	Target     `yaml:",inline"`
}

// groups reads all groups. A group has the keys of targets besides its own.
func (s *section) groups(base Target, balancers []string) []Group {
	list := []Group{}
	for _, key := range s.names() {
		if s.r.hosts > maxFleet {
			s.r.wrong(key, "more than %d hosts in all groups", maxFleet)
			break
		}
		sub := s.sub(key.Value)
		before := len(s.r.mistakes)
		g := Group{Name: key.Value, Hosts: sub.hosts(), DataCenter: sub.text("data_center", "", isWord)}
		s.r.hosts += len(g.Hosts)
		g.Target = sub.target(base, balancers)
		sub.close()
		sub.complete(&g, key)
		if len(s.r.mistakes) == before {
			sub.agree(&g, key)
		}
		list = append(list, g)
	}
	return list
}

// complete fills the defaults that depend on other keys.
func (s *section) complete(g *Group, key *yaml.Node) {
	if g.HealthFlag == "" {
		g.HealthFlag = g.Root + "/out"
	}
	if g.FPM == nil {
		s.r.wrong(key, "%s.php_fpm is missing, here and under targets: name the instances, or say php_fpm: none for hosts that run no PHP for users", s.name)
		g.FPM = []FPM{}
	}
	if g.Balancers == nil {
		s.r.wrong(key, "%s.balancers is missing, here and under targets: name what sends requests to these hosts, or say balancers: none", s.name)
		g.Balancers = []string{}
	}
}

// agree refuses a group whose keys are each right and together wrong.
func (s *section) agree(g *Group, key *yaml.Node) {
	at := func(name string) *yaml.Node {
		if n := s.values[name]; n != nil {
			return n
		}
		return key
	}
	if g.Strategy == Reload && g.Layout != Realpath {
		s.r.wrong(at("strategy"), "%s: strategy reload needs layout realpath: through the link, running code would read the new release's files", s.name)
	}
	if g.Strategy == Reload && len(g.FPM) > 0 && len(g.WarmUp.Requests) == 0 {
		s.r.wrong(at("strategy"), "%s: strategy reload needs warm_up.requests: their answers prove the layout", s.name)
	}
	s.handsOver(g, at)
	if len(g.FPM) == 0 && len(g.Balancers) > 0 {
		s.r.wrong(at("balancers"), "%s: with php_fpm: none say balancers: none too: nothing on these hosts could prove that it went quiet", s.name)
	}
	if within(g.Served, g.Root) || within(g.Root, g.Served) {
		s.r.wrong(at("served"), "%s: served %s and root %s lie in each other: served must be a link beside root", s.name, g.Served, g.Root)
	}
	if within(g.HealthFlag, g.Served) || strings.HasPrefix(g.HealthFlag, g.Root+"/releases/") || strings.HasPrefix(g.HealthFlag, g.Root+"/current/") {
		s.r.wrong(at("health_flag"), "%s: health_flag %s lies in a release: a release is never edited", s.name, g.HealthFlag)
	}
	for _, f := range g.FPM {
		if c := f.Control.Commands; g.Strategy == Reload && c != nil && len(c.Reload) == 0 {
			s.r.wrong(at("strategy"), "%s: strategy reload, and instance %s has no reload under control.commands", s.name, f.Name)
		}
	}
}

// hosts reads either an inline list with ranges or a dsh file.
func (s *section) hosts() []string {
	list := []string{}
	switch {
	case s.has("hosts") && s.has("dsh"):
		s.r.wrong(s.keyNode("dsh"), "%s has both hosts and dsh: want one of them", s.name)
	case !s.has("hosts") && !s.has("dsh"):
		s.r.wrong(s.place, "%s has neither hosts nor dsh", s.name)
	}
	s.known = append(s.known, "hosts", "dsh")
	if word := s.text("dsh", "", notEmpty); word != "" {
		return s.dsh(word)
	}
	items, ok := s.items("hosts")
	if ok && len(items) == 0 {
		s.r.wrong(s.values["hosts"], "%s is empty", s.path("hosts"))
	}
	seen := map[string]bool{}
	for _, n := range items {
		pattern, ok := s.r.text(n, s.path("hosts"))
		if !ok {
			continue
		}
		names, err := Expand(pattern)
		if err != nil {
			s.r.wrong(n, "%s: %v", s.path("hosts"), err)
		}
		for _, name := range names {
			switch {
			case seen[name]:
				s.r.wrong(n, "%s: host %s is given twice", s.path("hosts"), name)
			case len(list) == maxHosts:
				s.r.wrong(n, "%s: more than %d hosts", s.path("hosts"), maxHosts)
				return list
			default:
				list = append(list, name)
			}
			seen[name] = true
		}
	}
	return list
}

// dsh reads the hosts of a dsh file; its mistakes are placed in that file.
func (s *section) dsh(word string) []string {
	path, what := dshPath(word)
	if what != "" {
		s.r.wrong(s.values["dsh"], "%s: %s", s.path("dsh"), what)
		return nil
	}
	b, err := readFile(path)
	if err != nil {
		s.r.wrong(s.values["dsh"], "%s: %v", s.path("dsh"), err)
		return nil
	}
	hosts, mistakes := ParseDsh(path, b)
	s.r.mistakes = append(s.r.mistakes, mistakes...)
	if len(hosts) == 0 && len(mistakes) == 0 {
		s.r.wrong(s.values["dsh"], "%s: %s names no host", s.path("dsh"), path)
	}
	list := []string{}
	for _, h := range hosts {
		list = append(list, h.Name)
	}
	return list
}
