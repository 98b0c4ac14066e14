package store

import (
	"context"
	"errors"
	"io"
	"net"
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

func TestSnapshotRefusesEveryPath(t *testing.T) {
	src, s := t.TempDir(), newStore(t)
	write(t, src, files{
		"fine": "x", "d/out": "-> ../../etc", "d/absolute": "-> /etc/passwd", "d/inside": "-> ../fine", "d/hidden": "-> sub/../../../x", "setuid": "x", "d/unreadable": "x", "closed/f": "x",
	})
	must(t, unix.Mkfifo(filepath.Join(src, "fifo"), 0o644))
	l, err := net.Listen("unix", filepath.Join(src, "d", "socket"))
	must(t, err)
	defer l.Close()
	must(t, unix.Chmod(filepath.Join(src, "setuid"), 0o4755))
	must(t, os.Chmod(filepath.Join(src, "d", "unreadable"), 0o044))
	must(t, os.Chmod(filepath.Join(src, "closed"), 0o055))
	defer os.Chmod(filepath.Join(src, "closed"), 0o755)
	bad := []string{"d/out", "d/absolute", "d/hidden", "setuid", "d/unreadable", "closed", "fifo", "d/socket"}
	if os.Getuid() == 0 {
		must(t, unix.Mknod(filepath.Join(src, "null"), unix.S_IFCHR|0o644, int(unix.Mkdev(1, 3))))
		bad = append(bad, "null")
	}
	_, err = s.Snapshot(context.Background(), src, SnapshotOptions{})
	if err == nil {
		t.Fatal("took it")
	}
	for _, p := range bad {
		if !strings.Contains(err.Error(), `"`+p+`"`) {
			t.Errorf("%s is not named in: %v", p, err)
		}
	}
	for _, p := range []string{"fine", "d/inside"} {
		if strings.Contains(err.Error(), `"`+p+`"`) {
			t.Errorf("%s is refused: %v", p, err)
		}
	}
	if all, _ := s.Releases(); len(all) != 0 {
		t.Errorf("left %v", all)
	}
}

func TestHostileNames(t *testing.T) {
	src, here, there := t.TempDir(), newStore(t), newStore(t)
	long := strings.Repeat("n", 255)
	tree := files{
		"sp ace": "1", "new\nline": "2", `qu"ote'`: "3", "\xff\xfe\x80": "4", "-rf": "5", long: "6", "$(reboot)": "7", "a;b": "8",
		"*": "9", "\x01\x7f": "10", "-rf dir/": "", "-rf dir/" + long: "11", "\xff/": "", "\xff/\xfe": "-> ../-rf", ".hidden": "12", "...": "13",
	}
	write(t, src, tree)
	r := snapshot(t, here, src)
	_, _, err := stage(context.Background(), here, there, r)
	must(t, err)
	must(t, there.Verify(context.Background(), r.ID))
	if diff := cmp.Diff(tree, read(t, there.Path(r.ID))); diff != "" {
		t.Error(diff)
	}
	must(t, there.Remove(context.Background(), r.ID))
}

// TestDeepTree makes a path that no system call takes whole.
func TestDeepTree(t *testing.T) {
	src, here, there := t.TempDir(), newStore(t), newStore(t)
	name := strings.Repeat("d", 200)
	at, err := openDir(src, nil)
	must(t, err)
	for range 30 {
		must(t, at.mkdir(name, 0o755))
		next, err := at.sub(name)
		must(t, err)
		at.close()
		at = next
	}
	f, err := at.create("file")
	must(t, err)
	_, err = f.WriteString("deep")
	must(t, errors.Join(err, f.Close(), at.symlink(strings.Repeat("../", 30)+"top", "link")))
	at.close()
	ctx := context.Background()
	one := snapshot(t, here, src)
	_, sent, err := stage(ctx, here, there, one)
	must(t, err)
	if len(sent) != 1 || len(sent[0]) < 4096 {
		t.Fatalf("sent %d paths", len(sent))
	}
	must(t, there.Verify(ctx, one.ID))
	// The next one is made of a farm, the one after of a spare.
	for i := range 2 {
		write(t, src, files{"top": strings.Repeat("x", i+1)})
		r := snapshot(t, here, src)
		_, sent, err := stage(ctx, here, there, r)
		if err != nil || !slices.Equal(sent, []string{"top"}) {
			t.Fatalf("sent %d paths: %v", len(sent), err)
		}
		must(t, there.Verify(ctx, r.ID))
		must(t, there.Respare(ctx))
	}
	_, err = there.Prune(ctx, nil)
	must(t, err)
}

func TestTooDeep(t *testing.T) {
	src, s := t.TempDir(), newStore(t)
	must(t, os.MkdirAll(filepath.Join(src, strings.Repeat("d/", release.MaxDepth+2)), 0o755))
	if _, err := s.Snapshot(context.Background(), src, SnapshotOptions{}); err == nil || !strings.Contains(err.Error(), "deeper") {
		t.Errorf("error is %v", err)
	}
}

func TestExcludes(t *testing.T) {
	src, s := t.TempDir(), newStore(t)
	write(t, src, files{
		".git/config": "x", "ext/.git": "x", "scap/log": "x", "ext/scap/keep": "x", "l10n/a.cdb": "x", "l10n/a.php": "x",
		"cache": "a file", "ext/cache/f": "x", "a/b/c.php": "x", "x/a/b/c.php": "x", "a/b/d.txt": "x", "p/q/r/s": "x",
	})
	r := snapshot(t, s, src, SnapshotOptions{Excludes: []string{"/scap", "*.cdb", "cache/", "b/*.php", "**/.svn", "/p/**/s"}})
	want := files{
		"ext/": "", "ext/scap/": "", "ext/scap/keep": "x", "l10n/": "", "l10n/a.php": "x", "cache": "a file",
		"a/": "", "a/b/": "", "a/b/d.txt": "x", "x/": "", "x/a/": "", "x/a/b/": "", "p/": "", "p/q/": "", "p/q/r/": "",
	}
	if diff := cmp.Diff(want, read(t, s.Path(r.ID))); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"", "/", "[", "a//b", "../x", "a/./b"} {
		if _, err := s.Snapshot(context.Background(), src, SnapshotOptions{Excludes: []string{bad}}); err == nil {
			t.Errorf("pattern %q was taken", bad)
		}
	}
}

