package pin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"scap/sync/change"
	"scap/sync/change/git"
)

// check compares what a Pin would ship unnamed, and keeps.
func (w *world) check(name string, pinned *Pinned, extra, carried []string) {
	w.t.Helper()
	if diff := cmp.Diff(extra, extras(pinned.Extra)); diff != "" {
		w.t.Errorf("%s: extra: %s", name, diff)
	}
	var kept []string
	for _, c := range pinned.Carried {
		kept = append(kept, c.Path)
	}
	if diff := cmp.Diff(carried, kept); diff != "" {
		w.t.Errorf("%s: carried: %s", name, diff)
	}
}

func TestSomebodyMergesInBetween(t *testing.T) {
	w := newWorld(t)
	base := w.pin(nil).Parts
	bar := w.change(1, barRepo, five, map[string]string{"Bar.php": edited(1, "ONE")})
	core := w.change(2, coreRepo, five, map[string]string{"index.php": edited(1, "ONE")})
	pinned := w.pin(base, bar, core)
	w.commit(barRepo, five, "Somebody's", map[string]string{"z": "z\n"})
	w.merge(bar, map[string]string{"Bar.php": edited(1, "ONE")})
	w.merge(core, map[string]string{"index.php": edited(1, "ONE")})
	w.bump("extensions/Bar", barRepo, five)
	w.commit(fooRepo, five, "Elsewhere", map[string]string{"z": "z\n"}) // nobody looks there
	_, diffs, err := w.p.Merged(t.Context(), pinned, []change.Change{bar, core})
	if err != nil || len(diffs) != 2 {
		t.Fatalf("%v %+v", err, diffs)
	}
	d := diffs[1]
	if d.Path != php5+"/extensions/Bar" || d.Branch != five || subjects(d.Commits) != "Somebody's" || !slices.Equal(d.Files, []string{php5 + "/extensions/Bar/z"}) {
		t.Errorf("%+v", d)
	}
	if tree := part(t, pinned.Parts, d.Path).Tree; d.Want != tree || d.Have == tree {
		t.Errorf("wanted %s, is %s, pinned %s", d.Want, d.Have, tree)
	}
	if d := diffs[0]; d.Path != php5 || !slices.Equal(d.Files, []string{php5 + "/extensions/Bar"}) {
		t.Errorf("core names a commit with other files: %+v", d)
	}
	w.check("looked up again", w.pin(base, bar, core), []string{php5 + "/extensions/Bar: +Somebody's"}, nil)
}

// Gerrit may merge by a merge commit: that is named with what it brings.
func TestMergeCommits(t *testing.T) {
	w := newWorld(t)
	base := w.pin(nil).Parts
	bar := w.change(1, barRepo, five, map[string]string{"Bar.php": edited(1, "ONE")})
	top := w.change(2, barRepo, five, map[string]string{"new": "n\n"}, bar)
	other := w.commit(barRepo, five, "Other", map[string]string{"Bar.php": edited(10, "TEN")})
	pinned := w.pin(base, bar, top)
	both := strings.Replace(edited(10, "TEN"), "one", "ONE", 1)
	w.commitAt(barRepo, "refs/heads/"+five, other+" "+top.Revision, "Merge \"Change 2\" into "+five, map[string]string{"Bar.php": both, "new": "n\n"})
	if _, diffs, err := w.p.Merged(t.Context(), pinned, []change.Change{bar, top}); err != nil || len(diffs) > 0 {
		t.Errorf("%v %+v", err, diffs)
	}
	bar.Status, top.Status = change.Merged, change.Merged
	again := w.pin(base, bar, top)
	w.check("named", again, []string{php5 + "/extensions/Bar: +Other"}, nil)
	if diff := cmp.Diff(map[int][]string{1: {php5 + "/extensions/Bar/Bar.php"}, 2: {php5 + "/extensions/Bar/new"}}, again.Paths); diff != "" {
		t.Error(diff)
	}
	if p := part(t, again.Parts, php5+"/extensions/Bar"); p.Picks != nil || p.Tree != part(t, pinned.Parts, p.Path).Tree {
		t.Errorf("merged: %+v", p)
	}
	w.check("one named", w.pin(base, top), []string{php5 + "/extensions/Bar: +Other, Change 1"}, nil)

	// A merge that is itself under review is put on as what it changes against its first parent.
	w.commitAt(barRepo, "refs/heads/side", w.head(barRepo, five), "Side", map[string]string{"side": "s\n"})
	merge := w.change(3, barRepo, five, nil)
	merge.Parents = []string{w.head(barRepo, five) + " " + w.head(barRepo, "side")}
	merge = w.patchSet(merge, map[string]string{"side": "s\n"})
	w.commit(barRepo, five, "After", map[string]string{"after": "a\n"})
	parts := w.pin(again.Parts, merge).Parts
	if w.file(parts, php5+"/extensions/Bar", "side") != "s\n" || w.file(parts, php5+"/extensions/Bar", "after") != "a\n" {
		t.Error("the merge is not on")
	}
}

