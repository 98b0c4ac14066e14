package config

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// HostLogs is the source that is always there: the logs of the hosts themselves, read through the agent.
const HostLogs = "logs"

// The kinds of sources.
const (
	Prometheus = "prometheus"
	OpenSearch = "opensearch"
)

// Source is where a gate reads what users saw, besides the hosts' own logs. In Host, {host} stands for the host's name and
// {short} for what is before its first dot.
type Source struct {
	Name string `yaml:"-"`
	Kind string `yaml:"kind"` // Prometheus or OpenSearch
	URL  string `yaml:"url"`  // http(s)://host[:port][/path], without a / at its end

	// Prometheus: selectors of counters, without a range. OpenSearch: queries in Lucene's syntax.
	Requests string `yaml:"requests,omitempty"` // of all requests; an OpenSearch may not know them
	Failing  string `yaml:"failing"`            // of those that failed

	// Prometheus. It has ReleaseLabel or Nonce: else nothing would say whose runtime is counted.
	HostLabel    string `yaml:"host_label,omitempty"`    // the label that names the host
	ReleaseLabel string `yaml:"release_label,omitempty"` // the label that names the release; empty: a count belongs to what its host ran then
	Nonce        string `yaml:"nonce,omitempty"`         // selector of a series whose label nonce has what a runtime wrote when it began; empty: none

	// OpenSearch.
	Index  string  `yaml:"index,omitempty"`
	Fields *Fields `yaml:"fields,omitempty"`

	Host            string        `yaml:"host"`                       // what the host's label or field says, a template
	Heartbeat       string        `yaml:"heartbeat,omitempty"`        // by which a host's watermark is read: selector or query; empty: by what it sends
	Step            time.Duration `yaml:"step"`                       // the finest tick that it can tell, in whole seconds
	Settle          time.Duration `yaml:"settle"`                     // how much later than the newest of a host the others may arrive
	CredentialsFile string        `yaml:"credentials_file,omitempty"` // on the deploy host, readable by its user alone; empty: none
	CAFile          string        `yaml:"ca_file,omitempty"`          // PEM; empty: the system's
	Timeout         time.Duration `yaml:"timeout"`                    // for one question
}

// Fields are the names of an OpenSearch's fields, of type keyword but Time. One that is empty is not there.
type Fields struct {
	Time    string `yaml:"time"`
	Host    string `yaml:"host"`
	Release string `yaml:"release" show:"none"`
	Request string `yaml:"request" show:"none"` // the request's id
	Class   string `yaml:"class" show:"none"`
	Message string `yaml:"message" show:"none"` // normalised: without what differs from request to request
	File    string `yaml:"file" show:"none"`    // of the top frame, with or without :line
	Level   string `yaml:"level"`               // records at DEBUG do not count
	Nonce   string `yaml:"nonce"`               // of a heartbeat: what the host's runtime wrote when it began
}

// Source returns the source with that name, or nil: also for HostLogs, which is none of these.
func (c *Config) Source(name string) *Source {
	for i := range c.Sources {
		if c.Sources[i].Name == name {
			return &c.Sources[i]
		}
	}
	return nil
}

func (s *section) sources() []Source {
	list := []Source{}
	for _, key := range s.names() {
		if key.Value == HostLogs {
			s.r.wrong(key, "sources.logs: the name is taken: it always stands for the logs that hosts keep themselves (targets.logs)")
		}
		list = append(list, s.sub(key.Value).source(key))
	}
	return list
}

func (s *section) source(key *yaml.Node) Source {
	c := Source{Name: key.Value}
	s.missing("kind", "prometheus or opensearch")
	c.Kind = s.one("kind", "", Prometheus, OpenSearch)
	if c.Kind == "" { // which keys belong to it is not known
		return c
	}
	s.missing("url", "where it answers, such as https://host:9090")
	c.URL = s.text("url", "", isURL)
	c.Heartbeat = s.text("heartbeat", "", notEmpty, isQuery)
	c.CredentialsFile = s.text("credentials_file", "", isPath)
	c.CAFile = s.text("ca_file", "", isPath)
	limit := 10 * time.Second
	if c.Kind == OpenSearch {
		limit = 20 * time.Second
	}
	c.Timeout = s.duration("timeout", limit, 100*time.Millisecond, 5*time.Minute)
	if c.CredentialsFile != "" && strings.HasPrefix(c.URL, "http:") && !ownURL(c.URL) {
		s.r.wrong(s.keyNode("url"), "%s: credentials would go to %s unencrypted: use https", s.path("url"), clip(c.URL))
	}
	if c.Kind == Prometheus {
		s.prometheus(&c)
	} else {
		s.opensearch(&c)
	}
	s.close()
	return c
}

