package gerrit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"scap/sync/change"
)

// entry is a RelatedChangeAndCommitInfo: patch set ps of change n is commit, on parents.
func entry(n, ps, current int, commit, status string, parents ...string) object {
	list := []object{}
	for _, p := range parents {
		list = append(list, object{"commit": p})
	}
	return object{
		"project": "mediawiki/core", "change_id": ident(n), "_change_number": n, "_revision_number": ps, "_current_revision_number": current, "status": status,
		"commit": object{"commit": commit, "parents": list, "author": object{"name": "Ann"}, "subject": fmt.Sprintf("Change %d", n)},
	}
}

// on is a change at patch set 1 that stands on these commits.
func on(n int, status string, parents ...string) object {
	return info(n, object{"status": status, "revisions": object{sha(n): revision(n, 1, parents...)}})
}

// TestAncestors: 1004 stands on 1003, an older patch set of 1002, a commit without a change, merged 1001 and abandoned 1000;
// 1005 stands on it, and 1006 beside it.
func TestAncestors(t *testing.T) {
	older, bare := sha(0xabc), sha(0xdef)
	now := info(1002, object{"current_revision": sha(1002), "revisions": object{sha(1002): revision(1002, 3, sha(1))}})
	g := newRig()
	c := g.client(t)
	g.known(100, on(1000, "ABANDONED", sha(1)), on(1001, "MERGED", sha(1000)), now, on(1003, "NEW", older), on(1004, "NEW", sha(1003)), on(1005, "NEW", sha(1004)), on(1006, "NEW", sha(1003)))
	g.on("GET /changes/mediawiki%2Fcore~1004/revisions/"+sha(1004)+"/related", says(object{"changes": []object{
		entry(1005, 1, 1, sha(1005), "NEW", sha(1004)), entry(1006, 1, 1, sha(1006), "NEW", sha(1003)),
		entry(1004, 1, 1, sha(1004), "NEW", sha(1003)), entry(1003, 1, 1, sha(1003), "NEW", older), entry(1002, 2, 3, older, "NEW", bare),
		{"commit": object{"commit": bare, "parents": []object{{"commit": sha(1001)}}}},
		entry(1001, 1, 1, sha(1001), "MERGED", sha(1000)), entry(1000, 1, 1, sha(1000), "ABANDONED", sha(1)),
	}}))
	list, err := c.Ancestors(t.Context(), made(t, c, on(1004, "NEW", sha(1003))))
	if err != nil || !slices.Equal(numbers(list), []int{1003, 1002, 1000}) {
		t.Fatalf("%v, %v", numbers(list), err)
	}
	if x := list[1]; x.Revision != older || x.PatchSet != 2 || x.Ref != "refs/changes/02/1002/2" || !slices.Equal(x.Parents, []string{bare}) {
		t.Errorf("%+v, want the patch set that is stood on", x)
	}
	if x := list[0]; x.Revision != sha(1003) || x.PatchSet != 1 || x.Status != change.New || list[2].Status != change.Abandoned {
		t.Errorf("%+v", list)
	}
	if n := len(g.sent("", "")); n != 2 {
		t.Errorf("%d questions, want one for the chain and one for all of its changes", n)
	}
}

