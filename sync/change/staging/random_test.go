package staging

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"scap/sync/change"
	"scap/sync/release"
)

// site is a wiki farm whose repositories change at random.
type site struct {
	w       *world
	repos   map[string]repoFiles // by the part's place
	parts   map[string]change.Part
	stale   map[string]bool
	mounted map[string]bool
	private string
}

// places are where repositories can be, outer ones first, and which project is there.
var places = []struct{ path, outer, project string }{
	{"", "", "config"},
	{"php-1", "", "core"},
	{"php-2", "", "core"},
	{"php-1/extensions/Foo", "php-1", "foo"},
	{"php-2/extensions/Foo", "php-2", "foo"},
	{"php-1/extensions/Foo/lib", "php-1/extensions/Foo", "lib"},
	{"php-1/skins", "php-1", "skins"},
}

// set puts a file, and takes away what cannot be beside it.
func set(f repoFiles, path, text string) {
	for old := range f {
		if below(old, path) || below(path, old) {
			delete(f, old)
		}
	}
	f[path] = text
}

var (
	someNames = rapid.SampledFrom([]string{"a", "b", "d/x", "d/y", "d", "e/f/g", "e/f", "-rf", "\xff", "x\ny", "extensions/Foo", "extensions/Foo/lib/z", "extensions/a", "skins", "lib", "lib/q", "tmp/cut", "a.cut"})
	someTexts = rapid.SampledFrom([]string{"", "1", "2", "#!/bin/sh\n", "#!/bin/bash\n", "-> a", "-> ./d/x", strings.Repeat("long ", 2000)})
)

// mutate changes repositories, comes and goes with them, and keeps each outer one asking for those in it.
func (s *site) mutate(r *rapid.T) {
	for _, p := range places {
		if p.path == "" {
			s.mounted[p.path] = true
		} else if on := rapid.IntRange(0, 3).Draw(r, "mounted") > 0; on != s.mounted[p.path] {
			s.mounted[p.path] = on
			s.stale[p.path] = true
		}
		if s.mounted[p.path] && !s.mounted[p.outer] && p.path != p.outer {
			s.mounted[p.path] = false
		}
		for range rapid.IntRange(0, 3).Draw(r, "changes") {
			name := someNames.Draw(r, "name")
			if p.path == "" && strings.HasPrefix(name, "php-") {
				continue
			}
			if rapid.Bool().Draw(r, "delete") {
				delete(s.repos[p.path], name)
			} else {
				set(s.repos[p.path], name, someTexts.Draw(r, "text"))
			}
			s.stale[p.path] = true
		}
		set(s.repos[p.path], "README", "of "+p.path)
	}
	for _, p := range slices.Backward(places[3:]) {
		rel := strings.TrimPrefix(p.path, p.outer+"/")
		before := maps.Clone(s.repos[p.outer])
		if s.mounted[p.path] {
			set(s.repos[p.outer], rel, gitlink)
		} else if s.repos[p.outer][rel] == gitlink {
			delete(s.repos[p.outer], rel)
		}
		s.stale[p.outer] = s.stale[p.outer] || !maps.Equal(before, s.repos[p.outer])
	}
}

// now returns the parts as they are.
func (s *site) now() []change.Part {
	var out []change.Part
	for _, p := range places {
		if !s.mounted[p.path] {
			continue
		}
		if _, ok := s.parts[p.path]; !ok || s.stale[p.path] {
			s.parts[p.path] = s.w.commit(p.path, p.project, s.repos[p.path])
			s.stale[p.path] = false
		}
		out = append(out, s.parts[p.path])
	}
	return out
}

// over is what lies above the repositories, in words.
func (s *site) over(parts []change.Part) repoFiles {
	out := repoFiles{}
	for _, p := range parts {
		if p.Path == "php-1" || p.Path == "php-2" {
			out[p.Path+"/cache/l10n/made"] = s.repos[p.Path]["README"] + "\n" + s.repos[""]["README"] + "\n"
		}
	}
	return out
}

