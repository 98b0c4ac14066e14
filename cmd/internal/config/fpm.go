package config

import (
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"
)

// FPM is one php-fpm master of a host.
type FPM struct {
	Name         string        `yaml:"name"`
	Listen       string        `yaml:"listen"`                  // Unix socket path or host:port
	StatusListen string        `yaml:"status_listen,omitempty"` // pm.status_listen: answers also when all workers are busy
	Trial        string        `yaml:"trial,omitempty"`         // the web server's second, weighted upstream: a release is tried on it
	StatusPath   string        `yaml:"status_path"`             // pm.status_path
	PingPath     string        `yaml:"ping_path"`               // ping.path
	Config       string        `yaml:"config"`                  // the main configuration file that it was started with
	Ini          string        `yaml:"ini,omitempty"`
	Binary       string        `yaml:"binary"`
	MaxRequest   time.Duration `yaml:"max_request"` // the longest request that may still end; process_control_timeout must be at least this
	Control      Control       `yaml:"control"`
}

// Control is how a master is started and stopped: exactly one of Systemd, PidFile with Start, or Commands.
type Control struct {
	Systemd  string    `yaml:"systemd,omitempty"`
	PidFile  string    `yaml:"pid_file,omitempty"`
	Start    []string  `yaml:"start,omitempty"`
	Commands *Commands `yaml:"commands,omitempty"`
}

// Commands are argument lists that run on the target without a shell.
type Commands struct {
	Start  []string `yaml:"start,omitempty"`
	Quit   []string `yaml:"quit,omitempty"`   // graceful: SIGQUIT, never SIGTERM. Empty: a signal to the pid in PidFile
	Reload []string `yaml:"reload,omitempty"` // SIGUSR2. Empty: a signal to the pid in PidFile
	Kill   []string `yaml:"kill,omitempty"`   // ends master and workers at once, in an emergency. Empty: a signal
	Test   []string `yaml:"test,omitempty"`   // php-fpm -tt, which prints the configuration
}

// Commands returns what is run for f, whichever way it is controlled. It is also what Sudoers grants, so that the two
// cannot differ.
func (f FPM) Commands() Commands {
	c := Commands{}
	switch {
	case f.Control.Commands != nil:
		c = *f.Control.Commands
	case f.Control.Systemd != "":
		systemctl := func(args ...string) []string {
			return append([]string{"/usr/bin/sudo", "-n", "/usr/bin/systemctl"}, append(args, f.Control.Systemd)...)
		}
		// Debian's unit stops with SIGTERM, which kills requests in flight: so kill with SIGQUIT, never stop or restart.
		c.Start = systemctl("start")
		c.Quit = systemctl("kill", "--kill-who", "main", "-s", "SIGQUIT")
		c.Reload = systemctl("kill", "--kill-who", "main", "-s", "SIGUSR2")
		c.Kill = systemctl("kill", "--kill-who", "main", "-s", "SIGTERM") // the master ends its workers; SIGKILL would orphan them
	default:
		c.Start = f.Control.Start
	}
	if len(c.Test) == 0 {
		c.Test = []string{f.Binary, "-tt", "-y", f.Config}
		if f.Ini != "" {
			c.Test = append(c.Test, "-c", f.Ini)
		}
	}
	return c
}

// none is the word for "these hosts have none", which must be said.
const none = "none"

func isNone(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Value == none }

// fpms reads php_fpm: nil when it is not given, an empty list when it is none.
func (s *section) fpms(key string) []FPM {
	n := s.get(key)
	if n == nil {
		return nil
	}
	list := []FPM{}
	if isNone(n) {
		return list
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		s.r.wrong(n, "%s: want a list of instances or the word none, have %s", s.path(key), kindOf(n))
		return list
	}
	names, sockets := map[string]bool{}, map[string]bool{}
	for i, item := range n.Content {
		sub := s.r.section(item, nil, fmt.Sprintf("%s[%d]", s.path(key), i))
		f := sub.fpm()
		if f.Name != "" && names[f.Name] {
			s.r.wrong(sub.values["name"], "%s: another instance has the name %s", sub.name, f.Name)
		}
		if f.Listen != "" && sockets[f.Listen] {
			s.r.wrong(sub.values["listen"], "%s: another instance listens on %s", sub.name, f.Listen)
		}
		if f.Trial != "" && (sockets[f.Trial] || f.Trial == f.Listen) {
			s.r.wrong(sub.values["trial"], "%s: %s is the socket of something else already", sub.name, f.Trial)
		}
		names[f.Name], sockets[f.Listen], sockets[f.Trial] = true, true, true
		list = append(list, f)
	}
	return list
}

func (s *section) fpm() FPM {
	s.missing("name", "a word for this instance, such as www")
	s.missing("listen", "the socket that the web server sends requests to")
	s.missing("config", "the main configuration file, as in php-fpm -y")
	s.missing("control", "systemd: UNIT, or pid_file and start, or commands")
	f := FPM{
		Name:         s.text("name", "", isWord),
		Listen:       s.text("listen", "", isSocketOrAddress),
		StatusListen: s.text("status_listen", "", isSocketOrAddress),
		Trial:        s.text("trial", "", isSocket),
		StatusPath:   s.text("status_path", "/status", isURLPath),
		PingPath:     s.text("ping_path", "/ping", isURLPath),
		Config:       s.text("config", "", isPath),
		Ini:          s.text("ini", "", isPath),
		Binary:       s.text("binary", "/usr/sbin/php-fpm8.2", isPath),
		MaxRequest:   s.duration("max_request", 10*time.Second, time.Second, time.Hour),
	}
	if s.has("control") {
		f.Control = s.sub("control").control()
	} else {
		s.get("control")
	}
	s.close()
	return f
}

func (s *section) control() Control {
	c := Control{
		Systemd: s.text("systemd", "", isUnit),
		PidFile: s.text("pid_file", "", isPath),
		Start:   s.argv("start"),
	}
	if s.has("commands") {
		sub := s.sub("commands")
		sub.missing("start", "the command that starts the master")
		sub.missing("quit", "the command that sends it SIGQUIT")
		c.Commands = &Commands{Start: sub.argv("start"), Quit: sub.argv("quit"), Reload: sub.argv("reload"), Kill: sub.argv("kill"), Test: sub.argv("test")}
		sub.close()
	} else {
		s.get("commands")
	}
	ways := 0
	for _, key := range []string{"systemd", "pid_file", "commands"} {
		if s.has(key) {
			ways++
		}
	}
	switch {
	case ways != 1:
		s.r.wrong(s.place, "%s: want exactly one of systemd, pid_file, commands; have %d", s.name, ways)
	case s.has("pid_file"):
		s.missing("start", "the command that starts the master again")
	case s.has("start"):
		s.r.wrong(s.keyNode("start"), "%s belongs to pid_file; under commands there is another start", s.path("start"))
	}
	s.close()
	return c
}
