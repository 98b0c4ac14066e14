package gerrit

import (
	"compress/gzip"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scap/sync/change"
)

func one(t *testing.T, c *Client) error {
	t.Helper()
	_, err := c.Changes(t.Context(), []int{1001})
	clean(t, err)
	return err
}

// TestRetries counts how often a question is put, and how long that takes at most.
func TestRetries(t *testing.T) {
	good := says([]object{info(1001)})
	after := func(seconds string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", seconds)
			fails(429, "Too many")(w, r)
		}
	}
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for _, s := range []struct {
		name     string
		answers  http.HandlerFunc
		asked    int
		kind     error
		min, max time.Duration
	}{
		{"at once well", good, 1, nil, 0, 0},
		{"500, then well", times(fails(500, "Internal server error"), good), 2, nil, time.Millisecond, time.Second},
		{"502, 503, 504, then well", times(fails(502, ""), fails(503, ""), fails(504, ""), good), 4, nil, time.Millisecond, 3 * time.Second},
		{"cut off twice, then well", times(lost, lost, good), 3, nil, time.Millisecond, 2 * time.Second},
		{"hangs once, then well", times(hang, good), 2, nil, 15 * time.Second, 16 * time.Second},
		{"hangs", hang, 2, ErrDown, 30 * time.Second, 30 * time.Second},
		{"asks for 7 s, then well", times(after("7"), good), 2, nil, 7 * time.Second, 7 * time.Second},
		{"asks for an hour", after("3600"), 1, ErrDown, 0, 0},
		{"down", fails(503, "down"), maxTries, ErrDown, 5 * time.Second, 30 * time.Second},
		{"cut off for ever", lost, maxTries, ErrDown, 5 * time.Second, 30 * time.Second},
		{"501", fails(501, ""), 1, ErrDown, 0, 0},
		{"400", fails(400, "line 1:7 no viable alternative"), 1, nil, 0, 0},
		{"401", fails(401, "Unauthorized"), 1, ErrUnauthorized, 0, 0},
		{"403", fails(403, "Authentication required"), 1, ErrForbidden, 0, 0},
		{"404", fails(404, "Not found"), 1, change.ErrNotFound, 0, 0},
		{"409", fails(409, "change is merged"), 1, ErrConflict, 0, 0},
		{"a page", raw(200, "text/html", "<html>"), 1, nil, 0, 0},
	} {
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig()
				c := g.client(t)
				g.on("GET /changes/", s.answers)
				begun := time.Now()
				err := one(t, c)
				took := time.Since(begun)
				if well := strings.HasSuffix(s.name, "well"); (err == nil) != well || s.kind != nil && !errors.Is(err, s.kind) {
					t.Errorf("%v", err)
				}
				if n := len(g.sent("GET", "/changes/")); n != s.asked || took < s.min || took > s.max {
					t.Errorf("asked %d times in %s, want %d in %s to %s", n, took, s.asked, s.min, s.max)
				}
				var e *Error
				if err != nil && (!errors.As(err, &e) || e.Method != "GET" || !strings.HasPrefix(e.Path, "/a/changes/?q=change%3A1001&n=")) {
					t.Errorf("%#v", e)
				}
			})
		})
	}
}

// TestTimeUp says what the last try came to, not only that the time is up.
func TestTimeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig()
		c := g.client(t, func(o *Options) { o.Timeout = time.Second })
		g.on("GET /changes/", fails(503, "down"))
		err := one(t, c)
		if !errors.Is(err, ErrDown) || !strings.Contains(err.Error(), "no answer within 1s") || !strings.Contains(err.Error(), "the last one: 503 Service Unavailable") {
			t.Error(err)
		}
	})
}

// TestCancelled ends a question with the cause of its context, in whichever place it is.
func TestCancelled(t *testing.T) {
	why := errors.New("the deployer has had enough")
	for name, h := range map[string]http.HandlerFunc{
		"while it hangs":    func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"between two tries": fails(503, ""),
		"while it is told off": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "20")
			fails(429, "")(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig()
				c := g.client(t)
				g.on("GET /changes/", h)
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(800*time.Millisecond, func() { cancel(why) })
				begun := time.Now()
				_, err := c.Changes(ctx, []int{1001})
				if !errors.Is(err, why) || errors.Is(err, ErrDown) || time.Since(begun) != 800*time.Millisecond {
					t.Errorf("%v after %s", err, time.Since(begun))
				}
			})
		})
	}
}

