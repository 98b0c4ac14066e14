package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// wiki answers a little like MediaWiki: a login token bound to a session cookie, then a session that pages show.
func wiki(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	var session atomic.Int64
	cookie := func(r *http.Request) string {
		c, err := r.Cookie("session")
		if err != nil {
			return ""
		}
		return c.Value
	}
	mux.HandleFunc("GET /w/api.php", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("meta") == "tokens" {
			id := fmt.Sprint("s", session.Add(1))
			// Secure, as a wiki behind a TLS balancer sets it.
			http.SetCookie(w, &http.Cookie{Name: "session", Value: id, Secure: true, HttpOnly: true, Path: "/"})
			fmt.Fprintf(w, `{"query":{"tokens":{"logintoken":"t-%s+\\"}}}`, id)
			return
		}
		fmt.Fprint(w, `{"query":{"general":{"sitename":"Example","rate":1.0,"big":9007199254740993,"on":true,"none":null},"list":[{"a":"x"}]}}`)
	})
	mux.HandleFunc("POST /w/api.php", func(w http.ResponseWriter, r *http.Request) {
		id := cookie(r)
		if id == "" || r.FormValue("lgtoken") != "t-"+id+`+\` || r.FormValue("lgpassword") != "pw" {
			fmt.Fprintf(w, `{"login":{"result":"Failed","reason":"token %s, password %s"}}`, r.FormValue("lgtoken"), r.FormValue("lgpassword"))
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "user", Value: r.FormValue("lgname"), Secure: true, Path: "/"})
		fmt.Fprint(w, `{"login":{"result":"Success"}}`)
	})
	mux.HandleFunc("/wiki/Main_Page", func(w http.ResponseWriter, r *http.Request) {
		user, _ := r.Cookie("user")
		name := "anonymous"
		if user != nil {
			name = user.Value
		}
		w.Header().Set("X-Host", r.Host)
		w.Header().Set("X-Agent", r.UserAgent())
		fmt.Fprintf(w, "<h1>Main Page</h1> for %s", name)
	})
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(500)
		fmt.Fprint(w, "<p>Internal   error\nTypeError</p>")
	})
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/wiki/Main_Page", http.StatusMovedPermanently)
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
	})
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "half")
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		b := make([]byte, 1<<16)
		for range maxBody/len(b) + 2 {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv
}

const login = `credentials: c
login:
- {name: token, path: '/w/api.php?meta=tokens', capture: {t: {json: query.tokens.logintoken}, s: {cookie: session}}}
- {name: log in, path: /w/api.php, form: {lgname: '${credentials.user}', lgpassword: '${credentials.password}', lgtoken: '${t}'}, expect: {json: {login.result: Success}}}
`

func run(t *testing.T, base, text string) Report {
	t.Helper()
	s, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), s.Question(base))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRun(t *testing.T) {
	srv := wiki(t)
	tests := map[string]struct {
		probe string // the keys besides its name
		want  Outcome
		says  string
	}{
		"ok":                {"path: /wiki/Main_Page", OK, ""},
		"contained":         {"path: /wiki/Main_Page, expect: {contains: [Main Page, for anonymous], lacks: Internal error, matches: '<h1>.*</h1>'}", OK, ""},
		"host and agent":    {"path: /wiki/Main_Page, host: wiki.example.org, expect: {headers: {x-host: wiki.example.org, X-Agent: scap/probe}}", OK, ""},
		"a method":          {"path: /wiki/Main_Page, method: HEAD", OK, ""},
		"status":            {"path: /broken", Failed, `status 500, want 200: "<p>Internal error TypeError</p>"`},
		"expected status":   {"path: /broken, expect: {status: [404, 500]}", OK, ""},
		"header":            {"path: /wiki/Main_Page, expect: {headers: {X-Host: nowhere}}", Failed, `header X-Host is "127.0.0.1`},
		"missing word":      {"path: /wiki/Main_Page, expect: {contains: Portal}", Failed, `"Portal" is not in the body: "<h1>Main Page</h1> for anonymous"`},
		"forbidden word":    {"path: /wiki/Main_Page, expect: {lacks: [Main]}", Failed, `"Main" is in the body`},
		"pattern":           {"path: /wiki/Main_Page, expect: {matches: '^x'}", Failed, `does not match "^x"`},
		"json":              {"path: /w/api.php, expect: {json: {query.general.sitename: Example, query.list.0.a: x, query.general.rate: 1, query.general.on: true, query.general.none: null}}", OK, ""},
		"json large number": {"path: /w/api.php, expect: {json: {query.general.big: 9007199254740993}}", OK, ""},
		"json value":        {"path: /w/api.php, expect: {json: {query.general.sitename: Other}}", Failed, `json query.general.sitename is "Example", want "Other"`},
		"json type":         {"path: /w/api.php, expect: {json: {query.general.rate: '1'}}", Failed, `is 1.0, want "1"`},
		"json object":       {"path: /w/api.php, expect: {json: {query.general: x}}", Failed, "want"},
		"json missing":      {"path: /w/api.php, expect: {json: {query.nope.x: 1}}", Failed, `there is no "nope"`},
		"json position":     {"path: /w/api.php, expect: {json: {query.list.1.a: 1}}", Failed, `no position "1" in a list of 1`},
		"no json":           {"path: /wiki/Main_Page, expect: {json: {a: 1}}", Failed, "the body is no JSON"},
		"redirect":          {"path: /, expect: {status: 301, headers: {Location: /wiki/Main_Page}}", OK, ""},
		"redirect unasked":  {"path: /", Failed, "status 301, want 200"},
		"followed":          {"path: /, follow: true, expect: {contains: Main Page}", OK, ""},
		"loop":              {"path: /loop, follow: true", Failed, "more than 5 redirects"},
		"away":              {"path: /away, follow: true", Failed, "redirected away, to https://elsewhere.example"},
		"hangs":             {"path: /hang, timeout: 50ms", Failed, "no whole answer within 50ms"},
		"cut off":           {"path: /cut", Failed, "broke off after 4 bytes"},
		"endless":           {"path: /endless", Failed, "longer than"},
		"a capture fails":   {"path: /w/api.php, capture: {x: {json: query.none}}", Failed, "capture x: "},
		"a cookie":          {"path: /wiki/Main_Page, capture: {x: {cookie: nope}}", Failed, `no cookie "nope"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := run(t, srv.URL, "probes: [{name: it, "+tt.probe+"}]")
			if len(r.Results) != 1 || r.Results[0].Outcome != tt.want || !strings.Contains(r.Results[0].Reason, tt.says) {
				t.Errorf("%+v, want %s saying %q", r.Results, tt.want, tt.says)
			}
			if (r.Err() == nil) != (tt.want == OK) {
				t.Errorf("error %v", r.Err())
			}
		})
	}
}

func TestRunLogin(t *testing.T) {
	srv := wiki(t)
	r := run(t, srv.URL, login+`host: wiki.example.org
probes:
- {name: anonymous, path: /wiki/Main_Page, expect: {contains: for anonymous}}
- {name: logged in, path: /wiki/Main_Page, session: true, expect: {contains: for u}}
- {name: anonymous still, path: /wiki/Main_Page, expect: {contains: for anonymous}}
`)
	if err := r.Err(); err != nil || len(r.Results) != 3 {
		t.Errorf("%v: %+v", err, r.Results)
	}
}

func TestRunLoginFails(t *testing.T) {
	srv := wiki(t)
	s, err := parse(login + "probes: [{name: anonymous, path: /wiki/Main_Page}, {name: logged in, path: /wiki/Main_Page, session: true}]")
	if err != nil {
		t.Fatal(err)
	}
	q := s.Question(srv.URL)
	q.Credentials = map[string]string{"user": "u", "password": "wrong-password"}
	r, err := Run(t.Context(), q)
	if err != nil || len(r.Results) != 3 || r.Results[0].Outcome != OK || r.Results[1].Name != "log in" || r.Results[2].Outcome != Failed {
		t.Fatalf("%+v, %v", r.Results, err)
	}
	text := r.Err().Error()
	if !strings.Contains(text, `"logged in" failed: the login's step "log in" did not end well`) {
		t.Errorf("error %s", text)
	}
	b, _ := json.Marshal(r)
	if strings.Contains(string(b), "wrong-password") || strings.Contains(string(b), "t-s1") {
		t.Errorf("a secret is in the report: %s", b)
	}
}

func TestRunUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	r := run(t, "http://"+l.Addr().String(), login+"probes: [{name: a, path: /}, {name: b, path: /, session: true}]")
	for _, p := range r.Results {
		if p.Outcome != Unreachable {
			t.Errorf("%+v", p)
		}
	}
	if len(r.Results) != 3 {
		t.Errorf("%+v", r.Results)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	srv := wiki(t)
	s, err := parse("probes: [{name: a, path: /hang}, {name: b, path: /wiki/Main_Page}]")
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(stop) })
	if _, err := Run(ctx, s.Question(srv.URL)); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
}