// Core may name another commit of a submodule, another submodule, or none; by a change or past it.
func TestSubmodulesMove(t *testing.T) {
	w := newWorld(t)
	base := w.pin(nil).Parts
	was := w.head(barRepo, five)
	first := w.commit(barRepo, five, "First", map[string]string{"a": "a\n"})
	w.commit(barRepo, five, "Second", map[string]string{"b": "b\n"})
	bump := w.change(1, coreRepo, five, map[string]string{"extensions/Bar": "\x00link " + first})
	pinned := w.pin(base, bump)
	w.check("a change bumps it", pinned, []string{php5 + "/extensions/Bar: +First"}, nil)
	if p := part(t, pinned.Parts, php5+"/extensions/Bar"); p.Commit != first || p.Branch != "" {
		t.Errorf("%+v", p)
	}
	if diff := cmp.Diff([]string{php5 + "/extensions/Bar/a"}, pinned.Files); diff != "" {
		t.Error(diff)
	}
	w.bump("extensions/Bar", barRepo, five)
	ahead := w.pin(base)
	w.check("somebody bumped it", ahead, []string{php5 + "/extensions/Bar: +First, Second"}, nil)
	w.commit(coreRepo, five, "Take Bar back", map[string]string{"extensions/Bar": "\x00link " + was})
	w.check("and back", w.pin(ahead.Parts), []string{php5 + "/extensions/Bar: -First, Second"}, nil)

	modules := "[submodule \"bar\"]\n\tpath = extensions/BarMoved\n\turl = ../extensions/Bar\n[submodule \"strange name\"]\n\tpath = skins/Strange\n\turl = ../odd/thing\n"
	w.commit(coreRepo, five, "Foo goes, Bar moves", map[string]string{".gitmodules": modules, "extensions/Foo": gone, "extensions/Bar": gone, "extensions/BarMoved": "\x00link " + was})
	moved := w.pin(base)
	w.check("moved", moved, []string{
		php5 + ": +Foo goes, Bar moves", php5 + "/extensions/Bar: removed", php5 + "/extensions/BarMoved: new", php5 + "/extensions/Foo: removed",
	}, nil)
	wantFiles := []string{php5 + "/.gitmodules", php5 + "/extensions/Bar/", php5 + "/extensions/BarMoved/", php5 + "/extensions/Foo/"}
	if diff := cmp.Diff(wantFiles, moved.Files); diff != "" {
		t.Error(diff)
	}
}

