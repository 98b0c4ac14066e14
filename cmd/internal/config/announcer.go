package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// The kinds of announcers.
const (
	IRC         = "irc"
	TCPIRCBot   = "tcpircbot"
	Webhook     = "webhook"
	Statuspage  = "statuspage"
	OnChanges   = "gerrit" // a comment on each change
	Textfile    = "textfile"
	Pushgateway = "pushgateway"
	OTLP        = "otlp"
	Told        = "command" // what happens, a line each, on the command's standard input
)

// Events are what an announcer may be told: that a deploy began, that its phases of test servers passed, how it ended, what
// its watch saw, and what a deployer says.
var Events = []string{"started", "tested", "deployed", "rolled-back", "cancelled", "declined", "unchanged", "inconsistent", "watch", "said"}

// Announcer tells people, or their machines, what happens. One that fails changes no deploy.
type Announcer struct {
	Name    string        `yaml:"-"`
	Kind    string        `yaml:"kind"`
	On      []string      `yaml:"on,omitempty"` // of Events; empty: all. Statuspage, Textfile, Pushgateway and OTLP need all
	Timeout time.Duration `yaml:"timeout"`      // for telling one thing

	Address      string   `yaml:"address,omitempty"`       // IRC, TCPIRCBot: host:port
	Plain        bool     `yaml:"plain,omitempty"`         // IRC: without TLS
	Channel      string   `yaml:"channel,omitempty"`       // IRC
	Nick         string   `yaml:"nick,omitempty"`          // IRC
	User         string   `yaml:"user,omitempty"`          // IRC, Pushgateway: the account of the password
	PasswordFile string   `yaml:"password_file,omitempty"` // IRC, Pushgateway; on the deploy host, readable by its user alone
	URL          string   `yaml:"url,omitempty"`           // Webhook, Statuspage, Pushgateway, OTLP
	URLFile      string   `yaml:"url_file,omitempty"`      // Webhook: a URL that is a secret itself
	TokenFile    string   `yaml:"token_file,omitempty"`    // Statuspage, OTLP
	CAFile       string   `yaml:"ca_file,omitempty"`       // PEM; empty: the system's
	Page         string   `yaml:"page,omitempty"`          // Statuspage
	Component    string   `yaml:"component,omitempty"`     // Statuspage; empty: none
	Path         string   `yaml:"path,omitempty"`          // Textfile
	Job          string   `yaml:"job,omitempty"`           // Pushgateway
	Command      []string `yaml:"command,omitempty"`       // Told
}

// announcers reads all of them.
func (s *section) announcers(gerrit bool) []Announcer {
	list := []Announcer{}
	for _, key := range s.names() {
		list = append(list, s.sub(key.Value).announcer(key, gerrit))
	}
	return list
}

func (s *section) announcer(key *yaml.Node, gerrit bool) Announcer {
	a := Announcer{Name: key.Value}
	kinds := []string{IRC, TCPIRCBot, Webhook, Statuspage, OnChanges, Textfile, Pushgateway, OTLP, Told}
	s.missing("kind", "one of "+strings.Join(kinds, ", "))
	a.Kind = s.one("kind", "", kinds...)
	if a.Kind == "" { // which keys belong to it is not known
		return a
	}
	a.Timeout = s.duration("timeout", 10*time.Second, 100*time.Millisecond, 5*time.Minute)
	if slices.Contains([]string{IRC, TCPIRCBot, Webhook, OnChanges, Told}, a.Kind) {
		a.On = s.events("on")
	}
	switch a.Kind {
	case IRC:
		s.irc(&a)
	case TCPIRCBot:
		s.missing("address", "where the bot listens, such as bot.example.org:9200")
		a.Address = s.text("address", "", isAddress)
	case Webhook, Statuspage, Pushgateway, OTLP:
		s.posts(&a)
	case OnChanges:
		if !gerrit {
			s.r.wrong(s.keyNode("kind"), "%s: there is no section gerrit that says where the changes are", s.path("kind"))
		}
	case Textfile:
		s.missing("path", "the file that Prometheus' node_exporter reads, such as /var/lib/prometheus/node.d/scap.prom")
		a.Path = s.text("path", "", isPath, isProm)
	case Told:
		s.missing("command", "a command and its arguments")
		a.Command = s.argv("command")
	}
	s.close()
	return a
}