// TestStrangers are answers that are not Gerrit's.
func TestStrangers(t *testing.T) {
	redirect := func(where string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", where)
			w.WriteHeader(302)
		}
	}
	for _, s := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"login page", raw(200, "text/html; charset=utf-8", "<!DOCTYPE html>\n<html><head><title>\n Sign\tin\x1b[2J </title>"), `a page of HTML titled "Sign in?[2J" and not an answer of Gerrit's`},
		{"page without a type", raw(200, "", " \n<html>"), "a page of HTML and not"},
		{"page of an error", raw(404, "text/html", "<html><title>404 Not Found</title>"), `404 Not Found: a page of HTML titled "404 Not Found"`},
		{"redirect", redirect("https://idp.test/login?token=abc#frag"), "302 Found: it sends to https://idp.test: a login page"},
		{"redirect with a password", redirect("https://deployer:s3cret@idp.test/"), "it sends to https://idp.test: "},
		{"redirect at home", redirect("/login/"), "another path of its own"},
		{"redirect to nowhere", redirect(""), "it sends to nowhere"},
		{"json of another server", raw(200, "application/json", `[{"_number":1001}]`), `begins with ")]}'\n"`},
		{"empty", raw(200, "application/json", ""), `begins with ")]}'\n"`},
		{"no content", raw(204, "", ""), "204 No Content"},
		{"half", raw(200, "application/json", ")]}'\n[{\"_number\":1001"), "cannot be read: unexpected EOF"},
		{"more after it", raw(200, "application/json", ")]}'\n[]\n[]"), "something follows it"},
		{"rude", fails(400, "a\x1b[31mb\r\nc\u202e d"), "400 Bad Request: a?[31mb c? d"},
		{"long", fails(400, strings.Repeat("ä ", 10_000)), "ä …"},
		{"echo", func(w http.ResponseWriter, r *http.Request) {
			fails(400, "you sent "+r.Header.Get("Authorization")+" that is "+password)(w, r)
		}, "you sent Basic (hidden) that is (hidden)"},
	} {
		t.Run(s.name, func(t *testing.T) {
			g := newRig()
			c := g.client(t)
			g.on("GET /changes/", s.answer)
			err := one(t, c)
			if err == nil || !strings.Contains(err.Error(), s.want) || errors.Is(err, change.ErrNotFound) || len(g.sent("", "")) != 1 {
				t.Errorf("%v after %d questions, want %q", err, len(g.sent("", "")), s.want)
			}
		})
	}
}

// web is the rig behind a real socket. What it was sent is kept line by line.
func web(t *testing.T, g *rig) (*httptest.Server, *sync.Map) {
	t.Helper()
	var lines sync.Map
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lines.Store(r.RequestURI, r.UserAgent())
		g.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s, &lines
}

// TestRequestLine sends credentials in the header, below /a, and in no other place.
func TestRequestLine(t *testing.T) {
	g := newRig()
	s, lines := web(t, g)
	real := func(o *Options) { o.URL, o.HTTP = s.URL+"/r", nil }
	g.known(100, info(1001))
	if err := one(t, g.client(t, real)); err != nil {
		t.Fatal(err)
	}
	if err := one(t, g.client(t, real, func(o *Options) { o.CredentialsFile = "" })); err != nil {
		t.Fatal(err)
	}
	want := "/changes/?q=change%3A1001&n=100&o=CURRENT_REVISION&o=CURRENT_COMMIT&o=CURRENT_FILES&o=DETAILED_LABELS&o=DETAILED_ACCOUNTS"
	if a, _ := lines.Load("/r/a" + want); a != "scap" {
		t.Errorf("not asked for /r/a%s (%v)", want, a)
	}
	if a, _ := lines.Load("/r" + want); a != "scap" {
		t.Errorf("not asked for /r%s (%v)", want, a)
	}
	lines.Range(func(line, _ any) bool {
		if strings.Contains(line.(string), "s3cret") || strings.Contains(line.(string), "deployer") {
			t.Errorf("a request line with a secret: %s", line)
		}
		return true
	})
	calls := g.sent("GET", "/changes/")
	if len(calls) != 2 || calls[0].auth != newSecret("deployer", password).header || calls[1].auth != "" {
		t.Errorf("%+v", calls)
	}
	if _, err := g.client(t, real, func(o *Options) { o.CredentialsFile = "" }).Self(t.Context()); !errors.Is(err, ErrUnauthorized) || len(g.sent("", "/self")) != 0 {
		t.Errorf("%v, want a refusal without a question", err)
	}
	c := g.client(t, real)
	for range 2 {
		if name, err := c.Self(t.Context()); err != nil || name != "deployer" || len(g.sent("GET", "/accounts/self")) != 1 {
			t.Errorf("we are %q, %v; asked %d times", name, err, len(g.sent("GET", "/accounts/self")))
		}
	}
	c = g.client(t, real)
	g.on("GET /accounts/self", says(object{"name": "nobody"}))
	if _, err := c.Self(t.Context()); err == nil || !strings.Contains(err.Error(), "names no account") {
		t.Error(err)
	}
}