func TestRunRefusesAddresses(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:80", "ftp://h", "http://", "http://h/path", "http://u:p@h"} {
		if _, err := Run(t.Context(), Question{Base: bad}); err == nil {
			t.Errorf("base %q was accepted", bad)
		}
	}
}

func TestReportErr(t *testing.T) {
	if (Report{}).Err() == nil {
		t.Error("nothing was asked and all is well")
	}
	bad := Result{Name: "a", Outcome: Failed, Reason: "no"}
	if (Report{Results: []Result{{Name: "x"}}}).Err() == nil {
		t.Error("a probe that was not tried is well")
	}
	err := Report{Results: []Result{bad, bad, bad, bad, bad, {Outcome: OK}}}.Err()
	if err == nil || !strings.Contains(err.Error(), "5 of 6 probes") || !strings.Contains(err.Error(), "and 2 more") {
		t.Errorf("error %v", err)
	}
}

func TestAnswer(t *testing.T) {
	srv := wiki(t)
	s, err := parse("probes: [{name: a, path: /wiki/Main_Page}, {name: b, path: /broken}]")
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := json.Marshal(s.Question(srv.URL))
	b, err := Answer(t.Context(), raw)
	var r Report
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil || len(r.Results) != 2 || r.Results[0].Outcome != OK || r.Results[1].Outcome != Failed {
		t.Errorf("%s, %v", b, err)
	}
	for _, base := range []string{"http://10.0.0.1", "http://169.254.169.254", "http://wiki.example.org", "http://localhost.example"} {
		raw, _ := json.Marshal(s.Question(base))
		if _, err := Answer(t.Context(), raw); err == nil || !strings.Contains(err.Error(), "its own web server") {
			t.Errorf("base %q: %v", base, err)
		}
	}
	for _, bad := range []string{"", "{", `{"base":"http://127.0.0.1","x":1}`} {
		if _, err := Answer(t.Context(), json.RawMessage(bad)); err == nil {
			t.Errorf("question %q was answered", bad)
		}
	}
}
