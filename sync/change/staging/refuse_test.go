package staging

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"scap/sync/change"
	"scap/sync/release"
)

// TestTreesThatNoReleaseCanHold wants each refused by its path, built from nothing or from a base.
func TestTreesThatNoReleaseCanHold(t *testing.T) {
	base := repoFiles{"fine": "1"}
	for _, c := range []struct {
		name string
		root repoFiles
		core repoFiles // at php-1 when not nil
		ext  repoFiles // at php-1/extensions/Foo when not nil
		want string
	}{
		{"a link out", repoFiles{"d/l": "-> ../../x"}, nil, nil, `"d/l"`},
		{"a link out of the whole", nil, repoFiles{"d/l": "-> ../../../x"}, nil, `"php-1/d/l"`},
		{"an absolute link", repoFiles{"d/l": "-> /etc/passwd"}, nil, nil, `"d/l"`},
		{"a climbing link", repoFiles{"d/l": "-> e/../../x"}, nil, nil, `"d/l"`},
		{"an endless link", repoFiles{"l": "-> " + strings.Repeat("a/", 3000)}, nil, nil, `"l"`},
		{"a long name", repoFiles{strings.Repeat("n", 256): "x"}, nil, nil, "256 bytes"},
		{"a submodule that is nowhere", nil, repoFiles{"extensions/Foo": gitlink}, nil, `"php-1/extensions/Foo"`},
		{"a file where a repository is", repoFiles{"php-1": "x"}, repoFiles{"a": ""}, nil, `"php-1"`},
		{"a file below a repository", repoFiles{"php-1/x": "x"}, repoFiles{"a": ""}, nil, `"php-1/x"`},
		{"a file below an inner one", nil, repoFiles{"extensions/Foo/x": "x"}, repoFiles{"a": ""}, `"php-1/extensions/Foo/x"`},
		{"a link above an inner one", nil, repoFiles{"extensions": "-> x"}, repoFiles{"a": ""}, `"php-1/extensions`},
		{"a file above an inner one", nil, repoFiles{"extensions": "x"}, repoFiles{"a": ""}, `"php-1/extensions`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, t.TempDir())
			before := w.build(nil, w.commit("", "config", base))
			root := maps.Clone(base)
			maps.Copy(root, c.root)
			parts := []change.Part{w.commit("", "config", root)}
			if c.core != nil {
				parts = append(parts, w.commit("php-1", "core", c.core))
			}
			if c.ext != nil {
				parts = append(parts, w.commit("php-1/extensions/Foo", "foo", c.ext))
			}
			for _, r := range []*Record{nil, before.Record} {
				if _, err := w.try(r, parts...); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("base %v: %v", r != nil, err)
				}
			}
			if all, _ := w.store.Releases(); len(all) != 1 {
				t.Error("a release was made")
			}
		})
	}
}

// TestSubmoduleWhoseRepositoryGoes wants a repository not to vanish while the one around it asks for it.
func TestSubmoduleWhoseRepositoryGoes(t *testing.T) {
	w := newWorld(t, t.TempDir())
	core, foo := w.commit("php-1", "core", repoFiles{"a": "", "extensions/Foo": gitlink}), w.commit("php-1/extensions/Foo", "foo", repoFiles{"f": ""})
	first := w.build(nil, core, foo)
	if _, err := w.try(first.Record, core); err == nil || !strings.Contains(err.Error(), `"php-1/extensions/Foo"`) {
		t.Error(err)
	}
	next := w.build(first.Record, w.commit("php-1", "core", repoFiles{"a": ""}))
	if next.Cold {
		t.Error("from nothing")
	}
	w.same(next, next.Record.Parts, nil)
	plain := w.build(next.Record, w.commit("php-1", "core", repoFiles{"a": "", "extensions/Foo/f": "of core now"}))
	w.same(plain, plain.Record.Parts, nil)
	if _, err := w.try(plain.Record, append(plain.Record.Parts, foo)...); err == nil || !strings.Contains(err.Error(), `"php-1/extensions/Foo/f"`) {
		t.Errorf("a repository over another's files: %v", err)
	}
	other := w.build(first.Record, core, w.commit("php-1/extensions/Foo", "another", repoFiles{"f": "from another project"}))
	w.same(other, other.Record.Parts, nil)
}

