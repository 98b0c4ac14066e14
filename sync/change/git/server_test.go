package git

import (
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server serves an origin over HTTP, as a real git server does, by git-http-backend(1).
type server struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
	// before may answer a request in git's place.
	before func(w http.ResponseWriter, r *http.Request) bool
}

func (o *origin) serve() *server {
	o.t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, missing := os.Stat(backend); err != nil || missing != nil {
		if os.Getenv("CI") != "" {
			o.t.Fatal("git-http-backend(1) is needed")
		}
		o.t.Skip("git-http-backend(1) is not here")
	}
	git := &cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + o.dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "HOME=" + o.dir}, Logger: nil, Stderr: discard{}}
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.Method+" "+r.URL.RequestURI())
		before := s.before
		s.mu.Unlock()
		if before != nil && before(w, r) {
			return
		}
		git.ServeHTTP(w, r)
	}))
	o.t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func (s *server) answer(before func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// mirrors are mirrors of what the server has.
func (s *server) mirrors(t *testing.T, change func(*Options)) *Mirrors {
	t.Helper()
	o := Options{Dir: filepath.Join(t.TempDir(), "mirrors"), URL: s.URL, Timeout: time.Minute}
	if change != nil {
		change(&o)
	}
	m, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	m.pause = func(int) time.Duration { return 0 }
	return m
}

func (m *Mirrors) must(t *testing.T, project string) *Repo {
	t.Helper()
	return must[*Repo](t)(m.Repo(project))
}