func (s *section) prometheus(c *Source) {
	s.missing("requests", "the selector of the counter of all requests, such as http_requests_total{job=\"mw\"}")
	s.missing("failing", "the selector of the counter of failing requests, such as http_requests_total{job=\"mw\",code=~\"5..\"}")
	c.Requests = s.text("requests", "", notEmpty, isQuery)
	c.Failing = s.text("failing", "", notEmpty, isQuery)
	c.HostLabel = s.text("host_label", "instance", isLabel)
	c.ReleaseLabel = s.text("release_label", "", isLabel)
	c.Nonce = s.text("nonce", "", notEmpty, isQuery)
	if !s.has("release_label") && !s.has("nonce") {
		s.r.wrong(s.place, "%s has neither release_label nor nonce: nothing would say whose runtime is counted, so it could never pass", s.name)
	}
	if c.ReleaseLabel != "" && c.ReleaseLabel == c.HostLabel {
		s.r.wrong(s.values["release_label"], "%s: %s is the host's label", s.path("release_label"), c.HostLabel)
	}
	c.Host = s.text("host", "{host}", isTemplate, notEmpty, isQuery)
	c.times(s, 30*time.Second, 0)
}

func (s *section) opensearch(c *Source) {
	s.missing("index", "the index or pattern to search, such as logstash-mediawiki-*")
	c.Index = s.text("index", "", isIndex)
	c.Requests = s.text("requests", "", notEmpty, isQuery)
	c.Failing = s.text("failing", "type:mediawiki AND channel:(exception OR error OR fatal)", notEmpty, isQuery)
	if c.Heartbeat == "" {
		c.Heartbeat = "type:scap-heartbeat"
	}
	c.Host = s.text("host", "{host}", isTemplate, notEmpty, isQuery)
	c.times(s, 5*time.Second, 10*time.Second)
	sub := s.sub("fields")
	c.Fields = &Fields{
		Time: sub.text("time", "@timestamp", isField), Host: sub.text("host", "host", isField), Release: sub.field("release", ""), Request: sub.field("request", "reqId"),
		Class: sub.field("class", ""), Message: sub.field("message", ""), File: sub.field("file", ""),
		Level: sub.text("level", "level", isField), Nonce: sub.text("nonce", "nonce", isField),
	}
	sub.close()
}

// times reads how fine a source is and how late.
func (c *Source) times(s *section, step, settle time.Duration) {
	c.Step = s.duration("step", step, time.Second, 10*time.Minute)
	if c.Step%time.Second != 0 {
		s.r.wrong(s.values["step"], "%s: want whole seconds", s.path("step"))
	}
	c.Settle = s.duration("settle", settle, 0, 10*time.Minute)
}

// field reads the name of a field, or none.
func (s *section) field(key, def string) string {
	if n := s.values[key]; n != nil && isNone(n) {
		s.get(key)
		return ""
	}
	return s.text(key, def, isField)
}

// isURL demands http(s)://host[:port][/path]. Credentials belong in a file.
func isURL(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || noControl(text) != "":
		return fmt.Sprintf("%q is no URL", clip(text))
	case u.User != nil:
		return "has credentials in it: put them into credentials_file"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fmt.Sprintf("%q: want nothing behind the path", clip(text))
	case strings.HasSuffix(text, "/"):
		return fmt.Sprintf("%q: write it without the / at its end", clip(text))
	case len(text) > 2000:
		return "is longer than 2000 bytes"
	}
	return isWeb(u.Scheme + "://" + u.Host)
}

// ownURL reports whether a URL leads to this machine: nobody can listen on the way.
func ownURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// isQuery is for what is sent to a source as it is.
func isQuery(text string) string {
	if len(text) > 4000 {
		return "is longer than 4000 bytes"
	}
	return noControl(text)
}

// isLabel is for the name of a Prometheus label.
func isLabel(text string) string {
	for i, c := range text {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return fmt.Sprintf("%q is no label name: letters, digits and _", clip(text))
		}
	}
	return notEmpty(text)
}

// isField is for the name of a field: what begins with a letter, @ or _ and goes on with letters, digits and . _ -.
func isField(text string) string {
	for i, c := range text {
		letter := c == '_' || c == '@' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789.-", c)) {
			return fmt.Sprintf("%q is no field name", clip(text))
		}
	}
	if len(text) > 200 {
		return "is longer than 200 bytes"
	}
	return notEmpty(text)
}

// isIndex is for an index name or pattern, several with commas: it becomes part of a URL's path.
func isIndex(text string) string {
	for part := range strings.SplitSeq(text, ",") {
		bad := func(c rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789._-*", c) }
		if part == "" || len(part) > 255 || strings.ContainsFunc(part, bad) || strings.HasPrefix(part, "_") || strings.HasPrefix(part, ".") || strings.HasPrefix(part, "-") {
			return fmt.Sprintf("%q is no index: small letters, digits and . _ - *, several with commas", clip(text))
		}
	}
	return ""
}
