package config

import (
	"fmt"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"
)

// Layout says by which paths PHP reads a release.
type Layout string

// The layouts.
const (
	Realpath Layout = "realpath" // every path is resolved before PHP sees it: nothing goes through the link
	Absolute Layout = "absolute" // some code names the served path: a link swap and the runtime must change as one
)

// Strategy says how a host changes over.
type Strategy string

// The strategies.
const (
	Drain  Strategy = "drain"  // out of the pool, quit, swap, start, prove, back
	Reload Strategy = "reload" // swap and SIGUSR2 at once while pooled; only in the Realpath layout
	// ByHandover starts the new release's php-fpm beside the old one, proves it, and renames its socket into service.
	ByHandover Strategy = "handover"
)

// The formats of logs.
const (
	AccessJSON = "access-json" // a web server's access log as JSON lines
	Access     = "access"      // the combined format of nginx and Apache
	MediaWiki  = "mediawiki"   // MediaWiki's JSON lines or its plain debug log
	PHP        = "php"         // php's error log or php-fpm's own
	NginxError = "nginx-error" // nginx's error log
)

// Target is what is the same for all hosts of a group.
type Target struct {
	Root       string   `yaml:"root"`        // the host's store: releases, current, its own journal
	Served     string   `yaml:"served"`      // a permanent link to Root/current
	HealthFlag string   `yaml:"health_flag"` // exists while the host is out; the web server's health check fails by it
	Layout     Layout   `yaml:"layout"`
	Strategy   Strategy `yaml:"strategy"`
	Handover   Handover `yaml:"handover"`
	FPM        []FPM    `yaml:"php_fpm" show:"none"`   // empty: a maintenance host
	Balancers  []string `yaml:"balancers" show:"none"` // names; empty: nobody has to be told, the host itself must go quiet
	WarmUp     WarmUp   `yaml:"warm_up"`
	// HealthPaths are URI paths of health checks and monitoring that reach php-fpm: no users, so a host may be quiet with them.
	HealthPaths []string `yaml:"health_paths"`
	// OutsideCode are directories besides the releases from which PHP may load code. Code from elsewhere fails the proof.
	OutsideCode []string `yaml:"outside_code"`
	Limits      Limits   `yaml:"limits"`
	// Heartbeat is the path that a host asks of its own web server while a gate reads its logs: its line in the access log shows
	// that lines still arrive when no user comes. It is no user's; empty: none is asked.
	Heartbeat string `yaml:"heartbeat" show:"none"`
	// HeartbeatLog is a log that the host's shipper reads, into which the host writes a line now and then while a gate reads its
	// logs: by it an opensearch knows how far the host's records have arrived. Empty: none.
	HeartbeatLog string `yaml:"heartbeat_log" show:"none"`
	Logs         []Log  `yaml:"logs"`
}

// WarmUp is what a restarted host is asked through its own web server before users come.
type WarmUp struct {
	Web          string    `yaml:"web"`                     // http://host:port of the host's own web server, seen from the host
	MarkerHeader string    `yaml:"marker_header,omitempty"` // a response header that names the new release; empty: not looked at
	SameHeaders  []string  `yaml:"same_headers"`            // response headers that all carry one value: marks of one release
	Rounds       int       `yaml:"rounds"`                  // times that all requests are sent at once, after one by one
	Requests     []Request `yaml:"requests"`
}

// Request is one warm-up request.
type Request struct {
	Path   string `yaml:"path"`
	Script string `yaml:"script,omitempty"` // that the web server runs for it; empty: the path itself
	Host   string `yaml:"host"`             // Host header
	Status int    `yaml:"status"`
}

// Limits bound each step on a host.
type Limits struct {
	Answer       time.Duration `yaml:"answer"`        // one question to php-fpm
	Quit         time.Duration `yaml:"quit"`          // beyond process_control_timeout until no process is left
	Start        time.Duration `yaml:"start"`         // until ping answers
	WarmUp       time.Duration `yaml:"warm_up"`       // one request of the warm-up
	Prove        time.Duration `yaml:"prove"`         // until every worker has named its release
	QuietWindow  time.Duration `yaml:"quiet_window"`  // so long nobody may have come
	QuietTimeout time.Duration `yaml:"quiet_timeout"` // else the drain is taken back
	Healthy      time.Duration `yaml:"healthy"`       // until the balancers' own checks are green
	LogDelay     time.Duration `yaml:"log_delay"`     // so long after its time a line may come into a log
}

// Log is a log file on the host.
type Log struct {
	Path   string `yaml:"path"`
	Format string `yaml:"format"` // AccessJSON, Access, MediaWiki, PHP or NginxError
}

// target reads the keys of a Target in s; those that are not there are as in base.
func (s *section) target(base Target, balancers []string) Target {
	t := base
	t.Root = s.text("root", base.Root, isTree)
	t.Served = s.text("served", base.Served, isTree)
	t.HealthFlag = s.text("health_flag", base.HealthFlag, isPath)
	t.Layout = Layout(s.one("layout", string(base.Layout), string(Realpath), string(Absolute)))
	t.Strategy = Strategy(s.one("strategy", string(base.Strategy), string(Drain), string(Reload), string(ByHandover)))
	t.Handover = s.handover(base.Handover)
	if fpm := s.fpms("php_fpm"); fpm != nil {
		t.FPM = fpm
	}
	if names := s.references("balancers", balancers); names != nil {
		t.Balancers = names
	}
	t.WarmUp = s.warmUp(base.WarmUp)
	t.Limits = s.limits(base.Limits)
	t.HealthPaths = s.texts("health_paths", base.HealthPaths, isURLPath)
	t.OutsideCode = s.texts("outside_code", base.OutsideCode, isTree)
	t.Heartbeat = s.orNone("heartbeat", base.Heartbeat, isLogPath)
	t.HeartbeatLog = s.orNone("heartbeat_log", base.HeartbeatLog, isPath)
	if _, ok := s.values["logs"]; ok {
		t.Logs = s.logs()
	} else {
		s.get("logs")
	}
	if read := func(l Log) bool { return l.Path == t.HeartbeatLog }; slices.ContainsFunc(t.Logs, read) && (s.has("heartbeat_log") || s.has("logs")) {
		s.r.wrong(s.place, "%s: %s is read under logs too: its lines would be taken for the host's", s.path("heartbeat_log"), t.HeartbeatLog)
	}
	return t
}

