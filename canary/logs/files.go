package logs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Kind is the form of a log.
type Kind string

// The kinds.
const (
	AccessJSON Kind = "access-json" // an access log of JSON lines: msec or time, status, uri, reqId, agent, upstream, release; other usual names will do
	Access     Kind = "access"      // the combined format of nginx and Apache
	MediaWiki  Kind = "mediawiki"   // JSON lines of MediaWiki, or its plain debug log
	PHP        Kind = "php"         // php's error log or php-fpm's own
)

// Source is one log file of a host.
type Source struct {
	Path string `json:"path"`
	Kind Kind   `json:"kind"`
}

// Config says where a host's logs are. At least one is an access log: without it nobody knows whether anything was served.
type Config struct {
	Sources []Source `json:"sources"`
	// Own are paths that no user asks for, like the balancers' health check: not counted. One that ends with '/' stands
	// for all below it.
	Own []string `json:"own,omitempty"`
}

// Check reports every mistake in c.
func (c Config) Check() error {
	var errs []error
	seen, served := map[string]bool{}, false
	for _, s := range c.Sources {
		switch s.Kind {
		case AccessJSON, Access:
			served = true
		case MediaWiki, PHP:
		default:
			errs = append(errs, fmt.Errorf("log %s: unknown kind %q: want %s, %s, %s or %s", s.Path, s.Kind, AccessJSON, Access, MediaWiki, PHP))
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
	return errors.Join(errs...)
}

const (
	pageBytes = 32 << 20
	maxOpen   = 4 // questions followed at once
)

// Files answers queries from a host's own log files. Reading is incremental: the same question again costs only what was
// written since. It may be used by several goroutines.
type Files struct {
	c    Config
	page int64 // bytes read for one Page at most
	mu   sync.Mutex
	// open holds what was read for a query so far, the most recently asked last.
	open []*count
}

// New returns the reader of c's files.
func New(c Config) (*Files, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	return &Files{c: c, page: pageBytes}, nil
}

// Close lets go of all files.
func (f *Files) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.open {
		c.close()
	}
	f.open = nil
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

// Read reads on, at most some tens of megabytes, and returns the totals since q.Since. Page.Behind says what is left.
func (f *Files) Read(ctx context.Context, q Query) (Page, error) {
	if q.Since.IsZero() {
		return Page{}, errors.New("read the logs: since when is not said")
	}
	if n := len(q.Nonce); n > 0 && (n < minNonce || n > maxText) {
		return Page{}, fmt.Errorf("read the logs: a nonce of %d characters proves nothing", n)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return Page{}, context.Cause(ctx)
	}
	c := f.of(q)
	return c.read(ctx, f.page)
}

// minNonce keeps a nonce from being found by chance.
const minNonce = 8

// of finds the count of q, or begins one.
func (f *Files) of(q Query) *count {
	for i, c := range f.open {
		if c.q.Since.Equal(q.Since) && c.q.Release == q.Release && c.q.Nonce == q.Nonce {
			f.open = append(append(f.open[:i:i], f.open[i+1:]...), c)
			return c
		}
	}
	if len(f.open) >= maxOpen {
		f.open[0].close()
		f.open = f.open[1:]
	}
	c := newCount(f.c, q)
	f.open = append(f.open, c)
	return c
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
		return parseAccessJSON
	case Access:
		return parseCombined
	case MediaWiki:
		return parseMediaWiki
	default:
		return phpParser(time.Local)
	}
}
