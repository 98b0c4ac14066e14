package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"scap/sync/release"
)

var errCrash = errors.New("the process was killed")

// fastDir is a temporary directory in memory where the machine has one: these tests make thousands of small files
// durable.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "scap-store")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// crashing opens a store of which every change from the n-th on fails, as if the process had been killed there.
func crashing(t testing.TB, root string, n int) (s *Store, done func() int) {
	t.Helper()
	count := make(chan int, 1)
	count <- 0
	s, err := openWith(root, &fault{before: func(string, string) error {
		c := <-count + 1
		count <- c
		if n > 0 && c >= n {
			return errCrash
		}
		return nil
	}})
	must(t, err)
	return s, func() int { s.Close(); return <-count }
}

// consistent checks what holds of a store at every instant.
func consistent(t testing.TB, s *Store) {
	t.Helper()
	ctx := context.Background()
	names, err := s.releases.names()
	must(t, err)
	for _, name := range names {
		if id, err := release.ParseID(name); err == nil {
			must(t, s.Verify(ctx, id))
		}
	}
	if _, err := s.Current(); err != nil {
		t.Error(err)
	}
	if id, err := s.spareID(); err != nil {
		t.Error(err)
	} else if !id.IsZero() {
		if err := s.verify(ctx, s.spareTree(id), nil); err != nil {
			t.Errorf("spare: %v", err)
		}
	}
	if _, err := s.Host(); err != nil {
		t.Error(err)
	}
}

// everyCrash lets prepare make a world under a directory, kills act at each of its changes, and has resume finish the
// work on what is left.
func everyCrash(t *testing.T, prepare func(t testing.TB, dir string), act func(s *Store, dir string) error, check func(t testing.TB, s *Store, dir string)) {
	t.Helper()
	for n := 0; ; n++ {
		dir := fastDir(t)
		prepare(t, dir)
		s, done := crashing(t, filepath.Join(dir, "root"), n)
		err := act(s, dir)
		total := done()
		if n == 0 {
			must(t, err)
			if total < 2 {
				t.Fatalf("only %d changes: nothing was tested", total)
			}
			t.Logf("%d places to crash", total)
		} else if err == nil && total >= n {
			t.Fatalf("crash %d: act says that all is well", n)
		}
		if n > 0 && total < n {
			return // past the last change
		}
		s, err = Open(filepath.Join(dir, "root"))
		must(t, err)
		consistent(t, s)
		if err := act(s, dir); err != nil {
			t.Fatalf("after crash %d of %d: %v", n, total, err)
		}
		consistent(t, s)
		check(t, s, dir)
		must(t, s.Close())
		must(t, os.RemoveAll(dir))
		if t.Failed() {
			t.Fatalf("after crash %d of %d", n, total)
		}
	}
}

var (
	treeOne = files{"a/b/one.php": "1", "a/two.php": "2", "a/link": "-> two.php", "gone/x/y": "z", "kind": "file", "same/f": "x", "same/g": "y"}
	treeTwo = files{"a/b/one.php": "changed", "a/two.php": "2", "a/new": "-> b", "kind/now/dir": "3", "same/f": "x", "same/g": "y", "a/b/more.php": "4"}
)

// world has the deploy host's store with both releases, and the target's with the first, served, and maybe a spare.
func world(spare bool) func(t testing.TB, dir string) {
	return func(t testing.TB, dir string) {
		t.Helper()
		ctx := context.Background()
		here, err := Open(filepath.Join(dir, "here"))
		must(t, err)
		defer here.Close()
		there, err := Open(filepath.Join(dir, "root"))
		must(t, err)
		defer there.Close()
		for name, f := range map[string]files{"one": treeOne, "two": treeTwo} {
			write(t, filepath.Join(dir, name), f)
			snapshot(t, here, filepath.Join(dir, name), SnapshotOptions{Message: name})
		}
		r := named(t, here, "one")
		_, _, err = stage(ctx, here, there, r)
		must(t, err)
		must(t, there.Swap(ctx, release.ID{}, r.ID))
		if spare {
			must(t, there.Respare(ctx))
		}
	}
}

func named(t testing.TB, s *Store, message string) release.Release {
	t.Helper()
	all, err := s.Releases()
	must(t, err)
	for _, r := range all {
		if r.Message == message {
			return r
		}
	}
	t.Fatalf("no release %q", message)
	return release.Release{}
}

func TestCrashWhileStaging(t *testing.T) {
	for _, spare := range []bool{false, true} {
		t.Run(fmt.Sprintf("spare %v", spare), func(t *testing.T) {
			act := func(s *Store, dir string) error {
				here, err := Open(filepath.Join(dir, "here"))
				must(t, err)
				defer here.Close()
				_, _, err = stage(context.Background(), here, s, named(t, here, "two"))
				return err
			}
			everyCrash(t, world(spare), act, func(t testing.TB, s *Store, dir string) {
				r := named(t, s, "two")
				if diff := cmp.Diff(read(t, filepath.Join(dir, "two")), read(t, s.Path(r.ID))); diff != "" {
					t.Error(diff)
				}
				if left, _ := s.incoming.names(); len(left) != 0 {
					t.Errorf("left %q", left)
				}
				if _, err := s.Prune(context.Background(), nil); err != nil {
					t.Error(err)
				}
				consistent(t, s)
			})
		})
	}
}