// TestHuge reads no answer without end, packed or not, and says so at once; a page of changes that is too large is asked for in parts.
func TestHuge(t *testing.T) {
	g := newRig()
	s, _ := web(t, g)
	c := g.client(t, func(o *Options) { o.URL, o.HTTP = s.URL+"/r", nil })
	var asked atomic.Int64
	zeros := make([]byte, 1<<20)
	stream := func(w io.Writer) {
		io.WriteString(w, ")]}'\n[")
		for range maxBody>>20 + 1 {
			if _, err := w.Write(zeros); err != nil {
				return
			}
		}
	}
	for name, h := range map[string]http.HandlerFunc{
		"plain": func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); stream(w) },
		"packed": func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.Header().Set("Content-Encoding", "gzip")
			z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
			stream(z)
			z.Close()
		},
		"announced": func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.Header().Set("Content-Length", "99999999999")
			w.WriteHeader(200)
		},
	} {
		g.on("GET /accounts/self", h)
		asked.Store(0)
		if _, err := c.Self(t.Context()); !errors.Is(err, errTooBig) || asked.Load() != 1 {
			t.Errorf("%s: %v after %d questions", name, err, asked.Load())
		}
	}
	small := newRig()
	small.known(100, info(1001), info(1002), info(1003), info(1004))
	g.on("GET /changes/", func(w http.ResponseWriter, r *http.Request) {
		if n := r.URL.Query().Get("n"); n != "2" {
			w.Header().Set("Content-Length", "99999999999")
			return
		}
		small.answer["GET /changes/"](w, r)
	})
	list, err := c.Changes(t.Context(), []int{1003, 1001, 1004, 1002})
	if err != nil || len(list) != 4 || list[0].Number != 1003 {
		t.Errorf("%d changes, %v", len(list), err)
	}
}

// TestCAFile trusts what the file says, and nothing else.
func TestCAFile(t *testing.T) {
	g := newRig()
	s := httptest.NewUnstartedServer(g)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	g.known(100, info(1001))
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	real := func(o *Options) { o.URL, o.HTTP = s.URL+"/r", nil }
	if err := one(t, g.client(t, real, func(o *Options) { o.CAFile = ca })); err != nil {
		t.Error(err)
	}
	c := g.client(t, real)
	if err := one(t, c); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v, want a word about the certificate", err)
	}
	var e *Error
	if err := c.post(t.Context(), "/x", object{}, nil); !errors.As(err, &e) || e.lost || len(g.sent("POST", "")) != 0 {
		t.Errorf("%v: a write that was never sent is lost", err)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good", "u:p\n", 0o600)
	for _, s := range []struct {
		name string
		o    Options
		want string // "": opens
	}{
		{"anonymous", Options{URL: "http://gerrit.test"}, ""},
		{"https", Options{URL: "https://gerrit.test/r/", CredentialsFile: good}, ""},
		{"narrower", Options{URL: "https://gerrit.test", CredentialsFile: file("narrow", "u:p", 0o400)}, ""},
		{"clear on this machine", Options{URL: "http://127.0.0.1:1", CredentialsFile: good}, ""},
		{"clear on this machine by name", Options{URL: "http://localhost:1", CredentialsFile: good}, ""},
		{"clear", Options{URL: "http://gerrit.test", CredentialsFile: good}, "in the clear: use https"},
		{"no url", Options{}, "write https://host/path"},
		{"path only", Options{URL: "/r"}, "write https://host/path"},
		{"ssh", Options{URL: "ssh://gerrit.test:29418"}, "write https://host/path"},
		{"password in the url", Options{URL: "https://u:s3cret@gerrit.test"}, "belong in credentials_file"},
		{"broken url with a password", Options{URL: "https://u:s3cret@gerrit.test:x y"}, "write https://host/path"},
		{"query", Options{URL: "https://gerrit.test/?q=1"}, "has a ?"},
		{"label", Options{URL: "https://gerrit.test", Label: "a/b"}, `"a/b" is no name of a label`},
		{"no credentials there", Options{URL: "https://gerrit.test", CredentialsFile: dir + "/none"}, "no such file"},
		{"for the group", Options{URL: "https://gerrit.test", CredentialsFile: file("group", "u:s3cret", 0o640)}, "open to others (mode 0640)"},
		{"for all", Options{URL: "https://gerrit.test", CredentialsFile: file("all", "u:s3cret", 0o604)}, "open to others (mode 0604)"},
		{"directory", Options{URL: "https://gerrit.test", CredentialsFile: dir}, "is no file"},
		{"netrc for all", Options{URL: "https://gerrit.test", Netrc: file("n1", "default login u password s3cret", 0o644)}, "open to others"},
		{"netrc of another", Options{URL: "https://gerrit.test", Netrc: file("n2", "machine x login u password s3cret", 0o600)}, "no entry for machine gerrit.test"},
		{"netrc", Options{URL: "https://gerrit.test", Netrc: file("n3", "machine gerrit.test login u password p", 0o600)}, ""},
		{"no ca", Options{URL: "https://gerrit.test", CAFile: dir + "/none"}, "ca file"},
		{"ca that is none", Options{URL: "https://gerrit.test", CAFile: good}, "no certificate in PEM"},
	} {
		t.Run(s.name, func(t *testing.T) {
			c, err := Open(s.o)
			if s.want == "" && (err != nil || c.timeout != 30*time.Second || c.label != "Code-Review") {
				t.Errorf("%v", err)
			}
			if s.want != "" && (err == nil || !strings.Contains(err.Error(), s.want) || strings.Contains(err.Error(), "s3cret")) {
				t.Errorf("%v, want %q", err, s.want)
			}
		})
	}
}

