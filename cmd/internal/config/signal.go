package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Signal is something that users must go on succeeding in: edits, logins, session stores. A gate that names it holds or
// fails when its successes drop, also without any error logged.
type Signal struct {
	Name string `yaml:"-"`
	From string `yaml:"from"` // HostLogs or the name of a Source

	// From HostLogs: the requests of the access log that are a success.
	Method string `yaml:"method,omitempty"` // GET, POST; empty: any
	Path   string `yaml:"path,omitempty"`   // the whole path; one that ends with / stands for all below it
	Status string `yaml:"status,omitempty"` // 302, or 2xx for a hundred

	// Query is, from HostLogs, what the query string must hold (a=b&c=d, in any order); from a Source, its own selector or
	// query of the successes.
	Query string `yaml:"query,omitempty"`

	AtLeast  float64 `yaml:"at_least"`  // successes a minute of the whole fleet; below is red. 0: not looked at
	RedBelow Percent `yaml:"red_below"` // of the usual rate; below is red
}

// Signal returns the signal with that name, or nil.
func (c *Config) Signal(name string) *Signal {
	for i := range c.Signals {
		if c.Signals[i].Name == name {
			return &c.Signals[i]
		}
	}
	return nil
}

// signals reads all signals; known are the names of the sources.
func (s *section) signals(known []string) []Signal {
	list := []Signal{}
	for _, key := range s.names() {
		list = append(list, s.sub(key.Value).signal(key, known))
	}
	return list
}

func (s *section) signal(key *yaml.Node, known []string) Signal {
	g := Signal{Name: key.Value}
	s.missing("from", "logs, or the name of a source: where its successes are counted")
	g.From = s.one("from", "", known...)
	g.AtLeast = s.number("at_least", 0, 0, 1e9)
	if g.RedBelow = s.percent("red_below", 50); g.RedBelow < 1 {
		s.r.wrong(s.values["red_below"], "%s: 0%% is out of range: 1%% to 100%%", s.path("red_below"))
	}
	switch g.From {
	case "": // which keys belong to it is not known
		return g
	case HostLogs:
		s.missing("path", "the path whose answers are successes, such as /w/api.php")
		g.Method = s.one("method", "", "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")
		g.Path = s.text("path", "", isLogPath)
		g.Query = s.text("query", "", isPairs)
		g.Status = s.status("status", "2xx")
	default:
		s.missing("query", "what "+g.From+" counts as a success")
		g.Query = s.text("query", "", notEmpty, isQuery)
	}
	s.close()
	return g
}

// status reads a status or a hundred of them: 302, 2xx.
func (s *section) status(key, def string) string {
	n := s.get(key)
	if n == nil {
		return def
	}
	text := n.Value
	if n.Kind != yaml.ScalarNode || len(text) != 3 || text[0] < '1' || text[0] > '5' ||
		(text[1:] != "xx" && strings.Trim(text[1:], "0123456789") != "") {
		s.r.wrong(n, "%s: want a status such as 302, or 2xx for all of a hundred, have %s", s.path(key), kindOf(n))
		return def
	}
	return text
}

// isLogPath is a request's path without its query.
func isLogPath(text string) string {
	if i := strings.IndexByte(text, '?'); i >= 0 {
		return fmt.Sprintf("%q: put what is behind the ? under query", clip(text))
	}
	return isURLPath(text)
}

// isPairs is what a query string must hold: a=b, several with &.
func isPairs(text string) string {
	for pair := range strings.SplitSeq(text, "&") {
		if name, _, _ := strings.Cut(pair, "="); name == "" || strings.ContainsFunc(pair, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '?' || c == '#' }) {
			return fmt.Sprintf("%q: want what the query string holds, such as action=edit, several with &", clip(text))
		}
	}
	return ""
}
