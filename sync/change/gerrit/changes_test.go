package gerrit

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"scap/sync/change"
)

func numbers(list []change.Change) (ns []int) {
	for _, x := range list {
		ns = append(ns, x.Number)
	}
	return ns
}

// TestOrder gives what was asked for, as it was asked for, in one question.
func TestOrder(t *testing.T) {
	g := newRig()
	c := g.client(t)
	g.known(100, info(1001), info(1002), info(1003))
	list, err := c.Changes(t.Context(), []int{1003, 1001, 1003, 1002})
	if err != nil || !slices.Equal(numbers(list), []int{1003, 1001, 1003, 1002}) || len(g.sent("", "")) != 1 {
		t.Errorf("%v, %v after %d questions", numbers(list), err, len(g.sent("", "")))
	}
	if list, err := c.Changes(t.Context(), nil); err != nil || len(list) != 0 || len(g.sent("", "")) != 1 {
		t.Errorf("nothing: %v, %v", list, err)
	}
	for _, n := range []int{0, -5} {
		if _, err := c.Changes(t.Context(), []int{1001, n}); err == nil || len(g.sent("", "")) != 1 {
			t.Errorf("%d: %v", n, err)
		}
	}
	_, err = c.Changes(t.Context(), []int{1009, 1001, 1005})
	if !errors.Is(err, change.ErrNotFound) || !strings.Contains(err.Error(), "change 1005, 1009 at https://gerrit.test/r: no such change") {
		t.Errorf("%v, want all that are missing", err)
	}
}

// TestUnasked leaves out what an answer has beside what was asked for.
func TestUnasked(t *testing.T) {
	g := newRig()
	c := g.client(t)
	g.on("GET /changes/", says([]object{info(1001), info(1002)}))
	if list, err := c.Changes(t.Context(), []int{1002}); err != nil || !slices.Equal(numbers(list), []int{1002}) {
		t.Errorf("%v, %v", numbers(list), err)
	}
	if by, err := c.WithIDs(t.Context(), []string{ident(1001)}); err != nil || len(by) != 1 || !slices.Equal(numbers(by[ident(1001)]), []int{1001}) {
		t.Errorf("%v, %v", by, err)
	}
}

// TestParallel puts the questions about many changes at once, but never more than parallel.
func TestParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig()
		c := g.client(t)
		var all []object
		var asked []int
		for n := 1001; n <= 1401; n++ {
			i := info(n)
			delete(i, "mergeable")
			all = append(all, i)
			asked = append(asked, n)
			g.on(fmt.Sprintf("GET /changes/mediawiki%%2Fcore~%d/revisions/current/mergeable", n), says(object{"submit_type": "CHERRY_PICK", "mergeable": n%2 == 0}))
		}
		g.known(100, all...)
		var now atomic.Int64
		var mu sync.Mutex
		top := int64(0)
		c.wire = carries(func(r *http.Request) (*http.Response, error) {
			n := now.Add(1)
			defer now.Add(-1)
			mu.Lock()
			top = max(top, n)
			mu.Unlock()
			time.Sleep(time.Second) // of the bubble
			return g.RoundTrip(r)
		})
		begun := time.Now()
		list, err := c.Changes(t.Context(), asked)
		if err != nil || !slices.Equal(numbers(list), asked) {
			t.Fatalf("%d changes, %v", len(list), err)
		}
		for _, x := range list {
			if x.Mergeable != tri(x.Number%2 == 0) {
				t.Fatalf("change %d: mergeable %v", x.Number, x.Mergeable)
			}
		}
		queries, tests := len(g.sent("GET", "/changes/")), len(g.sent("GET", "/mergeable"))
		if queries != 11 || tests != 401 || top != parallel {
			t.Errorf("%d queries, %d questions about merging, %d at once; want 11, 401 and %d", queries, tests, top, parallel)
		}
		if took := time.Since(begun); took != 2*time.Second+51*time.Second { // 11/8 and 401/8 rounds
			t.Errorf("took %s", took)
		}
	})
}

type carries func(*http.Request) (*http.Response, error)

func (f carries) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestLine keeps a request's line short whatever is asked.
func TestLine(t *testing.T) {
	g := newRig()
	c := g.client(t)
	g.known(100)
	var asked []string
	for n := range 300 {
		asked = append(asked, ident(n))
	}
	if _, err := c.WithIDs(t.Context(), asked); err != nil {
		t.Fatal(err)
	}
	for _, call := range g.sent("GET", "/changes/") {
		if len(call.query) > 4000 {
			t.Errorf("a line of %d bytes", len(call.query))
		}
	}
}

