package opensearch

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"scap/canary"
	"scap/canary/sourcetest"
	model "scap/fixtures/opensearch"
)

var zero = time.Date(2023, 1, 17, 20, 15, 0, 0, time.UTC)

func at(sec int) time.Time { return zero.Add(time.Duration(sec) * time.Second) }

// ask is about a minute of hosts.
func ask(hosts ...string) canary.Query {
	q := canary.Query{From: at(0), To: at(60), Step: 5 * time.Second, Now: at(90), Prints: true}
	for _, h := range hosts {
		q.Hosts = append(q.Hosts, canary.Host{Name: h, Release: sourcetest.Release})
	}
	return q
}

func bad(host, id string, sec int) sourcetest.Event {
	return sourcetest.Event{Host: host, Release: sourcetest.Release, At: at(sec), Failing: true, ID: id, Print: canary.Print{Text: "TypeError in src/Hook.php:12: Too few"}}
}

// Read again in a minute every fault is named, and none lets a count through.
func TestEachFaultIsNamed(t *testing.T) {
	w := newWorld(t)
	w.log(t, bad("a", "1", 3), bad("a", "2", 13), bad("b", "3", 3), bad("b", "4", 13))
	w.beat(t, at(80), "a", "b")
	s := source(t, w.config())
	q := ask("a", "b")
	q.Prints = false
	for name, f := range model.Faults() {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			if name == "hangs" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
				defer cancel()
			}
			w.Break(f)
			defer w.Break(nil)
			r, err := s.Read(ctx, q)
			if err != nil {
				if name == "a huge answer" && !strings.Contains(err.Error(), "more than 16777216 bytes") {
					t.Errorf("%v: it was read to its end", err)
				}
				if text := err.Error(); len(text) > 1000 || clean(strings.ReplaceAll(text, "…", ""))[0] == ' ' || strings.ContainsAny(text, "\x1b\x07\n") {
					t.Errorf("the error is %d bytes long, or holds control characters: %.200q", len(text), text)
				}
				return
			}
			if h := r.Hosts[0]; h.Cause != canary.Contradict || len(h.Ticks) > 0 || !h.Through.IsZero() {
				t.Errorf("under the fault: %+v", h)
			}
		})
	}
	if r, err := s.Read(t.Context(), q); err != nil || len(r.Hosts[0].Ticks) != 2 {
		t.Errorf("afterwards: %+v, %v", r, err)
	}
}

func TestWaitsAsItIsAskedTo(t *testing.T) {
	w := newWorld(t)
	w.beat(t, at(80), "a")
	s := source(t, w.config())
	w.Break(model.Busy(2, "0"))
	if _, err := s.Read(t.Context(), ask("a")); err != nil {
		t.Errorf("busy twice: %v", err)
	}
	// An hour is more than there is: asking again would be rude, waiting would be in vain.
	w.Break(model.Busy(1, "3600"))
	before := len(w.Asked())
	if _, err := s.Read(t.Context(), ask("a")); err == nil || !strings.Contains(err.Error(), `come back after "3600"`) {
		t.Errorf("asked to come back in an hour: %v", err)
	}
	if n := len(w.Asked()) - before; n != 0 {
		t.Errorf("%d searches although it was asked to wait", n)
	}
}

func TestAsksOnceOnly(t *testing.T) {
	for code, want := range map[int]int64{200: 1, 302: 1, 400: 1, 401: 1, 404: 1, 500: 1, 429: 4, 502: 4, 503: 4, 504: 4} {
		var n atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(code)
		}))
		s := source(t, Config{URL: server.URL, Index: "logs", Requests: "type:webrequest"})
		if _, err := s.Read(t.Context(), ask("a")); err == nil {
			t.Errorf("%d: an empty answer was taken for one", code)
		}
		if n.Load() != want {
			t.Errorf("%d: asked %d times, want %d", code, n.Load(), want)
		}
		server.Close()
	}
}

func TestTimeout(t *testing.T) {
	w := newWorld(t)
	c := w.config()
	c.Timeout = 20 * time.Millisecond
	w.Break(model.Faults()["hangs"])
	if _, err := source(t, c).Read(t.Context(), ask("a")); err == nil || !strings.Contains(err.Error(), errTooLong.Error()) {
		t.Errorf("%v, want %v", err, errTooLong)
	}
}

