package git

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const file = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n"

func TestPick(t *testing.T) {
	o := newOrigin(t)
	root := o.commit("p", "refs/heads/master", "root\n", map[string]string{"a": file, "d/b": "b\n", "e": "e\n"})
	change := o.commit("p", "refs/changes/01/1/1", "Change one\n\nChange-Id: I0123456789012345678901234567890123456789\n", map[string]string{"a": "ONE" + file[3:], "n": "new\n"}, root)
	above := o.commit("p", "refs/changes/02/2/1", "On top\n", map[string]string{"n": "newer\n"}, change)
	head := o.commit("p", "refs/heads/master", "Somebody else's\n", map[string]string{"a": file[:len(file)-5] + "NINE\n", "e": gone})
	clash := o.commit("p", "refs/changes/03/3/1", "Clash\n", map[string]string{"a": file[:len(file)-5] + "neuf\n", "e": "changed\n"}, root)
	r := o.repo("p", "refs/heads/master", "refs/changes/01/1/1", "refs/changes/02/2/1", "refs/changes/03/3/1")
	pick := func(onto, commit string) string {
		t.Helper()
		return must[string](t)(r.Pick(t.Context(), onto, commit))
	}

	picked := pick(head, change)
	want := map[string]string{"a": "ONE" + file[3:len(file)-5] + "NINE\n", "d/b": "b\n", "n": "new\n"}
	if diff := cmp.Diff(want, read(t, r, picked)); diff != "" {
		t.Error(diff)
	}
	if again := pick(head, change); again != picked {
		t.Errorf("picked twice: %s and %s", picked, again)
	}
	c := must[Commit](t)(r.Commit(t.Context(), picked))
	if c.Subject != "Change one" || c.Author != "Ann <ann@example.org>" || c.AuthorDate.Unix() != 1700000000 || c.ChangeID != "I0123456789012345678901234567890123456789" || c.Parents[0] != head {
		t.Errorf("the pick is %+v", c)
	}
	top := pick(picked, above) // its parent is not merged, and picked before it
	want["n"] = "newer\n"
	if diff := cmp.Diff(want, read(t, r, top)); diff != "" {
		t.Error(diff)
	}
	if same := pick(root, change); same != change {
		t.Errorf("a change on its own parent became another commit")
	}
	var conflict *Conflict
	if _, err := r.Pick(t.Context(), head, above); !errors.As(err, &conflict) || !cmp.Equal(conflict.Paths, []string{"n"}) {
		t.Errorf("a change without what it stands on: %v", err)
	}
	if _, err := r.Pick(t.Context(), head, clash); !errors.As(err, &conflict) || !cmp.Equal(conflict.Paths, []string{"a", "e"}) {
		t.Errorf("a clash: %v", err)
	}
}

// Gerrit's merges follow no renames, and what we put on test servers must come out as they will.
func TestRenamesAreNotFollowed(t *testing.T) {
	o := newOrigin(t)
	root := o.commit("p", "refs/heads/master", "root", map[string]string{"a": file, "dir/x": file + "x", "dir/y": file + "y", "keep": "k"})
	head := o.commit("p", "refs/heads/master", "rename", map[string]string{"a": gone, "b": file, "dir/x": gone, "dir/y": gone, "new/x": file + "x", "new/y": file + "y"})
	edit := o.commit("p", "refs/changes/01/1/1", "edit", map[string]string{"a": "ONE" + file[3:]}, root)
	add := o.commit("p", "refs/changes/02/2/1", "add", map[string]string{"dir/z": "z"}, root)
	moved := o.commit("p", "refs/changes/03/3/1", "move", map[string]string{"keep": gone, "kept": "k"}, root)
	r := o.repo("p", "refs/heads/master", edit, add, moved)
	var conflict *Conflict
	if _, err := r.Pick(t.Context(), head, edit); !errors.As(err, &conflict) || !cmp.Equal(conflict.Paths, []string{"a"}) {
		t.Errorf("an edit of a file that has another name: %v", err)
	}
	if got := read(t, r, must[string](t)(r.Pick(t.Context(), head, add))); got["dir/z"] != "z" || got["new/z"] != "" {
		t.Errorf("a file for a directory that has another name: %v", got)
	}
	if got := read(t, r, must[string](t)(r.Pick(t.Context(), head, moved))); got["kept"] != "k" || got["keep"] != "" || got["b"] != file {
		t.Errorf("a change that renames: %v", got)
	}
}

func TestRevert(t *testing.T) {
	o := newOrigin(t)
	root := o.commit("p", "refs/heads/master", "root", map[string]string{"a": file, "d": "d"})
	bad := o.commit("p", "refs/heads/master", "Bad \"one\"", map[string]string{"a": "ONE" + file[3:], "d": gone, "n": "n"})
	head := o.commit("p", "refs/heads/master", "later", map[string]string{"a": "ONE" + file[3:len(file)-5] + "NINE\n"})
	over := o.commit("p", "refs/heads/master", "over it", map[string]string{"a": "UNO" + file[3:]})
	r := o.repo("p", "refs/heads/master")
	back := must[string](t)(r.Revert(t.Context(), head, bad))
	if diff := cmp.Diff(map[string]string{"a": file[:len(file)-5] + "NINE\n", "d": "d"}, read(t, r, back)); diff != "" {
		t.Error(diff)
	}
	c := must[Commit](t)(r.Commit(t.Context(), back))
	if c.Subject != `Revert "Bad \"one\""` || !strings.Contains(c.Message, "This reverts commit "+bad) || c.Author != "scap <scap@localhost>" {
		t.Errorf("%+v", c)
	}
	var conflict *Conflict
	if _, err := r.Revert(t.Context(), over, bad); !errors.As(err, &conflict) || conflict.Verb != "revert" {
		t.Errorf("what was changed again since: %v", err)
	}
	if got := read(t, r, must[string](t)(r.Revert(t.Context(), root, root))); len(got) != 0 {
		t.Errorf("without the root: %v", got)
	}
}
