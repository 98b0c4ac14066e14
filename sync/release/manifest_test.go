package release

import (
	"bytes"
	"strings"
	"testing"
)

// manifestTree is a small tree with names that text handles badly.
func manifestTree(t *testing.T) (*Manifest, ID) {
	t.Helper()
	m := &Manifest{dirs: map[Sum]Dir{}}
	file := func(name, content string) Entry {
		return Entry{Name: name, Kind: File, Mode: 0o644, Size: int64(len(content)), Sum: SumOf([]byte(content))}
	}
	sub := Dir{file("-rf", "a"), file("a\nb \"c\"", "b"), file("\xff\xfe", "c")}
	m.dirs[sub.Sum()] = sub
	root := Dir{
		{Name: "d", Kind: Directory, Mode: 0o755, Sum: sub.Sum()},
		{Name: "l", Kind: Link, Size: 4, Sum: SumOf([]byte("d/-x")), Target: "d/-x"},
	}
	m.dirs[root.Sum()] = root
	m.ID = ID(root.Sum())
	return m, m.ID
}

func TestManifestRoundTrip(t *testing.T) {
	m, id := manifestTree(t)
	var b bytes.Buffer
	if err := WriteManifest(&b, m, id); err != nil {
		t.Fatal(err)
	}
	back, err := ReadManifest(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatalf("%v in\n%s", err, b.String())
	}
	if back.ID != id {
		t.Fatalf("read %s, wrote %s", back.ID, id)
	}
	d, err := Diff(both{m, back}, id, back.ID)
	if err != nil || len(d.Put)+len(d.Remove) > 0 {
		t.Fatalf("the tree changed on the way: %+v, %v", d, err)
	}
	if len(back.dirs) != 2 {
		t.Fatalf("%d directories, want 2", len(back.dirs))
	}
}

type both struct{ a, b Dirs }

func (x both) Dir(s Sum) (Dir, error) {
	if d, err := x.a.Dir(s); err == nil {
		return d, nil
	}
	return x.b.Dir(s)
}

func TestManifestRefusesWhatWasChanged(t *testing.T) {
	m, id := manifestTree(t)
	var b bytes.Buffer
	if err := WriteManifest(&b, m, id); err != nil {
		t.Fatal(err)
	}
	good := b.String()
	for name, bad := range map[string]string{
		"empty":           "",
		"no head":         "hello\n",
		"another size":    strings.Replace(good, " 1 ", " 2 ", 2),
		"a climbing name": strings.Replace(good, `"l"`, `"../l"`, 1),
		"a line missing":  good[:strings.LastIndex(strings.TrimSuffix(good, "\n"), "\n")+1],
		"an orphan":       good + `f 0644 0 ` + SumOf(nil).String() + ` "x/y" ""` + "\n",
	} {
		if bad == good {
			t.Fatalf("%s: the case changes nothing", name)
		}
		if _, err := ReadManifest(strings.NewReader(bad)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func FuzzReadManifest(f *testing.F) {
	m, id := manifestTree(&testing.T{})
	var b bytes.Buffer
	if err := WriteManifest(&b, m, id); err != nil || b.Len() == 0 {
		f.Fatalf("seed: %v", err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(manifestHead + id.String() + "\nf 0644 1 x \"a\" \"\"\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := ReadManifest(bytes.NewReader(in))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := WriteManifest(&out, m, m.ID); err != nil {
			t.Fatalf("accepted and cannot be written: %v", err)
		}
	})
}
