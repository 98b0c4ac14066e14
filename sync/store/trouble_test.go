package store

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"scap/sync/release"
)

// pair is a deploy host's store and a target's, with releases one and two on the first and one, served, on the other.
func pair(t testing.TB, spare bool) (dir string, here, there *Store, one, two release.Release) {
	t.Helper()
	dir = fastDir(t)
	world(spare)(t, dir)
	var err error
	here, err = Open(filepath.Join(dir, "here"))
	must(t, err)
	there, err = Open(filepath.Join(dir, "root"))
	must(t, err)
	t.Cleanup(func() { here.Close(); there.Close() })
	return dir, here, there, named(t, here, "one"), named(t, here, "two")
}

// TestResume interrupts a staging after some files and wants only the others to be sent, but for one that was torn.
func TestResume(t *testing.T) {
	ctx := context.Background()
	_, here, there, _, two := pair(t, false)
	in, err := there.Begin(ctx, two)
	must(t, err)
	for {
		sums, err := in.MissingDirs()
		must(t, err)
		if len(sums) == 0 {
			break
		}
		for _, sum := range sums {
			d, err := here.Dir(sum)
			must(t, err)
			must(t, in.AddDirs([][]byte{d.Encode()}))
		}
	}
	wants, err := in.Wants()
	must(t, err)
	for _, w := range wants[:2] {
		must(t, send(here, two.ID, in, w))
	}
	if err := in.Commit(ctx); !errors.Is(err, ErrIncomplete) {
		t.Errorf("commit of a part: %v", err)
	}
	must(t, in.Close())
	torn := wants[0]
	must(t, os.WriteFile(filepath.Join(there.Root(), "incoming", two.ID.String(), filesName, fileName(torn.Path)), []byte("torn"), 0o644))
	log, err := os.OpenFile(filepath.Join(there.Root(), "incoming", two.ID.String(), logName), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = log.WriteString("\x00\x00\x01\x00scapdir\x01 torn")
	must(t, errors.Join(err, log.Close()))

	dirs, sent, err := stage(ctx, here, there, two)
	must(t, err)
	if dirs != 0 || len(sent) != len(wants)-1 || !slices.Contains(sent, torn.Path) || slices.Contains(sent, wants[1].Path) {
		t.Errorf("sent %d directories and %q again", dirs, sent)
	}
	must(t, there.Verify(ctx, two.ID))
}

func TestPutRefuses(t *testing.T) {
	ctx := context.Background()
	_, here, there, _, two := pair(t, false)
	in, err := there.Begin(ctx, two)
	must(t, err)
	defer in.Close()
	if _, err := in.Wants(); !errors.Is(err, ErrIncomplete) {
		t.Errorf("wants without directories: %v", err)
	}
	if err := in.AddDirs([][]byte{[]byte("scapdir\x01x")}); !errors.Is(err, release.ErrInvalid) {
		t.Errorf("an invalid directory: %v", err)
	}
	for sums := []release.Sum{release.Sum(two.ID)}; len(sums) > 0; {
		for _, sum := range sums {
			d, err := here.Dir(sum)
			must(t, err)
			must(t, in.AddDirs([][]byte{d.Encode(), release.Dir(nil).Encode()})) // one that belongs to nobody
		}
		sums, err = in.MissingDirs()
		must(t, err)
	}
	if wants, err := in.Wants(); err != nil || len(wants) != 3 {
		t.Fatal(wants, err)
	}
	for title, c := range map[string]struct{ path, content string }{
		"short": {"a/b/one.php", "chan"}, "long": {"a/b/one.php", "changed and more"}, "other": {"a/b/one.php", "CHANGED"},
		"unwanted": {"a/two.php", "2"}, "outside": {"../../x", "x"}, "absolute": {"/x", "x"}, "empty": {"", ""},
	} {
		if err := in.Put(c.path, time.Now(), strings.NewReader(c.content)); err == nil {
			t.Errorf("%s was taken", title)
		}
	}
	broken := errors.New("the line broke")
	if err := in.Put("a/b/one.php", time.Now(), io.MultiReader(strings.NewReader("chan"), failing{broken})); !errors.Is(err, broken) {
		t.Errorf("a broken line: %v", err)
	}
	if left, _ := in.files.names(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

// TestHostileRelease offers a release whose link leads out of its tree, and one that is larger than any disk.
func TestHostileRelease(t *testing.T) {
	ctx := context.Background()
	_, _, there, _, _ := pair(t, true)
	up := release.Entry{Name: "up", Kind: release.Link, Target: "../../../../etc", Size: 15, Sum: release.SumOf([]byte("../../../../etc"))}
	leaving := [][]byte{release.Dir{up}.Encode()}
	wide := [][]byte{release.Dir{{Name: "f", Kind: release.File, Mode: 0o644}}.Encode()}
	for range 30 {
		e := release.Entry{Kind: release.Directory, Mode: 0o755, Sum: release.SumOf(wide[len(wide)-1])}
		a, b := e, e
		a.Name, b.Name = "a", "b"
		wide = append(wide, release.Dir{a, b}.Encode())
	}
	for title, raw := range map[string][][]byte{"leaving": leaving, "wide": wide} {
		in, err := there.Begin(ctx, release.Release{ID: release.ID(release.SumOf(raw[len(raw)-1]))})
		must(t, err)
		must(t, in.AddDirs(raw))
		if lack, err := in.MissingDirs(); err != nil || len(lack) > 0 {
			t.Errorf("%s: missing %v: %v", title, lack, err)
		}
		if _, err := in.Wants(); !errors.Is(err, release.ErrInvalid) {
			t.Errorf("%s: wants: %v", title, err)
		}
		if err := in.Commit(ctx); !errors.Is(err, release.ErrInvalid) {
			t.Errorf("%s: commit: %v", title, err)
		}
		must(t, in.Close())
	}
	consistent(t, there)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestFullDisk stages onto a file system that is too small, makes room, and tries again.
func TestFullDisk(t *testing.T) {
	small := t.TempDir()
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v (TestFullDiskAnywhere covers what it can)", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(small, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ctx := context.Background()
	src, here := filepath.Join(fastDir(t), "src"), newStore(t)
	write(t, src, files{"a": strings.Repeat("a", 100_000), "b": "b"})
	one := snapshot(t, here, src)
	there, err := Open(filepath.Join(small, "root"))
	must(t, err)
	defer there.Close()
	_, _, err = stage(ctx, here, there, one)
	must(t, err)
	must(t, there.Swap(ctx, release.ID{}, one.ID))
	must(t, there.Record(release.Intent{Token: 1}))
	ballast := filepath.Join(small, "ballast")
	must(t, os.WriteFile(ballast, make([]byte, 600_000), 0o644))
	write(t, src, files{"c": strings.Repeat("c", 200_000), "d": strings.Repeat("d", 200_000)})
	two := snapshot(t, here, src)
	_, sent, err := stage(ctx, here, there, two)
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "make room") {
		t.Fatalf("sent %q, error %v", sent, err)
	}
	consistent(t, there)
	_ = os.WriteFile(ballast+"2", make([]byte, 2<<20), 0o644) // as much as there is room for
	if err := there.Record(release.Intent{Token: 2, Error: strings.Repeat("x", 8192)}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("record: %v", err)
	}
	if i, err := there.Host(); err != nil || i.Token != 1 {
		t.Errorf("the host's journal is %+v: %v", i, err)
	}
	must(t, errors.Join(os.Remove(ballast), os.Remove(ballast+"2")))
	_, again, err := stage(ctx, here, there, two)
	must(t, err)
	if len(sent)+len(again) > 3 { // the one that did not fit is sent twice
		t.Errorf("sent %q, then %q", sent, again)
	}
	must(t, there.Verify(ctx, two.ID))
	must(t, there.Swap(ctx, one.ID, two.ID))
}

// TestFullDiskAnywhere has one change after the other fail for want of room, and the same process try again.
func TestFullDiskAnywhere(t *testing.T) {
	ctx := context.Background()
	for n := 1; ; n++ {
		dir := fastDir(t)
		world(n%2 == 0)(t, dir)
		here, err := Open(filepath.Join(dir, "here"))
		must(t, err)
		count := make(chan int, 1)
		count <- 0
		there, err := OpenRefusing(filepath.Join(dir, "root"), func(string, string) error {
			c := <-count + 1
			count <- c
			if c == n {
				return unix.ENOSPC
			}
			return nil
		})
		must(t, err)
		two := named(t, here, "two")
		_, _, err = stage(ctx, here, there, two)
		total := <-count
		if total < n {
			must(t, errors.Join(err, here.Close(), there.Close()))
			if n < 20 {
				t.Fatalf("only %d changes", total)
			}
			return
		}
		count <- total
		if err == nil && !there.Has(two.ID) || err != nil && !errors.Is(err, unix.ENOSPC) {
			t.Errorf("change %d: error %v", n, err)
		}
		consistent(t, there)
		_, _, err = stage(ctx, here, there, two)
		must(t, err)
		consistent(t, there)
		must(t, errors.Join(here.Close(), there.Close(), os.RemoveAll(dir)))
	}
}

// TestNoMoreLinks builds a farm where the file system gives no more links: copies take their place.
func TestNoMoreLinks(t *testing.T) {
	dir, here, there, one, two := pair(t, false)
	must(t, there.Close())
	there, err := OpenRefusing(there.Root(), func(op, _ string) error {
		if op == "link" {
			return unix.EMLINK
		}
		return nil
	})
	must(t, err)
	defer there.Close()
	_, _, err = stage(context.Background(), here, there, two)
	must(t, err)
	must(t, there.Verify(context.Background(), two.ID))
	if diff := cmp.Diff(read(t, filepath.Join(dir, "two")), read(t, there.Path(two.ID))); diff != "" {
		t.Error(diff)
	}
	for _, p := range []string{"same/f", "a/two.php"} {
		if a, b := mtime(t, filepath.Join(there.Path(one.ID), p)), mtime(t, filepath.Join(there.Path(two.ID), p)); !a.Equal(b) {
			t.Errorf("%s: %v, then %v", p, a, b)
		}
	}
	must(t, there.Respare(context.Background()))
}
