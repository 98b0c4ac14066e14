package release_test

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"scap/sync/release"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// shelf keeps directory objects in memory and counts how many were asked for.
type shelf struct {
	dirs map[release.Sum][]byte
	read int
}

var _ release.Dirs = (*shelf)(nil)

func (s *shelf) Dir(sum release.Sum) (release.Dir, error) {
	s.read++
	b, ok := s.dirs[sum]
	if !ok {
		return nil, fmt.Errorf("object %s: %w", sum, fs.ErrNotExist)
	}
	return release.DecodeDir(b)
}

func (s *shelf) add(d release.Dir) release.Sum {
	if s.dirs == nil {
		s.dirs = map[release.Sum][]byte{}
	}
	s.dirs[d.Sum()] = d.Encode()
	return d.Sum()
}

// tree is a whole release, by path; directories carry no Sum.
type tree map[string]release.Entry

func (s *shelf) put(t tree) release.ID {
	return release.ID(s.dir(t, ""))
}

func (s *shelf) dir(t tree, at string) release.Sum {
	var d release.Dir
	for _, p := range slices.Sorted(maps.Keys(t)) {
		parent := path.Dir(p)
		if parent == "." {
			parent = ""
		}
		if parent != at {
			continue
		}
		e := t[p]
		e.Name = path.Base(p)
		if e.Kind == release.Directory {
			e.Sum = s.dir(t, p)
		}
		d = append(d, e)
	}
	slices.SortFunc(d, func(a, b release.Entry) int { return strings.Compare(a.Name, b.Name) })
	return s.add(d)
}

func (s *shelf) get(t *rapid.T, id release.ID) tree {
	out := tree{}
	err := release.Walk(s, id, func(p string, e release.Entry) error {
		e.Name = ""
		if e.Kind == release.Directory {
			e.Sum = release.Sum{}
		}
		if parent := path.Dir(p); parent != "." && out[parent].Kind != release.Directory {
			t.Fatalf("%q told before its parent", p)
		}
		out[p] = e
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func drawTree(t *rapid.T, label string) tree {
	out := tree{}
	dirs := []string{""}
	names := rapid.SampledFrom([]string{"a", "b", "c", "-rf", "sp ace", "new\nline", "\xff\xfe", `q"`, "z"})
	for range rapid.IntRange(0, 25).Draw(t, label) {
		dir := rapid.SampledFrom(dirs).Draw(t, "dir")
		p := path.Join(dir, names.Draw(t, "name"))
		if _, taken := out[p]; taken {
			continue
		}
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			out[p] = release.Entry{Kind: release.Directory, Mode: rapid.SampledFrom([]uint16{0o755, 0o700}).Draw(t, "mode")}
			dirs = append(dirs, p)
		case 1:
			out[p] = link(rapid.SampledFrom([]string{"a", "b/c", "./z"}).Draw(t, "target"))
		default:
			out[p] = file(rapid.SampledFrom([]string{"", "1", "22", "333"}).Draw(t, "content"))
		}
	}
	return out
}

func file(content string) release.Entry {
	return release.Entry{Kind: release.File, Mode: 0o644, Size: int64(len(content)), Sum: release.SumOf([]byte(content))}
}

func link(target string) release.Entry {
	return release.Entry{Kind: release.Link, Size: int64(len(target)), Sum: release.SumOf([]byte(target)), Target: target}
}

// TestDiffMakesNext applies Diff's words to base, in the order they promise, and wants next.
func TestDiffMakesNext(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &shelf{}
		base, next := drawTree(t, "base"), drawTree(t, "next")
		a, b := s.put(base), s.put(next)
		if rapid.Bool().Draw(t, "from nothing") {
			base, a = tree{}, release.ID{}
		}
		d, err := release.Diff(s, a, b)
		if err != nil {
			t.Fatal(err)
		}
		have := maps.Clone(base)
		apply(t, have, d)
		if diff := cmp.Diff(s.get(t, b), have); diff != "" {
			t.Fatal(diff)
		}
		known := map[release.Sum]bool{}
		if !a.IsZero() {
			known[release.Sum(a)] = true
			_ = release.Walk(s, a, func(_ string, e release.Entry) error { known[e.Sum] = true; return nil })
		}
		for _, sum := range d.Dirs {
			known[sum] = true
		}
		if !known[release.Sum(b)] {
			t.Fatal("Dirs lacks the root")
		}
		_ = release.Walk(s, b, func(p string, e release.Entry) error {
			if e.Kind == release.Directory && !known[e.Sum] {
				t.Fatalf("Dirs lacks %q", p)
			}
			return nil
		})
	})
}

func apply(t *rapid.T, have tree, d release.Delta) {
	strip := func(e release.Entry) release.Entry {
		e.Name = ""
		if e.Kind == release.Directory {
			e.Sum = release.Sum{}
		}
		return e
	}
	for _, c := range d.Remove {
		for p := range have {
			if strings.HasPrefix(p, c.Path+"/") {
				t.Fatalf("%q removed before its child %q", c.Path, p)
			}
		}
		if have[c.Path] != strip(c.Entry) {
			t.Fatalf("%q removed, but %v stands there", c.Path, have[c.Path])
		}
		delete(have, c.Path)
	}
	for _, c := range d.Put {
		if parent := path.Dir(c.Path); parent != "." && have[parent].Kind != release.Directory {
			t.Fatalf("%q put before its parent", c.Path)
		}
		if old, there := have[c.Path]; there && old != strip(c.Old) {
			t.Fatalf("%q put over %v, which Old does not say", c.Path, old)
		}
		have[c.Path] = strip(c.Entry)
	}
}

func TestDiffReadsOnlyWhatChanged(t *testing.T) {
	s, big := &shelf{}, tree{}
	for i := range 100 {
		big[fmt.Sprintf("d%02d", i)] = release.Entry{Kind: release.Directory, Mode: 0o755}
		for j := range 20 {
			big[fmt.Sprintf("d%02d/f%02d", i, j)] = file(fmt.Sprint(i, j))
		}
	}
	a := s.put(big)
	big["d50/f10"] = file("changed")
	b := s.put(big)
	s.read = 0
	d, err := release.Diff(s, a, b)
	if err != nil || len(d.Put) != 1 || len(d.Remove) != 0 || len(d.Dirs) != 2 {
		t.Fatalf("%+v, %v", d, err)
	}
	if s.read != 4 {
		t.Errorf("read %d directories, want root and d50 of both", s.read)
	}
	if d, err := release.Diff(s, b, b); err != nil || len(d.Put)+len(d.Remove)+len(d.Dirs) != 0 {
		t.Errorf("difference to itself: %+v, %v", d, err)
	}
}

func TestFind(t *testing.T) {
	s := &shelf{}
	id := s.put(tree{
		"a": {Kind: release.Directory, Mode: 0o755}, "a/b": {Kind: release.Directory, Mode: 0o755}, "a/b/c": file("x"), "f": file("y"),
	})
	for p, want := range map[string]bool{"a/b/c": true, "a/b": true, "f": true, "a/x": false, "f/x": false, "": false, "a/b/c/d": false, "../a": false} {
		if _, err := release.Find(s, id, p); (err == nil) != want {
			t.Errorf("%q: %v", p, err)
		}
	}
}
