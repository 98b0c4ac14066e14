package staging

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"scap/sync/change"
	"scap/sync/change/git"
	"scap/sync/release"
)

// diffOf is a patch that takes a file of one line to another.
func diffOf(path, from, to string) string {
	return "From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\nDate: Mon, 2 Jan 2023 00:00:00 +0000\nSubject: [PATCH] secret fix\n\n---\n" +
		"diff --git a/" + path + " b/" + path + "\n--- a/" + path + "\n+++ b/" + path + "\n@@ -1 +1 @@\n-" + from + "\n+" + to + "\n-- \n2.39\n"
}

const wmf5 = "php-1.41.0-wmf.5"

// patched is a world with a core and an extension, and a directory of patches.
func patched(t *testing.T, patches repoFiles) (*world, []change.Part) {
	t.Helper()
	w := newWorld(t, t.TempDir())
	w.o.Patches = filepath.Join(w.dir, "patches")
	must(t, os.MkdirAll(w.o.Patches, 0o700))
	writeFiles(t, w.o.Patches, patches)
	return w, []change.Part{
		w.commit("", "config", repoFiles{"wikiversions.json": "{}"}),
		w.commit(wmf5, "core", repoFiles{"a.php": "one\n", "b.php": "b\n", "extensions/Foo": gitlink}),
		w.commit(wmf5+"/extensions/Foo", "ext/Foo", repoFiles{"f.php": "foo\n"}),
	}
}

func TestPatchesGoOnInOrder(t *testing.T) {
	w, parts := patched(t, repoFiles{
		"1.41.0-wmf.5/core/02-T2.patch":           diffOf("a.php", "two", "three"),
		"1.41.0-wmf.5/core/01-T1.patch":           diffOf("a.php", "one", "two"),
		"1.41.0-wmf.5/extensions/Foo/01-T3.patch": diffOf("f.php", "foo", "bar"),
		"1.41.0-wmf.5/core/01-T1.patch.orig":      "rubbish",
		"1.40.0-wmf.1/core/01-T0.patch":           "of a version that is not there",
		"next/core/01-T9.patch":                   "for later",
		".git/config":                             "", "README": "",
	})
	b := w.build(nil, parts...)
	for path, want := range map[string]string{wmf5 + "/a.php": "three\n", wmf5 + "/extensions/Foo/f.php": "bar\n", wmf5 + "/b.php": "b\n"} {
		if got := w.read(b, path); got != want {
			t.Errorf("%s is %q, not %q", path, got, want)
		}
	}
	w.same(b, b.Record.Parts, nil)
	names := []string{"1.41.0-wmf.5/core/01-T1.patch", "1.41.0-wmf.5/core/02-T2.patch", "1.41.0-wmf.5/extensions/Foo/01-T3.patch"}
	if diff := cmp.Diff(names, b.NewPatches); diff != "" {
		t.Error(diff)
	}
	var told []string
	for _, f := range b.Findings {
		told = append(told, f.Path)
		if f.Level != Warn {
			t.Errorf("%v is not a warning", f)
		}
	}
	if diff := cmp.Diff([]string{"1.40.0-wmf.1", "1.41.0-wmf.5/core/01-T1.patch.orig"}, told); diff != "" {
		t.Error(diff)
	}

	must(t, os.Remove(filepath.Join(w.o.Patches, names[1])))
	must(t, os.WriteFile(filepath.Join(w.o.Patches, names[2]), []byte(diffOf("f.php", "foo", "baz")), 0o644))
	next := w.build(b.Record, parts...)
	if got := w.read(next, wmf5+"/a.php"); got != "two\n" {
		t.Errorf("after its patch went a.php is %q", got)
	}
	if !slices.Equal(next.NewPatches, names[2:]) || !slices.Equal(next.GonePatches, names[1:2]) || next.Cold {
		t.Errorf("new %q, gone %q, cold %v", next.NewPatches, next.GonePatches, next.Cold)
	}
	if want := []string{wmf5 + "/a.php", wmf5 + "/extensions/Foo/f.php"}; !slices.Equal(next.Changed, want) {
		t.Errorf("changed %q", next.Changed)
	}
}

