package prom

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"scap/canary"
)

// says is a server that gives one answer to everything, without a network.
type says string

func (s says) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Request: r, Body: io.NopCloser(strings.NewReader(string(s)))}, nil
}

func told(t interface{ Fatal(...any) }, body string) *Source {
	s := source(t, func(c *Config) { c.ReleaseLabel, c.Nonce, c.Heartbeat = "release", "n", "up" })
	client, err := api.NewClient(api.Config{Address: "http://127.0.0.1:1", RoundTripper: says(body)})
	if err != nil {
		t.Fatal(err)
	}
	s.api = v1.NewAPI(client)
	return s
}

func ok(result string) string {
	return `{"status":"success","data":{"resultType":"matrix","result":[` + result + `]}}`
}

// mw1 is a series of the host with values from a second before t0 on.
func mw1(more string, values ...string) string {
	var list []string
	for i, v := range values {
		list = append(list, fmt.Sprintf(`[%d.5,%q]`, t0.Unix()-1+int64(i)*5, v))
	}
	return `{"metric":{"instance":"mw1"` + more + `},"values":[` + strings.Join(list, ",") + `]}`
}

// answers are what a Prometheus, or what stands in its place, may say. The second is a part of the error, "" when the answer is
// one; the third the cause of the host's problem.
var answers = []struct {
	body, wrong string
	cause       canary.Cause
}{
	{ok(mw1("", "1", "2", "9", "9")), "", ""},
	{ok(mw1("", "1", "2", "9", "9") + "," + mw1(`,"code":"500"`, "1", "2", "9", "9")), "", ""},
	{ok(""), "", canary.SourceDown},
	{ok(mw1("", "1", "NaN", "3")), "", canary.Contradict},
	{ok(mw1("", "1", "+Inf", "3")), "", canary.Contradict},
	{ok(mw1("", "1", "-1", "3")), "", canary.Contradict},
	{ok(mw1("", "1", "1e300", "3")), "", canary.Contradict},
	{ok(mw1("", "1", "2.5", "3")), "", canary.Contradict},
	{ok(mw1("", "1") + "," + mw1("", "1")), "twice", ""},
	{ok(`{"metric":{"instance":"mw2"},"values":[[1,"1"]]}`), `instance="mw2", which was not asked for`, ""},
	{ok(`{"metric":{},"values":[[1,"1"]]}`), "was not asked for", ""},
	{ok(`{"metric":{"instance":"mw1"},"values":[[1,"1"]]}`), "outside of what was asked for", ""},
	{ok(`{"metric":{"instance":"mw1"},"values":[[99999999999999999999,"1"]]}`), "out of range", ""},
	{ok(`{"metric":{"instance":"mw1"},"values":[[9223372036854775807,"1"]]}`), "outside of what was asked for", ""},
	{ok(strings.Replace(mw1("", "1", "2"), fmt.Sprint(t0.Unix()+4), fmt.Sprint(t0.Unix()-1), 1)), "not in the order of time", ""},
	{ok(`{"metric":{"instance":"mw1"},"values":[["1","1"]]}`), "bad_response", ""},
	{ok(`{"metric":{"instance":"mw1"},"values":[[1,1]]}`), "bad_response", ""},
	{ok(`{"metric":{"instance":"mw1"},"values":[[1]]}`), "bad_response", ""},
	{ok(`{"metric":{"instance":["mw1"]},"values":[[1,"1"]]}`), "bad_response", ""},
	{ok(`{"metric":{"instance":"mw1"},"histograms":[[` + fmt.Sprint(t0.Unix()) + `,{"count":"1","sum":"1","buckets":[]}]]}`), "", canary.Contradict},
	{ok(`null`), "empty place", ""},
	{`{"status":"success","data":{"resultType":"matrix","result":null}}`, "no list of samples", ""},
	{`{"status":"success","data":{"resultType":"matrix"}}`, "bad_response", ""},
	{`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"instance":"mw1"},"value":[1,"1"]}]}}`, "no list of samples (vector)", ""},
	{`{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}`, "no list of samples (scalar)", ""},
	{`{"status":"success","data":{"resultType":"odd","result":[]}}`, "bad_response", ""},
	{`{"status":"success"}`, "no list of samples", ""},
	{`{"status":"success","data":null}`, "no list of samples", ""},
	{`{"status":"error","errorType":"execution","error":"too many samples\u001b[31m"}`, "execution: too many samples?[31m", ""},
	{strings.Replace(ok(mw1("", "1")), `{`, `{"warnings":["partial"],`, 1), "reservations: partial", ""},
	{strings.Replace(ok(mw1("", "1")), `{`, `{"infos":["no counter"],`, 1), "reservations: no counter", ""},
	{ok(mw1("", "1"))[:60], "bad_response", ""},
	{ok(mw1("", "1")) + "x", "bad_response", ""},
	{``, "bad_response", ""},
	{`null`, "no list of samples", ""},
	{`[]`, "bad_response", ""},
	{strings.Repeat(`[`, 100_000), "bad_response", ""},
	{ok(strings.Repeat(`{"metric":`, 20_000)), "bad_response", ""},
}