func TestPartLists(t *testing.T) {
	w := newWorld(t, t.TempDir())
	good := w.commit("", "config", repoFiles{"a": ""})
	for name, parts := range map[string][]change.Part{
		"twice": {good, good}, "no tree": {{Path: "", Project: "config"}}, "no project": {{Path: "", Tree: good.Tree}},
		"climbs": {{Path: "../x", Project: "config", Tree: good.Tree}}, "absolute": {{Path: "/x", Project: "config", Tree: good.Tree}},
		"no such tree": {{Path: "", Project: "config", Tree: strings.Repeat("1", 40)}}, "no id": {{Path: "", Project: "config", Tree: "--help"}},
		"no mirror": {{Path: "", Project: "other", Tree: good.Tree}},
	} {
		if _, err := w.try(nil, parts...); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestDamagedBase wants a base that is not what it was to cost time only.
func TestDamagedBase(t *testing.T) {
	config, next := repoFiles{"a": "1", "d/b": "2", "gone": ""}, repoFiles{"a": "1", "d/b": "3"}
	for name, damage := range map[string]func(w *world, r *Record){
		"a file was removed":          func(w *world, r *Record) { must(w.t, os.Remove(filepath.Join(w.store.Path(r.Release), "a"))) },
		"a file was edited":           func(w *world, r *Record) { writeFiles(w.t, w.store.Path(r.Release), repoFiles{"a": "edited"}) },
		"its release is gone":         func(w *world, r *Record) { must(w.t, w.store.Remove(context.Background(), r.Release)) },
		"its record tells of another": func(_ *world, r *Record) { r.Private = []change.Patch{{Name: "never/there"}} },
		"its record lacks a part":     func(_ *world, r *Record) { r.Parts = nil },
		"its old tree is gone":        func(_ *world, r *Record) { r.Parts[0].Tree = strings.Repeat("1", 40) },
		"it had another exclude":      func(_ *world, r *Record) { r.Excludes = []string{"x"} },
		"what a step made is gone": func(_ *world, r *Record) {
			r.Steps = []StepRecord{{Name: "s", Outputs: "made", Output: release.SumOf(nil)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, t.TempDir())
			first := w.build(nil, w.commit("", "config", config))
			damage(w, first.Record)
			b := w.build(first.Record, w.commit("", "config", next))
			w.same(b, b.Record.Parts, nil)
			if b.Cold && len(w.told) == 0 {
				t.Error("built from nothing without a word")
			}
		})
	}
}

// TestOtherExcludes wants what is excluded from now on to go, though git says nothing of it.
func TestOtherExcludes(t *testing.T) {
	w := newWorld(t, t.TempDir())
	part := w.commit("", "config", repoFiles{"a": "1", "tests/b": "2", "x.cdb": ""})
	first := w.build(nil, part)
	w.o.Excludes = []string{"tests/", "*.cdb"}
	b := w.build(first.Record, part)
	w.same(b, b.Record.Parts, nil)
	if b.Release.Files != 1 || len(w.told) != 1 {
		t.Errorf("%d files, told %q", b.Release.Files, w.told)
	}
	w.o.Excludes = nil
	if back := w.build(b.Record, part); back.Release.ID != first.Release.ID {
		t.Error("without excludes it is not what it was")
	}
}

// TestDryBuildWritesNothing wants not a byte changed in the store, the records and the mirrors.
func TestDryBuildWritesNothing(t *testing.T) {
	w := newWorld(t, t.TempDir())
	part := w.commit("", "config", repoFiles{"a": "1", "b": "1"})
	empty := snapshotOf(t, w.dir)
	_, err := w.stager().Build(context.Background(), nil, []change.Part{part}, BuildOptions{Dry: true})
	must(t, err)
	if diff := cmp.Diff(empty, snapshotOf(t, w.dir)); diff != "" {
		t.Error(diff)
	}
	first := w.build(nil, part)
	next := w.commit("", "config", repoFiles{"a": "2", "b": "1"})
	before := snapshotOf(t, w.dir)
	dry, err := w.stager().Build(context.Background(), first.Record, []change.Part{next}, BuildOptions{Dry: true})
	must(t, err)
	if diff := cmp.Diff(before, snapshotOf(t, w.dir)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a"}, dry.Changed); diff != "" {
		t.Error(diff)
	}
	if b := w.build(first.Record, next); b.Release.ID != dry.Release.ID || b.Release.Files != dry.Release.Files || b.Release.Bytes != dry.Release.Bytes {
		t.Errorf("announced %v, made %v", dry.Release, b.Release)
	}
}

func snapshotOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := e.Info()
		if err == nil {
			out[path] = st.Mode().String() + st.ModTime().String()
		}
		return err
	}))
	return out
}

// TestLargeFiles wants content that is not kept in memory to arrive, at one place and at several.
func TestLargeFiles(t *testing.T) {
	w := newWorld(t, t.TempDir())
	a, b := strings.Repeat("a", keepBlob+1), strings.Repeat("b", 3*keepBlob)
	core := repoFiles{"a": a, "b1": b, "b2": b, "b3": b, "small": "s"}
	got := w.build(nil, w.commit("", "config", repoFiles{"a": a}), w.commit("php-1", "core", core), w.commit("php-2", "core", core))
	w.same(got, got.Record.Parts, nil)
}

// TestMtimes wants no two contents of a path to have one second, whatever builds follow each other in it.
func TestMtimes(t *testing.T) {
	w := newWorld(t, t.TempDir())
	seen := map[int64]string{}
	var base *Record
	for _, text := range []string{"1", "2", "3", "2", "4"} {
		b := w.build(base, w.commit("", "config", repoFiles{"a": text}))
		base = b.Record
		st, err := os.Stat(filepath.Join(w.store.Path(b.Release.ID), "a"))
		must(t, err)
		if other, ok := seen[st.ModTime().Unix()]; ok && other != text {
			t.Errorf("%q and %q have one second", other, text)
		}
		seen[st.ModTime().Unix()] = text
	}
}