func TestModes(t *testing.T) {
	src, s := t.TempDir(), newStore(t)
	write(t, src, files{"a": "x", "b": "x", "c": "x", "d/e": "x"})
	for name, mode := range map[string]os.FileMode{"a": 0o664, "b": 0o500, "c": 0o444, "d": 0o775} {
		must(t, os.Chmod(filepath.Join(src, name), mode))
	}
	one := snapshot(t, s, src)
	for name, want := range map[string]os.FileMode{"a": 0o644, "b": 0o700, "c": 0o644, "d": 0o755} {
		st, err := os.Lstat(filepath.Join(s.Path(one.ID), name))
		must(t, err)
		if st.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", name, st.Mode().Perm(), want)
		}
	}
	must(t, os.Chmod(filepath.Join(src, "a"), 0o600))
	if two := snapshot(t, s, src); two.ID == one.ID {
		t.Error("a file that others cannot read any more is the same release")
	}
	must(t, os.Chmod(filepath.Join(src, "a"), 0o666))
	if three := snapshot(t, s, src); three.ID != one.ID {
		t.Error("who may write makes another release")
	}
}

// TestSameTimeOtherContent edits a file and gives it its old mtime: the index must see it, and the release must not
// have the time under which the old content is known.
func TestSameTimeOtherContent(t *testing.T) {
	src, here, there := t.TempDir(), newStore(t), newStore(t)
	ctx := context.Background()
	write(t, src, files{"f.php": "old", "g.php": "x"})
	path, at := filepath.Join(src, "f.php"), time.Unix(1_600_000_000, 5)
	must(t, os.Chtimes(path, at, at))
	one := snapshot(t, here, src)
	must(t, os.WriteFile(path, []byte("new"), 0o644))
	must(t, os.Chtimes(path, at, at))
	two := snapshot(t, here, src)
	if two.ID == one.ID {
		t.Fatal("the change was not seen")
	}
	for _, r := range []release.Release{one, two} {
		_, _, err := stage(ctx, here, there, r)
		must(t, err)
		if a, b := mtime(t, filepath.Join(here.Path(r.ID), "f.php")), mtime(t, filepath.Join(there.Path(r.ID), "f.php")); !a.Equal(b) {
			t.Errorf("%v here, %v there", a, b)
		}
	}
	if a, b := mtime(t, filepath.Join(there.Path(one.ID), "f.php")), mtime(t, filepath.Join(there.Path(two.ID), "f.php")); a.Unix() == b.Unix() {
		t.Errorf("two contents at one second, %v", a)
	}
	// Back to the old content: its time is that of no other content.
	must(t, os.WriteFile(path, []byte("old"), 0o644))
	write(t, src, files{"g.php": "y"})
	three := snapshot(t, here, src)
	_, _, err := stage(ctx, here, there, three)
	must(t, err)
	if a, b := mtime(t, filepath.Join(there.Path(three.ID), "f.php")), mtime(t, filepath.Join(there.Path(two.ID), "f.php")); a.Unix() == b.Unix() {
		t.Errorf("two contents at one second, %v", a)
	}
}