func question1() canary.Query {
	return canary.Query{Hosts: []canary.Host{{Name: "mw1", Nonce: "x"}}, From: at(0), To: at(10), Step: 5 * time.Second, Now: at(60)}
}

func TestAnswers(t *testing.T) {
	for _, c := range answers {
		r, err := told(t, c.body).Read(t.Context(), question1())
		switch {
		case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
			t.Errorf("%.100s: %v, want an error with %q", c.body, err, c.wrong)
		case c.wrong == "" && c.cause != "" && (err != nil || r.Hosts[0].Cause != c.cause):
			t.Errorf("%.100s: %+v, %v, want a problem of the kind %q", c.body, r, err, c.cause)
		case c.wrong == "" && c.cause == "" && err == nil && r.Hosts[0].Problem == "" && r.Hosts[0].Ticks == nil:
			t.Errorf("%.100s: a zero that is not known", c.body)
		}
	}
}

// FuzzAnswer wants a true form of whatever is said about a host: an error, a problem, or counts that are some.
func FuzzAnswer(f *testing.F) {
	for _, c := range answers {
		if len(c.body) < 10_000 {
			f.Add(c.body)
		}
	}
	f.Fuzz(func(t *testing.T, body string) {
		r, err := told(t, body).Read(t.Context(), question1())
		if err != nil {
			if len(err.Error()) > 1000 || strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Errorf("a long or rude error: %q", err)
			}
			return
		}
		h := r.Hosts[0]
		if (h.Problem != "") != (h.Cause != "") || len(h.Problem) > 1000 || strings.ContainsFunc(h.Problem, unicode.IsControl) {
			t.Errorf("problem %q, cause %q", h.Problem, h.Cause)
		}
		if h.Problem == "" && h.Through.IsZero() || h.Problem != "" && len(h.Ticks) > 0 {
			t.Errorf("through %s with %d ticks and problem %q", h.Through, len(h.Ticks), h.Problem)
		}
		for _, k := range h.Ticks {
			if k.Requests < 0 || k.Failing < 0 || k.At.Before(at(0)) || !k.At.Before(at(10)) {
				t.Errorf("tick %+v", k)
			}
		}
	})
}