func TestCrashWhilePruning(t *testing.T) {
	prepare := func(t testing.TB, dir string) {
		world(false)(t, dir)
		s, err := Open(filepath.Join(dir, "root"))
		must(t, err)
		defer s.Close()
		snapshot(t, s, filepath.Join(dir, "two"), SnapshotOptions{Message: "two"})
		write(t, filepath.Join(dir, "two"), files{"a/b/one.php": "once more"})
		r := snapshot(t, s, filepath.Join(dir, "two"), SnapshotOptions{Message: "three"})
		must(t, s.Swap(context.Background(), named(t, s, "one").ID, r.ID))
	}
	act := func(s *Store, _ string) error {
		_, err := s.Prune(context.Background(), nil)
		return err
	}
	everyCrash(t, prepare, act, func(t testing.TB, s *Store, _ string) {
		all, err := s.Releases()
		if err != nil || len(all) != 1 || all[0].Message != "three" {
			t.Errorf("%v, %v", all, err)
		}
		if id, _ := s.spareID(); id.IsZero() {
			t.Error("no spare")
		}
		for _, d := range []*dir{s.trash, s.tmp, s.incoming} {
			if left, _ := d.names(); len(left) != 0 {
				t.Errorf("left in %s: %q", d.name, left)
			}
		}
		if left, _ := s.meta.names(); len(left) > 4 {
			t.Errorf("left in meta: %q", left)
		}
	})
}

func TestCrashWhileSwapping(t *testing.T) {
	prepare := func(t testing.TB, dir string) {
		world(false)(t, dir)
		s, err := Open(filepath.Join(dir, "root"))
		must(t, err)
		defer s.Close()
		snapshot(t, s, filepath.Join(dir, "two"), SnapshotOptions{Message: "two"})
	}
	act := func(s *Store, _ string) error {
		one, two := named(t, s, "one").ID, named(t, s, "two").ID
		now, err := s.Current()
		if err != nil || now != one && now != two {
			t.Fatalf("current is %v: %v", now, err)
		}
		if err := s.Record(release.Intent{Switch: release.Switch{From: one, To: two, Token: 7}}); err != nil {
			return err
		}
		return s.Swap(context.Background(), one, two)
	}
	everyCrash(t, prepare, act, func(t testing.TB, s *Store, _ string) {
		if now, err := s.Current(); err != nil || now != named(t, s, "two").ID {
			t.Errorf("current is %v: %v", now, err)
		}
		if i, err := s.Host(); err != nil || i.Switch.Token != 7 {
			t.Errorf("%+v, %v", i, err)
		}
	})
}

func TestCrashWhileAdopting(t *testing.T) {
	prepare := func(t testing.TB, dir string) {
		write(t, filepath.Join(dir, "served"), treeOne)
		s, err := Open(filepath.Join(dir, "root"))
		must(t, errors.Join(err, s.Close()))
	}
	act := func(s *Store, dir string) error {
		_, err := s.Adopt(context.Background(), filepath.Join(dir, "served"), SnapshotOptions{})
		return err
	}
	everyCrash(t, prepare, act, func(t testing.TB, s *Store, dir string) {
		served := filepath.Join(dir, "served")
		if diff := cmp.Diff(read(t, filepath.Join(dir, "served")+"/"), read(t, filepath.Join(s.Root(), "current")+"/")); diff != "" {
			t.Error(diff)
		}
		if to, err := os.Readlink(served); err != nil || to != filepath.Join(s.Root(), "current") {
			t.Errorf("served is a link to %q: %v", to, err)
		}
		kept, _ := filepath.Glob(served + asideMark + "*")
		if len(kept) != 1 {
			t.Fatalf("kept %q", kept)
		}
		if diff := cmp.Diff(read(t, kept[0]), read(t, served+"/")); diff != "" {
			t.Error(diff)
		}
		all, err := os.ReadDir(dir)
		if err != nil || len(all) != 3 { // root, served, the directory kept
			t.Errorf("%v, %v", all, err)
		}
	})
}

func TestCrashWhileTakingASnapshot(t *testing.T) {
	for _, spare := range []bool{false, true} {
		t.Run(fmt.Sprintf("spare %v", spare), func(t *testing.T) {
			act := func(s *Store, dir string) error {
				_, err := s.Snapshot(context.Background(), filepath.Join(dir, "two"), SnapshotOptions{Message: "two"})
				return err
			}
			everyCrash(t, world(spare), act, func(t testing.TB, s *Store, dir string) {
				r := named(t, s, "two")
				if diff := cmp.Diff(read(t, filepath.Join(dir, "two")), read(t, s.Path(r.ID))); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// TestCrashBetweenTheRenames is TestCrashWhileAdopting where two names cannot be exchanged in one step.
func TestCrashBetweenTheRenames(t *testing.T) {
	dir := fastDir(t)
	write(t, filepath.Join(dir, "served"), treeOne)
	dead := false
	s, err := OpenRefusing(filepath.Join(dir, "root"), func(op, name string) error {
		switch {
		case op == "swap":
			return unix.EINVAL
		case dead || op == "rename" && name == ".served.scap-adopt":
			dead = true
			return errCrash
		}
		return nil
	})
	must(t, err)
	if _, err := s.Adopt(context.Background(), filepath.Join(dir, "served"), SnapshotOptions{}); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	must(t, s.Close())
	if _, err := os.Lstat(filepath.Join(dir, "served")); !missing(err) {
		t.Fatalf("something is served: %v", err)
	}
	s, err = Open(filepath.Join(dir, "root"))
	must(t, err)
	defer s.Close()
	_, err = s.Adopt(context.Background(), filepath.Join(dir, "served"), SnapshotOptions{})
	must(t, err)
	if diff := cmp.Diff(treeOne["a/two.php"], read(t, filepath.Join(dir, "served")+"/")["a/two.php"]); diff != "" {
		t.Error(diff)
	}
}