// A backport takes a submodule further than core names it, until core's bump comes. That is no reason to take it back;
// somebody who moves it elsewhere in core means it.
func TestLateBumps(t *testing.T) {
	w := newWorld(t)
	base := w.pin(nil).Parts
	at := php5 + "/extensions/Bar"
	start := w.head(barRepo, five)
	deploy := func(base []change.Part, n int) []change.Part {
		t.Helper()
		file := map[string]string{string(rune('a' + n)): "x\n"}
		c := w.change(n, barRepo, five, file)
		pinned := w.pin(base, c)
		w.merge(c, file)
		parts, diffs, err := w.p.Merged(t.Context(), pinned, []change.Change{c})
		if err != nil || len(diffs) > 0 {
			t.Fatalf("%v %+v", err, diffs)
		}
		return parts
	}
	one := deploy(base, 1)
	first := w.head(barRepo, five)
	two := deploy(one, 2)
	last := w.head(barRepo, five)
	commit := func(p *Pinned) string { t.Helper(); return part(t, p.Parts, at).Commit }
	if p := w.pin(two); commit(p) != last || len(p.Files) > 0 {
		t.Errorf("no bump yet: %v %v", commit(p), p.Files)
	}
	w.commit(coreRepo, five, "Bump 1", map[string]string{"extensions/Bar": "\x00link " + first})
	if p := w.pin(two); commit(p) != last || len(p.Files) > 0 {
		t.Errorf("the first bump: %v %v", commit(p), p.Files)
	}
	then := w.pin(two).Parts
	w.commit(coreRepo, five, "Bump 2", map[string]string{"extensions/Bar": "\x00link " + last})
	p := w.pin(then)
	if commit(p) != last || len(p.Files) > 0 {
		t.Errorf("the last bump: %v %v", commit(p), p.Files)
	}
	w.commit(coreRepo, five, "Back", map[string]string{"extensions/Bar": "\x00link " + start})
	if back := w.pin(p.Parts); commit(back) != start || !slices.Equal(back.Files, []string{at + "/b", at + "/c"}) {
		t.Errorf("taken back in core: %v %v", commit(back), back.Files)
	}
	// Even when the branch has left the history that core names: what was deployed from the branch stays.
	w.commitAt(barRepo, "refs/heads/"+five, "", "Anew", map[string]string{"Bar.php": text})
	base = w.pin(nil).Parts
	anew := deploy(base, 3)
	if p := w.pin(anew); commit(p) != w.head(barRepo, five) || len(p.Files) > 0 {
		t.Errorf("a branch that began anew: %v %v", commit(p), p.Files)
	}
}

func TestNestedSubmodule(t *testing.T) {
	w := newWorld(t)
	base := w.pin(nil).Parts
	w.git(libRepo, "", "update-ref", "refs/heads/"+five, w.head(libRepo, "master"))
	c := w.change(1, libRepo, five, map[string]string{"lib.js": "better\n"})
	parts := w.pin(base, c).Parts
	if got := w.file(parts, php5+"/extensions/Foo/modules/lib", "lib.js"); got != "better\n" {
		t.Errorf("%q", got)
	}
	if got := w.file(parts, php4+"/extensions/Foo/modules/lib", "lib.js"); got != "lib\n" {
		t.Errorf("the other version has %q", got)
	}
}

// What is deployed and not merged, such as a revert in an emergency, stays until it is merged or taken out.
func TestCarried(t *testing.T) {
	w := newWorld(t)
	at := php5 + "/extensions/Bar"
	bad := w.change(1, barRepo, five, map[string]string{"Bar.php": edited(1, "BAD")})
	bad = w.merge(bad, map[string]string{"Bar.php": edited(1, "BAD")})
	w.bump("extensions/Bar", barRepo, five)
	base := w.pin(nil).Parts
	pinned := must[*Pinned](t)(w.p.Pin(t.Context(), w.heads(), base, nil, []change.Change{bad}))
	if got := w.file(pinned.Parts, at, "Bar.php"); got != text {
		t.Errorf("taken back, it is %q", got)
	}
	if p := part(t, pinned.Parts, at); len(p.Picks) != 1 || !p.Picks[0].Revert || p.Commit != bad.Revision || p.Head == p.Commit {
		t.Errorf("%+v", p)
	}
	if diff := cmp.Diff(map[int][]string{1: {at + "/Bar.php"}}, pinned.Paths); diff != "" {
		t.Error(diff)
	}
	reverted := pinned.Parts
	w.check("a deploy of nothing", w.pin(reverted), nil, []string{at})
	other := w.change(2, barRepo, five, map[string]string{"Bar.php": edited(10, "TEN")})
	w.commit(barRepo, five, "Other", map[string]string{"o": "o\n"})
	next := w.pin(reverted, other)
	w.check("a deploy of something else there", next, []string{at + ": +Other"}, []string{at})
	// other was made on top of the bad line; it brings its own only.
	if got := w.file(next.Parts, at, "Bar.php"); got != edited(10, "TEN") {
		t.Errorf("the revert is gone: %q", got)
	}
	w.merge(other, map[string]string{"Bar.php": strings.Replace(edited(10, "TEN"), "one", "BAD", 1)})
	parts, diffs, err := w.p.Merged(t.Context(), next, []change.Change{other})
	if err != nil || len(diffs) > 0 {
		t.Fatalf("the other is merged, the revert is not: %v %+v", err, diffs)
	}
	if p := part(t, parts, at); len(p.Picks) != 1 || p.Commit != w.head(barRepo, five) || p.Tree != part(t, next.Parts, at).Tree {
		t.Errorf("%+v", p)
	}
	w.commit(barRepo, five, "Revert \"Change 1\"\n\nThis reverts commit "+bad.Revision+".\n", map[string]string{"Bar.php": edited(10, "TEN")})
	w.bump("extensions/Bar", barRepo, five)
	done := w.pin(parts)
	w.check("merged", done, []string{at + ": +Revert \"Change 1\""}, nil)
	if len(done.Files) > 0 {
		t.Errorf("merged: %v", done.Files)
	}
	dropped := slices.Clone(parts)
	for i := range dropped {
		dropped[i].Picks = nil
	}
	w.commit(barRepo, five, "Clash", map[string]string{"Bar.php": "all else\n"})
	w.bump("extensions/Bar", barRepo, five)
	w.check("taken out", w.pin(dropped), []string{at + ": +Revert \"Change 1\", Clash"}, nil)
}

