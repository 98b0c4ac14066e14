package prom

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Config says which Prometheus is asked and for what. The counters must be those of a single Prometheus, or of something that
// answers like one, with series as they were scraped: a sum of counters hides that one of them began anew, a rate is none.
type Config struct {
	URL string // http(s)://host[:port][/path], without credentials

	// Requests, Failing and Good are plain selectors of counters, such as http_requests_total{job="mw",code=~"5.."}, without
	// range, offset and functions. All series of a host that one matches are added up. The matchers of host and release are added to
	// them and need not be written.
	Requests string
	Failing  string            // of requests, not of log lines
	Good     map[string]string // by the signal's name; at most 32

	// HostLabel is the label that names the host; default instance. Host is what it says: {host} is the host's name, {short} what is
	// before its first dot; default {host}.
	HostLabel, Host string
	// ReleaseLabel is the label of all those counters that holds a release's id; series of other releases do not
	// count. Empty: what a host served from its Since on counts, beginning with the first sample after it, or with the restart
	// when the counters fell.
	ReleaseLabel string

	// Heartbeat selects series that have a sample whenever a target was scraped, whatever it served, such as up{job="mw"}; a
	// sample of 0 is none. It is needed when Failing or Good come from other targets (by job and instance) than
	// Requests. Empty: the samples of Requests themselves.
	Heartbeat string
	// Nonce selects a series that carries a runtime's nonce in the label NonceLabel (default nonce), such as
	// scap_release_info. Without one, a sample of the host's release that is younger than its Since is taken for the proof that its
	// runtime is heard: the release is right, but it may be an earlier runtime's of the same release. Without
	// ReleaseLabel either, nothing is ever proven.
	Nonce, NonceLabel string

	// Step is the finest tick: at least the scrape interval, better twice as much. A hole of more than 2 Steps between
	// samples is a problem of ticks in it. Default 30 s, 1 s to 10 min.
	Step time.Duration
	// Settle is how much later than a host's newest sample its others may still arrive. 0 for a Prometheus that scrapes itself; more for
	// what is fed by remote write.
	Settle time.Duration

	CredentialsFile string        // one line: a bearer token, or user:password; empty: none. It is read again for each question
	CAFile          string        // PEM; empty: the system's
	Timeout         time.Duration // for one Read; default 10 s
}

func (c Config) withDefaults() Config {
	def := func(s *string, to string) {
		if *s == "" {
			*s = to
		}
	}
	def(&c.HostLabel, "instance")
	def(&c.Host, "{host}")
	def(&c.NonceLabel, "nonce")
	if c.Step == 0 {
		c.Step = 30 * time.Second
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	return c
}

// check reports every mistake but those of selectors and files.
func (c Config) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("prometheus: "+format, args...)) }
	if err := c.checkURL(); err != nil {
		wrong("url: %w", err)
	}
	if c.Requests == "" {
		wrong("requests is missing: without it nothing says how much was served")
	}
	if c.Failing == "" {
		wrong("failing is missing")
	}
	if len(c.Good) > 32 {
		wrong("%d signals, at most 32", len(c.Good))
	}
	for key, label := range map[string]string{"host label": c.HostLabel, "release label": c.ReleaseLabel, "nonce label": c.NonceLabel} {
		if label != "" && !isLabel(label) {
			wrong("%s: %q is no label name", key, clean(label))
		}
	}
	if c.ReleaseLabel == c.HostLabel {
		wrong("release label: %s is the host's", c.HostLabel)
	}
	if c.Step < time.Second || c.Step > 10*time.Minute || c.Step%time.Second != 0 {
		wrong("step: %s is not 1s to 10m in whole seconds", c.Step)
	}
	if c.Settle < 0 || c.Settle > 10*time.Minute {
		wrong("settle: %s is not 0 to 10m", c.Settle)
	}
	if c.Timeout < 100*time.Millisecond || c.Timeout > 5*time.Minute {
		wrong("timeout: %s is not 100ms to 5m", c.Timeout)
	}
	return errors.Join(errs...)
}

func (c Config) checkURL() error {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		if strings.Contains(c.URL, "@") {
			return errors.New("is not http://host:port") // what may be a password is not shown
		}
		return fmt.Errorf("%q is not http://host:port", clean(c.URL))
	case u.User != nil:
		return errors.New("has credentials in it: put them into a file")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("want nothing behind the path")
	case c.CredentialsFile != "" && u.Scheme == "http" && !loopback(u.Hostname()):
		return fmt.Errorf("credentials would go to %s unencrypted: use https", clean(u.Host))
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// parse reads the selectors and the host's template.
func (s *Source) parse() error {
	var errs []error
	read := func(what, text string) selector {
		sel, err := parseSelector(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("prometheus: %s: %w", what, err))
		}
		return sel
	}
	s.counts = []counter{
		{what: "requests", sel: read("requests", s.c.Requests)},
		{what: "failing", sel: read("failing", s.c.Failing)},
	}
	for _, name := range slices.Sorted(maps.Keys(s.c.Good)) {
		what := fmt.Sprintf("signal %q", clean(name))
		s.counts = append(s.counts, counter{what: what, good: name, sel: read(what, s.c.Good[name])})
	}
	if s.c.Heartbeat != "" {
		sel := read("heartbeat", s.c.Heartbeat)
		s.alive = &sel
	}
	if s.c.Nonce != "" {
		sel := read("nonce", s.c.Nonce)
		s.nonce = &sel
	}
	var err error
	if s.host, err = parseHost(s.c.Host); err != nil {
		errs = append(errs, fmt.Errorf("prometheus: host: %w", err))
	}
	return errors.Join(errs...)
}
