package announce

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// service is an HTTP server that answers as a test says.
type service struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string // method, path and body
}

func serve(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request, body string)) *service {
	t.Helper()
	s := &service{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked = append(s.asked, r.Method+" "+r.URL.Path+" "+string(body))
		answer(len(s.asked), w, r, string(body))
	}))
	t.Cleanup(s.Close)
	return s
}

// heard is what it was asked.
func (s *service) heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// cutOff ends the connection without an answer.
func cutOff(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		conn.Close()
	}
}

func TestWebhook(t *testing.T) {
	for _, row := range []struct {
		name   string
		answer func(n int, w http.ResponseWriter)
		asked  int
		err    string
	}{
		{"well", func(int, http.ResponseWriter) {}, 1, ""},
		{"too busy at first", func(n int, w http.ResponseWriter) {
			if n < 3 {
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(http.StatusTooManyRequests)
			}
		}, 3, ""},
		{"gone", func(_ int, w http.ResponseWriter) {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, "no_service\x1b[2J for /hook/"+secretText)
		}, 1, `POST to 127.0.0.1: 404 Not Found: "no_service [2J for /hook/hunter2"`},
		{"the answer is lost", func(_ int, w http.ResponseWriter) { cutOff(w) }, 1, "127.0.0.1: EOF"},
		{"the connection is reset", func(_ int, w http.ResponseWriter) {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
			}
		}, 1, "127.0.0.1: read tcp"},
		{"an error that may have posted it", func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) }, 1, "POST to 127.0.0.1: 500 Internal Server Error"},
		{"elsewhere", func(_ int, w http.ResponseWriter) {
			w.Header().Set("Location", "https://elsewhere.example/")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, 1, "POST to 127.0.0.1: 307 Temporary Redirect"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := serve(t, func(n int, w http.ResponseWriter, _ *http.Request, _ string) { row.answer(n, w) })
			h := &webhook{Options: Options{URL: s.URL + "/hook/x"}, web: newWeb("")}
			defer h.Close()
			err := h.Tell(t.Context(), Event{Did: "jd@deploy1 Started scap sync", About: "<!channel> a & b <https://x|y> @Here @channels"})
			if got, want := fmt.Sprint(err), or(row.err, "<nil>"); got != want && (row.err == "" || !strings.HasPrefix(got, want+" ")) {
				t.Errorf("error %q, want %q", got, want)
			}
			if len(s.heard()) != row.asked {
				t.Errorf("asked %d times, want %d", len(s.heard()), row.asked)
			}
			var sent struct{ Text string }
			_ = json.Unmarshal([]byte(strings.TrimPrefix(s.heard()[0], "POST /hook/x ")), &sent)
			if want := "jd@deploy1 Started scap sync: &lt;!channel&gt; a &amp; b &lt;https://x|y&gt; @\u200bHere @\u200bchannels"; sent.Text != want {
				t.Errorf("sent %q, want %q", sent.Text, want)
			}
		})
	}
}

// TestWebhookSecret never tells the URL.
func TestWebhookSecret(t *testing.T) {
	s := serve(t, func(_ int, w http.ResponseWriter, r *http.Request, _ string) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, "not allowed: http://"+r.Host+r.URL.Path)
	})
	for _, row := range []struct{ name, url, err string }{
		{"an answer that repeats it", s.URL + "/" + secretText, `POST to 127.0.0.1: 403 Forbidden: "not allowed: (secret)"`},
		{"nobody listens", "http://" + free(t) + "/" + secretText, "127.0.0.1: dial tcp"},
		{"no such scheme", "pigeon://127.0.0.1/" + secretText, "127.0.0.1: unsupported protocol scheme"},
		{"no URL", "http://%zz/" + secretText, "its URL is none"},
	} {
		t.Run(row.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			h := &webhook{Options: Options{URLFile: secretFile(t, row.url)}, web: newWeb("")}
			defer h.Close()
			err := h.Tell(ctx, Event{Did: "x"})
			if err == nil || !strings.HasPrefix(err.Error(), row.err) || strings.Contains(err.Error(), secretText) {
				t.Errorf("error %q, want one that begins with %q", err, row.err)
			}
		})
	}
}

func TestSecret(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, row := range []struct{ name, path, want, err string }{
		{"well", write("a", " pass word\n", 0o600), "pass word", ""},
		{"read only", write("b", "x", 0o400), "x", ""},
		{"the group may read it", write("c", secretText, 0o640), "", "others may read"},
		{"everybody may read it", write("d", secretText, 0o604), "", "others may read"},
		{"empty", write("e", "\n", 0o600), "", "has not one line"},
		{"two lines", write("f", secretText+"\nb", 0o600), "", "has not one line"},
		{"too long", write("g", strings.Repeat("x", 5000), 0o600), "", "has not one line"},
		{"no file", dir, "", "is no file"},
		{"not there", filepath.Join(dir, "z"), "", "no such file"},
	} {
		got, err := secret(row.path)
		if got != row.want || (err == nil) != (row.err == "") || err != nil && (!strings.Contains(err.Error(), row.err) || strings.Contains(err.Error(), secretText)) {
			t.Errorf("%s: %q, %v; want %q, %q", row.name, got, err, row.want, row.err)
		}
	}
}

