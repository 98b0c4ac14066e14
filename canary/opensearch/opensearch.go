// Package opensearch is a canary.Source over the _search API of OpenSearch (and of Elasticsearch from 7.0 on): failing requests, and if
// it is told how to find them all requests and successes, by host and tick of the records' own time. It never takes a record's absence for
// a zero unless a heartbeat that the host sent the same way has arrived later.
package opensearch

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"scap/canary"
)

// Queries in Lucene's syntax, ready to use.
const (
	// Scap counts what Wikimedia's scap counts: MediaWiki's exceptions and errors. Records at level DEBUG are never counted.
	Scap = "type:mediawiki AND channel:(exception OR error)"
	// Fatal adds what ends a request before MediaWiki can say more.
	Fatal = "type:mediawiki AND channel:(exception OR error OR fatal)"
	// Heartbeats is what hosts send every few seconds.
	Heartbeats = "type:scap-heartbeat"
)

// Fields are the names of the records' fields, dots for objects in objects. All are of type keyword but Time, which is a date: on one of
// type text the search is refused. One that is empty is not there.
type Fields struct {
	Time    string // when it happened by the host's clock, never when it was ingested; "@timestamp"
	Host    string // "host"
	Release string // the release that the request was served by; empty: records belong to what their host ran
	Request string // the request's id; a failing request without one counts for each of its records
	Class   string // of the exception
	File    string // of the top frame, with or without :line
	Message string // normalised, such as "normalized_message.keyword"
	Level   string // "level"; records at DEBUG do not count
	Nonce   string // of a heartbeat: what the host's runtime wrote when it began; "nonce"
}

// Config says where the records are and what they look like. The zero value of each optional field means what its comment names.
type Config struct {
	URL   string // http(s)://host[:port][/path]; without credentials
	Index string // names or patterns, with commas

	Failing   string            // the records of failing requests, in Lucene's syntax; Fatal
	Requests  string            // the records of all requests, one each; empty: not known here, see Source.Failures
	Good      map[string]string // for each business signal the records of its successes
	Heartbeat string            // the records by which a host's watermark is known; Heartbeats

	Host   string // what Fields.Host says of a host: {host} stands for its name, {short} for what is before its first dot; "{host}"
	Fields Fields
	// Roots are directories that hold releases or are the served path: they are cut off a file's path, with the release's id below.
	Roots []string

	Step time.Duration // the finest tick, 5s
	// Settle is how much later than an event a heartbeat may become visible before it: the indices' refresh_interval and what the
	// pipeline's branches differ by. A host is known through its newest heartbeat less Settle. 10s.
	Settle time.Duration
	// MaxSkew is how far in the future a heartbeat may be before the host's clock is called wrong; 30s.
	MaxSkew time.Duration
	// Precision is the precision_threshold of the cardinality of request ids: up to that many failing requests of one host in one tick the
	// count is exact but for a collision of hashes, above it approximate (a few percent). 3000, the API's own; at most 40000. A bucket
	// costs the server about 8 bytes times it.
	Precision int

	CredentialsFile string        // one line: "user:password", "Bearer TOKEN" or "ApiKey KEY"; not readable by everybody; read anew each time
	CAFile          string        // PEM; empty: the system's
	Timeout         time.Duration // of one Read in all, with its retries; 20s
}

// Source reads one cluster. It may be used by several goroutines.
type Source struct {
	c      Config
	search string // the URL
	client *retryablehttp.Client
	size   int // buckets a search at most
}

var _ canary.Source = (*Source)(nil)

// New checks c and reads its CA file. It asks nothing of the cluster.
func New(c Config) (*Source, error) {
	c = c.defaults()
	u, err := base(c)
	if err != nil {
		return nil, err
	}
	if c.Precision < 1 || c.Precision > 40_000 {
		return nil, fmt.Errorf("precision %d: want 1 to 40000", c.Precision)
	}
	if c.Step < time.Second || c.Step%time.Second != 0 {
		return nil, fmt.Errorf("step %s: want whole seconds", c.Step)
	}
	if c.Settle < 0 || c.MaxSkew < 0 || c.Timeout < 0 {
		return nil, errors.New("settle, max skew and timeout: want no negative times")
	}
	t, err := transport(c)
	if err != nil {
		return nil, err
	}
	s := &Source{c: c, search: u, size: 8000}
	s.client = &retryablehttp.Client{
		// A redirect is an answer of something else than the cluster, such as a login page; following it would send it the query.
		HTTPClient:   &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		RetryWaitMin: 200 * time.Millisecond,
		RetryWaitMax: 2 * time.Second,
		RetryMax:     3,
		CheckRetry:   again,
		Backoff:      retryablehttp.DefaultBackoff,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
	return s, nil
}

func (c Config) defaults() Config {
	c.Failing, c.Heartbeat, c.Host = cmp.Or(c.Failing, Fatal), cmp.Or(c.Heartbeat, Heartbeats), cmp.Or(c.Host, "{host}")
	c.Step, c.Settle, c.MaxSkew = cmp.Or(c.Step, 5*time.Second), cmp.Or(c.Settle, 10*time.Second), cmp.Or(c.MaxSkew, 30*time.Second)
	c.Timeout, c.Precision = cmp.Or(c.Timeout, 20*time.Second), cmp.Or(c.Precision, 3000)
	f := &c.Fields
	f.Time, f.Host, f.Level, f.Nonce = cmp.Or(f.Time, "@timestamp"), cmp.Or(f.Host, "host"), cmp.Or(f.Level, "level"), cmp.Or(f.Nonce, "nonce")
	return c
}

// base is the URL of the search.
func base(c Config) (string, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return "", errors.New("the url is none") // the error would quote it, and with it what should not be in it
	}
	switch {
	case u.User != nil:
		return "", fmt.Errorf("url of %s: put the credentials into credentials_file", u.Host)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("url %q: want http(s)://host[:port][/path]", clean(c.URL))
	case c.CredentialsFile != "" && u.Scheme == "http" && !loopback(u.Hostname()):
		return "", fmt.Errorf("url %q: credentials would be sent unencrypted: use https", clean(c.URL))
	}
	if c.Index == "" {
		return "", errors.New("index: want the names or patterns to search, such as logstash-mediawiki-*")
	}
	var names []string
	for name := range strings.SplitSeq(c.Index, ",") {
		if name == "" || strings.ContainsAny(name[:1], "_-+.") || clean(name) != name || strings.ContainsAny(name, `\/?"| #`) {
			return "", fmt.Errorf("index %q: %q is no name of an index", clean(c.Index), clean(name))
		}
		names = append(names, url.PathEscape(name))
	}
	// By default a pattern without an index, a shard that failed and a copy that lags all give a smaller count and no error.
	q := url.Values{
		"allow_no_indices": {"false"}, "ignore_unavailable": {"false"}, "allow_partial_search_results": {"false"},
		"preference": {"scap-gate"}, // one copy of each shard for all questions, so that they are answered alike
	}
	return u.JoinPath(strings.Join(names, ","), "_search").String() + "?" + q.Encode(), nil
}

func loopback(host string) bool { return host == "127.0.0.1" || host == "::1" || host == "localhost" }

func transport(c Config) (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil // the cluster is inside
	t.MaxResponseHeaderBytes = 64 << 10
	if c.CAFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("read the ca file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca file %s: no certificate in PEM form is in it", c.CAFile)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}