// base is the Target of a file that says nothing.
func baseTarget() Target {
	return Target{
		Root: "/srv/mediawiki-releases", Served: "/srv/mediawiki",
		Layout: Absolute, Strategy: Drain, Handover: baseHandover(),
		WarmUp: WarmUp{Web: "http://127.0.0.1:80", SameHeaders: []string{}, Rounds: 2, Requests: []Request{}},
		Limits: Limits{
			Answer: 3 * time.Second, Quit: 5 * time.Second, Start: 20 * time.Second, WarmUp: 20 * time.Second, Prove: 10 * time.Second,
			QuietWindow: time.Second, QuietTimeout: 30 * time.Second, Healthy: 10 * time.Second,
			LogDelay: 5 * time.Second,
		},
		Heartbeat:   "/scap-heartbeat",
		HealthPaths: []string{}, OutsideCode: []string{}, Logs: []Log{},
	}
}

// references reads a list of names that must be known, or none: nil when key is not given, empty when it is none.
func (s *section) references(key string, known []string) []string {
	n := s.get(key)
	if n == nil {
		return nil
	}
	if isNone(n) {
		return []string{}
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		s.r.wrong(n, "%s: want a list of names or the word none, have %s", s.path(key), kindOf(n))
		return []string{}
	}
	names := s.texts(key, []string{})
	for _, item := range n.Content {
		found := item.Kind != yaml.ScalarNode
		for _, k := range known {
			found = found || k == item.Value
		}
		if !found {
			s.r.unlike(item, nearest(item.Value, known), "%s: there is no %q under %s", s.path(key), clip(item.Value), key)
		}
	}
	return names
}

func (s *section) warmUp(base WarmUp) WarmUp {
	sub := s.sub("warm_up")
	w := WarmUp{
		Web:          sub.text("web", base.Web, isWeb),
		MarkerHeader: sub.text("marker_header", base.MarkerHeader, isHeader),
		SameHeaders:  sub.texts("same_headers", base.SameHeaders, isHeader),
		Rounds:       sub.integer("rounds", base.Rounds, 1, 64),
		Requests:     base.Requests,
	}
	if items, ok := sub.items("requests"); ok {
		w.Requests = []Request{}
		for i, n := range items {
			q := sub.r.section(n, nil, fmt.Sprintf("%s[%d]", sub.path("requests"), i))
			q.missing("path", "what to ask for, such as /wiki/Main_Page")
			q.missing("host", "the Host header, such as en.wikipedia.org")
			w.Requests = append(w.Requests, Request{
				Path: q.text("path", "", isURLPath), Script: q.text("script", "", isScript), Host: q.text("host", "", isHostHeader), Status: q.integer("status", 200, 200, 499),
			})
			q.close()
		}
	}
	sub.close()
	return w
}

func (s *section) limits(base Limits) Limits {
	sub := s.sub("limits")
	const low, high = 100 * time.Millisecond, time.Hour
	l := Limits{
		Answer:       sub.duration("answer", base.Answer, low, high),
		Quit:         sub.duration("quit", base.Quit, low, high),
		Start:        sub.duration("start", base.Start, low, high),
		WarmUp:       sub.duration("warm_up", base.WarmUp, low, high),
		Prove:        sub.duration("prove", base.Prove, low, high),
		QuietWindow:  sub.duration("quiet_window", base.QuietWindow, low, time.Minute),
		QuietTimeout: sub.duration("quiet_timeout", base.QuietTimeout, low, high),
		Healthy:      sub.duration("healthy", base.Healthy, low, high),
		LogDelay:     sub.duration("log_delay", base.LogDelay, low, 3*time.Minute),
	}
	if l.QuietTimeout < l.QuietWindow && (sub.has("quiet_timeout") || sub.has("quiet_window")) {
		s.r.wrong(sub.place, "%s: quiet_timeout %s is shorter than quiet_window %s: no host could ever be quiet",
			sub.name, FormatDuration(l.QuietTimeout), FormatDuration(l.QuietWindow))
	}
	sub.close()
	return l
}

// orNone reads a text or none.
func (s *section) orNone(key, def string, check func(string) string) string {
	if n := s.values[key]; n != nil && isNone(n) {
		s.get(key)
		return ""
	}
	return s.text(key, def, check)
}

func (s *section) logs() []Log {
	list := []Log{}
	items, _ := s.items("logs")
	seen := map[string]bool{}
	for i, n := range items {
		q := s.r.section(n, nil, fmt.Sprintf("%s[%d]", s.path("logs"), i))
		q.missing("path", "the log file on the host")
		q.missing("format", "access-json, access, mediawiki, php or nginx-error")
		l := Log{Path: q.text("path", "", isPath), Format: q.one("format", "", AccessJSON, Access, MediaWiki, PHP, NginxError)}
		if l.Path != "" && seen[l.Path] {
			s.r.wrong(q.values["path"], "%s: %s is given twice: its errors would count twice", q.name, l.Path)
		}
		seen[l.Path] = true
		list = append(list, l)
		q.close()
	}
	return list
}
