package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

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

// TestRandomTrees takes snapshots of trees that change at random, stages, swaps and prunes them, and wants every release
// to be its source, on both hosts, always.
func TestRandomTrees(t *testing.T) {
	root := fastDir(t)
	worlds := 0
	rapid.Check(t, func(r *rapid.T) {
		worlds++
		dir := filepath.Join(root, fmt.Sprint(worlds))
		defer os.RemoveAll(dir)
		src := filepath.Join(dir, "src")
		must(t, os.MkdirAll(src, 0o755))
		here, err := Open(filepath.Join(dir, "here"))
		must(t, err)
		defer here.Close()
		there, err := Open(filepath.Join(dir, "there"))
		must(t, err)
		defer there.Close()
		want := map[release.ID]files{}
		var now release.ID
		for range rapid.IntRange(1, 6).Draw(r, "rounds") {
			mutate(t, r, src)
			next := snapshot(t, here, src)
			want[next.ID] = read(t, src)
			_, _, err := stage(context.Background(), here, there, next)
			must(t, err)
			must(t, there.Swap(context.Background(), now, next.ID))
			now = next.ID
			for _, s := range []*Store{here, there} {
				if rapid.Bool().Draw(r, "prune") {
					_, err := s.Prune(context.Background(), []release.ID{now})
					must(t, err)
				}
				consistent(t, s)
				if diff := cmp.Diff(want[now], read(t, s.Path(now))); diff != "" {
					r.Fatal(diff)
				}
			}
			if a, b := mtimes(t, here.Path(now)), mtimes(t, there.Path(now)); !maps.Equal(a, b) {
				r.Logf("mtimes differ: %v", cmp.Diff(a, b)) // allowed where a host still has the file
			}
		}
	})
}

func mtimes(t testing.TB, dir string) map[string]int64 {
	out := map[string]int64{}
	for p, content := range read(t, dir) {
		if !strings.HasSuffix(p, "/") && !strings.HasPrefix(content, "-> ") {
			out[p] = mtime(t, filepath.Join(dir, p)).UnixNano()
		}
	}
	return out
}

func mutate(t testing.TB, r *rapid.T, src string) {
	names := rapid.SampledFrom([]string{"a", "b", "-rf", "\xff", "x\ny", "d"})
	for range rapid.IntRange(0, 8).Draw(r, "changes") {
		p := src
		for range rapid.IntRange(1, 3).Draw(r, "depth") {
			if st, err := os.Lstat(p); err != nil || !st.IsDir() {
				must(t, errors.Join(os.RemoveAll(p), os.Mkdir(p, 0o755)))
			}
			p = filepath.Join(p, names.Draw(r, "name"))
		}
		must(t, os.RemoveAll(p))
		switch rapid.IntRange(0, 4).Draw(r, "kind") {
		case 0:
			must(t, os.Mkdir(p, rapid.SampledFrom([]os.FileMode{0o755, 0o700}).Draw(r, "mode")))
		case 1:
			must(t, os.Symlink(rapid.SampledFrom([]string{"a", "./b/c"}).Draw(r, "target"), p))
		case 2: // gone
		default:
			content := rapid.SampledFrom([]string{"", "1", "22", "333"}).Draw(r, "content")
			must(t, os.WriteFile(p, []byte(content), rapid.SampledFrom([]os.FileMode{0o644, 0o755}).Draw(r, "mode")))
			at := time.Unix(int64(rapid.IntRange(1_600_000_000, 1_600_000_003).Draw(r, "mtime")), 0)
			must(t, os.Chtimes(p, at, at))
		}
	}
}

// TestKilled kills a process that stages and prunes over and over, with SIGKILL at any instant, and finds a consistent
// store with a living lock each time.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("SCAP_STORE_CHILD"); dir != "" {
		child(t, dir)
		return
	}
	dir := fastDir(t)
	world(true)(t, dir)
	for round := range 8 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), "SCAP_STORE_CHILD="+dir)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for n := 0; n < 20+17*round && lines.Scan(); n++ { // each line is a change on disk
		}
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
		s, err := Open(filepath.Join(dir, "root"))
		must(t, err)
		consistent(t, s)
		unlock, err := s.lock(context.Background(), buildLockName)
		must(t, err)
		unlock()
		must(t, s.Close())
	}
}

func child(t *testing.T, dir string) {
	ctx := context.Background()
	here, err := Open(filepath.Join(dir, "here"))
	must(t, err)
	there, err := OpenRefusing(filepath.Join(dir, "root"), func(op, name string) error {
		_, err := fmt.Println(op, name)
		return err
	})
	must(t, err)
	both := []release.Release{named(t, here, "one"), named(t, here, "two")}
	for i := 1; ; i++ {
		now, err := there.Current()
		must(t, err)
		r := both[i%2]
		_, _, err = stage(ctx, here, there, r)
		must(t, err)
		must(t, there.Swap(ctx, now, r.ID))
		_, err = there.Prune(ctx, nil)
		must(t, err)
	}
}