// TestPages follows pages to their end, and is not misled by what moves while it reads them.
func TestPages(t *testing.T) {
	var infos []object
	for n := 1001; n <= 1007; n++ {
		infos = append(infos, info(n, object{"change_id": ident(1), "branch": fmt.Sprintf("b%d", n)}))
	}
	g := newRig()
	c := g.client(t)
	g.known(3, infos...)
	by, err := c.WithIDs(t.Context(), []string{ident(1), ident(2), "Iabc", "I" + strings.Repeat("A", 40), ""})
	if err != nil || len(by) != 1 || !slices.Equal(numbers(by[ident(1)]), []int{1001, 1002, 1003, 1004, 1005, 1006, 1007}) {
		t.Errorf("%v, %v", by, err)
	}
	if q := g.sent("GET", "/changes/")[0].query; !strings.HasPrefix(q, "q=change%3A"+ident(1)+"+OR+change%3A"+ident(2)+"&n=100&") {
		t.Errorf("asked for %s", q)
	}
	var starts []string
	for _, call := range g.sent("GET", "/changes/") {
		_, s, _ := strings.Cut(call.query, "&S=")
		s, _, _ = strings.Cut(s, "&")
		starts = append(starts, s)
	}
	if !slices.Equal(starts, []string{"", "3", "6", "", "3", "6"}) {
		t.Errorf("pages from %q; want them twice, since one might have moved", starts)
	}

	// 1007 is updated after the first page is read: it comes to the front, and the second page has 1003 once more.
	page := func(more bool, ns ...int) http.HandlerFunc {
		var some []object
		for _, n := range ns {
			some = append(some, infos[n-1001])
		}
		if more {
			some[len(some)-1] = info(ns[len(ns)-1], object{"change_id": ident(1), "_more_changes": true})
		}
		return says(some)
	}
	g.on("GET /changes/", times(page(true, 1001, 1002, 1003), page(false, 1003, 1004), page(true, 1007, 1001, 1002), page(false, 1003, 1004)))
	by, err = c.WithIDs(t.Context(), []string{ident(1)})
	if err != nil || !slices.Equal(numbers(by[ident(1)]), []int{1001, 1002, 1003, 1004, 1007}) {
		t.Errorf("%v, %v", numbers(by[ident(1)]), err)
	}
}

// TestEndless ends a list that has no end.
func TestEndless(t *testing.T) {
	g := newRig()
	c := g.client(t)
	n := 1000
	g.on("GET /changes/", func(w http.ResponseWriter, r *http.Request) {
		var some []object
		for range 100 {
			n++
			some = append(some, info(n, object{"change_id": ident(1)}))
		}
		some[99]["_more_changes"] = true
		says(some)(w, r)
	})
	if _, err := c.WithIDs(t.Context(), []string{ident(1)}); err == nil || !strings.Contains(err.Error(), "more than 2000") || n != 3000 {
		t.Errorf("%v after %d", err, n)
	}
	g.on("GET /changes/", func(w http.ResponseWriter, r *http.Request) { // says that there is more, and has none
		if r.URL.Query().Get("S") == "" {
			says([]object{info(1001, object{"_more_changes": true})})(w, r)
			return
		}
		says([]object{})(w, r)
	})
	if list, err := c.Changes(t.Context(), []int{1001}); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}

// TestMergeable asks where the query does not tell, and where it says no: the index may have that wrong.
func TestMergeable(t *testing.T) {
	for _, s := range []struct {
		name   string
		edit   object
		answer http.HandlerFunc
		want   change.Tri
		asked  int
	}{
		{"yes in the query", object{"mergeable": true}, says(object{"mergeable": false}), change.Yes, 0},
		{"not told, yes", object{"mergeable": nil}, says(object{"mergeable": true}), change.Yes, 1},
		{"not told, no", object{"mergeable": nil}, says(object{"mergeable": false}), change.No, 1},
		{"no in the query, but yes", object{"mergeable": false}, says(object{"mergeable": true}), change.Yes, 1},
		{"no twice", object{"mergeable": false}, says(object{"mergeable": false}), change.No, 1},
		{"told nothing", object{"mergeable": false}, says(object{"submit_type": "X"}), change.Unknown, 1},
		{"merged meanwhile", object{"mergeable": nil}, fails(409, "change is merged"), change.Unknown, 1},
		{"hidden meanwhile", object{"mergeable": nil}, fails(404, "Not found"), change.Unknown, 1},
		{"merged", object{"status": "MERGED", "mergeable": nil}, fails(409, "change is merged"), change.Unknown, 0},
		{"abandoned", object{"status": "ABANDONED", "mergeable": nil}, fails(409, "change is abandoned"), change.Unknown, 0},
	} {
		t.Run(s.name, func(t *testing.T) {
			g := newRig()
			c := g.client(t)
			g.known(100, info(1001, s.edit))
			g.on("GET /changes/mediawiki%2Fcore~1001/revisions/current/mergeable", s.answer)
			list, err := c.Changes(t.Context(), []int{1001})
			if err != nil || list[0].Mergeable != s.want || len(g.sent("GET", "/mergeable")) != s.asked {
				t.Errorf("%+v, %v after %d questions", list, err, len(g.sent("GET", "/mergeable")))
			}
		})
	}
	g := newRig()
	c := g.client(t)
	g.known(100, info(1001, object{"mergeable": nil}))
	g.on("GET /changes/mediawiki%2Fcore~1001/revisions/current/mergeable", fails(403, "no"))
	if _, err := c.Changes(t.Context(), []int{1001}); !errors.Is(err, ErrForbidden) || !strings.Contains(err.Error(), "whether change 1001 can be merged") {
		t.Error(err)
	}
}