func TestCarriedConflict(t *testing.T) {
	w := newWorld(t)
	base := w.pin(nil).Parts
	hot := w.change(5, configRepo, "master", map[string]string{"wmf-config/b.php": edited(1, "HOT")})
	deployed := w.pin(base, hot).Parts // and never merged
	w.check("kept", w.pin(deployed), nil, []string{""})
	warm := w.change(6, coreRepo, four, map[string]string{"index.php": edited(1, "WARM")})
	both := w.pin(deployed, warm).Parts
	w.merge(warm, map[string]string{"index.php": edited(1, "WARM")})
	w.check("one was merged just so", w.pin(both), nil, []string{""})
	w.commit(configRepo, "master", "The same, by hand", map[string]string{"wmf-config/b.php": edited(1, "HOT")})
	w.check("there in effect", w.pin(both), nil, nil)
	w.commit(configRepo, "master", "Clash", map[string]string{"wmf-config/b.php": edited(1, "COLD")})
	var about *ChangeError
	if _, err := w.p.Pin(t.Context(), w.heads(), deployed, nil, nil); !errors.As(err, &about) || about.Number != 5 {
		t.Errorf("it cannot stay: %v", err)
	}
	w.commit(configRepo, "master", hot.Message, map[string]string{"wmf-config/b.php": edited(1, "COLD")})
	if _, err := w.p.Pin(t.Context(), w.heads(), deployed, nil, nil); err != nil {
		t.Errorf("merged in the end: %v", err)
	}
}

// The train: a change of the configuration makes a version live and another one not.
func TestVersionsMove(t *testing.T) {
	w := newWorld(t)
	base := w.pin(nil).Parts
	train := w.change(1, configRepo, "master", map[string]string{"wikiversions.json": `{"enwiki": "php-1.41.0-wmf.10", "dewiki": "php-1.41.0-wmf.5"}`})
	pinned := w.pin(base, train)
	w.check("the train", pinned, []string{"php-1.41.0-wmf.10: new", php4 + ": removed"}, nil)
	if got := len(pinned.Parts); got != 11 {
		t.Errorf("%d parts", got)
	}
	lost := w.change(2, configRepo, "master", map[string]string{"wikiversions.json": `{"enwiki": "php-9"}`})
	if _, err := w.p.Pin(t.Context(), w.heads(), base, []change.Change{lost}, nil); !errors.Is(err, git.ErrNoRef) {
		t.Errorf("a version without a branch: %v", err)
	}
}

