// Package config reads scap.yaml: plain data, complete, with every default filled in and every mistake found in one run.
// It executes nothing, and nothing but the named file, the dsh files that it names and the overrides decides.
package config

import (
	"errors"
	"fmt"
	"io/fs"

	"go.yaml.in/yaml/v3"
)

// DefaultFile is read when no file is named.
const DefaultFile = "/etc/scap/scap.yaml"

// Config is the effective configuration.
type Config struct {
	File       string      `yaml:"-"` // the file that was read
	Deploy     Deploy      `yaml:"deploy"`
	Gerrit     *Gerrit     `yaml:"gerrit,omitempty"`  // nil: no changes are deployed by their numbers
	Staging    *Staging    `yaml:"staging,omitempty"` // nil: the tree is Deploy.StageDir
	SSH        SSH         `yaml:"ssh"`
	Balancers  []Balancer  `yaml:"balancers"`
	Sources    []Source    `yaml:"sources"`
	Signals    []Signal    `yaml:"signals"`
	Groups     []Group     `yaml:"groups"`
	Phases     []Phase     `yaml:"phases"`
	Announcers []Announcer `yaml:"announcers"`
}

// Load reads the file at path and then overrides, each "key:value" with a dotted key. What it returns is valid: every
// reference resolves and every host is deployed in exactly one phase, the first that names a group of it. Otherwise the
// error is Mistakes, all of them.
func Load(path string, overrides []string) (*Config, error) {
	b, err := readFile(path)
	if err != nil {
		what := fmt.Sprintf("cannot be read: %v", err)
		if errors.Is(err, fs.ErrNotExist) {
			what = "there is no such file: write it, or name another one with -c FILE"
		}
		return nil, Mistakes{{File: path, What: what}}
	}
	return load(path, b, overrides)
}

func load(path string, b []byte, overrides []string) (*Config, error) {
	r := &reader{file: path, origin: map[*yaml.Node]string{}}
	node := r.parse(b)
	if node == nil {
		return nil, r.err()
	}
	for _, text := range overrides {
		r.override(node, text)
	}
	root := r.section(node, nil, "")
	if node.Kind != yaml.MappingNode {
		return nil, r.err()
	}
	c := &Config{File: path}
	c.Deploy = root.sub("deploy").deploy(root.has("staging"))
	c.Gerrit = root.gerrit()
	c.Staging = root.staging(c.Gerrit)
	c.Announcers = root.sub("announcers").announcers(root.has("gerrit"))
	c.SSH = root.sub("ssh").ssh()
	c.Balancers = root.sub("balancers").balancers()
	names := make([]string, len(c.Balancers))
	for i, b := range c.Balancers {
		names[i] = b.Name
	}
	defaults := root.sub("targets")
	base := defaults.target(baseTarget(), names)
	defaults.close()
	root.missing("groups", "the hosts to deploy to")
	root.missing("phases", "the order in which groups are deployed")
	c.Groups = root.sub("groups").groups(base, names)
	if len(c.Groups) == 0 && root.has("groups") {
		r.wrong(root.keyNode("groups"), "groups is empty: there is nothing to deploy to")
	}
	c.Phases = root.phases("phases", c.Groups, root.eyes(c))
	root.close()
	r.resolve(c, root)
	if err := r.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// Group returns the group with that name, or nil.
func (c *Config) Group(name string) *Group {
	for i := range c.Groups {
		if c.Groups[i].Name == name {
			return &c.Groups[i]
		}
	}
	return nil
}

// Balancer returns the balancer with that name, or nil.
func (c *Config) Balancer(name string) *Balancer {
	for i := range c.Balancers {
		if c.Balancers[i].Name == name {
			return &c.Balancers[i]
		}
	}
	return nil
}

// eyes reads what gates may name.
func (s *section) eyes(c *Config) eyes {
	e := eyes{sources: []string{HostLogs}}
	c.Sources = s.sub("sources").sources()
	for _, x := range c.Sources {
		e.sources = append(e.sources, x.Name)
	}
	c.Signals = s.sub("signals").signals(e.sources)
	e.signals = c.Signals
	return e
}
