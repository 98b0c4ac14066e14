package logs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Kind is the form of a log.
type Kind string

// The kinds.
const (
	AccessJSON Kind = "access-json" // an access log of JSON lines: msec or time, status, method, uri, reqId, agent, upstream, release, worker (php's); other usual names will do
	Access     Kind = "access"      // the combined format of nginx and Apache; of Apache with %{end}t, or slow requests come late
	MediaWiki  Kind = "mediawiki"   // JSON lines of MediaWiki, or its plain debug log
	PHP        Kind = "php"         // php's error log or php-fpm's own
	NginxError Kind = "nginx-error" // nginx's error log: requests that got no answer from php
)

// Log is one log file of a host.
type Log struct {
	Path string `json:"path"`
	Kind Kind   `json:"kind"`
}

// access reports whether it is a log of what was served.
func (l Log) access() bool { return l.Kind == AccessJSON || l.Kind == Access }

// Config says where a host's logs are. At least one is an access log: without it nobody knows whether anything was served.
type Config struct {
	// Sources are the logs. Two access logs that know the same requests count them twice: name the one nearer to users.
	Sources []Log `json:"sources"`
	// Own are paths that no user asks for, like the balancers' health check: not counted. One that ends with '/' stands
	// for all below it.
	Own []string `json:"own,omitempty"`
	// Trial are the links by which the web server asks a release that is tried beside the other: paths of sockets as the logs name them
	// (/run/php/x-canary.sock), or names of Apache's workers (fcgi://canary), for Apache logs no paths. Main are those of the
	// usual way; when they are named too, what was asked by neither is of neither release, and is counted in neither.
	Trial []string `json:"trial,omitempty"`
	Main  []string `json:"main,omitempty"`
	// Roots are paths at which releases are served, like /srv/mediawiki: a file below one is named relative to it.
	Roots []string `json:"roots,omitempty"`
	// Heartbeat is the URL of a page of the host's own web server that is asked with each question: its line in the access log
	// says that lines still arrive when no user comes. Any answer will do. Empty: the last line of any request must do.
	Heartbeat string `json:"heartbeat,omitempty"`
	// HeartbeatHost is the Host header of that question; empty: that of the URL.
	HeartbeatHost string   `json:"heartbeat_host,omitempty"`
	Signals       []Signal `json:"signals,omitempty"`
	// Delay is how long after its time a line may come into a log that is well: a tick is closed so long after its end. 0 is
	// 5 s; more for a web server that buffers its log for longer.
	Delay time.Duration `json:"delay,omitempty"`
	// Ship is a log that the host's shipper reads: with each question, once a second at most, a line of JSON is appended to it of
	// type scap-heartbeat, with @timestamp, host, nonce and release. A source that reads what was shipped knows by it how far
	// it has got. It is made when it is not there, and somebody must rotate it. Empty: none. When it cannot be written the host's
	// own logs count all the same; Page.Note says why.
	Ship string `json:"ship,omitempty"`
	// Name is the host in Ship's lines: what is before its first dot stands beside it. Required with Ship.
	Name string `json:"name,omitempty"`
}

// maxLogs and maxSignals bound what one line can count for.
const (
	maxLogs    = 32
	maxSignals = 32
)

