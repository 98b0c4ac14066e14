package gerrit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"scap/sync/change"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "s3cret/pass:word"

// rig is a Gerrit that gives the answers a test lays down, and remembers what it was asked. Without a network it works
// in a bubble of virtual time.
type rig struct {
	mu     sync.Mutex
	calls  []call
	answer map[string]http.HandlerFunc // by "GET /changes/", below /a or not
}

type call struct {
	method, path, query, auth string
	body                      map[string]any
}

func newRig() *rig { return &rig{answer: map[string]http.HandlerFunc{}} }

func (g *rig) on(what string, h http.HandlerFunc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answer[what] = h
}

func (g *rig) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := call{method: r.Method, path: strings.TrimPrefix(r.URL.EscapedPath(), "/r/a"), query: r.URL.RawQuery, auth: r.Header.Get("Authorization")}
	c.path = strings.TrimPrefix(c.path, "/r")
	if text, _ := io.ReadAll(r.Body); len(text) > 0 {
		if err := json.Unmarshal(text, &c.body); err != nil || r.Header.Get("Content-Type") != "application/json; charset=UTF-8" {
			http.Error(w, "Expected JSON object", http.StatusBadRequest)
			return
		}
	}
	g.mu.Lock()
	g.calls = append(g.calls, c)
	h := g.answer[c.method+" "+c.path]
	g.mu.Unlock()
	if h == nil {
		http.Error(w, "Not found: "+c.path, http.StatusNotFound)
		return
	}
	h(w, r)
}

// RoundTrip makes the rig a carrier. A handler that panics with http.ErrAbortHandler has done its work, and its answer is lost.
func (g *rig) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	defer func() {
		if p := recover(); p != nil {
			if e, ok := p.(error); !ok || !errors.Is(e, http.ErrAbortHandler) {
				panic(p)
			}
			resp, err = nil, io.ErrUnexpectedEOF
		}
		if r.Context().Err() != nil {
			resp, err = nil, r.Context().Err()
		}
	}()
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w.Result(), nil
}

// sent are the calls of a method, "" for any, to a path that ends so.
func (g *rig) sent(method, end string) (list []call) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.calls {
		if (method == "" || c.method == method) && strings.HasSuffix(c.path, end) {
			list = append(list, c)
		}
	}
	return list
}

func credentialsFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(path, []byte("deployer:"+password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// client is one that talks to the rig, as deployer.
func (g *rig) client(t testing.TB, edit ...func(*Options)) *Client {
	t.Helper()
	o := Options{URL: "https://gerrit.test/r/", CredentialsFile: credentialsFile(t), HTTP: &http.Client{Transport: g}}
	for _, e := range edit {
		e(&o)
	}
	c, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	g.on("GET /accounts/self", says(map[string]any{"_account_id": 7, "username": "deployer", "name": "D. Ployer"}))
	return c
}

// says answers in Gerrit's form.
func says(v any) http.HandlerFunc {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw(200, "application/json; charset=UTF-8", ")]}'\n"+string(text)+"\n")
}

func raw(status int, media, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// fails answers as Gerrit does when something is wrong: in plain text.
func fails(status int, text string) http.HandlerFunc {
	return raw(status, "text/plain; charset=UTF-8", text+"\n")
}

// times answers with one handler after the other, and the last one for ever.
func times(hs ...http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	n := 0
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		h := hs[min(n, len(hs)-1)]
		n++
		mu.Unlock()
		h(w, r)
	}
}

func lost(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

type object = map[string]any

func sha(n int) string { return fmt.Sprintf("%040x", n) }

func ident(n int) string { return "I" + sha(n) }

// info is a ChangeInfo of an open change at patch set 1.
func info(n int, edit ...object) object {
	o := object{
		"id": fmt.Sprintf("mediawiki%%2Fcore~%d", n), "project": "mediawiki/core", "branch": "wmf/1.46.0-wmf.5", "change_id": ident(n),
		"subject": fmt.Sprintf("Change %d", n), "status": "NEW", "created": "2026-01-17 18:00:00.000000000", "updated": "2026-01-17 18:31:00.000000000",
		"mergeable": true, "_number": n, "owner": object{"_account_id": 12, "name": "Ann"}, "current_revision": sha(n),
		"revisions": object{sha(n): revision(n, 1, sha(n-1))},
	}
	for _, e := range edit {
		maps.Copy(o, e)
	}
	return o
}

func revision(n, ps int, parents ...string) object {
	list := []object{}
	for _, p := range parents {
		list = append(list, object{"commit": p, "subject": "below"})
	}
	return object{
		"_number": ps, "ref": fmt.Sprintf("refs/changes/%02d/%d/%d", n%100, n, ps), "files": object{"a.php": object{"lines_inserted": 1}},
		"commit": object{"parents": list, "message": fmt.Sprintf("Change %d\n\nChange-Id: %s\n", n, ident(n))},
	}
}

// votes are DETAILED_LABELS, by account.
func votes(label string, by map[int]int) object {
	all := []object{}
	for _, id := range slices.Sorted(maps.Keys(by)) {
		all = append(all, object{"_account_id": id, "value": by[id], "date": "2026-01-17 18:32:00.000000000"})
	}
	return object{"labels": object{label: object{"all": all}}}
}

// known serves queries by number, Change-Id and revertof, in pages as large as is asked for, at most most.
func (g *rig) known(most int, infos ...object) {
	g.on("GET /changes/", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		found := []object{}
		for _, term := range strings.Split(q.Get("q"), " OR ") {
			for _, i := range infos {
				if term == fmt.Sprintf("change:%v", i["_number"]) || term == fmt.Sprintf("change:%v", i["change_id"]) || term == fmt.Sprintf("revertof:%v", i["revert_of"]) {
					found = append(found, i)
				}
			}
		}
		var n, start int
		fmt.Sscan(q.Get("n"), &n)
		fmt.Sscan(q.Get("S"), &start)
		some := found[min(start, len(found)):]
		if n = min(n, most); len(some) > n {
			some = slices.Clone(some[:n])
			last := maps.Clone(some[n-1])
			last["_more_changes"] = true
			some[n-1] = last
		}
		says(some)(w, r)
	})
}

// made is the change of info(n), as it is read.
func made(t testing.TB, c *Client, o object) change.Change {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var i changeInfo
	if err := decode(bytes.TrimSpace(text), &i); err != nil {
		t.Fatal(err)
	}
	x, err := c.change(&i)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// clean fails if an error shows a secret or a control character.
func clean(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	basic := newSecret("deployer", password).header
	for _, bad := range []string{password, strings.TrimPrefix(basic, "Basic "), "\x1b", "\n"} {
		if strings.Contains(err.Error(), bad) {
			t.Errorf("an error shows %q: %q", bad, err)
		}
	}
	if len(err.Error()) > 2000 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}
