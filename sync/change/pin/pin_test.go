package pin

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"scap/sync/change"
	"scap/sync/change/git"
)

func paths(parts []change.Part) []string {
	var all []string
	for _, p := range parts {
		all = append(all, p.Path+" "+p.Project)
	}
	return all
}

func TestFromNothing(t *testing.T) {
	w := newWorld(t)
	pinned := w.pin(nil)
	want := []string{" " + configRepo}
	for _, php := range []string{php4, php5} {
		want = append(want, php+" "+coreRepo, php+"/extensions/Bar "+barRepo, php+"/extensions/Foo "+fooRepo, php+"/extensions/Foo/modules/lib "+libRepo, php+"/skins/Strange "+oddRepo)
	}
	if diff := cmp.Diff(want, paths(pinned.Parts)); diff != "" {
		t.Error(diff)
	}
	if pinned.Extra != nil || pinned.Files != nil {
		t.Errorf("with nothing to compare: extra %v, files %v", pinned.Extra, pinned.Files)
	}
	again := w.pin(pinned.Parts)
	if diff := cmp.Diff(pinned.Parts, again.Parts); diff != "" {
		t.Errorf("nothing changed, but: %s", diff)
	}
	if len(again.Extra) > 0 || len(again.Files) > 0 {
		t.Errorf("nothing changed, but: %v %v", again.Extra, again.Files)
	}
}

func TestLayout(t *testing.T) {
	w := newWorld(t)
	l := must[change.Layout](t)(w.p.Layout(t.Context(), w.heads()))
	var versions []string
	for _, v := range l.Versions {
		versions = append(versions, v.Name+map[bool]string{true: " live"}[v.Live])
	}
	if diff := cmp.Diff([]string{"1.41.0-wmf.4 live", "1.41.0-wmf.5 live", "1.41.0-wmf.10"}, versions); diff != "" {
		t.Error(diff)
	}
	for _, c := range []struct{ project, branch, want string }{
		{configRepo, "master", ""},
		{coreRepo, five, php5},
		{fooRepo, five, php5 + "/extensions/Foo"},
		{barRepo, four, php4 + "/extensions/Bar"},
		{oddRepo, five, php5 + "/skins/Strange"},
		{oddRepo, "wmf/1.41.0-wmf.10", "php-1.41.0-wmf.10/skins/Strange"},
	} {
		if got := l.Paths(c.project, c.branch); !slices.Equal(got, []string{c.want}) {
			t.Errorf("%s on %s lands at %q, want %q", c.project, c.branch, got, c.want)
		}
	}
	if got := l.Paths(fooRepo, "wmf/1.30.0-wmf.1"); got != nil {
		t.Errorf("a change on a branch of long ago lands at %q", got)
	}
}

