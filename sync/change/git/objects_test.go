package git

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func base64Lines(text string) string {
	all := base64.StdEncoding.EncodeToString([]byte(text))
	var b strings.Builder
	for len(all) > 0 {
		n := min(76, len(all))
		b.WriteString(all[:n] + "\n")
		all = all[n:]
	}
	return b.String()
}

func TestDiff(t *testing.T) {
	o := newOrigin(t)
	other := strings.Repeat("12", 20)
	one := o.commit("p", "refs/heads/master", "one", map[string]string{
		"a": "a", "b/c": "c", "b/d": "d", "e": "e", "exe": "x", "old": "moved", "sub": gitlink(other), "ü \t": "odd",
	})
	two := o.commit("p", "refs/heads/master", "two", map[string]string{
		"a": "A", "b/c": gone, "e": symlink("a"), "exe": executable("x"), "new": "moved", "old": gone, "sub": gitlink(strings.Repeat("34", 20)), "b2": "n",
	})
	r := o.repo("p", "refs/heads/master")
	describe := func(diffs []Diff) []string {
		var all []string
		for _, d := range diffs {
			all = append(all, fmt.Sprintf("%s %o>%o %d>%d", d.Path, d.Old.Mode, d.New.Mode, d.Old.Kind, d.New.Kind))
		}
		return all
	}
	want := []string{
		"a 100644>100644 1>1", "b/c 100644>0 1>0", "b2 0>100644 0>1", "e 100644>120000 1>3", "exe 100644>100755 1>2",
		"new 0>100644 0>1", "old 100644>0 1>0", "sub 160000>160000 4>4",
	}
	diffs := must[[]Diff](t)(r.Diff(t.Context(), one, two))
	if diff := cmp.Diff(want, describe(diffs)); diff != "" {
		t.Error(diff)
	}
	if last := diffs[len(diffs)-1]; last.Old.OID != other || last.New.OID != strings.Repeat("34", 20) {
		t.Errorf("the submodule moved from %s to %s", last.Old.OID, last.New.OID)
	}
	if all := must[[]Diff](t)(r.Diff(t.Context(), "", one)); len(all) != 8 || all[7].Path != "ü \t" || all[7].Old != (Entry{}) {
		t.Errorf("from nothing: %v", describe(all))
	}
	touched := must[map[string][]Diff](t)(r.Touched(t.Context(), one, two))
	if diff := cmp.Diff(want, describe(touched[two])); diff != "" || len(touched[one]) != 8 {
		t.Errorf("%s; %v", diff, describe(touched[one]))
	}
	if _, err := r.Diff(t.Context(), one, strings.Repeat("0", 39)); !errors.Is(err, ErrName) {
		t.Errorf("half an id: %v", err)
	}
}

func TestLog(t *testing.T) {
	o := newOrigin(t)
	root := o.commit("p", "refs/heads/master", "Root", map[string]string{"a": "a"})
	side := o.commit("p", "refs/heads/side", "Side\ncontinued\n\nText.\n\nBug: T1\nChange-Id: I"+strings.Repeat("ab", 20), map[string]string{"s": "s"}, root)
	left := o.commit("p", "refs/heads/master", "Left", map[string]string{"l": "l"}, root)
	merge := o.commit("p", "refs/heads/master", "Merge side", map[string]string{"s": "s"}, left, side)
	r := o.repo("p", "refs/heads/master")
	ids := func(from string, most int) string {
		var all []string
		for _, c := range must[[]Commit](t)(r.Log(t.Context(), from, merge, most)) {
			all = append(all, c.Subject)
		}
		return strings.Join(all, "; ")
	}
	for _, c := range []struct {
		from string
		most int
		want string
	}{
		{"", 10, "Root; Left; Side continued; Merge side"},
		{root, 10, "Left; Side continued; Merge side"},
		{side, 10, "Left; Merge side"},
		{"", 1, "Merge side"},
		{merge, 10, ""},
	} {
		if got := ids(c.from, c.most); got != c.want && got != strings.Replace(c.want, "Left; Side continued", "Side continued; Left", 1) {
			t.Errorf("from %.8s: %s, want %s", c.from, got, c.want)
		}
	}
	c := must[Commit](t)(r.Commit(t.Context(), side))
	if c.ChangeID != "I"+strings.Repeat("ab", 20) || c.Subject != "Side continued" || c.Parents[0] != root || !strings.Contains(c.Message, "Bug: T1") {
		t.Errorf("%+v", c)
	}
	if touched := must[map[string][]Diff](t)(r.Touched(t.Context(), merge)); len(touched[merge]) != 1 || touched[merge][0].Path != "s" {
		t.Errorf("what the merge brings: %v", touched)
	}
	for _, c := range []struct {
		id, commit string
		want       bool
	}{{merge, side, true}, {side, left, false}, {root, root, true}} {
		if got := must[bool](t)(r.Contains(t.Context(), c.id, c.commit)); got != c.want {
			t.Errorf("%.8s contains %.8s: %v", c.id, c.commit, got)
		}
	}
}

