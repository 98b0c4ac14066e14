package git

import (
	"errors"
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