func (s *section) irc(a *Announcer) {
	s.missing("address", "the server, such as irc.libera.chat:6697")
	s.missing("channel", "where it is said, such as \"#wikimedia-operations\"")
	a.Address = s.text("address", "", isAddress)
	a.Channel = s.text("channel", "", isChannel)
	a.Plain = s.truth("plain", false)
	a.Nick = s.text("nick", "scap", isNick)
	a.User = s.text("user", a.Nick, isNick)
	a.PasswordFile = s.text("password_file", "", isPath)
	if !a.Plain {
		a.CAFile = s.text("ca_file", "", isPath)
	} else if a.PasswordFile != "" && a.Address != "" && !ownURL("http://"+a.Address) {
		s.r.wrong(s.keyNode("plain"), "%s: the password would go to %s unencrypted: leave it out", s.path("plain"), clip(a.Address))
	}
}

// posts reads what is told over HTTP.
func (s *section) posts(a *Announcer) {
	a.CAFile = s.text("ca_file", "", isPath)
	switch a.Kind {
	case Webhook:
		a.URL, a.URLFile = s.text("url", "", isURL), s.text("url_file", "", isPath)
		if s.has("url") == s.has("url_file") {
			s.r.wrong(s.place, "%s: want one of url and url_file, a file that holds the URL when that is a secret", s.name)
		}
		return
	case Statuspage:
		s.missing("page", "the id of the page")
		s.missing("token_file", "a file with the key of its API, which nobody else may read")
		a.URL = s.text("url", "https://api.statuspage.io/v1", isURL)
		a.Page, a.Component = s.text("page", "", isID), s.text("component", "", isID)
		a.TokenFile = s.text("token_file", "", isPath)
	case Pushgateway:
		s.missing("url", "where it answers, such as http://pushgateway.example.org:9091")
		a.URL, a.Job = s.text("url", "", isURL), s.text("job", "scap", isID)
		a.User, a.PasswordFile = s.text("user", "", notEmpty, isShort), s.text("password_file", "", isPath)
		if s.has("user") != s.has("password_file") {
			s.r.wrong(s.place, "%s: user and password_file go together", s.name)
		}
	case OTLP:
		s.missing("url", "where traces are taken over HTTP, such as https://otel.example.org:4318/v1/traces")
		a.URL, a.TokenFile = s.text("url", "", isURL), s.text("token_file", "", isPath)
	}
	if a.TokenFile != "" || a.PasswordFile != "" {
		s.encrypted("url", a.URL)
	}
}

// events reads what an announcer is told; nil is all.
func (s *section) events(key string) []string {
	items, ok := s.items(key)
	if ok && len(items) == 0 {
		s.r.wrong(s.values[key], "%s is empty: leave the key out for everything", s.path(key))
	}
	for _, n := range items {
		if n.Kind == yaml.ScalarNode && !contains(Events, n.Value) {
			s.r.unlike(n, nearest(n.Value, Events), "%s: %q is none of %s", s.path(key), clip(n.Value), strings.Join(Events, ", "))
		}
	}
	if !ok {
		return nil
	}
	return s.texts(key, nil)
}

// isChannel is for an IRC channel: a name with its sign.
func isChannel(text string) string {
	if len(text) < 2 || len(text) > 50 || !strings.ContainsRune("#&+!", rune(text[0])) || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c == ',' || c == ':' || c == 0x7f }) {
		return fmt.Sprintf("%q is no channel; want for example \"#operations\", in quotes", clip(text))
	}
	return ""
}

// isNick is for a name on IRC.
func isNick(text string) string {
	for i, c := range text {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.ContainsRune("[]\\`_^{|}", c)
		if !letter && (i == 0 || !strings.ContainsRune("0123456789-", c)) {
			return fmt.Sprintf("%q is no nick: letters, digits and any of [ ] \\ ` _ ^ { | } -, beginning with none of 0 to 9 and -", clip(text))
		}
	}
	if len(text) > 30 {
		return "is longer than 30 letters"
	}
	return notEmpty(text)
}

// isID is for what becomes one part of a URL's path.
func isID(text string) string {
	if text == "" || len(text) > 100 || strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		return fmt.Sprintf("%q: want letters, digits, _ and -", clip(text))
	}
	return ""
}

func isProm(text string) string {
	if !strings.HasSuffix(text, ".prom") {
		return fmt.Sprintf("%q: node_exporter reads only files that end in .prom", clip(text))
	}
	return ""
}