func TestAncestorsOdd(t *testing.T) {
	for _, s := range []struct {
		name    string
		related any
		want    []int
		wrong   string
	}{
		{"alone", object{"changes": []object{}}, nil, ""},
		{"only what is above", object{"changes": []object{entry(1005, 1, 1, sha(1005), "NEW", sha(1004)), entry(1004, 1, 1, sha(1004), "NEW", sha(1003))}}, nil, ""},
		{"merged meanwhile", object{"changes": []object{entry(1001, 1, 1, sha(1003), "NEW")}}, nil, ""},
		{"a ring", object{"changes": []object{entry(1003, 1, 1, sha(1003), "NEW", sha(1002)), entry(1002, 1, 1, sha(1002), "NEW", sha(1003), sha(1004))}}, []int{1003, 1002}, ""},
		{"one change twice", object{"changes": []object{entry(1003, 2, 2, sha(1003), "NEW", sha(7)), entry(1003, 1, 2, sha(7), "NEW", sha(1002)), entry(1002, 1, 1, sha(1002), "NEW")}}, []int{1003, 1002}, ""},
		{"itself below itself", object{"changes": []object{entry(1004, 1, 2, sha(1003), "NEW", sha(1002)), entry(1002, 1, 1, sha(1002), "NEW")}}, []int{1002}, ""},
		{"hidden", object{"changes": []object{entry(1999, 1, 1, sha(1003), "NEW")}}, nil, "change 1999 at https://gerrit.test/r: no such change"},
		{"no commit", object{"changes": []object{{"_change_number": 1003, "_revision_number": 1}}}, nil, "no commit"},
		{"a commit that is none", object{"changes": []object{entry(1003, 1, 1, "HEAD", "NEW")}}, nil, "no commit"},
		{"a parent that is none", object{"changes": []object{entry(1003, 1, 1, sha(1003), "NEW", "HEAD")}}, nil, `stands on "HEAD"`},
		{"no patch set", object{"changes": []object{entry(1003, 0, 0, sha(1003), "NEW")}}, nil, "patch set 0 of change 1003"},
		{"too many", object{"changes": slices.Repeat([]object{entry(1003, 1, 1, sha(1003), "NEW")}, maxChain+1)}, nil, "10001 related"},
	} {
		t.Run(s.name, func(t *testing.T) {
			g := newRig()
			c := g.client(t)
			g.known(100, on(1001, "MERGED", sha(1)), on(1002, "NEW", sha(1)), on(1003, "NEW", sha(1002)))
			g.on("GET /changes/mediawiki%2Fcore~1004/revisions/"+sha(1004)+"/related", says(s.related))
			list, err := c.Ancestors(t.Context(), made(t, c, on(1004, "NEW", sha(1003))))
			if !slices.Equal(numbers(list), s.want) || (err == nil) != (s.wrong == "") || err != nil && !strings.Contains(err.Error(), s.wrong) {
				t.Errorf("%v, %v", numbers(list), err)
			}
		})
	}
	g := newRig()
	c := g.client(t)
	if list, err := c.Ancestors(t.Context(), made(t, c, on(1001, "MERGED", sha(1)))); err != nil || len(list) != 0 || len(g.sent("", "")) != 0 {
		t.Errorf("a merged change: %v, %v", list, err)
	}
	if _, err := c.Ancestors(t.Context(), made(t, c, on(1002, "NEW", sha(1)))); !errors.Is(err, change.ErrNotFound) {
		t.Errorf("a change that is gone: %v", err)
	}
}

func TestBranches(t *testing.T) {
	g := newRig()
	c := g.client(t)
	x := made(t, c, on(1001, "MERGED", sha(1)))
	for _, s := range []struct {
		answer any
		want   []string
	}{
		{object{"branches": []string{"wmf/1.46.0-wmf.5", "refs/heads/master", "master"}, "tags": []string{"v1"}}, []string{"master", "wmf/1.46.0-wmf.5"}},
		{object{"branches": []string{}}, nil},
		{object{"tags": []string{"v1"}}, nil},
	} {
		g.on("GET /changes/mediawiki%2Fcore~1001/in", says(s.answer))
		if got, err := c.Branches(t.Context(), x); err != nil || !slices.Equal(got, s.want) {
			t.Errorf("%v, %v", got, err)
		}
	}
	g.on("GET /changes/mediawiki%2Fcore~1001/in", says(object{"branches": []string{"a\x1b"}}))
	if _, err := c.Branches(t.Context(), x); err == nil || !strings.Contains(err.Error(), `"a?"`) {
		t.Error(err)
	}
}