// A change to each kind of repository in one go; then all are merged as other commits, core's bumps come, and the trees
// are the same.
func TestBackport(t *testing.T) {
	w := newWorld(t)
	base := w.pin(nil).Parts
	config := w.change(1001, configRepo, "master", map[string]string{"wmf-config/a.php": "A\n"})
	core := w.change(1002, coreRepo, five, map[string]string{"index.php": edited(1, "ONE")})
	foo := w.change(1003, fooRepo, five, map[string]string{"Foo.php": edited(1, "ONE")})
	top := w.change(1004, fooRepo, five, map[string]string{"Foo.php": edited(1, "UNO"), "new": "new\n"}, foo)
	odd := w.change(1005, oddRepo, four, map[string]string{"odd": "even\n"})
	w.commit(fooRepo, five, "Somebody else's", map[string]string{"Foo.php": edited(10, "TEN")})
	all := []change.Change{config, core, foo, top, odd}
	pinned := w.pin(base, all...)

	for _, c := range [][3]string{
		{"", "wmf-config/a.php", "A\n"},
		{php5, "index.php", edited(1, "ONE")},
		{php5 + "/extensions/Foo", "Foo.php", strings.Replace(edited(10, "TEN"), "one", "UNO", 1)},
		{php5 + "/extensions/Foo", "new", "new\n"},
		{php4 + "/extensions/Foo", "Foo.php", text},
		{php4 + "/skins/Strange", "odd", "even\n"},
		{php5 + "/skins/Strange", "odd", "odd\n"},
	} {
		if got := w.file(pinned.Parts, c[0], c[1]); got != c[2] {
			t.Errorf("%s/%s is %q, want %q", c[0], c[1], got, c[2])
		}
	}
	if diff := cmp.Diff([]string{php5 + "/extensions/Foo: +Somebody else's"}, extras(pinned.Extra)); diff != "" {
		t.Error(diff)
	}
	wantPaths := map[int][]string{
		1001: {"wmf-config/a.php"}, 1002: {php5 + "/index.php"}, 1003: {php5 + "/extensions/Foo/Foo.php"},
		1004: {php5 + "/extensions/Foo/Foo.php", php5 + "/extensions/Foo/new"}, 1005: {php4 + "/skins/Strange/odd"},
	}
	if diff := cmp.Diff(wantPaths, pinned.Paths); diff != "" {
		t.Error(diff)
	}
	wantFiles := []string{php4 + "/skins/Strange/odd", php5 + "/extensions/Foo/Foo.php", php5 + "/extensions/Foo/new", php5 + "/index.php", "wmf-config/a.php"}
	if diff := cmp.Diff(wantFiles, pinned.Files); diff != "" {
		t.Error(diff)
	}

	w.merge(config, map[string]string{"wmf-config/a.php": "A\n"})
	w.merge(core, map[string]string{"index.php": edited(1, "ONE")})
	w.merge(foo, map[string]string{"Foo.php": strings.Replace(edited(10, "TEN"), "one", "ONE", 1)})
	w.merge(top, map[string]string{"Foo.php": strings.Replace(edited(10, "TEN"), "one", "UNO", 1), "new": "new\n"})
	w.bump("extensions/Foo", fooRepo, five)
	w.merge(odd, map[string]string{"odd": "even\n"})
	parts, diffs, err := w.p.Merged(t.Context(), pinned, all)
	if err != nil || len(diffs) > 0 {
		t.Fatalf("merged as pinned, but: %v %+v", err, diffs)
	}
	for _, at := range []string{"", php5, php5 + "/extensions/Foo", php4 + "/skins/Strange"} {
		p := part(t, parts, at)
		if p.Commit != w.head(p.Project, p.Branch) || p.Head != p.Commit || p.Picks != nil {
			t.Errorf("%q after the merge is %+v", at, p)
		}
		if was := part(t, pinned.Parts, at); at != php5 && was.Tree != p.Tree {
			t.Errorf("%q has another tree after the merge", at)
		}
	}
	w.bump("skins/Strange", oddRepo, four) // late
	after := w.pin(parts)
	if len(after.Extra) > 0 || len(after.Files) > 0 || len(after.Carried) > 0 {
		t.Errorf("all is deployed, but the next deploy would ship %v %v %v", extras(after.Extra), after.Files, after.Carried)
	}
}

func TestRefused(t *testing.T) {
	w := newWorld(t)
	base := w.pin(nil).Parts
	clash := w.change(7, barRepo, five, map[string]string{"Bar.php": edited(1, "UN")})
	w.commit(barRepo, five, "Other", map[string]string{"Bar.php": edited(1, "EINS")})
	h := w.heads()
	pin := func(c change.Change) error {
		_, err := w.p.Pin(t.Context(), h, base, []change.Change{c}, nil)
		return err
	}
	var conflict *git.Conflict
	var named *ChangeError
	if err := pin(clash); !errors.As(err, &conflict) || !errors.As(err, &named) || named.Number != 7 || conflict.Project != barRepo || !slices.Equal(conflict.Paths, []string{"Bar.php"}) {
		t.Errorf("conflict: %v", err)
	}
	stale := w.change(8, barRepo, five, map[string]string{"x": "x\n"})
	second := stale
	second.PatchSet = 2
	second = w.patchSet(second, map[string]string{"x": "y\n"})
	mixed := second
	mixed.Revision = stale.Revision
	if err := pin(mixed); !errors.Is(err, ErrMoved) {
		t.Errorf("a patch set that is not the commit that was looked up: %v", err)
	}
	if err := pin(second); err != nil {
		t.Errorf("the new patch set: %v", err)
	}
	elsewhere := w.change(9, barRepo, "wmf/1.30.0-wmf.1", map[string]string{"x": "x\n"})
	if err := pin(elsewhere); !errors.Is(err, ErrNowhere) {
		t.Errorf("a branch that nobody runs: %v", err)
	}
	early := w.change(10, barRepo, "wmf/1.41.0-wmf.10", map[string]string{"x": "x\n"})
	if err := pin(early); err != nil {
		t.Errorf("the next train's branch: %v", err)
	}
	lost := clash
	lost.Status = change.Merged
	if err := pin(lost); !errors.Is(err, ErrMoved) {
		t.Errorf("merged, but not on its branch: %v", err)
	}
	w.merge(clash, map[string]string{"Bar.php": edited(1, "UN ODER EINS")})
	if err := pin(clash); !errors.Is(err, ErrMoved) {
		t.Errorf("merged since it was looked up: %v", err)
	}
}