// TestNeverWithoutPatches wants no release when one of them cannot be put on, whatever kind of build.
func TestNeverWithoutPatches(t *testing.T) {
	for name, patches := range map[string]repoFiles{
		"does not apply":      {"1.41.0-wmf.5/core/01-T1.patch": diffOf("a.php", "one", "two"), "1.41.0-wmf.5/core/02-T2.patch": diffOf("a.php", "one", "2")},
		"no such repository":  {"1.41.0-wmf.5/extensions/Bar/02-T2.patch": diffOf("f.php", "foo", "bar")},
		"in no repository":    {"1.41.0-wmf.5/02-T2.patch": diffOf("a.php", "one", "two")},
		"beside the versions": {"02-T2.patch": diffOf("a.php", "one", "two")},
		"a link":              {"1.41.0-wmf.5/core/02-T2.patch": "-> ../../good", "good": diffOf("a.php", "one", "two")},
		"below core":          {"1.41.0-wmf.5/core/extensions/02-T2.patch": diffOf("a.php", "one", "two")},
	} {
		t.Run(name, func(t *testing.T) {
			w, parts := patched(t, nil)
			before := w.build(nil, parts...)
			writeFiles(t, w.o.Patches, patches)
			for _, base := range []*Record{nil, before.Record} {
				for _, dry := range []bool{false, true} {
					_, err := w.stager().Build(context.Background(), base, parts, BuildOptions{Dry: dry})
					if err == nil || !strings.Contains(err.Error(), "02-T2.patch") {
						t.Errorf("base %v, dry %v: %v", base != nil, dry, err)
					}
					var bad *git.PatchError
					if name == "does not apply" && (!errors.As(err, &bad) || !slices.Equal(bad.Paths, []string{"a.php"})) {
						t.Errorf("its paths are not named: %v", err)
					}
				}
			}
			if all, _ := w.store.Releases(); len(all) != 1 {
				t.Errorf("%d releases are there", len(all))
			}
		})
	}
}

// TestPruneLetsTreesGo wants trees that scap made to be kept in the mirrors as long as a release has them.
func TestPruneLetsTreesGo(t *testing.T) {
	w, parts := patched(t, repoFiles{"1.41.0-wmf.5/core/01-T1.patch": diffOf("a.php", "one", "two")})
	first := w.build(nil, parts...)
	must(t, os.WriteFile(filepath.Join(w.o.Patches, "1.41.0-wmf.5/core/01-T1.patch"), []byte(diffOf("a.php", "one", "three")), 0o644))
	second := w.build(first.Record, parts...)
	repo, err := w.mirrors.Repo("core")
	must(t, err)
	kept := func() int {
		all, err := repo.Kept(context.Background())
		must(t, err)
		return len(all)
	}
	s := w.stager()
	must(t, s.Prune(context.Background(), []release.ID{first.Release.ID}))
	if n := kept(); n != 2 {
		t.Errorf("%d trees are kept for two releases", n)
	}
	parts[0] = w.commit("", "config", repoFiles{"wikiversions.json": "{}", "more": ""})
	third := w.build(second.Record, parts...)
	must(t, w.store.Remove(context.Background(), first.Release.ID))
	must(t, w.store.Remove(context.Background(), third.Release.ID)) // of the second's trees
	must(t, s.Prune(context.Background(), nil))
	if n := kept(); n != 1 {
		t.Errorf("%d trees are kept for one release", n)
	}
	if _, err := s.Record(first.Release.ID); !errors.Is(err, ErrNoRecord) {
		t.Errorf("its record: %v", err)
	}
	if _, err := s.Record(second.Release.ID); err != nil {
		t.Error(err)
	}
}