func TestBlobs(t *testing.T) {
	o := newOrigin(t)
	big := strings.Repeat("0123456789", 100000)
	root := o.commit("p", "refs/heads/master", "root", map[string]string{"a": "a\n", "big": big, "d/e": ""})
	r := o.repo("p", "refs/heads/master")
	var oids []string
	for _, d := range must[[]Diff](t)(r.Diff(t.Context(), "", root)) {
		oids = append(oids, d.New.OID)
	}
	b := must[*Blobs](t)(r.Blobs(t.Context()))
	defer b.Close()
	var text bytes.Buffer
	if n, err := b.Copy(&text, oids[1]); err != nil || n != int64(len(big)) || text.String() != big {
		t.Errorf("%d bytes, %v", n, err)
	}
	if _, err := b.Copy(&text, strings.Repeat("9", 40)); !errors.Is(err, ErrNoRef) {
		t.Errorf("a blob that is not there: %v", err)
	}
	if _, err := b.Copy(&text, root); !errors.Is(err, ErrName) {
		t.Errorf("a commit: %v", err)
	}
	full := errors.New("disk full")
	if _, err := b.Copy(failing{full}, oids[1]); !errors.Is(err, full) {
		t.Errorf("a writer that fails: %v", err)
	}
	text.Reset()
	if _, err := b.Copy(&text, oids[0]); err != nil || text.String() != "a\n" {
		t.Errorf("after all that: %q %v", text.String(), err)
	}
	many := make([]string, 0, 9000)
	for range 3000 {
		many = append(many, oids...)
	}
	sum := int64(0)
	err := b.CopyAll(many[:300], func(i int, size int64, content io.Reader) error {
		sum += size
		if i%3 == 0 {
			_, err := io.Copy(io.Discard, content)
			return err
		}
		return nil // unread
	})
	if err != nil || sum != 100*int64(len(big)+2) {
		t.Errorf("%d bytes, %v", sum, err)
	}
	stop := errors.New("enough")
	if err := b.CopyAll(many, func(i int, _ int64, _ io.Reader) error {
		if i == 2 {
			return stop
		}
		return nil
	}); !errors.Is(err, stop) {
		t.Errorf("stopped: %v", err)
	}
	if _, err := b.Copy(&text, oids[0]); err == nil {
		t.Error("a reader that was stopped half-way goes on")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	c := must[*Blobs](t)(r.Blobs(ctx))
	defer c.Close()
	cancel(stop)
	if _, err := c.Copy(io.Discard, oids[1]); !errors.Is(err, stop) {
		// It may have been answered before git was ended; the next is not.
		if _, err := c.Copy(io.Discard, oids[1]); err != nil && !errors.Is(err, stop) {
			t.Errorf("cancelled: %v", err)
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestFile(t *testing.T) {
	o := newOrigin(t)
	root := o.commit("p", "refs/heads/master", "root", map[string]string{"a b": "text", "d/e": "e", "l": symlink("a")})
	r := o.repo("p", "refs/heads/master")
	if got := must[[]byte](t)(r.File(t.Context(), root, "a b")); string(got) != "text" {
		t.Errorf("%q", got)
	}
	for _, path := range []string{"none", "d/none", "a b/x"} {
		if _, err := r.File(t.Context(), root, path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range []string{"", "../a", "-a", "a\nb", "/a", ".git/config", "d/"} {
		if _, err := r.File(t.Context(), root, path); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", path, err)
		}
	}
	if _, err := r.File(t.Context(), root, "d"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory: %v", err)
	}
	if _, err := r.File(t.Context(), strings.Repeat("1", 40), "a"); !errors.Is(err, ErrNoRef) {
		t.Errorf("of a commit that is not there: %v", err)
	}
}

func TestKeep(t *testing.T) {
	o := newOrigin(t)
	root := o.commit("p", "refs/heads/master", "root", map[string]string{"f": file})
	head := o.commit("p", "refs/heads/master", "head", map[string]string{"g": "g"})
	change := o.commit("p", "refs/changes/01/1/1", "change", map[string]string{"f": "ONE" + file[3:]}, root)
	r := o.repo("p", "refs/heads/master", "refs/changes/01/1/1")
	picked := must[string](t)(r.Pick(t.Context(), head, change))
	dropped := must[string](t)(r.Revert(t.Context(), head, head))
	if err := errors.Join(r.Keep(t.Context(), "release/x", picked), r.Keep(t.Context(), "gone", root), r.Forget(t.Context(), "gone"), r.Forget(t.Context(), "never")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"release/x": picked}, must[map[string]string](t)(r.Kept(t.Context()))); diff != "" {
		t.Error(diff)
	}
	if err := r.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.run(t.Context(), command{verb: "prune", args: []string{"--expire=now"}}); err != nil {
		t.Fatal(err)
	}
	if has := must[[]bool](t)(r.Has(t.Context(), picked, change, head, dropped)); !cmp.Equal(has, []bool{true, false, true, false}) {
		t.Errorf("after a clean-up: %v", has)
	}
	for _, name := range []string{"", "-x", "a..b", "a b", "a/.b", "x.lock", "a\nb"} {
		if err := r.Keep(t.Context(), name, picked); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
