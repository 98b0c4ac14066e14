package config

import (
	"net/netip"
	"net/url"

	"go.yaml.in/yaml/v3"
)

// resolve gives every host its phase and looks at what only the whole can show: hosts that nobody deploys, balancers that
// nobody has, gates without logs, phases that would take too many out.
func (r *reader) resolve(c *Config, root *section) {
	phases := root.values["phases"]
	place := func(i int, key string) *yaml.Node {
		if phases == nil || phases.Kind != yaml.SequenceNode || i >= len(phases.Content) {
			return nil
		}
		n := phases.Content[i]
		for j := 0; n.Kind == yaml.MappingNode && j+1 < len(n.Content); j += 2 {
			if n.Content[j].Value == key {
				return n.Content[j+1]
			}
		}
		return n
	}
	taken, used := map[string]string{}, map[string]string{}
	for i := range c.Phases {
		p := &c.Phases[i]
		p.Hosts = []Host{}
		listed := 0
		for _, name := range p.Groups {
			g := c.Group(name)
			if g == nil {
				continue // said already
			}
			if first := used[name]; first != "" && first != p.Name {
				r.wrong(place(i, "groups"), "phases[%d].groups: group %s is in phase %s already", i, name, first)
			}
			used[name] = p.Name
			listed += len(g.Hosts)
			for _, h := range g.Hosts {
				if taken[h] == "" {
					taken[h] = p.Name
					p.Hosts = append(p.Hosts, Host{Name: h, Group: name})
				}
			}
			if what := g.noTrial(); p.Share > 0 && what != "" {
				r.wrong(place(i, "share"), "phases[%d].share: a release is tried beside the old one, and group %s has %s", i, name, what)
			}
			if p.Gate.Judges(HostLogs) && (len(g.Logs) == 0 || len(g.FPM) == 0) {
				r.wrong(place(i, "gate"), "phases[%d].gate: the source logs reads the hosts' own logs, and group %s has no %s", i, name, lacking(g))
			}
			if p.Gate != nil && p.Gate.Probes != "" && !ownWeb(g.WarmUp.Web) {
				r.wrong(place(i, "gate"), "phases[%d].gate: every host asks probes of its own web server, and warm_up.web of group %s is %s: want 127.0.0.1 or [::1]",
					i, name, g.WarmUp.Web)
			}
		}
		if listed > 0 && len(p.Hosts) == 0 {
			r.wrong(place(i, "groups"), "phases[%d]: earlier phases have all hosts of its groups: nothing is left to deploy", i)
		}
	}
	r.unused(c, root, used)
	for i := range c.Phases {
		r.capacity(c, i, place(i, "width"))
	}
}

// ownWeb reports whether the agent would send probes to an address: it is no way to reach others.
func ownWeb(base string) bool {
	u, err := url.Parse(base)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback()
}

// unused names the groups, balancers, sources and signals that stand in the file for nothing.
func (r *reader) unused(c *Config, root *section, used map[string]string) {
	for _, g := range c.Groups {
		if used[g.Name] == "" {
			r.wrong(root.placeOf("groups", g.Name), "group %s is in no phase: its hosts would never be deployed", g.Name)
		}
	}
	for _, b := range c.Balancers {
		if !c.uses(b.Name) {
			r.wrong(root.placeOf("balancers", b.Name), "balancer %s is named by no group", b.Name)
		}
	}
	if !r.overridden("phases") { // who leaves a source that is down out of one run must not have to remove it too
		r.blind(c, root)
	}
}

// blind names the sources and signals that no gate looks at.
func (r *reader) blind(c *Config, root *section) {
	judging, looked := map[string]bool{}, map[string]bool{}
	for _, p := range c.Phases {
		if p.Gate == nil {
			continue
		}
		for _, name := range p.Gate.Sources {
			judging[name] = true
		}
		for _, name := range p.Gate.Signals {
			looked[name] = true
		}
	}
	for _, x := range c.Sources {
		if !judging[x.Name] {
			r.wrong(root.placeOf("sources", x.Name), "source %s is named by no gate", x.Name)
		}
	}
	for _, x := range c.Signals {
		if !looked[x.Name] {
			r.wrong(root.placeOf("signals", x.Name), "signal %s is named by no gate", x.Name)
		}
	}
}

// noTrial says why a release cannot be tried on a part of the requests of a group's hosts.
func (g *Group) noTrial() string {
	if g.Strategy != ByHandover {
		return "strategy " + string(g.Strategy) + ", not handover"
	}
	for _, f := range g.FPM {
		if f.Trial == "" {
			return "no trial socket in php_fpm " + f.Name
		}
	}
	return ""
}

func lacking(g *Group) string {
	if len(g.FPM) == 0 {
		return "php_fpm"
	}
	return "logs"
}

func (c *Config) uses(balancer string) bool {
	for _, g := range c.Groups {
		if contains(g.Balancers, balancer) {
			return true
		}
	}
	return false
}

// Pool returns the names of the deployed hosts behind a balancer, in the order of the phases.
func (c *Config) Pool(balancer string) []string {
	names := []string{}
	for _, p := range c.Phases {
		for _, h := range p.Hosts {
			if contains(c.Group(h.Group).Balancers, balancer) {
				names = append(names, h.Name)
			}
		}
	}
	return names
}

// capacity refuses a phase that by its width alone breaks the capacity of a pool.
func (r *reader) capacity(c *Config, i int, at *yaml.Node) {
	p := &c.Phases[i]
	for _, b := range c.Balancers {
		pool, here := len(c.Pool(b.Name)), 0
		for _, h := range p.Hosts {
			if g := c.Group(h.Group); g.Strategy == Drain && contains(g.Balancers, b.Name) {
				here++
			}
		}
		if out := min(p.Width.Of(len(p.Hosts)), here); out > 0 && pool-out < b.Capacity.Of(pool) {
			r.wrong(at, "phases[%d]: width %s takes %d of the %d hosts behind %s out at a time, and its capacity %s wants %d to serve",
				i, p.Width, out, pool, b.Name, b.Capacity, b.Capacity.Of(pool))
		}
	}
}
