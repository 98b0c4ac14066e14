package release_test

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"scap/sync/release"

	"github.com/google/go-cmp/cmp"
)

func name(n string, e release.Entry) release.Entry { e.Name = n; return e }

func sub(mode uint16) release.Entry {
	return release.Entry{Kind: release.Directory, Mode: mode, Sum: release.Dir(nil).Sum()}
}

// good are directories whose encoding must come back unchanged; the fuzzer starts from them.
var good = map[string]release.Dir{
	"empty": nil,
	"all kinds": {
		name("-rf", file("1")), name("a", sub(0o755)), name("l", link("../x/y")), name("new\nline", file("")),
		name(strings.Repeat("n", 255), sub(0o700)), name("\xff", release.Entry{Kind: release.File, Mode: 0o755, Size: 1 << 40}),
	},
}

// bad are directories that no release may hold.
var bad = map[string]release.Dir{
	"dot":               {name(".", file("x"))},
	"dot dot":           {name("..", sub(0o755))},
	"slash":             {name("a/b", file("x"))},
	"NUL":               {name("a\x00", file("x"))},
	"no name":           {name("", file("x"))},
	"duplicate":         {name("a", file("x")), name("a", file("y"))},
	"unsorted":          {name("b", file("x")), name("a", file("y"))},
	"setuid":            {name("a", release.Entry{Kind: release.File, Mode: 0o4755})},
	"group may write":   {name("a", release.Entry{Kind: release.File, Mode: 0o664})},
	"owner cannot read": {name("a", release.Entry{Kind: release.File, Mode: 0o244})},
	"closed directory":  {name("a", sub(0o655))},
	"mode of a link":    {name("a", release.Entry{Kind: release.Link, Mode: 0o755, Target: "x", Size: 1, Sum: release.SumOf([]byte("x"))})},
	"no target":         {name("a", link(""))},
	"absolute link":     {name("a", link("/etc/passwd"))},
	"hidden climb":      {name("a", link("b/../../etc"))},
	"NUL in a target":   {name("a", link("b\x00c"))},
	"kind":              {name("a", release.Entry{Kind: 'x', Mode: 0o644})},
}

func TestEncodeDecode(t *testing.T) {
	for title, d := range good {
		t.Run(title, func(t *testing.T) {
			back, err := release.DecodeDir(d.Encode())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(d, back); diff != "" {
				t.Error(diff)
			}
			if d.Sum() != release.SumOf(d.Encode()) {
				t.Error("Sum is not the digest of Encode")
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	for title, d := range bad {
		t.Run(title, func(t *testing.T) {
			if _, err := release.DecodeDir(d.Encode()); !errors.Is(err, release.ErrInvalid) {
				t.Errorf("error is %v", err)
			}
		})
	}
	whole := good["all kinds"].Encode()
	empty := release.Dir(nil).Encode()
	raw := map[string][]byte{
		"nothing":        nil,
		"other magic":    append([]byte("scapdir\x02"), whole[8:]...),
		"huge":           append(empty, make([]byte, release.MaxDirBytes)...),
		"one byte more":  append(bytes.Clone(whole), 'f'),
		"long size":      append(append(bytes.Clone(empty), "f\x01\xa4\x01a\x80\x00"...), make([]byte, 32)...),
		"endless size":   append(append(bytes.Clone(empty), "f\x01\xa4\x01a"...), bytes.Repeat([]byte{0xff}, 64)...),
		"name of nobody": append(bytes.Clone(empty), "f\x01\xa4\xff"...),
	}
	for title, b := range raw {
		t.Run(title, func(t *testing.T) {
			if _, err := release.DecodeDir(b); !errors.Is(err, release.ErrInvalid) {
				t.Errorf("error is %v", err)
			}
		})
	}
	ends := 0 // a cut between two entries is a shorter directory
	for i := range whole {
		if _, err := release.DecodeDir(whole[:i]); err == nil {
			ends++
		}
	}
	if ends != len(good["all kinds"]) {
		t.Errorf("%d cuts were taken for a directory, want one before each entry: %d", ends, len(good["all kinds"]))
	}
}

func TestWalkRefuses(t *testing.T) {
	s := &shelf{}
	climbing := s.add(release.Dir{name("a", link("../x"))})
	deep := release.Dir(nil).Sum()
	s.add(nil)
	for range release.MaxDepth + 1 {
		deep = s.add(release.Dir{{Name: "d", Kind: release.Directory, Mode: 0o755, Sum: deep}})
	}
	bomb := s.add(release.Dir{name("a", file("x")), name("b", file("x"))})
	for range 40 {
		e := release.Entry{Kind: release.Directory, Mode: 0o755, Sum: bomb}
		var d release.Dir
		for _, n := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			d = append(d, name(n, e))
		}
		bomb = s.add(d)
	}
	for title, sum := range map[string]release.Sum{"link out of the tree": climbing, "too deep": deep, "too many paths": bomb} {
		t.Run(title, func(t *testing.T) {
			err := release.Walk(s, release.ID(sum), func(string, release.Entry) error { return nil })
			if !errors.Is(err, release.ErrInvalid) {
				t.Errorf("walk: %v", err)
			}
			if _, err := release.Diff(s, release.ID{}, release.ID(sum)); !errors.Is(err, release.ErrInvalid) {
				t.Errorf("diff: %v", err)
			}
		})
	}
	err := release.Walk(s, release.ID{1}, func(string, release.Entry) error { return nil })
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing object: %v", err)
	}
}

func TestCheckLink(t *testing.T) {
	for _, c := range []struct {
		path, target string
		ok           bool
	}{
		{"a", "b", true},
		{"a", ".", true},
		{"a", "..", false},
		{"d/a", "..", true},
		{"d/a", "../b/c", true},
		{"d/a", ".//../b", true},
		{"d/a", "../../b", false},
		{"d/a", "/d/b", false},
		{"d/a", "b/../c", false},
		{"d/a", "", false},
		{"d/a", strings.Repeat("x", 4096), false},
	} {
		if err := release.CheckLink(c.path, c.target); (err == nil) != c.ok {
			t.Errorf("%q -> %q: %v", c.path, c.target, err)
		}
	}
}

func FuzzDecodeDir(f *testing.F) {
	seeds := 0
	for title, d := range good {
		if _, err := release.DecodeDir(d.Encode()); err != nil {
			f.Fatalf("seed %s: %v", title, err)
		}
		f.Add(d.Encode())
		seeds++
	}
	for title, d := range bad {
		if _, err := release.DecodeDir(d.Encode()); err == nil {
			f.Fatalf("seed %s was taken", title)
		}
		f.Add(d.Encode())
		seeds++
	}
	if seeds < 15 {
		f.Fatalf("only %d seeds", seeds)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := release.DecodeDir(b)
		if err != nil {
			return
		}
		if err := d.Check(); err != nil {
			t.Fatalf("decoded, but %v", err)
		}
		if !bytes.Equal(d.Encode(), b) {
			t.Fatalf("two encodings of one directory: %q and %q", b, d.Encode())
		}
	})
}