// TestMergeCommit lists a merge commit's files against its first parent, which Gerrit does on request only.
func TestMergeCommit(t *testing.T) {
	g := newRig()
	c := g.client(t)
	g.known(100, info(1001, object{"revisions": object{sha(1001): revision(1001, 1, sha(1), sha(2))}}))
	g.on("GET /changes/mediawiki%2Fcore~1001/revisions/"+sha(1001)+"/files/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "parent=1" {
			t.Errorf("asked for ?%s", r.URL.RawQuery)
		}
		says(object{"/COMMIT_MSG": object{"status": "A"}, "/MERGE_LIST": object{"status": "A"}, "b.php": object{}, "c.php": object{"status": "D"}})(w, r)
	})
	list, err := c.Changes(t.Context(), []int{1001})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]change.File{{Path: "b.php"}, {Path: "c.php", Status: 'D'}}, list[0].Files); diff != "" {
		t.Error(diff)
	}
}

// TestList asks in Gerrit's language for what is listed.
func TestList(t *testing.T) {
	for _, s := range []struct {
		name  string
		where []Where
		o     ListOptions
		want  string // of the query; "": refused
	}{
		{
			"open",
			[]Where{{"operations/mediawiki-config", "master"}, {"mediawiki/core", "wmf/1.46.0-wmf.5"}},
			ListOptions{},
			"status:open -is:wip ((project:operations/mediawiki-config branch:master) OR (project:mediawiki/core branch:wmf/1.46.0-wmf.5))",
		},
		{"merged", []Where{{"a", "b"}}, ListOptions{Merged: true}, "status:merged ((project:a branch:b))"},
		{"prefixes", []Where{{"mediawiki/extensions/*", "wmf/1.4*"}}, ListOptions{}, `status:open -is:wip ((projects:mediawiki/extensions/ branch:"^wmf/1[.]4.*"))`},
		{"quotes", []Where{{"a b", "c OR (d)"}}, ListOptions{}, `status:open -is:wip ((project:"a b" branch:"c OR (d)"))`},
		{"quote inside", []Where{{`a" OR status:open`, "b"}}, ListOptions{}, ""},
		{"brace", []Where{{"a", "b}"}}, ListOptions{}, ""},
		{"backslash", []Where{{"a", `b\`}}, ListOptions{}, ""},
		{"line end", []Where{{"a", "b\n"}}, ListOptions{}, ""},
		{"no project", []Where{{"", "b"}}, ListOptions{}, ""},
	} {
		t.Run(s.name, func(t *testing.T) {
			g := newRig()
			c := g.client(t)
			var got string
			g.on("GET /changes/", func(w http.ResponseWriter, r *http.Request) {
				got = r.URL.Query().Get("q")
				says([]object{info(1001), info(1003, object{"updated": "2026-01-18 00:00:00.000000000"}), info(1002)})(w, r)
			})
			list, err := c.List(t.Context(), s.where, s.o)
			if got != s.want || (err == nil) != (s.want != "") {
				t.Errorf("asked %s, %v\nwant  %s", got, err, s.want)
			}
			if err == nil && !slices.Equal(numbers(list), []int{1003, 1002, 1001}) {
				t.Errorf("%v, want those updated last first", numbers(list))
			}
		})
	}
}

// TestMost lists no more than is wanted, and asks for no more.
func TestMost(t *testing.T) {
	g := newRig()
	c := g.client(t)
	var asked []string
	g.on("GET /changes/", func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Query().Get("n")+"+"+r.URL.Query().Get("S"))
		n := 1000 + 10*len(asked)
		says([]object{info(n), info(n + 1), info(n + 2), info(n+3, object{"_more_changes": true})})(w, r)
	})
	list, err := c.List(t.Context(), []Where{{"a", "b"}}, ListOptions{Most: 10})
	if err != nil || len(list) != 10 || !slices.Equal(asked, []string{"10+", "10+4", "10+8"}) {
		t.Errorf("%v, %v after %q", numbers(list), err, asked)
	}
	if list, err := c.List(t.Context(), nil, ListOptions{}); err != nil || len(list) != 0 || len(asked) != 3 {
		t.Errorf("%v, %v: nothing to list, and asked", list, err)
	}
}
