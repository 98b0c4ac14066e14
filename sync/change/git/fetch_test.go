package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFetch(t *testing.T) {
	o := newOrigin(t)
	root := o.commit("a/b", "refs/heads/master", "root", map[string]string{"f": "1"})
	change := o.commit("a/b", "refs/changes/34/1234/5", "change", map[string]string{"f": "2"}, root)
	loose := o.commit("a/b", "refs/heads/loose", "loose", map[string]string{"g": "3"})
	o.git("a/b", "", "update-ref", "-d", "refs/heads/loose")
	s := o.serve()
	m := s.mirrors(t, nil)
	r := m.must(t, "a/b")
	if _, err := r.Head(t.Context(), "master"); !errors.Is(err, ErrNoRef) {
		t.Errorf("a head before the first fetch: %v", err)
	}
	got := must[map[string]string](t)(r.Fetch(t.Context(), "refs/heads/master", "refs/changes/34/1234/5"))
	if diff := cmp.Diff(map[string]string{"refs/heads/master": root, "refs/changes/34/1234/5": change}, got); diff != "" {
		t.Error(diff)
	}
	if head := must[string](t)(r.Head(t.Context(), "master")); head != root {
		t.Errorf("master is %s", head)
	}
	if has := must[[]bool](t)(r.Has(t.Context(), loose, change)); has[0] || !has[1] {
		t.Errorf("has %v", has)
	}
	must[map[string]string](t)(r.Fetch(t.Context(), loose)) // on no branch at all
	asked := s.count()
	must[map[string]string](t)(r.Fetch(t.Context(), loose, root))
	if s.count() != asked {
		t.Error("commits that are there were asked for")
	}
	if _, err := r.Fetch(t.Context(), strings.Repeat("a", 40)); !errors.Is(err, ErrNoRef) {
		t.Errorf("a commit that nobody has: %v", err)
	}
	next := o.commit("a/b", "refs/heads/master", "rewound", map[string]string{"f": "9"}, "none")
	if _, err := r.Fetch(t.Context(), "refs/heads/master", "refs/heads/none"); !errors.Is(err, ErrNoRef) {
		t.Errorf("a branch that is not there: %v", err)
	}
	if head := must[string](t)(r.Head(t.Context(), "master")); head != root {
		t.Error("half a fetch was kept")
	}
	must[map[string]string](t)(r.Fetch(t.Context(), "refs/heads/master"))
	if head := must[string](t)(r.Head(t.Context(), "master")); head != next {
		t.Error("a branch that was rewound stays as it was")
	}
	o.commit("a/b", "refs/heads/later", "later", map[string]string{"f": "9"}, root)
	must[map[string]string](t)(r.Fetch(t.Context(), "refs/heads/later"))
	o.git("a/b", "", "update-ref", "-d", "refs/heads/later")
	below := o.commit("a/b", "refs/heads/later/x", "a branch where another was", map[string]string{"f": "9"}, root)
	o.commit("a/b", "refs/heads/aside", "aside", map[string]string{"f": "8"}, root)
	if _, err := r.Fetch(t.Context(), "refs/heads/aside", "refs/heads/later/x"); err != nil {
		t.Error(err)
	}
	if head := must[string](t)(r.Head(t.Context(), "later/x")); head != below {
		t.Errorf("later/x is %s", head)
	}
	heads := must[map[string]string](t)(r.Remote(t.Context(), "m"))
	if diff := cmp.Diff(map[string]string{"master": next}, heads); diff != "" {
		t.Error(diff)
	}
	if _, err := m.must(t, "a/c").Fetch(t.Context(), "refs/heads/master"); !errors.Is(err, ErrNoRepo) {
		t.Errorf("a repository that is not there: %v", err)
	}
}

func TestRetries(t *testing.T) {
	o := newOrigin(t)
	o.commit("p", "refs/heads/master", "root", map[string]string{"f": "1"})
	s := o.serve()
	for _, c := range []struct {
		name   string
		status int
		times  int // how often it answers so
		asked  int // how often it is then asked
		want   error
	}{
		{"503 once", 503, 1, 2, nil},
		{"502 always", 502, 100, 3, ErrDown},
		{"429", 429, 1, 2, nil},
		{"401", 401, 100, 1, ErrAuth},
		{"403", 403, 100, 1, ErrAuth},
		{"404", 404, 100, 1, ErrNoRepo},
	} {
		t.Run(c.name, func(t *testing.T) {
			var mu sync.Mutex
			times, asked := 0, 0
			s.answer(func(w http.ResponseWriter, r *http.Request) bool {
				mu.Lock()
				defer mu.Unlock()
				if strings.Contains(r.URL.Path, "info/refs") {
					asked++
				}
				if times++; times > c.times {
					return false
				}
				w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
				w.WriteHeader(c.status)
				return true
			})
			for what, ask := range map[string]func() error{
				"fetch": func() error {
					_, err := s.mirrors(t, nil).must(t, "p").Fetch(t.Context(), "refs/heads/master")
					return err
				},
				"branches": func() error { _, err := s.mirrors(t, nil).must(t, "p").Remote(t.Context(), ""); return err },
			} {
				mu.Lock()
				times, asked = 0, 0
				mu.Unlock()
				if err := ask(); !errors.Is(err, c.want) {
					t.Errorf("%s: %v", what, err)
				}
				mu.Lock()
				if asked != c.asked {
					t.Errorf("%s: asked %d times, want %d", what, asked, c.asked)
				}
				mu.Unlock()
			}
		})
	}
}

func TestDeadServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	l.Close()
	m := must[*Mirrors](t)(Open(Options{Dir: t.TempDir(), URL: url}))
	m.pause = func(int) time.Duration { return 0 }
	if _, err := m.must(t, "p").Fetch(t.Context(), "refs/heads/master"); !errors.Is(err, ErrDown) {
		t.Errorf("nobody listens: %v", err)
	}

	o := newOrigin(t)
	s := o.serve()
	s.answer(func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true })
	m = s.mirrors(t, func(o *Options) { o.Timeout = 300 * time.Millisecond })
	if _, err := m.must(t, "p").Fetch(t.Context(), "refs/heads/master"); !errors.Is(err, ErrDown) {
		t.Errorf("a server that never answers: %v", err)
	}
	s.answer(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte("<html>Please log in</html>"))
		return true
	})
	if _, err := s.mirrors(t, nil).must(t, "p").Fetch(t.Context(), "refs/heads/master"); err == nil {
		t.Error("a page of HTML was taken for a repository")
	}
}

func TestCredentials(t *testing.T) {
	o := newOrigin(t)
	o.commit("p", "refs/heads/master", "root", map[string]string{"f": "1"})
	s := o.serve()
	const user, password = "bot", `p "w\ord: §`
	var agents sync.Map
	s.answer(func(w http.ResponseWriter, r *http.Request) bool {
		u, p, ok := r.BasicAuth()
		if ok && u == user && p == password {
			agents.Store("ok", true)
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	m := s.mirrors(t, func(o *Options) { o.User, o.Password = user, password })
	if _, err := m.must(t, "p").Fetch(t.Context(), "refs/heads/master"); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(m.home(), ".netrc")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the credentials given to git: %v %v", info, err)
	}
	for _, env := range m.environment("") {
		if strings.Contains(env, "w\\ord") {
			t.Errorf("the password is in git's environment: %s", env)
		}
	}
	m = s.mirrors(t, func(o *Options) { o.User, o.Password = user, "wrong" })
	if _, err := m.must(t, "p").Fetch(t.Context(), "refs/heads/master"); !errors.Is(err, ErrAuth) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong password: %v", err)
	}
	for _, c := range [][2]string{{"a", ""}, {"", "secret"}, {"a", "secret\nmachine"}, {"a\x00", "secret"}} {
		_, err := Open(Options{Dir: t.TempDir(), URL: s.URL, User: c[0], Password: c[1]})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", c, err)
		}
	}
}

// locks are the lock files and half-written packs in a mirror.
func locks(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && path != dir+".lock" && (strings.HasSuffix(path, ".lock") || strings.HasPrefix(d.Name(), "tmp_pack")) {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestCancelledFetch(t *testing.T) {
	o := newOrigin(t)
	root := o.commit("p", "refs/heads/master", "root", map[string]string{"f": "1"})
	s := o.serve()
	m := s.mirrors(t, nil)
	r := m.must(t, "p")
	must[map[string]string](t)(r.Fetch(t.Context(), "refs/heads/master"))
	next := o.commit("p", "refs/heads/master", "next", map[string]string{"f": strings.Repeat("many bytes\n", 1000)})

	stop := errors.New("Ctrl-C")
	ctx, cancel := context.WithCancelCause(t.Context())
	s.answer(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "git-upload-pack") {
			return false
		}
		io.Copy(io.Discard, r.Body)
		cancel(stop) // in the middle of it, and never an answer
		<-r.Context().Done()
		return true
	})
	if _, err := r.Fetch(ctx, "refs/heads/master"); !errors.Is(err, stop) {
		t.Errorf("a fetch that was cancelled: %v", err)
	}
	s.answer(nil)
	if left := locks(t, r.dir); left != nil {
		t.Errorf("left behind: %v", left)
	}
	if got := must[map[string]string](t)(r.Fetch(t.Context(), "refs/heads/master")); got["refs/heads/master"] != next || next == root {
		t.Errorf("the next fetch: %v", got)
	}
	if _, err := r.Fetch(ctx, "refs/heads/master"); !errors.Is(err, stop) {
		t.Errorf("a fetch that is cancelled before it begins: %v", err)
	}
}

