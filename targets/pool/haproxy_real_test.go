package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scap/fixtures/real"
	"scap/sync/release"
	"scap/targets"
)

// webHost is a fakeHost whose requests are real: it counts who comes and fails its health check while it is out.
type webHost struct {
	fakeHost
	*httptest.Server
	out             atomic.Bool
	active, outside atomic.Int64
	last            atomic.Pointer[string]
	switching       atomic.Bool
	hit             atomic.Int64 // requests that came while it switched
	slow            chan struct{}
	once            sync.Once
}

// release answers the slow requests.
func (h *webHost) release() { h.once.Do(func() { close(h.slow) }) }

// Close shadows the server's, which waits for its requests.
func (h *webHost) Close() {
	h.release()
	h.Server.Close()
}

func newWebHost(w *world) *webHost {
	h := &webHost{fakeHost: fakeHost{w}, slow: make(chan struct{})}
	h.Server = httptest.NewServer(h)
	return h
}

func (h *webHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/health" {
		if h.out.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return
	}
	h.active.Add(1)
	defer h.active.Add(-1)
	h.outside.Add(1)
	h.last.Store(&r.URL.Path)
	if h.switching.Load() {
		h.hit.Add(1)
	}
	if r.URL.Path == "/slow" {
		<-h.slow
	}
}

func (h *webHost) Out(ctx context.Context, token uint64, out bool, owner string) error {
	h.out.Store(out)
	return h.fakeHost.Out(ctx, token, out, owner)
}

func (h *webHost) Quiet(ctx context.Context, d time.Duration) (release.Quiet, error) {
	before := h.outside.Load()
	if err := wait(ctx, d); err != nil {
		return release.Quiet{}, err
	}
	q := release.Quiet{Active: int(h.active.Load()), Outside: h.outside.Load() - before, Window: d}
	if p := h.last.Load(); p != nil {
		q.Last = *p
	}
	return q, nil
}

func (h *webHost) Activate(ctx context.Context, s targets.Switch) error {
	h.switching.Store(true)
	defer h.switching.Store(false)
	if h.active.Load() > 0 {
		h.hit.Add(h.active.Load())
	}
	if err := wait(ctx, 100*time.Millisecond); err != nil {
		return err
	}
	return h.fakeHost.Activate(ctx, s)
}

// until polls for what another process does by itself.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// startHAProxy runs one haproxy on port with the servers given as name=address and returns its Balancer.
func startHAProxy(t *testing.T, name string, port int, servers ...string) (*HAProxy, *exec.Cmd) {
	t.Helper()
	real.Need(t, "haproxy") // skips, and in CI fails
	bin, err := real.Program("haproxy")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	socket := filepath.Join(dir, "a.sock")
	var b strings.Builder
	fmt.Fprintf(&b, "global\n stats socket %s mode 600 level admin\n maxconn 100\ndefaults\n mode http\n timeout connect 1s\n"+
		" timeout client 60s\n timeout server 60s\n option http-server-close\nfrontend f\n bind 127.0.0.1:%d\n default_backend app\n"+
		"backend app\n option httpchk GET /health\n timeout check 20s\n default-server inter 100ms fall 2 rise 2\n", socket, port)
	for _, s := range servers {
		n, addr, _ := strings.Cut(s, "=")
		check := "check"
		if n != "mw1" {
			check = "" // only mw1 is deployed to; the others take its load whatever the machine is doing
		}
		fmt.Fprintf(&b, " server %s %s %s\n", n, addr, check)
	}
	conf := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(conf, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-db", "-f", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	dial, err := Socket(socket)
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewHAProxy(name, dial, "app/{host}")
	if err != nil {
		t.Fatal(err)
	}
	until(t, name+" sees its servers healthy", func() bool {
		for _, s := range servers {
			n, _, _ := strings.Cut(s, "=")
			if ok, err := h.Healthy(t.Context(), n); err != nil || !ok {
				return false
			}
		}
		return true
	})
	return h, cmd
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // only its number is wanted
	return l.Addr().(*net.TCPAddr).Port
}

// load sends requests through port until stop is called, which returns how many were answered and how many were not.
func load(port, clients int) (stop func() (good, bad int64)) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var good, bad atomic.Int64
	tr := &http.Transport{DisableKeepAlives: true}
	for range clients {
		wg.Go(func() {
			for ctx.Err() == nil {
				res, err := (&http.Client{Transport: tr}).Get(fmt.Sprintf("http://127.0.0.1:%d/wiki/A", port))
				if err != nil || res.StatusCode != http.StatusOK {
					bad.Add(1)
				} else {
					good.Add(1)
				}
				if err == nil {
					_ = res.Body.Close()
				}
				_ = wait(ctx, 10*time.Millisecond)
			}
		})
	}
	return func() (int64, int64) { cancel(); wg.Wait(); tr.CloseIdleConnections(); return good.Load(), bad.Load() }
}