// TestWire is what goes over the wire: the credentials, what is asked again, and how much is read.
func TestWire(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	write := func(text string, mode os.FileMode) {
		if err := os.WriteFile(secret, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(secret, mode); err != nil {
			t.Fatal(err)
		}
	}
	var header, answer atomic.Value
	var asked atomic.Int64
	header.Store("")
	answer.Store(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, ok("")) }))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		header.Store(r.Header.Get("Authorization"))
		answer.Load().(http.HandlerFunc)(w, r)
	}))
	defer web.Close()
	write("t0ken\n", 0o600)
	s := source(t, func(c *Config) { c.URL, c.CredentialsFile = web.URL, secret })
	defer s.Close()
	read := func() (string, error) {
		asked.Store(0)
		_, err := s.Read(t.Context(), question1())
		return header.Load().(string), err
	}
	if got, err := read(); err != nil || got != "Bearer t0ken" {
		t.Errorf("sent %q, %v", got, err)
	}
	write("user:pass", 0o640)
	if got, err := read(); err != nil || got != "Basic dXNlcjpwYXNz" {
		t.Errorf("sent %q, %v; want what the file says now", got, err)
	}
	write("geheim", 0o644)
	if _, err := read(); err == nil || !strings.Contains(err.Error(), "open to everybody") || strings.Contains(err.Error(), "geheim") || asked.Load() != 0 {
		t.Errorf("%v after %d questions; want a refusal of a file that everybody reads", err, asked.Load())
	}
	write("user:pass", 0o600)

	for status, times := range map[int]int64{503: 3, 429: 3, 500: 3, 400: 1, 401: 1, 302: 1} {
		answer.Store(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", web.URL+"/elsewhere")
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(status)
		}))
		if _, err := read(); err == nil || asked.Load() != times || strings.Contains(err.Error(), "pass") {
			t.Errorf("status %d: %v after %d questions, want an error after %d", status, err, asked.Load(), times)
		}
	}
	answer.Store(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"status":"success","data":{"resultType":"matrix","result":[`)
		for range maxBody >> 10 {
			if _, err := io.WriteString(w, strings.Repeat(" ", 1<<10)); err != nil {
				return
			}
		}
		io.WriteString(w, "]}}")
	}))
	if _, err := read(); err == nil || !strings.Contains(err.Error(), "larger than 32 MiB") {
		t.Errorf("an answer without end: %v", err)
	}
}

// asked answers with nothing and remembers the questions.
type asked struct {
	mu    sync.Mutex
	first []string
}

func (a *asked) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.first = append(a.first, strings.SplitN(r.Form.Get("query"), "{", 2)[0])
	a.mu.Unlock()
	return says(ok("")).RoundTrip(r)
}

// TestOrder asks how far a host is known before what happened: in the other order, ticks would be closed whose failures were
// looked for before the scrape that closes them.
func TestOrder(t *testing.T) {
	for range 20 {
		s := source(t, func(c *Config) { c.Nonce, c.Heartbeat, c.Good = "n", "up", map[string]string{"edits": "g"} })
		a := &asked{}
		client, err := api.NewClient(api.Config{Address: "http://127.0.0.1:1", RoundTripper: a})
		if err != nil {
			t.Fatal(err)
		}
		s.api = v1.NewAPI(client)
		if _, err := s.Read(t.Context(), question1()); err != nil {
			t.Fatal(err)
		}
		if len(a.first) != 5 {
			t.Fatalf("asked for %v", a.first)
		}
		slices.Sort(a.first[:3])
		slices.Sort(a.first[3:])
		if want := []string{"n", "r", "up", "f", "g"}; !slices.Equal(a.first, want) {
			t.Fatalf("asked for %v, want %v", a.first, want)
		}
	}
}

// TestTimeout says who did not answer, and keeps the asker's own reason apart from that.
func TestTimeout(t *testing.T) {
	gone := make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-gone:
		}
	}))
	defer web.Close()
	defer close(gone)
	s := source(t, func(c *Config) { c.URL, c.Timeout = web.URL, 100*time.Millisecond })
	defer s.Close()
	if _, err := s.Read(t.Context(), question1()); err == nil || !strings.Contains(err.Error(), "no answer from "+web.URL+" within 100ms") {
		t.Errorf("%v, want the limit", err)
	}
	mine := errors.New("the deployer has left")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(mine)
	if _, err := s.Read(ctx, question1()); !errors.Is(err, mine) {
		t.Errorf("%v, want the asker's reason", err)
	}
}

func TestConfig(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	for want, change := range map[string]func(*Config){
		`"ftp://p" is not http://host:port`:                          func(c *Config) { c.URL = "ftp://p" },
		`is not http://host:port`:                                    func(c *Config) { c.URL = "http://u:geheim@%zz" },
		`has credentials in it`:                                      func(c *Config) { c.URL = "http://u:geheim@p" },
		`want nothing behind the path`:                               func(c *Config) { c.URL = "http://p/?x" },
		`would go to p:9090 unencrypted: use https`:                  func(c *Config) { c.URL, c.CredentialsFile = "http://p:9090", "/x" },
		`requests is missing`:                                        func(c *Config) { c.Requests = "" },
		`failing: column 2: want a plain selector`:                   func(c *Config) { c.Failing = "f[5m]" },
		`signal "e?[": column 5: unknown placeholder {step}`:         func(c *Config) { c.Good = map[string]string{"e\x1b[": `{a="{step}"}`} },
		`heartbeat: column 1: want the name of a counter`:            func(c *Config) { c.Heartbeat = "1" },
		`nonce: column 2: want a plain selector`:                     func(c *Config) { c.Nonce = "n+1" },
		`host: column 1: unknown placeholder {name}`:                 func(c *Config) { c.Host = "{name}" },
		`host label: "a-b" is no label name`:                         func(c *Config) { c.HostLabel = "a-b" },
		`release label: instance is the host's`:                      func(c *Config) { c.ReleaseLabel = "instance" },
		`step: 1.5s is not 1s to 10m`:                                func(c *Config) { c.Step = 1500 * time.Millisecond },
		`settle: -1s is not`:                                         func(c *Config) { c.Settle = -time.Second },
		`timeout: 1ns is not`:                                        func(c *Config) { c.Timeout = 1 },
		`prometheus: credentials file: open ` + missing:              func(c *Config) { c.CredentialsFile = missing },
		`prometheus: ca file: open ` + missing:                       func(c *Config) { c.CAFile = missing },
		`prometheus: ca file: no certificate in PEM in answer_test.`: func(c *Config) { c.CAFile = "answer_test.go" },
	} {
		c := Config{URL: "http://127.0.0.1:9090", Requests: "r", Failing: "f"}
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestQuestions refuses what cannot be asked, and says which hosts cannot be told apart.
func TestQuestions(t *testing.T) {
	s := told(t, ok(""))
	for want, change := range map[string]func(*canary.Query){
		"at most 24h0m0s":           func(q *canary.Query) { q.To = q.From.Add(25 * time.Hour) },
		"to 2023-01-17 19:59:50":    func(q *canary.Query) { q.To = q.From.Add(-10 * time.Second) },
		"by ticks of 0s":            func(q *canary.Query) { q.Step = 0 },
		"by ticks of 1ns":           func(q *canary.Query) { q.Step = 1 },
		"outside of the years":      func(q *canary.Query) { q.From, q.To = time.Time{}, time.Time{} },
		"for 5001 hosts":            func(q *canary.Query) { q.Hosts = make([]canary.Host, 5001) },
		"outside of the years 1970": func(q *canary.Query) { q.From = time.Unix(1<<40, 0); q.To = q.From },
	} {
		q := question1()
		change(&q)
		if _, err := s.Read(t.Context(), q); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	s.host = "{short}"
	q := question1()
	q.Hosts = []canary.Host{{Name: "mw1.eqiad"}, {Name: "mw1.codfw"}, {Name: ""}}
	r, err := s.Read(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range r.Hosts[:2] {
		if h.Problem != `mw1.eqiad and mw1.codfw would both be instance="mw1": set host so that they differ` {
			t.Errorf("%q", h.Problem)
		}
	}
	if r.Hosts[2].Problem == "" {
		t.Error("a host without a name is answered")
	}
}
