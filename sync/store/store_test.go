package store

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"scap/sync/release"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if f := flag.Lookup("test.bench"); f != nil && f.Value.String() != "" {
			if x, _ := theBench(); x != nil {
				os.RemoveAll(x.dir)
			}
		}
		os.Exit(code)
	}))
}

// files is a tree in words: a path ending in "/" is a directory, a value beginning with "-> " is a link.
type files map[string]string

func write(t testing.TB, dir string, f files) {
	t.Helper()
	for _, p := range slices.Sorted(maps.Keys(f)) {
		full := filepath.Join(dir, p)
		must(t, os.MkdirAll(filepath.Dir(full), 0o755))
		if strings.HasSuffix(p, "/") {
			must(t, os.MkdirAll(full, 0o755))
			continue
		}
		must(t, os.RemoveAll(full))
		if target, ok := strings.CutPrefix(f[p], "-> "); ok {
			must(t, os.Symlink(target, full))
		} else {
			must(t, os.WriteFile(full, []byte(f[p]), 0o644))
		}
	}
}

func read(t testing.TB, dir string) files {
	t.Helper()
	out := files{}
	must(t, filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, p)
		switch {
		case name == ".":
		case e.IsDir():
			out[name+"/"] = ""
		case e.Type() == fs.ModeSymlink:
			target, err := os.Readlink(p)
			out[name] = "-> " + target
			return err
		default:
			b, err := os.ReadFile(p)
			out[name] = string(b)
			return err
		}
		return nil
	}))
	return out
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newStore(t testing.TB) *Store {
	t.Helper()
	return storeAt(t, fastDir(t))
}

