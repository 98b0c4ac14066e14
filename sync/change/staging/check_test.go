package staging

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"scap/sync/change"
)

// TestRegistration wants an extension.json that names a class which is not in the same tree to be stopped, whichever of
// the two changed, and only a change to be looked at.
func TestRegistration(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.o.PHP = needPHP(t)
	core := w.commit(wmf5, "core", repoFiles{
		"autoload.php": "<?php\n$wgAutoloadLocalClasses = [];\n", "includes/ServiceWiring.php": "<?php\nreturn [];\n", "extensions/Foo": gitlink,
	})
	good := repoFiles{
		"extension.json":     `{"name": "Foo", "AutoloadNamespaces": {"Foo\\": "src/"}, "SpecialPages": {"Foo": "Foo\\SpecialFoo"}, "manifest_version": 2}`,
		"src/SpecialFoo.php": "<?php\nnamespace Foo;\nclass SpecialFoo { public function __construct() {} }\n",
	}
	ext := func(change repoFiles) change.Part {
		f := maps.Clone(good)
		maps.Copy(f, change)
		return w.commit(wmf5+"/extensions/Foo", "foo", f)
	}
	broken := repoFiles{"extension.json": strings.Replace(good["extension.json"], "SpecialFoo", "SpecialBar", 1)}
	before := w.build(nil, core, ext(nil))
	already := w.build(nil, core, ext(broken)) // nobody looked
	w.o.Registration = Block
	if b := w.build(before.Record, core, ext(repoFiles{"README": "x"})); len(b.Findings) > 0 {
		t.Errorf("nothing is wrong: %v", b.Findings)
	}
	for name, next := range map[string]repoFiles{
		"extension.json": broken, "the class": {"src/SpecialFoo.php": "<?php\nnamespace Foo;\nclass Another {}\n"},
	} {
		parts := []change.Part{core, ext(next)}
		for _, dry := range []bool{true, false} {
			_, err := w.stager().Build(context.Background(), before.Record, parts, BuildOptions{Dry: dry})
			var refused *RefusedError
			if !errors.As(err, &refused) || refused.Findings[0].Check != "registration" || refused.Findings[0].Path != wmf5+"/extensions/Foo/extension.json" {
				t.Errorf("%s, dry %v: %v", name, dry, err)
			}
		}
	}
	if b := w.build(already.Record, w.commit("", "config", repoFiles{"a": ""}), core, ext(broken)); len(b.Findings) > 0 {
		t.Errorf("what did not change is looked at: %v", b.Findings)
	}
	// What is served already is no business of a change that does not make it worse.
	still := maps.Clone(broken)
	still["extension.json"] = strings.Replace(still["extension.json"], `"name": "Foo"`, `"name": "Foo", "version": "2"`, 1)
	if b := w.build(already.Record, core, ext(still)); len(b.Findings) > 0 {
		t.Errorf("what was broken before: %v", b.Findings)
	}
	w.o.Registration = Warn
	if b := w.build(before.Record, core, ext(broken)); len(b.Findings) != 1 || b.Findings[0].Level != Warn {
		t.Errorf("as a warning: %v", b.Findings)
	}
}

// TestFiles holds the tree that is seen through the check to what package fs promises.
func TestFiles(t *testing.T) {
	w := newWorld(t, t.TempDir())
	b := w.build(nil, w.commit("", "config", repoFiles{"a": "1", "d/b": "2", "d/c": "", "d/e/f": "#!3"}))
	next := w.commit("", "config", repoFiles{"a": "1", "d/b": "changed", "d/c": "", "d/e/f": "#!3", "l": "-> d/./b", "d/up": "-> ../d/e", "d/loop": "-> loop", "d/gone": "-> nowhere"})
	seen := false
	s := w.stager()
	err := s.look(context.Background(), b.Record, []change.Part{next}, func(tree fs.FS) error {
		seen = true
		for path, want := range map[string]string{"a": "1", "d/b": "changed", "l": "changed", "d/up/f": "#!3"} {
			if text, err := fs.ReadFile(tree, path); err != nil || string(text) != want {
				t.Errorf("%s: %q, %v", path, text, err)
			}
		}
		for _, path := range []string{"d/loop", "d/gone", "nothing", "a/b", "../a", "/a"} {
			if _, err := fs.ReadFile(tree, path); err == nil {
				t.Errorf("%s can be read", path)
			}
		}
		sub, err := fs.Sub(tree, "d/e")
		must(t, err)
		return fstest.TestFS(sub, "f")
	})
	must(t, err)
	if !seen {
		t.Error("nothing was looked at")
	}
}