func TestCredentials(t *testing.T) {
	const secret = "correct-horse"
	w := newWorld(t)
	w.beat(t, at(80), "a")
	w.Protect("scap:" + secret)
	file := filepath.Join(t.TempDir(), "credentials")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	c := w.config()
	c.CredentialsFile = file
	s := source(t, c)
	write("scap:"+secret+"\n", 0o640)
	if _, err := s.Read(t.Context(), ask("a")); err != nil {
		t.Errorf("good credentials: %v", err)
	}
	for name, d := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"not good any more":   {"scap:" + secret + "x", 0o600, "status 401"},
		"open to everybody":   {"scap:" + secret, 0o644, "others cannot read"},
		"empty":               {"\n", 0o600, "want one line"},
		"two lines":           {"scap:" + secret + "\nmore", 0o600, "want one line"},
		"no scheme":           {secret, 0o600, "want user:password"},
		"too long":            {"scap:" + strings.Repeat(secret, 1000), 0o600, "want one line"},
		"a header in a line":  {"Bearer " + secret + "\rX-Evil: 1", 0o600, "want one line"},
		"a bearer's, refused": {"Bearer " + secret, 0o600, "status 401"},
	} {
		t.Run(name, func(t *testing.T) {
			write(d.text, d.mode)
			_, err := s.Read(t.Context(), ask("a"))
			if err == nil || !strings.Contains(err.Error(), d.want) {
				t.Errorf("%v, want %q", err, d.want)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
	asked := w.Asked()
	if last := asked[len(asked)-1]; last.Auth == "" || strings.Contains(fmt.Sprint(last.Path, last.Query, last.Body), secret) {
		t.Errorf("the secret is elsewhere than in its header: %+v", last)
	}
}

func TestConfig(t *testing.T) {
	good := Config{URL: "https://logs.example.org:9200", Index: "logstash-*,other"}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Config){
		"credentials_file":            func(c *Config) { c.URL = "https://scap:correct-horse@logs" },
		"the url is none":             func(c *Config) { c.URL = "https://scap:correct-horse@lo gs:x" },
		"want http(s)":                func(c *Config) { c.URL = "logs:9200" },
		"unencrypted":                 func(c *Config) { c.URL, c.CredentialsFile = "http://logs:9200", "/etc/scap/logs" },
		"index: want":                 func(c *Config) { c.Index = "" },
		`"_all" is no`:                func(c *Config) { c.Index = "_all" },
		`"../_cat" is no`:             func(c *Config) { c.Index = "logs,../_cat" },
		`"x?y" is no`:                 func(c *Config) { c.Index = "x?y" },
		"precision 40001":             func(c *Config) { c.Precision = 40_001 },
		"step 500ms":                  func(c *Config) { c.Step = 500 * time.Millisecond },
		"negative":                    func(c *Config) { c.Settle = -1 },
		"no such file":                func(c *Config) { c.CAFile = "/nonexistent/ca.pem" },
		"no certificate in PEM form":  func(c *Config) { c.CAFile = "/dev/null" },
		"want http(s)://host[:port][": func(c *Config) { c.URL = "https://logs/?a=b" },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "correct-horse") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestCertificates(t *testing.T) {
	m := model.New(t)
	m.Put(index, model.Doc{"type": "syslog"})
	server := httptest.NewTLSServer(m)
	defer server.Close()
	s := source(t, Config{URL: server.URL, Index: "logstash-*", Requests: "type:webrequest"})
	if _, err := s.Read(t.Context(), ask("a")); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writeCert(t, ca, server)
	s = source(t, Config{URL: server.URL, Index: "logstash-*", Requests: "type:webrequest", CAFile: ca})
	r, err := s.Read(t.Context(), ask("a"))
	if err != nil || r.Hosts[0].Cause != canary.Late {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestNoRequestsIsNoSource(t *testing.T) {
	w := newWorld(t)
	w.beat(t, at(80), "a")
	c := w.config()
	c.Requests = ""
	if _, err := source(t, c).Read(t.Context(), ask("a")); err == nil {
		t.Error("failures without a denominator were answered")
	}
}

// Nothing that is asked about stands in the language of queries.
func TestNothingIsConcatenated(t *testing.T) {
	w := newWorld(t)
	c := w.config()
	s := source(t, c)
	q := ask(`x" OR host:*`)
	q.Hosts[0].Nonce, q.Hosts[0].Release = `n" OR *`, `r) OR (*`
	if _, err := s.Read(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	known := []string{c.Failing, c.Requests, Heartbeats, c.Good[sourcetest.Edits], c.Good[sourcetest.Logins]}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if qs, ok := v["query_string"].(map[string]any); ok && !slices.Contains(known, fmt.Sprint(qs["query"])) {
				t.Errorf("query string %v", qs)
			}
			for _, inner := range v {
				walk(inner)
			}
		case []any:
			for _, inner := range v {
				walk(inner)
			}
		}
	}
	asked := w.Asked()
	if len(asked) == 0 {
		t.Fatal("nothing was asked")
	}
	for _, a := range asked {
		walk(a.Body)
	}
}

func TestJoined(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T, _ []canary.Host) sourcetest.Rig {
		w := newWorld(t)
		whole, failing := w.config(), w.config()
		failing.Requests = ""
		all := source(t, whole)
		requests := canary.SourceFunc(func(ctx context.Context, q canary.Query) (canary.Reading, error) {
			r, err := all.Read(ctx, q)
			for _, h := range r.Hosts {
				for i := range h.Ticks {
					h.Ticks[i].Failing = 0
				}
			}
			return r, err
		})
		r := w.rig(t, canary.Joined{Exposure: requests, Failures: source(t, failing).Failures()}, nil)
		for name := range r.Faults {
			if !slices.Contains([]string{"ingestion stops", "503", "ticks twice", "timed out"}, name) {
				delete(r.Faults, name)
			}
		}
		return r
	})
}