func storeAt(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(filepath.Join(dir, "root"))
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func snapshot(t testing.TB, s *Store, src string, o ...SnapshotOptions) release.Release {
	t.Helper()
	r, err := s.Snapshot(context.Background(), src, append(o, SnapshotOptions{})[0])
	must(t, err)
	return r
}

// stage brings r from one store to another and returns what had to be sent.
func stage(ctx context.Context, from, to *Store, r release.Release) (dirs int, sent []string, err error) {
	in, err := to.Begin(ctx, r)
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	for {
		sums, err := in.MissingDirs()
		if err != nil || len(sums) == 0 {
			if err != nil {
				return dirs, nil, err
			}
			break
		}
		var raw [][]byte
		for _, sum := range sums {
			d, err := from.Dir(sum)
			if err != nil {
				return dirs, nil, err
			}
			raw = append(raw, d.Encode())
		}
		dirs += len(raw)
		if err := in.AddDirs(raw); err != nil {
			return dirs, nil, err
		}
	}
	wants, err := in.Wants()
	if err != nil {
		return dirs, nil, err
	}
	for _, w := range wants {
		if err := send(from, r.ID, in, w); err != nil {
			return dirs, sent, err
		}
		sent = append(sent, w.Path)
	}
	slices.Sort(sent)
	return dirs, sent, in.Commit(ctx)
}

func send(from *Store, id release.ID, in *Incoming, w Want) error {
	f, err := from.OpenFile(id, w.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	return in.Put(w.Path, st.ModTime(), f)
}

func mtime(t testing.TB, path string) time.Time {
	t.Helper()
	st, err := os.Lstat(path)
	must(t, err)
	return st.ModTime()
}

// TestDeployAndBack follows three releases from the staged tree to a target and back again.
func TestDeployAndBack(t *testing.T) {
	ctx := context.Background()
	src, here, there := t.TempDir(), storeAt(t, t.TempDir()), storeAt(t, t.TempDir()) // on a real disk, if there is one
	tree := files{"index.php": "one", "a/b/c.php": "two", "a/link": "-> ../index.php", "empty/": "", "a/": "", "a/b/": ""}
	write(t, src, tree)
	must(t, os.Chmod(filepath.Join(src, "index.php"), 0o755))
	old := time.Unix(1_600_000_000, 123456789)
	must(t, os.Chtimes(filepath.Join(src, "a/b/c.php"), old, old))
	one := snapshot(t, here, src)
	if one.Files != 2 || one.Bytes != 6 {
		t.Errorf("release says %d files, %d bytes", one.Files, one.Bytes)
	}

	dirs, sent, err := stage(ctx, here, there, one)
	must(t, err)
	if dirs != 4 || !slices.Equal(sent, []string{"a/b/c.php", "index.php"}) {
		t.Errorf("first staging sent %d directories and %q", dirs, sent)
	}
	must(t, there.Swap(ctx, release.ID{}, one.ID))
	if diff := cmp.Diff(tree, read(t, filepath.Join(there.Root(), "current")+"/")); diff != "" {
		t.Error(diff)
	}
	if got := mtime(t, filepath.Join(there.Path(one.ID), "a/b/c.php")); !got.Equal(old) {
		t.Errorf("mtime %v, want the source's %v", got, old)
	}

	write(t, src, files{"a/b/c.php": "three", "new.php": "four"})
	must(t, os.Remove(filepath.Join(src, "empty")))
	two := snapshot(t, here, src)
	dirs, sent, err = stage(ctx, here, there, two)
	must(t, err)
	if dirs != 3 || !slices.Equal(sent, []string{"a/b/c.php", "new.php"}) {
		t.Errorf("second staging sent %d directories and %q", dirs, sent)
	}
	must(t, there.Swap(ctx, one.ID, two.ID))
	for _, s := range []*Store{here, there} {
		must(t, s.Verify(ctx, one.ID))
		must(t, s.Verify(ctx, two.ID))
	}
	if diff := cmp.Diff(tree, read(t, there.Path(one.ID))); diff != "" {
		t.Errorf("release one was edited: %s", diff)
	}

	// Prune makes a spare of nothing here: both are kept; then of one, which becomes three.
	gone, err := there.Prune(ctx, []release.ID{one.ID})
	must(t, err)
	if len(gone) != 0 {
		t.Errorf("pruned %v", gone)
	}
	write(t, src, files{"index.php": "five"})
	three := snapshot(t, here, src)
	if _, sent, err = stage(ctx, here, there, three); err != nil || !slices.Equal(sent, []string{"index.php"}) {
		t.Fatalf("third staging sent %q: %v", sent, err)
	}
	must(t, there.Verify(ctx, three.ID))
	if id, err := there.spareID(); err != nil || !id.IsZero() {
		t.Errorf("the spare is still there: %v %v", id, err)
	}
	must(t, there.Swap(ctx, two.ID, three.ID))
	gone, err = there.Prune(ctx, []release.ID{two.ID})
	must(t, err)
	if !slices.Equal(gone, []release.ID{one.ID}) {
		t.Errorf("pruned %v", gone)
	}
	if id, _ := there.spareID(); id != one.ID {
		t.Errorf("the spare is %v, want the oldest release", id)
	}
	// Back to one: nothing is sent, the spare is it.
	if dirs, sent, err = stage(ctx, here, there, one); err != nil || dirs+len(sent) != 0 {
		t.Fatalf("staging the spare's own release sent %d, %q: %v", dirs, sent, err)
	}
	must(t, there.Verify(ctx, one.ID))
	must(t, there.Swap(ctx, three.ID, one.ID))
	if diff := cmp.Diff(tree, read(t, filepath.Join(there.Root(), "current")+"/")); diff != "" {
		t.Error(diff)
	}
}

func TestSnapshotTwiceIsOne(t *testing.T) {
	src, s := t.TempDir(), newStore(t)
	write(t, src, files{"f": "x", "d/g": "y"})
	a, b := snapshot(t, s, src, SnapshotOptions{Message: "first"}), snapshot(t, s, src, SnapshotOptions{Message: "second"})
	if diff := cmp.Diff(a, b); diff != "" {
		t.Error(diff)
	}
	if all, err := s.Releases(); err != nil || len(all) != 1 || all[0].Message != "first" {
		t.Errorf("%v, %v", all, err)
	}
	if fmt.Sprint(a.ID) != filepath.Base(s.Path(a.ID)) {
		t.Error(s.Path(a.ID))
	}
	if !bytes.Equal([]byte(read(t, s.Path(a.ID))["d/g"]), []byte("y")) {
		t.Error("content")
	}
}
