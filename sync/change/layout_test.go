package change

import (
	"slices"
	"testing"
)

func TestLayout(t *testing.T) {
	l := wiki()
	for _, row := range []struct {
		name, at string
		kind     Kind
		paths    []string
		live     bool
	}{
		{"configuration", "config", Config, []string{""}, true},
		{"configuration on another branch", "config@train-dev", Foreign, nil, false},
		{"core of a live version", "core@5", Code, []string{"php-1.41.0-wmf.5"}, true},
		{"core of the other live version", "core@6", Code, []string{"php-1.41.0-wmf.6"}, true},
		{"core of the next version", "core@7", Code, []string{"php-1.41.0-wmf.7"}, false},
		{"core of a version that is gone", "core@3", Elsewhere, nil, false},
		{"core's master", "core", Master, nil, false},
		{"core's main", "core@main", Master, nil, false},
		{"a release branch", "core@REL1_39", Elsewhere, nil, false},
		{"extension", "foo@5", Code, []string{"php-1.41.0-wmf.5/extensions/Foo"}, true},
		{"extension that a version does not have", "bar@5", Elsewhere, nil, false},
		{"extension that only some versions have", "bar@6", Code, []string{"php-1.41.0-wmf.6/extensions/Bar"}, true},
		{"master of such", "bar", Master, nil, false},
		{"vendor", "vendor@6", Code, []string{"php-1.41.0-wmf.6/vendor"}, true},
		{"submodule whose path is not its project's name", "ve@6", Code, []string{"php-1.41.0-wmf.6/extensions/VisualEditor/lib/ve"}, true},
		{"neither", "puppet", Foreign, nil, false},
		{"neither, on a version's branch", "puppet@5", Foreign, nil, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			project, branch := repo(t, row.at)
			if have := l.Kind(project, branch); have != row.kind {
				t.Errorf("it is %s, want %s", have, row.kind)
			}
			if have := l.Paths(project, branch); !slices.Equal(have, row.paths) {
				t.Errorf("it is at %q, want %q", have, row.paths)
			}
			if have := l.Live(project, branch); have != row.live {
				t.Errorf("live: %v, want %v", have, row.live)
			}
		})
	}
	t.Run("two versions on one branch", func(t *testing.T) {
		l := Layout{Core: "core", Versions: []Version{{Branch: "b", Paths: map[string]string{"core": "php-2"}}, {Branch: "b", Live: true, Paths: map[string]string{"core": "php-1"}}}}
		if have := l.Paths("core", "b"); !slices.Equal(have, []string{"php-1", "php-2"}) || !l.Live("core", "b") {
			t.Error(have)
		}
	})
	t.Run("named development branches", func(t *testing.T) {
		l := wiki()
		l.MasterBranches = []string{"trunk"}
		if l.Kind("mediawiki/core", "master") != Elsewhere || l.Kind("mediawiki/core", "trunk") != Master {
			t.Error("the layout's own names are not asked")
		}
	})
	t.Run("nothing is known", func(t *testing.T) {
		var l Layout
		if l.Kind("", "") != Foreign || l.Paths("", "") != nil || l.Live("", "") || l.Live("mediawiki/core", "master") {
			t.Error("a layout that knows nothing has a place for something")
		}
	})
	if have := Kind(9).String() + Kind(-1).String() + Master.String(); have != "unknownunknownmaster" {
		t.Error(have)
	}
}