func addr(h *webHost) string { return "mw1=" + h.Listener.Addr().String() }

func TestRealHAProxy(t *testing.T) {
	w := newWorld()
	h := newWebHost(w)
	defer h.Close()
	other := newWebHost(newWorld())
	defer other.Close()
	port := freePort(t)
	lb, _ := startHAProxy(t, "lb1", port, addr(h), "mw2="+other.Listener.Addr().String())
	target := New(h, []Balancer{lb}, Options{Window: 200 * time.Millisecond, Poll: 20 * time.Millisecond})

	st, err := target.State(t.Context())
	if err != nil || st.Pooled != targets.PoolIn || !st.Serving {
		t.Fatalf("before: %+v, %v", st, err)
	}
	stop := load(port, 4)
	before := h.outside.Load()
	until(t, "load", func() bool { return h.outside.Load() > before+20 })
	for i, s := range []targets.Switch{
		{From: relA, To: relB, Token: 1, Owner: "d1"}, {From: relB, To: relA, Token: 2, Owner: "d2"},
	} {
		if err := target.Activate(t.Context(), s); err != nil {
			t.Fatalf("switch %d: %v", i, err)
		}
	}
	n := h.outside.Load()
	until(t, "load after", func() bool { return h.outside.Load() > n+20 })
	good, bad := stop()
	if bad != 0 || h.hit.Load() != 0 {
		t.Errorf("%d of %d requests lost, %d came while it switched", bad, good+bad, h.hit.Load())
	}
	if st, err := target.State(t.Context()); err != nil || st.Pooled != targets.PoolIn || !st.Serving || st.Running != relA {
		t.Errorf("after: %+v, %v", st, err)
	}
	t.Logf("%d requests, 0 lost, none during a switch", good)
}

func TestRealHAProxyWaitsForTheLastRequest(t *testing.T) {
	w := newWorld()
	h := newWebHost(w)
	defer h.Close()
	port := freePort(t)
	lb, _ := startHAProxy(t, "lb1", port, addr(h))
	target := New(h, []Balancer{lb}, Options{Window: 50 * time.Millisecond, Poll: 20 * time.Millisecond})
	answer := make(chan error, 1)
	go func() {
		res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/slow", port))
		if err == nil {
			err = res.Body.Close()
		}
		answer <- err
	}()
	until(t, "the slow request", func() bool { return h.active.Load() == 1 })
	done := make(chan error, 1)
	go func() { done <- target.Activate(context.WithoutCancel(t.Context()), toB()) }()
	until(t, "the drain", func() bool {
		pooled, _, err := lb.State(t.Context(), "mw1")
		return err == nil && pooled == targets.PoolOut
	})
	// Looked at for half a second: as long as the request lives, nothing may switch.
	deadline := time.After(500 * time.Millisecond)
	select {
	case err := <-done:
		t.Fatalf("switched under a request: %v", err)
	case <-deadline:
	}
	h.release()
	if err := <-answer; err != nil {
		t.Errorf("the slow request: %v", err)
	}
	if err := <-done; err != nil || h.hit.Load() != 0 {
		t.Errorf("activate: %v; %d requests hit", err, h.hit.Load())
	}
	http.DefaultClient.CloseIdleConnections()
}