// Check reports every mistake in c.
func (c Config) Check() error {
	var errs []error
	if c.Delay < 0 || c.Delay > maxDisorder {
		errs = append(errs, fmt.Errorf("logs: delay %v: want 0s to %v", c.Delay, maxDisorder))
	}
	seen, served := map[string]bool{}, false
	for _, s := range c.Sources {
		switch s.Kind {
		case AccessJSON, Access:
			served = true
		case MediaWiki, PHP, NginxError:
		default:
			errs = append(errs, fmt.Errorf("log %s: unknown kind %q: want %s, %s, %s, %s or %s",
				s.Path, s.Kind, AccessJSON, Access, MediaWiki, PHP, NginxError))
		}
		if !filepath.IsAbs(s.Path) {
			errs = append(errs, fmt.Errorf("log %q: want an absolute path", s.Path))
		}
		if seen[s.Path] {
			errs = append(errs, fmt.Errorf("log %s: named twice", s.Path))
		}
		seen[s.Path] = true
	}
	if !served {
		errs = append(errs, errors.New("logs: no access log is named, so nothing says how many requests were served"))
	}
	if len(c.Sources) > maxLogs || len(c.Signals) > maxSignals {
		errs = append(errs, fmt.Errorf("logs: %d logs and %d signals: at most %d and %d are counted", len(c.Sources), len(c.Signals), maxLogs, maxSignals))
	}
	errs = append(errs, checkSignals(c.Signals)...)
	errs = append(errs, c.checkArms()...)
	switch {
	case c.Ship == "":
	case !filepath.IsAbs(c.Ship):
		errs = append(errs, fmt.Errorf("log to ship %q: want an absolute path", c.Ship))
	case seen[c.Ship]:
		errs = append(errs, fmt.Errorf("log to ship %s: it is read as a log of the host too", c.Ship))
	case c.Name == "" || len(c.Name) > maxText || clean(c.Name, maxText) != c.Name:
		errs = append(errs, fmt.Errorf("log to ship %s: %q is no name of a host", c.Ship, c.Name))
	}
	if c.Heartbeat != "" {
		if u, err := url.Parse(c.Heartbeat); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			errs = append(errs, fmt.Errorf("heartbeat %q: want a URL of the host's own web server, such as http://127.0.0.1/scap-heartbeat", c.Heartbeat))
		}
	}
	return errors.Join(errs...)
}

const (
	pageBytes = 32 << 20
	maxOpen   = 6 // runtimes followed at once: two of a trial, and those of the time before it and of another asker
)

// Files answers queries from a host's own log files. Reading is incremental: the same question again costs only what was
// written since. It may be used by several goroutines.
type Files struct {
	c        Config
	world    World
	ship     *shipper
	page     int64         // bytes read at once, with the lock held
	patience time.Duration // how long the line of a heartbeat is waited for
	reads    time.Duration // how long one question may read on

	mu sync.Mutex
	// ledgers hold what was read for the runtimes that were asked about, the most recently asked last.
	ledgers []*ledger
	clock   clock
}

// World is what a host has besides its files. What is nil is the real one.
type World struct {
	Now func() time.Time
	// Beat asks the page at url once, with that Host header unless it is empty, and with that user agent. An answer of any kind is
	// none to tell.
	Beat func(ctx context.Context, url, host, agent string) error
}

// New returns the reader of c's files.
func New(c Config) (*Files, error) { return NewIn(c, World{}) }

// NewIn returns the reader of c's files on a host in w.
func NewIn(c Config, w World) (*Files, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if w.Now == nil {
		w.Now = time.Now
	}
	if w.Beat == nil {
		w.Beat = beat
	}
	return &Files{c: c, world: w, ship: newShipper(c), page: pageBytes, patience: beatPatience, reads: readFor}, nil
}

// Close lets go of all files.
func (f *Files) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.ledgers {
		l.close()
	}
	f.ledgers = nil
	return nil
}

// Answer takes a Query and gives a Page, both in JSON.
func (f *Files) Answer(ctx context.Context, question json.RawMessage) (json.RawMessage, error) {
	var q Query
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, fmt.Errorf("read the question to the logs: %w", err)
	}
	p, err := f.Read(ctx, q)
	if err != nil {
		return nil, err
	}
	return json.Marshal(p)
}

// own reports whether an access log's line is not a user's.
func (c Config) own(e event) bool {
	if strings.HasPrefix(e.agent, "scap/") || strings.HasPrefix(e.agent, "scap-agent") {
		return true
	}
	p, _, _ := strings.Cut(e.uri, "?")
	for _, o := range c.Own {
		if p == o || strings.HasSuffix(o, "/") && strings.HasPrefix(p, o) {
			return true
		}
	}
	return false
}

func parserOf(k Kind) parser {
	switch k {
	case AccessJSON:
		return accessParser()
	case Access:
		return parseCombined
	case MediaWiki:
		return parseMediaWiki
	case NginxError:
		return nginxParser(time.Local)
	default:
		return phpParser(time.Local)
	}
}