// TestRandomHistories wants every release to be what git checks out of its parts, whatever it was built from: the release
// before, an older one, one that is gone, or nothing; and a dry build to know its name before.
func TestRandomHistories(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		must(t, f.Value.Set("12"))
		defer f.Value.Set(f.DefValue)
	}
	root, err := os.MkdirTemp("/dev/shm", "scap-staging")
	if err != nil {
		root = t.TempDir()
	}
	defer os.RemoveAll(root)
	worlds := 0
	rapid.Check(t, func(r *rapid.T) {
		worlds++
		dir := filepath.Join(root, fmt.Sprint(worlds))
		s := &site{
			w: newWorld(t, dir), repos: map[string]repoFiles{}, parts: map[string]change.Part{}, stale: map[string]bool{}, mounted: map[string]bool{},
			private: filepath.Join(dir, "private"),
		}
		defer os.RemoveAll(dir)
		for _, p := range places {
			s.repos[p.path] = repoFiles{}
		}
		s.w.o.Private, s.w.o.Excludes = s.private, []string{"*.cut", "tmp/"}
		s.w.o.Steps = []Step{{
			Name: "l10n", PerVersion: true, Inputs: []string{"php-{version}/READ*", "README"}, Outputs: "php-{version}/cache/l10n",
			Command: []string{"/bin/sh", "-c", `for f do cat "$f"; echo; done > "$0/made"`, "{out}", "{tree}/php-{version}/README", "{tree}/README"},
		}}
		var records []*Record
		for range rapid.IntRange(3, 6).Draw(r, "rounds") {
			s.mutate(r)
			must(t, os.RemoveAll(s.private))
			must(t, os.MkdirAll(s.private, 0o755))
			for range rapid.IntRange(0, 2).Draw(r, "private") {
				writeFiles(t, s.private, repoFiles{rapid.SampledFrom([]string{"secret/a", "secret/b", "php-1/Local.php"}).Draw(r, "secret"): someTexts.Filter(func(s string) bool { return s != "-> ./d/x" }).Draw(r, "text")})
			}
			if !s.mounted["php-1"] {
				must(t, os.RemoveAll(filepath.Join(s.private, "php-1")))
			}
			records = append(records, s.round(r, records))
		}
	})
}

// round builds once more and compares.
func (s *site) round(r *rapid.T, records []*Record) *Record {
	var base *Record
	if len(records) > 0 && rapid.IntRange(0, 4).Draw(r, "based") > 0 {
		base = rapid.SampledFrom(records).Draw(r, "base")
		if rapid.IntRange(0, 9).Draw(r, "lose") == 0 && s.w.store.Has(base.Release) {
			must(s.w.t, s.w.store.Remove(context.Background(), base.Release))
		}
	}
	parts := s.now()
	dry, err := s.w.stager().Build(context.Background(), base, parts, BuildOptions{Dry: true})
	must(s.w.t, err)
	b := s.w.build(base, parts...)
	want := s.w.oracle(b.Record.Parts, s.over(parts), s.private)
	if b.Release.ID != want.ID || b.Release.Files != want.Files || b.Release.Bytes != want.Bytes {
		r.Fatalf("built %v, checked out %v", b.Release, want)
	}
	if dry.Release.ID != (release.ID{}) && dry.Release.ID != b.Release.ID {
		r.Fatalf("a dry build named it %s, not %s", dry.Release.ID.Short(), b.Release.ID.Short())
	}
	if len(dry.Pending) != len(b.Ran) || dry.Release.ID.IsZero() != (len(b.Ran) > 0) {
		r.Fatalf("a dry build would have run %v, it was %v", dry.Pending, b.Ran)
	}
	if b.Cold && base != nil && !strings.Contains(strings.Join(s.w.told, "\n"), "from nothing") {
		r.Fatal("built from nothing without a word")
	}
	return b.Record
}