// What a git leaves that was killed without a word does not hinder the next; one that still runs is waited for.
func TestKilledFetch(t *testing.T) {
	o := newOrigin(t)
	o.commit("p", "refs/heads/wmf/1", "root", map[string]string{"f": "1"})
	r := o.repo("p", "refs/heads/wmf/1")
	left := []string{"refs/heads/wmf/1.lock", "packed-refs.lock", "config.lock", "HEAD.lock", "objects/pack/tmp_pack_abc"}
	for _, name := range left {
		if err := os.WriteFile(filepath.Join(r.dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lock := must[*os.File](t)(r.lock(t.Context()))
	orphan := exec.Command("cat")
	orphan.ExtraFiles = []*os.File{lock}
	in, err := orphan.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	if c := r.m.command(t.Context(), r.dir, command{lock: lock}); len(c.ExtraFiles) != 1 {
		t.Error("git does not hold on to the lock")
	}
	lock.Close() // as if its scap had died
	next := o.commit("p", "refs/heads/wmf/1", "next", map[string]string{"f": "2"})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := r.Fetch(ctx, "refs/heads/wmf/1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a git still writes, but: %v", err)
	}
	in.Close()
	if err := orphan.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := must[map[string]string](t)(r.Fetch(t.Context(), "refs/heads/wmf/1")); got["refs/heads/wmf/1"] != next {
		t.Errorf("after a kill: %v", got)
	}
	if left := locks(t, r.dir); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestFetchesAtOnce(t *testing.T) {
	o := newOrigin(t)
	want := map[string]string{}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		want["refs/heads/"+name] = o.commit("p", "refs/heads/"+name, name, map[string]string{"f": name})
	}
	dir := filepath.Join(t.TempDir(), "mirrors")
	var group sync.WaitGroup
	for ref, id := range want {
		for range 2 {
			m := must[*Mirrors](t)(Open(Options{Dir: dir, URL: o.url(), Local: true})) // as another process would
			group.Go(func() {
				r, err := m.Repo("p")
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := r.Fetch(t.Context(), ref); err != nil || got[ref] != id {
					t.Errorf("%s: %v %v", ref, got, err)
				}
			})
		}
	}
	group.Wait()
}

// snapshot is all below a directory: names, modes, sizes. (git sets the time of a pack that has what it was about to write.)
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			all[path] = fmt.Sprint(info.Mode(), info.Size())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestQuarantine(t *testing.T) {
	o := newOrigin(t)
	root := o.commit("p", "refs/heads/master", "root", map[string]string{"f": file})
	m := o.mirrors()
	r := m.must(t, "p")
	must[map[string]string](t)(r.Fetch(t.Context(), "refs/heads/master"))
	change := o.commit("p", "refs/changes/01/1/1", "change", map[string]string{"f": "ONE" + file[3:]}, root)
	next := o.commit("p", "refs/heads/master", "next", map[string]string{"g": "g"})
	o.commit("other", "refs/heads/master", "never mirrored", map[string]string{"h": "h"})
	before := snapshot(t, m.o.Dir)

	quarantine := m.Quarantine(t.TempDir())
	q := quarantine.must(t, "p")
	if head := must[string](t)(q.Head(t.Context(), "master")); head != root {
		t.Errorf("the quarantine begins with %s", head)
	}
	must[map[string]string](t)(q.Fetch(t.Context(), "refs/heads/master", "refs/changes/01/1/1"))
	picked := must[string](t)(q.Pick(t.Context(), next, change))
	must[string](t)(q.Apply(t.Context(), root, []byte(diffOf("f", "two", "TWO")), "p"))
	if err := q.Keep(t.Context(), "x", picked); err != nil {
		t.Error(err)
	}
	must[map[string]string](t)(quarantine.must(t, "other").Fetch(t.Context(), "refs/heads/master"))
	must[string](t)(quarantine.must(t, "other").Head(t.Context(), "master"))
	if got := read(t, q, picked); got["f"] != "ONE"+file[3:] || got["g"] != "g" {
		t.Errorf("picked in quarantine: %v", got)
	}
	if head := must[string](t)(r.Head(t.Context(), "master")); head != root {
		t.Error("the mirror's branch moved")
	}
	after := snapshot(t, m.o.Dir)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after))); diff != "" {
		t.Errorf("the mirrors were written to: %s", diff)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the mirrors were written to: %s", diff)
	}
}