// TestTLS trusts whom its CA file names, and nobody else.
func TestTLS(t *testing.T) {
	cert, key := certificate(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	other, _ := certificate(t)
	for _, row := range []struct {
		ca string
		ok bool
	}{{cert, true}, {other, false}, {"", false}, {key, false}, {"/nowhere", false}} {
		h := &webhook{Options: Options{URL: s.URL}, web: newWeb(row.ca)}
		if err := h.Tell(t.Context(), Event{Did: "x"}); (err == nil) != row.ok {
			t.Errorf("with CA file %q: %v", row.ca, err)
		}
		_ = h.Close()
	}
}

// page is a Statuspage.
type page struct {
	mu   sync.Mutex
	open []incident
	log  []string
	lose int // answers to new incidents that are lost
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	p.log = append(p.log, r.Method+" "+r.URL.Path+" "+string(body))
	if r.Header.Get("Authorization") != "OAuth "+secretText {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"error":"no key %s"}`, r.Header.Get("Authorization"))
		return
	}
	var asked struct{ Incident incident }
	_ = json.Unmarshal(body, &asked)
	path, _ := strings.CutPrefix(r.URL.Path, "/v1/pages/p1/incidents")
	switch {
	case r.Method == http.MethodGet && path == "/unresolved":
		_ = json.NewEncoder(w).Encode(p.open)
	case r.Method == http.MethodPost && path == "":
		asked.Incident.ID = fmt.Sprint("i", len(p.log))
		p.open = append(p.open, asked.Incident)
		if p.lose--; p.lose >= 0 {
			cutOff(w)
			return
		}
		w.WriteHeader(http.StatusCreated)
	case r.Method == http.MethodPatch && asked.Incident.Status == resolved:
		p.open = slices.DeleteFunc(p.open, func(i incident) bool { return "/"+i.ID == path })
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// TestStatuspage opens an incident when more than canaries got the release, and ends it with the way back.
func TestStatuspage(t *testing.T) {
	foreign := incident{ID: "x", Name: "The sea cable is cut", Status: investigating}
	other := incident{ID: "y", Status: investigating, Metadata: map[string]map[string]string{"scap": {"site": "deploy2"}}}
	failing := func(phase int) *scene {
		s := newScene()
		s.plan.Phases[phase].Gate = fails
		return s
	}
	for _, row := range []struct {
		name   string
		s      *scene
		lose   int
		opened int
	}{
		{"all is well", newScene(), 0, 0},
		{"the canaries fail", failing(1), 0, 0},
		{"it fails for everybody", failing(2), 0, 1},
		{"the answer is lost", failing(2), 1, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := &page{open: []incident{foreign, other}, lose: row.lose}
			server := httptest.NewServer(p)
			defer server.Close()
			a := newStatuspage(Options{URL: server.URL + "/v1", Page: "p1", Component: "c1", TokenFile: secretFile(t, secretText)}, Deps{Site: "deploy1", Test: []string{"test"}})
			defer a.Close()
			for _, e := range deploy(t, row.s).heard() {
				if err := a.Tell(t.Context(), e); err != nil {
					t.Error(err)
				}
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			asked := strings.Join(p.log, "\n")
			if n := strings.Count(asked, "POST "); n != row.opened {
				t.Errorf("%d incidents were opened, want %d: %s", n, row.opened, asked)
			}
			if n := strings.Count(asked, "PATCH "); n != row.opened || len(p.open) != 2 {
				t.Errorf("%d incidents were ended and %d are left: %s", n, len(p.open)-2, asked)
			}
			if row.opened > 0 && (!strings.Contains(asked, `"components":{"c1":"partial_outage"}`) || !strings.Contains(asked, `"components":{"c1":"operational"}`)) {
				t.Errorf("the component: %s", asked)
			}
			if strings.Contains(asked, "1001") || strings.Contains(asked, secretText) {
				t.Errorf("the public is told why: %s", asked)
			}
		})
	}
	t.Run("a watch fails, and another deploy mends it", func(t *testing.T) {
		p := &page{}
		server := httptest.NewServer(p)
		defer server.Close()
		o := Options{URL: server.URL + "/v1", Page: "p1", TokenFile: secretFile(t, secretText)}
		for i, e := range []Event{{What: Watch, facts: newFacts("d1")}, {What: Watch, facts: newFacts("d1")}, {What: Deployed, facts: newFacts("d2")}} {
			a := newStatuspage(o, Deps{Site: "deploy1"}) // each in a process of its own
			if err := a.Tell(t.Context(), e); err != nil {
				t.Error(err)
			}
			p.mu.Lock()
			if want := []int{1, 1, 0}[i]; len(p.open) != want {
				t.Errorf("after event %d %d incidents are open, want %d", i, len(p.open), want)
			}
			p.mu.Unlock()
			_ = a.Close()
		}
	})
	t.Run("a wrong key", func(t *testing.T) {
		server := httptest.NewServer(&page{})
		defer server.Close()
		a := newStatuspage(Options{URL: server.URL, Page: "p1", TokenFile: secretFile(t, "sesame")}, Deps{})
		defer a.Close()
		err := a.Tell(t.Context(), Event{What: Watch, facts: newFacts("d1")})
		if err == nil || !strings.Contains(err.Error(), "401 Unauthorized") || strings.Contains(err.Error(), "sesame") {
			t.Errorf("error %v", err)
		}
	})
}
