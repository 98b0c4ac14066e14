package staging

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"scap/sync/change"
)

func TestPrivateFiles(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.o.Private = filepath.Join(w.dir, "private")
	writeFiles(t, w.o.Private, repoFiles{"private/PrivateSettings.php": "<?php $secret = 1;", "wmf-config/keys.php": "k", ".git/config": "c", "empty/x": ""})
	must(t, os.Remove(filepath.Join(w.o.Private, "empty/x")))
	must(t, os.Chmod(filepath.Join(w.o.Private, "private"), 0o750))
	must(t, os.Chmod(filepath.Join(w.o.Private, "private/PrivateSettings.php"), 0o640))
	must(t, os.Chmod(filepath.Join(w.o.Private, "wmf-config"), 0o700)) // the repositories' directory is what it is
	config := w.commit("", "config", configFiles)
	b := w.build(nil, config)
	for path, want := range map[string]os.FileMode{"private": os.ModeDir | 0o750, "private/PrivateSettings.php": 0o640, "wmf-config": os.ModeDir | 0o755, "wmf-config/keys.php": 0o644} {
		st, err := os.Stat(filepath.Join(w.store.Path(b.Release.ID), path))
		must(t, err)
		if st.Mode() != want {
			t.Errorf("%s has mode %v, not %v", path, st.Mode(), want)
		}
	}
	for _, path := range []string{".git", "empty"} {
		if _, err := os.Lstat(filepath.Join(w.store.Path(b.Release.ID), path)); err == nil {
			t.Errorf("%s is in the release", path)
		}
	}
	if p := b.Record.Private; len(p) != 2 || p[0].Name != "private/PrivateSettings.php" || len(p[0].Sum) != 64 {
		t.Errorf("recorded %v", p)
	}
	if want := []string{"private/PrivateSettings.php", "wmf-config/keys.php"}; !slices.Equal(b.NewPatches, want) {
		t.Errorf("new %q", b.NewPatches)
	}

	writeFiles(t, w.o.Private, repoFiles{"private/PrivateSettings.php": "<?php $secret = 2;"})
	must(t, os.Remove(filepath.Join(w.o.Private, "wmf-config/keys.php")))
	next := w.build(b.Record, config)
	if want := []string{"private/PrivateSettings.php", "wmf-config/keys.php"}; next.Cold || !slices.Equal(next.Changed, want) {
		t.Errorf("changed %q, cold %v", next.Changed, next.Cold)
	}
	if !slices.Equal(next.NewPatches, []string{"private/PrivateSettings.php"}) || !slices.Equal(next.GonePatches, []string{"wmf-config/keys.php"}) {
		t.Errorf("new %q, gone %q: whoever deploys must be asked about both", next.NewPatches, next.GonePatches)
	}
	if again := w.build(nil, config); again.Release.ID != next.Release.ID {
		t.Error("from nothing it is another release")
	}
}

func TestPrivateFileWinsOverNothing(t *testing.T) {
	for name, private := range map[string]repoFiles{
		"a file":              {"wmf-config/a.php": "mine"},
		"a file below it":     {"wmf-config/a.php/b": "mine"},
		"a directory":         {"wmf-config": "mine"},
		"a link out":          {"private/x": "-> ../../etc/passwd"},
		"what is made":        {"wikiversions.php": "mine"},
		"inside of submodule": {"php-1.41.0-wmf.5/README": "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, t.TempDir())
			w.o.Private, w.o.Wikiversions = filepath.Join(w.dir, "private"), "wikiversions.json"
			writeFiles(t, w.o.Private, private)
			for path := range private {
				if _, err := w.try(nil, w.commit("", "config", configFiles), w.commit(wmf5, "core", repoFiles{"README": ""})); err == nil || !strings.Contains(err.Error(), strings.Split(path, "/")[0]) {
					t.Errorf("%s: %v", path, err)
				}
			}
		})
	}
}

func TestWikiversions(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.o.Wikiversions = "wikiversions.json"
	versions := func(text string) change.Part { return w.commit("", "config", repoFiles{"wikiversions.json": text}) }
	core := w.commit(wmf5, "core", repoFiles{"README": ""})
	b := w.build(nil, versions(`{"enwiki": "php-1.41.0-wmf.5", "aa'wiki": "php-1.41.0-wmf.5"}`), core)
	want := "<?php\nreturn [\n\t'aa\\'wiki' => 'php-1.41.0-wmf.5',\n\t'enwiki' => 'php-1.41.0-wmf.5',\n];\n"
	if got := w.read(b, "wikiversions.php"); got != want {
		t.Errorf("made %q", got)
	}
	next := w.build(b.Record, versions(`{"enwiki": "php-1.41.0-wmf.5"}`), core)
	if got := w.read(next, "wikiversions.php"); strings.Contains(got, "aa") || next.Cold {
		t.Errorf("made %q, cold %v", got, next.Cold)
	}
	w.same(next, next.Record.Parts, repoFiles{"wikiversions.php": "<?php\nreturn [\n\t'enwiki' => 'php-1.41.0-wmf.5',\n];\n"})
	for name, text := range map[string]string{
		"a version that is not there": `{"enwiki": "php-1.41.0-wmf.6"}`, "a wiki twice": `{"enwiki": "php-1.41.0-wmf.5", "enwiki": "php-1.41.0-wmf.5"}`,
		"no JSON": `{`, "no wiki": `{}`, "no object": `[]`, "a number": `{"enwiki": 1}`, "a file": `{"enwiki": "wikiversions.json"}`, "outside": `{"enwiki": "../x"}`, "nothing": `{"enwiki": ""}`,
	} {
		if _, err := w.try(b.Record, versions(text), core); err == nil || !strings.Contains(err.Error(), "wikiversions.json") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