func TestHistoryRewritten(t *testing.T) {
	w := newWorld(t)
	base := w.pin(nil).Parts
	w.commitAt(configRepo, "refs/heads/master", "", "Fresh start", map[string]string{"wikiversions.json": `{"enwiki": "php-1.41.0-wmf.5", "dewiki": "php-1.41.0-wmf.4"}`})
	w.check("rewound", w.pin(base), []string{": +Fresh start -Config"}, nil)
	strange := slices.Clone(base)
	for i := range strange {
		if strange[i].Path == "" {
			strange[i].Commit, strange[i].Head, strange[i].Tree = strings.Repeat("1", 40), strings.Repeat("1", 40), strings.Repeat("2", 40)
		}
	}
	pinned := w.pin(strange)
	w.check("never seen", pinned, []string{": unknown"}, nil)
	if diff := cmp.Diff([]string{"/"}, pinned.Files); diff != "" {
		t.Error(diff)
	}
}

// Submodules that nobody touched need not be reachable, nor even mirrored; a dry run leaves the mirrors as they were.
func TestUntouchedAreNotLookedAt(t *testing.T) {
	w := newWorld(t)
	base := w.pin(nil).Parts
	for _, project := range []string{barRepo, oddRepo, libRepo} {
		if err := os.RemoveAll(filepath.Join(w.dir, project)); err != nil {
			t.Fatal(err)
		}
	}
	mirrors := filepath.Join(w.t.TempDir(), "mirrors")
	m := must[*git.Mirrors](t)(git.Open(git.Options{Dir: mirrors, URL: w.url(), Local: true}))
	w.p, w.m = w.pinner(m), m
	foo := w.change(1, fooRepo, five, map[string]string{"Foo.php": edited(1, "ONE")})
	heads := w.heads()
	before := list(t, mirrors)
	dry := w.pinner(m.Quarantine(t.TempDir()))
	w.commit(configRepo, "master", "Later", map[string]string{"later": "l\n"})
	h := must[*Heads](t)(dry.Fetch(t.Context()))
	if pinned := must[*Pinned](t)(dry.Pin(t.Context(), h, base, []change.Change{foo}, nil)); len(pinned.Parts) != len(base) || !slices.Equal(extras(pinned.Extra), []string{": +Later"}) {
		t.Errorf("%d parts, %v", len(pinned.Parts), extras(pinned.Extra))
	}
	if diff := cmp.Diff(before, list(t, mirrors)); diff != "" {
		t.Errorf("the mirrors were written to: %s", diff)
	}
	pinned := must[*Pinned](t)(w.p.Pin(t.Context(), heads, base, []change.Change{foo}, nil))
	w.check("pinned to the heads of then", pinned, nil, nil)
	if _, err := os.Stat(filepath.Join(mirrors, barRepo+".git")); err == nil {
		t.Error("an untouched submodule was mirrored")
	}
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			all = append(all, fmt.Sprint(path, info.Mode(), info.Size()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAhead(t *testing.T) {
	w := newWorld(t)
	base := w.pin(nil).Parts
	w.commit(configRepo, "master", "Config later", map[string]string{"x": "x\n"})
	w.commit(barRepo, five, "Bar later", map[string]string{"x": "x\n"})
	w.bump("extensions/Bar", barRepo, five)
	w.commit(coreRepo, five, "Core later", map[string]string{"x": "x\n"})
	foo := w.merge(w.change(1, fooRepo, five, map[string]string{"n": "n\n"}), map[string]string{"n": "n\n"})
	ahead := func(parts []change.Part) []string {
		t.Helper()
		return extras(must[[]Extra](t)(w.p.Ahead(t.Context(), parts)))
	}
	if got := ahead(base); got != nil {
		t.Errorf("before a fetch: %v", got)
	}
	pinned := w.pin(base, foo)
	if err := os.RemoveAll(w.dir); err != nil { // no server from here on
		t.Fatal(err)
	}
	want := []string{": +Config later", php5 + ": +Core later", php5 + "/extensions/Bar: +Bar later"}
	if diff := cmp.Diff(want, ahead(base)); diff != "" {
		t.Error(diff)
	}
	if got := ahead(pinned.Parts); got != nil {
		t.Errorf("all is deployed: %v", got)
	}
	if _, err := w.p.Fetch(t.Context()); err == nil {
		t.Error("fetched from nowhere")
	}
}