// Two haproxies share a port by SO_REUSEPORT: each is a balancer of its own.
func TestRealHAProxyTwice(t *testing.T) {
	w := newWorld()
	h := newWebHost(w)
	defer h.Close()
	other := newWebHost(newWorld())
	defer other.Close()
	port := freePort(t)
	one, _ := startHAProxy(t, "lb1", port, addr(h), "mw2="+other.Listener.Addr().String())
	two, _ := startHAProxy(t, "lb2", port, addr(h), "mw2="+other.Listener.Addr().String())
	target := New(h, []Balancer{one, two}, Options{Window: 200 * time.Millisecond, Poll: 20 * time.Millisecond})
	stop := load(port, 4)
	until(t, "load", func() bool { return h.outside.Load() > 20 })
	err := target.Activate(t.Context(), toB())
	good, bad := stop()
	if err != nil || bad != 0 || h.hit.Load() != 0 {
		t.Errorf("%v; %d of %d requests lost, %d came while it switched", err, bad, good+bad, h.hit.Load())
	}
	if st, err := target.State(t.Context()); err != nil || st.Pooled != targets.PoolIn || !st.Serving {
		t.Errorf("after: %+v, %v", st, err)
	}
}

// Two haproxies share a port by SO_REUSEPORT and only one is configured here: the host itself must notice.
func TestRealHAProxyThatNobodyNamed(t *testing.T) {
	w := newWorld()
	h := newWebHost(w)
	defer h.Close()
	port := freePort(t)
	lb, _ := startHAProxy(t, "lb1", port, addr(h))
	// The unnamed one has no health check, so the failing one does not help either.
	_, cmd := startStray(t, port, h)
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	target := New(h, []Balancer{lb}, Options{
		Window: 200 * time.Millisecond, Poll: 20 * time.Millisecond, QuietLimit: 4 * time.Second,
	})
	stop := load(port, 8)
	until(t, "load", func() bool { return h.outside.Load() > 20 })
	err := target.Activate(t.Context(), toB())
	_, _ = stop()
	if !errors.Is(err, errBusy) || !errors.Is(err, targets.ErrReturned) || !strings.Contains(err.Error(), "nobody named") {
		t.Errorf("error %v", err)
	}
	if w.running != relA || w.calls["activate:b"] != 0 || w.intent.Out {
		t.Errorf("something was changed: %s", w.story())
	}
	if pooled, detail, err := lb.State(t.Context(), "mw1"); err != nil || pooled != targets.PoolIn {
		t.Errorf("the drain was not undone: %s %s %v", pooled, detail, err)
	}
}

func startStray(t *testing.T, port int, h *webHost) (string, *exec.Cmd) {
	t.Helper()
	real.Need(t, "haproxy") // skips, and in CI fails
	bin, err := real.Program("haproxy")
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(t.TempDir(), "stray.cfg")
	text := fmt.Sprintf("defaults\n mode http\n timeout connect 1s\n timeout client 9s\n timeout server 9s\nlisten stray\n bind 127.0.0.1:%d\n server x %s\n",
		port, h.Listener.Addr())
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-db", "-f", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return conf, cmd
}

// A balancer that is restarted while the host is out has forgotten the drain; the failing health check holds.
func TestRealHAProxyForgetsItsDrain(t *testing.T) {
	w := newWorld()
	h := newWebHost(w)
	defer h.Close()
	lb, _ := startHAProxy(t, "lb1", freePort(t), addr(h))
	forgot := false
	w.fail["activate:b"] = func(int) error {
		if err := lb.Ready(t.Context(), "mw1"); err != nil { // what a reload does
			return err
		}
		ok, err := lb.Healthy(t.Context(), "mw1")
		forgot = err == nil && !ok
		return nil
	}
	target := New(h, []Balancer{lb}, Options{Window: 300 * time.Millisecond, Poll: 20 * time.Millisecond})
	if err := target.Activate(t.Context(), toB()); err != nil || !forgot {
		t.Errorf("activate: %v; kept out by its health check: %t", err, forgot)
	}
}

func TestRealHAProxyUnknownServer(t *testing.T) {
	h := newWebHost(newWorld())
	defer h.Close()
	lb, cmd := startHAProxy(t, "lb1", freePort(t), addr(h))
	if err := lb.Drain(t.Context(), "mw9"); err == nil || !strings.Contains(err.Error(), "No such server") {
		t.Errorf("drain: %v", err)
	}
	if _, _, err := lb.State(t.Context(), "mw9"); !errors.Is(err, errNoSuchServer) {
		t.Errorf("state: %v", err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	st, err := New(h, []Balancer{lb}, Options{}).State(t.Context())
	if err != nil || st.Serving || st.Pooled != targets.PoolUnknown || len(st.Problems) != 1 {
		t.Errorf("with a dead balancer: %+v, %v", st, err)
	}
}
