package config

import (
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"
)

// SSH is how the deploy host reaches its targets.
type SSH struct {
	User              string        `yaml:"user"`
	Port              int           `yaml:"port"`
	IdentityFiles     []string      `yaml:"identity_files"`         // private keys
	AgentSocket       string        `yaml:"agent_socket,omitempty"` // of an ssh-agent or keyholder; empty: $SSH_AUTH_SOCK
	KnownHosts        []string      `yaml:"known_hosts"`
	JumpHost          string        `yaml:"jump_host,omitempty"` // [user@]host[:port]
	ConnectTimeout    time.Duration `yaml:"connect_timeout"`
	KeepaliveInterval time.Duration `yaml:"keepalive_interval"`
	KeepaliveCount    int           `yaml:"keepalive_count"` // unanswered in a row: the connection is dead
	AllowRoot         bool          `yaml:"allow_root"`
	AgentDir          string        `yaml:"agent_dir"`              // on the target: where scap-agent is copied to
	AgentBinary       string        `yaml:"agent_binary,omitempty"` // on the deploy host; empty: scap-agent beside scap
	MaxConnects       int           `yaml:"max_connects"`           // connections being opened at a time
	Addresses         []Address     `yaml:"addresses"`              // where a host's name is not where it listens
}

// Address says where a host's SSH listens.
type Address struct {
	Host    string
	Address string // host:port
}

// Of returns where the SSH of host listens, as host:port.
func (s SSH) Of(host string) string {
	for _, a := range s.Addresses {
		if a.Host == host {
			return a.Address
		}
	}
	return fmt.Sprintf("%s:%d", host, s.Port)
}

func (s *section) ssh() SSH {
	c := SSH{
		User:              s.text("user", "mwdeploy", isUser),
		Port:              s.integer("port", 22, 1, 65535),
		IdentityFiles:     s.texts("identity_files", []string{}, isPath),
		AgentSocket:       s.text("agent_socket", "", isSocket),
		KnownHosts:        s.texts("known_hosts", []string{"/etc/ssh/ssh_known_hosts"}, isPath),
		JumpHost:          s.text("jump_host", "", isJump),
		ConnectTimeout:    s.duration("connect_timeout", 10*time.Second, 100*time.Millisecond, 5*time.Minute),
		KeepaliveInterval: s.duration("keepalive_interval", 10*time.Second, 100*time.Millisecond, 10*time.Minute),
		KeepaliveCount:    s.integer("keepalive_count", 3, 1, 100),
		AllowRoot:         s.truth("allow_root", false),
		AgentDir:          s.text("agent_dir", "/var/lib/scap", isTree),
		AgentBinary:       s.text("agent_binary", "", isPath),
		MaxConnects:       s.integer("max_connects", 40, 1, 1000),
		Addresses:         s.addresses("addresses"),
	}
	if c.User == "root" && !c.AllowRoot {
		s.r.wrong(s.values["user"], "ssh.user: root is refused: the agent is copied by the deploy user and must not run as root; "+
			"name a deploy user and install the lines of `scap config sudoers`, or say allow_root: true")
	}
	if s.has("known_hosts") && len(c.KnownHosts) == 0 {
		s.r.wrong(s.values["known_hosts"], "ssh.known_hosts is empty: no host key could be checked")
	}
	s.close()
	return c
}

// addresses reads the mapping from host to host:port.
func (s *section) addresses(key string) []Address {
	sub := s.sub(key)
	list := []Address{}
	for _, k := range sub.keys {
		if what := isHost(k.Value); what != "" {
			s.r.wrong(k, "%s: %s", sub.name, what)
		}
		if text := sub.text(k.Value, "", isAddress); text != "" {
			list = append(list, Address{Host: k.Value, Address: text})
		}
	}
	return list
}

// names returns the keys of a mapping that must be names, in the order of the file.
func (s *section) names() []*yaml.Node {
	for _, k := range s.keys {
		if what := isWord(k.Value); what != "" {
			s.r.wrong(k, "%s: %s", s.title(), what)
		}
	}
	if len(s.keys) > maxNames {
		s.r.wrong(s.keys[maxNames], "%s: more than %d", s.title(), maxNames)
		return s.keys[:maxNames]
	}
	return s.keys
}
