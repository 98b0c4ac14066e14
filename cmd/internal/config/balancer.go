package config

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The kinds of balancers.
const (
	HAProxy = "haproxy"
	Command = "command"
)

// Where a command runs.
const (
	OnDeploy = "deploy"
	OnTarget = "target"
)

// Balancer is one balancer, or several that are told the same, in front of some groups. The placeholder {host} stands for
// the host's name, {short} for what is before its first dot.
type Balancer struct {
	Name string `yaml:"-"`
	Kind string `yaml:"kind"` // HAProxy or Command
	// Capacity is the share of the pool that must serve well while hosts are out.
	Capacity Percent `yaml:"capacity"`

	// HAProxy, through its admin sockets.
	Sockets []string `yaml:"sockets,omitempty"` // Unix path or host:port; all of them are told
	Via     string   `yaml:"via,omitempty"`     // the SSH host on which the sockets are; empty: from the deploy host
	Backend string   `yaml:"backend,omitempty"`
	Server  string   `yaml:"server,omitempty"` // the server's name in the backend, a template

	// Command: argument lists, run without a shell.
	Drain []string `yaml:"drain,omitempty"`
	Ready []string `yaml:"ready,omitempty"`
	State []string `yaml:"state,omitempty"` // prints "in" or "out"
	Idle  []string `yaml:"idle,omitempty"`  // exit status 0: no connection to the host is left; empty: the host's own word is enough
	Where string   `yaml:"where,omitempty"` // OnDeploy or OnTarget
}

// Fill puts a host's name into the placeholders of text.
func Fill(text, host string) string {
	short, _, _ := strings.Cut(host, ".")
	return strings.NewReplacer("{host}", host, "{short}", short).Replace(text)
}

// FillAll fills every argument. Arguments are never split.
func FillAll(argv []string, host string) []string {
	filled := make([]string, len(argv))
	for i, a := range argv {
		filled[i] = Fill(a, host)
	}
	return filled
}

// isTemplate refuses placeholders that nobody fills.
func isTemplate(text string) string {
	if strings.ContainsAny(Fill(text, "h"), "{}") {
		return fmt.Sprintf("%q: the placeholders are {host} and {short}", clip(text))
	}
	return ""
}

var adminWord = regexp.MustCompile(`^[A-Za-z0-9_.:-]+$`)

// isAdminWord is for what is written into a command to HAProxy.
func isAdminWord(text string) string {
	if !adminWord.MatchString(Fill(text, "h")) {
		return fmt.Sprintf("%q is no name that HAProxy knows: letters, digits, and any of _ . : -", clip(text))
	}
	return ""
}

func (s *section) balancers() []Balancer {
	list := []Balancer{}
	for _, key := range s.names() {
		list = append(list, s.sub(key.Value).balancer(key))
	}
	return list
}

func (s *section) balancer(key *yaml.Node) Balancer {
	b := Balancer{Name: key.Value}
	s.missing("kind", "haproxy or command")
	b.Capacity = s.percent("capacity", 50)
	b.Kind = s.one("kind", "", HAProxy, Command)
	switch b.Kind {
	case HAProxy:
		s.missing("sockets", "the admin sockets of all HAProxy processes that send requests to these hosts")
		s.missing("backend", "the backend that has the hosts as servers")
		b.Sockets = s.texts("sockets", []string{}, isSocketOrAddress)
		if s.has("sockets") && len(b.Sockets) == 0 {
			s.r.wrong(s.values["sockets"], "%s is empty: nobody would be told", s.path("sockets"))
		}
		b.Via = s.text("via", "", isHost)
		b.Backend = s.text("backend", "", isAdminWord)
		b.Server = s.text("server", "{short}", isTemplate, isAdminWord)
	case Command:
		for _, c := range []struct {
			key  string
			into *[]string
			why  string
		}{
			{"drain", &b.Drain, "takes {host} out of the pool"},
			{"ready", &b.Ready, "puts {host} back into the pool"},
			{"state", &b.State, "says whether {host} is in the pool: a deploy asks, it never remembers"},
			{"idle", &b.Idle, ""},
		} {
			if c.why != "" {
				s.missing(c.key, "the command that "+c.why)
			}
			*c.into = s.argv(c.key, isTemplate)
		}
		b.Where = s.one("where", OnDeploy, OnDeploy, OnTarget)
	default: // the kind is wrong: which keys belong to it is not known
		return b
	}
	s.close()
	return b
}

// argv reads key as a command: an absolute path and its arguments, run without a shell.
func (s *section) argv(key string, checks ...check) []string {
	items, ok := s.items(key)
	if !ok {
		return nil
	}
	var argv []string
	for i, n := range items {
		all := append([]check{noControl}, checks...)
		if i == 0 {
			all = append(all, isPath)
		}
		if text, ok := s.r.text(n, fmt.Sprintf("%s[%d]", s.path(key), i), all...); ok {
			argv = append(argv, text)
		}
	}
	if len(items) == 0 {
		s.r.wrong(s.values[key], "%s is empty: want a command and its arguments", s.path(key))
	}
	if len(argv) == len(items) {
		s.sudo(key, argv)
	}
	return argv
}

// sudo demands of a command that goes through sudo that it can neither ask nor find its program by a search path.
func (s *section) sudo(key string, argv []string) {
	if len(argv) == 0 || !isSudo(argv[0]) {
		return
	}
	if len(argv) < 3 || argv[1] != "-n" || isPath(argv[2]) != "" {
		s.r.wrong(s.values[key], "%s: with sudo write [%s, -n, /absolute/path/of/the/command, …]", s.path(key), argv[0])
		return
	}
	for _, a := range argv[2:] {
		if !sudoWord.MatchString(a) {
			s.r.wrong(s.values[key], "%s: %q has a letter that sudoers cannot grant exactly: put it into a root-owned script", s.path(key), clip(a))
		}
	}
}

// sudoWord has no letter that sudoers could take for a wildcard, a quote or the end of a word.
var sudoWord = regexp.MustCompile(`^[A-Za-z0-9_./:=,@+{}-]+$`)

func isSudo(program string) bool { return strings.HasSuffix(program, "/sudo") }