var secretLines = []struct{ text, user, password string }{
	{"u:p", "u", "p"},
	{"u:p\n", "u", "p"},
	{"u:p\r\n", "u", "p"},
	{"u:p:q r", "u", "p:q r"},
	{"u: p ", "u", " p "},
	{"", "", ""},
	{"u", "", ""},
	{"u:", "", ""},
	{":p", "", ""},
	{"u:p\nv:q", "", ""},
	{"u:p\x00", "", ""},
	{"u:" + strings.Repeat("x", maxSecret+1), "", ""},
}

func TestCredentials(t *testing.T) {
	c, err := Open(Options{URL: "https://gerrit.test", CredentialsFile: credentialsFile(t)})
	if err != nil {
		t.Fatal(err)
	}
	if user, pass := c.Credentials(); user != "deployer" || pass != password {
		t.Errorf("opened with %q and %q", user, pass)
	}
	for _, s := range secretLines {
		got, err := parseCredentials([]byte(s.text))
		if (err == nil) != (s.user != "") || err == nil && (got.user != s.user || got.password != s.password) {
			t.Errorf("%.20q: %+v, %v", s.text, got, err)
		}
	}
}

var netrcs = []struct{ text, user, password string }{
	{"machine gerrit.test login u password p", "u", "p"},
	{"machine other login a password b\nmachine GERRIT.test\n\tlogin u\n\tpassword p#1\n", "u", "p#1"},
	{"machine gerrit.test password p account x login u machine gerrit.test login v password w", "u", "p"},
	{"default login u password p\nmachine gerrit.test login v password w", "u", "p"},
	{"# mine\nmachine other login a password b\nmacdef init\nmachine gerrit.test login x password y\n\nmachine gerrit.test login u password p", "u", "p"},
	{"machine gerrit.test login machine password default", "machine", "default"},
	{"machine gerrit.test login u password macdef", "u", "macdef"},
	{"", "", ""},
	{"machine gerrit.test login u", "", ""},
	{"machine gerrit.test password p", "", ""},
	{"machine gerrit.test login u:v password p", "", ""},
	{"machine other login u password p", "", ""},
	{"machine gerrit.test login u passwd p", "", ""},
	{"machine", "", ""},
}

func TestNetrc(t *testing.T) {
	for _, s := range netrcs {
		got, err := parseNetrc(s.text, "gerrit.test")
		if (err == nil) != (s.user != "") || err == nil && (got.user != s.user || got.password != s.password) {
			t.Errorf("%q: %+v, %v", s.text, got, err)
		}
	}
}

func FuzzNetrc(f *testing.F) {
	for _, s := range netrcs {
		f.Add(s.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseNetrc(text, "gerrit.test")
		if err == nil && (!usable(got.user) || !usable(got.password) || strings.Contains(got.user, ":")) {
			t.Errorf("%+v", got)
		}
	})
}

func TestClip(t *testing.T) {
	for text, want := range map[string]string{
		"": "", " a\n\tb ": "a b", "a\x07b\u200fc": "a?b?c", "\xff": "?", "0123456789": "0123456789", "0123456789x": "0123456789…", "012345678äx": "012345678…",
	} {
		if got := clip(text, 10); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