// TestRacyFile knows a file whose index entry was made in the instant of its change, and that changed again since.
func TestRacyFile(t *testing.T) {
	src := t.TempDir()
	write(t, src, files{"f": "one"})
	d, err := openDir(src, nil)
	must(t, err)
	defer d.close()
	scan := func(since int64, known map[string]*sights) *scanner {
		sc := &scanner{ctx: context.Background(), crew: newCrew(context.Background()), known: known, since: since, has: func(release.Sum) bool { return true }}
		_, err := sc.run(d)
		must(t, err)
		return sc
	}
	lie := func(sc *scanner) { sc.seen[""].list[0].Sum = release.SumOf([]byte("another")) }
	st, err := d.stat("f")
	must(t, err)
	racy := scan(st.Ctim.Nano(), nil)
	lie(racy)
	if again := scan(st.Ctim.Nano(), racy.seen); again.seen[""].list[0].Sum != release.SumOf([]byte("one")) {
		t.Error("a racy entry was believed")
	}
	sure := scan(st.Ctim.Nano()+1, nil)
	lie(sure)
	if again := scan(st.Ctim.Nano()+1, sure.seen); again.seen[""].list[0].Sum == release.SumOf([]byte("one")) {
		t.Error("a sure entry was read again: the index is of no use")
	}
}

// TestFileThatChanges edits a file between the look at it and its reading.
func TestFileThatChanges(t *testing.T) {
	src := t.TempDir()
	write(t, src, files{"f": "one"})
	d, err := openDir(src, nil)
	must(t, err)
	defer d.close()
	st, err := d.stat("f")
	must(t, err)
	want := stampOf(&st)
	write(t, src, files{"f": "one and more"})
	if _, err := hashFile(d, "f", want); !errors.Is(err, errChanging) {
		t.Errorf("hash: %v", err)
	}
	s := newStore(t)
	e := release.Entry{Name: "f", Kind: release.File, Mode: 0o644, Size: 3, Sum: release.SumOf([]byte("one"))}
	c := &copier{src: d, plan: &plan{}}
	if _, err := c.place(s.tmp, "copy", "f", e); !errors.Is(err, errChanging) {
		t.Errorf("copy: %v", err)
	}
	if _, err := c.place(s.tmp, "copy", "gone", e); !errors.Is(err, errChanging) {
		t.Errorf("copy of nothing: %v", err)
	}
	if left, _ := s.tmp.names(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

func TestSnapshotOfItself(t *testing.T) {
	s := newStore(t)
	if _, err := s.Snapshot(context.Background(), filepath.Dir(s.Root()), SnapshotOptions{}); err == nil || !strings.Contains(err.Error(), "exclude it") {
		t.Errorf("error is %v", err)
	}
	snapshot(t, s, filepath.Dir(s.Root()), SnapshotOptions{Excludes: []string{"/root"}})
}

// TestSnapshotCopies edits the staged tree in place after the snapshot.
func TestSnapshotCopies(t *testing.T) {
	src, s := t.TempDir(), newStore(t)
	write(t, src, files{"f": "one"})
	r := snapshot(t, s, src)
	f, err := os.OpenFile(filepath.Join(src, "f"), os.O_WRONLY, 0)
	must(t, err)
	_, err = io.WriteString(f, "two")
	must(t, errors.Join(err, f.Close()))
	must(t, s.Verify(context.Background(), r.ID))
}

func TestCancelled(t *testing.T) {
	src, s := t.TempDir(), newStore(t)
	write(t, src, files{"f": "one"})
	r := snapshot(t, s, src)
	cause := errors.New("the deployer said so")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	if _, err := s.Snapshot(ctx, src, SnapshotOptions{}); !errors.Is(err, cause) {
		t.Errorf("snapshot: %v", err)
	}
	if err := s.Verify(ctx, r.ID); !errors.Is(err, cause) {
		t.Errorf("verify: %v", err)
	}
	if _, err := s.Prune(ctx, nil); !errors.Is(err, cause) {
		t.Errorf("prune: %v", err)
	}
	if err := s.Swap(ctx, release.ID{}, r.ID); !errors.Is(err, cause) {
		t.Errorf("swap: %v", err)
	}
}

func FuzzDecodeIndex(f *testing.F) {
	good := encodeIndex(map[string]*sights{"": {list: []sight{
		{Entry: release.Entry{Name: "f", Kind: release.File, Mode: 0o644, Size: 3}, stamp: stamp{3, 1, 2, 4}},
		{Entry: release.Entry{Name: "l", Kind: release.Link, Size: 1, Target: "f"}, racy: true},
	}}, "d": {}})
	if len(decodeIndex(good)) != 2 {
		f.Fatal("the seed is not an index")
	}
	f.Add(good[:len(good)-32])
	f.Add([]byte(indexMagic))
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := release.SumOf(body) // the digest lets nothing else through
		if seen := decodeIndex(append(body, sum[:]...)); seen != nil {
			if again := decodeIndex(encodeIndex(seen)); len(again) != len(seen) {
				t.Errorf("%d directories, then %d", len(seen), len(again))
			}
		}
	})
}
