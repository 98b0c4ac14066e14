package staging

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const gitlink = "@0123456789012345678901234567890123456789"

var (
	configFiles = repoFiles{"wikiversions.json": `{"enwiki": "php-1.41.0-wmf.5"}`, "wmf-config/a.php": "<?php\n", "docroot/w/index.php": "<?php // x", "docroot/w/link": "-> ../../wmf-config/a.php"}
	coreFiles   = repoFiles{"includes/A.php": "<?php class A {}", "maintenance/run": "#!/usr/bin/php\n", "README": "core", "extensions/README": "here they are", "extensions/Foo": gitlink, "skins/Bar": gitlink}
	fooFiles    = repoFiles{"extension.json": "{}", "src/Foo.php": "<?php class Foo {}", "lib/ve": gitlink}
)

func TestBuildFromNothingAndFromBase(t *testing.T) {
	w := newWorld(t, t.TempDir())
	config, core := w.commit("", "config", configFiles), w.commit("php-1.41.0-wmf.5", "core", coreFiles)
	foo, bar := w.commit("php-1.41.0-wmf.5/extensions/Foo", "ext/Foo", fooFiles), w.commit("php-1.41.0-wmf.5/skins/Bar", "skins/Bar", repoFiles{"skin.json": "{}"})
	ve := w.commit("php-1.41.0-wmf.5/extensions/Foo/lib/ve", "ve", repoFiles{"ve.js": "1"})
	first := w.build(nil, config, core, foo, bar, ve)
	if !first.Cold || first.Changed != nil {
		t.Errorf("cold %v, changed %v", first.Cold, first.Changed)
	}
	w.same(first, first.Record.Parts, nil)

	foo2 := w.commit(foo.Path, "ext/Foo", repoFiles{"extension.json": "{}", "src/Foo.php": "<?php class Foo2 {}", "new/x": "", "lib/ve": gitlink})
	config2 := w.commit("", "config", repoFiles{"wikiversions.json": `{"enwiki": "php-1.41.0-wmf.5"}`, "docroot/w": "a file now", "wmf-config/a.php": "<?php\n"})
	second := w.build(first.Record, config2, core, foo2, bar, ve)
	if second.Cold {
		t.Error("built from nothing:", w.told)
	}
	w.same(second, second.Record.Parts, nil)
	want := []string{"docroot/w", "docroot/w/index.php", "docroot/w/link", foo.Path + "/new/x", foo.Path + "/src/Foo.php"}
	if diff := cmp.Diff(want, second.Changed); diff != "" {
		t.Error(diff)
	}

	back := w.build(second.Record, config, core, foo, bar, ve)
	if back.Release.ID != first.Release.ID {
		t.Error("the way back leads elsewhere")
	}
	saved, err := w.stager().Record(second.Release.ID)
	must(t, err)
	if diff := cmp.Diff(second.Record, saved); diff != "" {
		t.Error(diff)
	}
}
