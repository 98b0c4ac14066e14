package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"scap/sync/release"
)

// edit changes a file of a release in place, as somebody with an editor would: every hard link sees it.
func edit(t testing.TB, path, content string) {
	t.Helper()
	must(t, os.Chmod(path, 0o644))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	must(t, err)
	_, err = f.WriteString(content)
	must(t, errors.Join(err, f.Close()))
}

// TestDamageDoesNotSpread edits what a target has, in ways that its next release could inherit.
func TestDamageDoesNotSpread(t *testing.T) {
	for title, c := range map[string]struct {
		spare  bool
		damage func(t *testing.T, s *Store, base string)
		sent   []string // besides what two needs
	}{
		"farm, another content": {false, func(t *testing.T, _ *Store, base string) { edit(t, base+"/same/f", "X") }, []string{"same/f"}},
		"farm, touched": {false, func(t *testing.T, _ *Store, base string) {
			must(t, os.Chtimes(base+"/same/f", time.Unix(5, 0), time.Unix(5, 0)))
		}, nil},
		"farm, file gone":      {false, func(t *testing.T, _ *Store, base string) { must(t, os.Remove(base+"/same/f")) }, []string{"same/f"}},
		"farm, directory gone": {false, func(t *testing.T, _ *Store, base string) { must(t, os.RemoveAll(base+"/same")) }, []string{"same/f", "same/g"}},
		"farm, a file is a directory": {false, func(t *testing.T, _ *Store, base string) {
			must(t, errors.Join(os.Remove(base+"/same/f"), os.MkdirAll(base+"/same/f/x", 0o755)))
		}, []string{"same/f"}},
		"farm, a directory is a link": {false, func(t *testing.T, _ *Store, base string) {
			must(t, errors.Join(os.Rename(base+"/same", base+"/other"), os.Symlink("other", base+"/same")))
		}, []string{"same/f", "same/g"}},
		"farm, mode":         {false, func(t *testing.T, _ *Store, base string) { must(t, os.Chmod(base+"/a/two.php", 0o4755)) }, []string{"a/two.php"}},
		"farm, extra file":   {false, func(t *testing.T, _ *Store, base string) { write(t, base, files{"a/extra": "x"}) }, nil},
		"farm, link changed": {false, func(t *testing.T, _ *Store, base string) { write(t, base, files{"a/link": "-> ../../x"}) }, nil},
		"farm, no times": {false, func(t *testing.T, s *Store, _ string) {
			names, err := filepath.Glob(s.Root() + "/meta/*.times")
			must(t, err)
			for _, n := range names {
				must(t, os.WriteFile(n, []byte("torn"), 0o644))
			}
		}, nil},
		"spare, beside the change":    {true, func(t *testing.T, _ *Store, base string) { edit(t, base+"/a/two.php", "X") }, []string{"a/two.php"}},
		"spare, directory gone":       {true, func(t *testing.T, s *Store, _ string) { must(t, os.RemoveAll(sparePath(t, s)+"/a/b")) }, nil},
		"farm, objects of the base":   {false, func(t *testing.T, s *Store, _ string) { spoil(t, s.Root()+"/objects/*.pack", 20) }, nil},
		"farm, index of the objects":  {false, func(t *testing.T, s *Store, _ string) { spoil(t, s.Root()+"/objects/*.pack", -50) }, nil},
		"farm, nothing but the trees": {false, func(t *testing.T, s *Store, _ string) { must(t, os.RemoveAll(s.Root()+"/objects/")) }, nil},
	} {
		t.Run(title, func(t *testing.T) {
			dir, here, there, one, two := pair(t, c.spare)
			c.damage(t, there, there.Path(one.ID))
			there, err := Open(there.Root())
			must(t, err)
			defer there.Close()
			_, sent, err := stage(context.Background(), here, there, two)
			must(t, err)
			must(t, there.Verify(context.Background(), two.ID))
			if diff := cmp.Diff(read(t, filepath.Join(dir, "two")), read(t, there.Path(two.ID))); diff != "" {
				t.Error(diff)
			}
			if want := append([]string{"a/b/more.php", "a/b/one.php", "kind/now/dir"}, c.sent...); !strings.Contains(title, "objects") && !strings.Contains(title, "nothing but") {
				slices.Sort(want)
				if !slices.Equal(sent, want) {
					t.Errorf("sent %q, want %q", sent, want)
				}
			}
		})
	}
}

func sparePath(t testing.TB, s *Store) string {
	t.Helper()
	id, err := s.spareID()
	must(t, err)
	return filepath.Join(s.Root(), "spare", id.String())
}

// spoil flips a byte of every matching file, counted from its end when at is negative.
func spoil(t testing.TB, pattern string, at int) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("%q: %v", pattern, err)
	}
	for _, n := range names {
		b, err := os.ReadFile(n)
		must(t, err)
		b[(at+len(b))%len(b)] ^= 0x40
		must(t, os.WriteFile(n, b, 0o644))
	}
}

func TestVerifyNamesWhatIsWrong(t *testing.T) {
	_, _, there, one, _ := pair(t, false)
	base := there.Path(one.ID)
	edit(t, base+"/same/f", "X")
	must(t, os.Remove(base+"/same/g"))
	write(t, base, files{"a/extra\n": "x", "a/link": "-> b", "gone/x": "now a file"})
	must(t, os.Chmod(base+"/a/two.php", 0o755))
	must(t, os.Chmod(base+"/a/b", 0o700))
	err := there.Verify(context.Background(), one.ID)
	if !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"same/f" has another content`, `"same/g" is missing`, `"a/extra\n" is not in`, `"a/link" points to "b"`, `"gone/x" is no directory`, `"a/two.php" has mode 0755`, `"a/b" has mode 0700`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: not in %v", want, err)
		}
	}
	if err := there.Verify(context.Background(), release.ID{1}); !missing(err) {
		t.Errorf("a release that is not here: %v", err)
	}
}
