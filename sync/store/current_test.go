package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"scap/sync/release"
)

func TestSwapIsCompareAndSwap(t *testing.T) {
	ctx := context.Background()
	dir, _, s, one, _ := pair(t, false)
	two := snapshot(t, s, filepath.Join(dir, "two"))
	if err := s.Swap(ctx, two.ID, one.ID); err != nil {
		t.Errorf("to what is current already: %v", err)
	}
	if err := s.Swap(ctx, release.ID{}, two.ID); !errors.Is(err, ErrNotCurrent) {
		t.Errorf("from nothing: %v", err)
	}
	if err := s.Swap(ctx, one.ID, release.ID{9}); !missing(err) {
		t.Errorf("to a release that is not here: %v", err)
	}
	must(t, s.Swap(ctx, one.ID, two.ID))
	must(t, s.Swap(ctx, one.ID, two.ID))
	if now, err := s.Current(); err != nil || now != two.ID {
		t.Errorf("current is %v: %v", now, err)
	}
	if to, err := os.Readlink(filepath.Join(s.Root(), "current")); err != nil || to != "releases/"+two.ID.String() {
		t.Errorf("link to %q: %v", to, err)
	}
}

func TestCurrentRefusesOddLinks(t *testing.T) {
	_, _, s, one, _ := pair(t, false)
	link := filepath.Join(s.Root(), "current")
	for _, target := range []string{
		"/etc", "releases/../releases/" + one.ID.String(), "releases/" + one.ID.String() + "/", "releases/" + strings.ToUpper(one.ID.String()),
		"releases/" + strings.Repeat("0", 64), "./releases/" + one.ID.String(), s.Path(one.ID),
	} {
		must(t, os.Remove(link))
		must(t, os.Symlink(target, link))
		if id, err := s.Current(); err == nil {
			t.Errorf("%q is release %v", target, id)
		}
		if err := s.Swap(context.Background(), release.ID{}, one.ID); err == nil {
			t.Errorf("swapped over %q", target)
		}
		if _, err := s.Prune(context.Background(), nil); err == nil {
			t.Errorf("pruned under %q", target)
		}
	}
	must(t, os.Remove(link))
	must(t, os.Mkdir(link, 0o755))
	if id, err := s.Current(); err == nil {
		t.Errorf("a directory is release %v", id)
	}
}

func TestHostJournal(t *testing.T) {
	s := newStore(t)
	if i, err := s.Host(); err != nil || i != (release.Intent{}) {
		t.Fatal(i, err)
	}
	want := release.Intent{
		Switch: release.Switch{From: release.ID{1}, To: release.ID{2}, Token: 3, Owner: "a\"<b>&\u2028", Emergency: true},
		Error:  "x\ny\x00 \xff", Out: true, Token: 4, Outcome: release.ProvenOld, At: time.Unix(5, 6).UTC(),
	}
	must(t, s.Record(want))
	want.Error = strings.ToValidUTF8(want.Error, "\uFFFD")
	if i, err := s.Host(); err != nil || !cmp.Equal(i, want) {
		t.Errorf("%v, %s", err, cmp.Diff(want, i))
	}
	path := filepath.Join(s.Root(), hostName)
	whole, err := os.ReadFile(path)
	must(t, err)
	bad := map[string][]byte{
		"empty": {}, "null": []byte("null"), "zeros": make([]byte, len(whole)), "twice": slices.Concat(whole, whole),
		"edited": []byte(strings.Replace(string(whole), `"token":4`, `"token":5`, 1)), "huge": append(whole, make([]byte, hostLimit)...),
		"another field": []byte(`{"new":1,` + string(whole[1:])),
	}
	for n := range len(whole) - 1 {
		bad["torn"] = whole[:n]
		for title, b := range bad {
			must(t, os.WriteFile(path, b, 0o644))
			if _, err := s.Host(); err == nil || !strings.Contains(err.Error(), "repair") {
				t.Fatalf("%s: %v", title, err)
			}
			delete(bad, title)
		}
	}
	must(t, os.Remove(path))
	must(t, os.Mkdir(path, 0o755))
	if _, err := s.Host(); err == nil {
		t.Error("a directory is a journal")
	}
}

// dying is a context that ends while the lock is being taken: what asks it afterwards finds it over.
type dying struct {
	context.Context
	alive int // questions until then
}

func (d *dying) Err() error {
	if d.alive--; d.alive >= 0 {
		return nil
	}
	return context.Canceled
}

// A lock that was got as its asker gave up would be held for as long as this process lives.
func TestLockOfOneWhoGivesUpIsFree(t *testing.T) {
	s := newStore(t)
	if _, err := s.Lock(&dying{context.Background(), 2}); err == nil {
		t.Fatal("the lock was given to somebody who does not wait any more")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	unlock, err := s.Lock(ctx)
	must(t, err)
	unlock()
}

func TestLockWaits(t *testing.T) {
	s := newStore(t)
	unlock, err := s.Lock(context.Background())
	must(t, err)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(context.Background(), time.Minute, errors.New("waited long enough"))
		defer cancel()
		if _, err := s.Lock(ctx); err == nil || !strings.Contains(err.Error(), "waited long enough") {
			t.Errorf("error is %v", err)
		}
		if _, err := s.Snapshot(context.Background(), t.TempDir(), SnapshotOptions{}); err != nil {
			t.Errorf("the caller's lock is in the way of the store's own work: %v", err)
		}
	})
	unlock()
	unlock, err = s.Lock(context.Background())
	must(t, err)
	unlock()
}

func TestStagingIsExclusive(t *testing.T) {
	_, _, s, _, two := pair(t, false)
	in, err := s.Begin(context.Background(), two)
	must(t, err)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := s.Begin(ctx, two); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a second staging: %v", err)
		}
		if _, err := s.Prune(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("prune: %v", err)
		}
	})
	must(t, in.Close())
	must(t, in.Close())
}

func TestPruneLeavesWhatIsNotItsOwn(t *testing.T) {
	ctx := context.Background()
	dir, _, s, one, _ := pair(t, false)
	two := snapshot(t, s, filepath.Join(dir, "two"))
	foreign := []string{
		"releases/notes.txt", "releases/-rf", "releases/\xff\n", "releases/" + strings.Repeat("g", 64), "meta/README", "objects/x.txt", "spare/x", "incoming/x", "own",
	}
	for _, f := range foreign {
		must(t, os.WriteFile(filepath.Join(s.Root(), f), []byte("x"), 0o644))
	}
	gone, err := s.Prune(ctx, []release.ID{two.ID, one.ID})
	if err != nil || len(gone) != 0 {
		t.Errorf("pruned %v: %v", gone, err)
	}
	must(t, os.MkdirAll(filepath.Join(s.Root(), "incoming", strings.Repeat("a", 64)), 0o755))
	gone, err = s.Prune(ctx, nil)
	if err != nil || !slices.Equal(gone, []release.ID{two.ID}) {
		t.Errorf("pruned %v: %v", gone, err)
	}
	for _, f := range foreign {
		if _, err := os.Lstat(filepath.Join(s.Root(), f)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(filepath.Join(s.Root(), "incoming", strings.Repeat("a", 64))); err != nil {
		t.Errorf("a fresh interrupted staging was removed: %v", err)
	}
	old := time.Now().Add(-2 * staleAfter)
	must(t, os.Chtimes(filepath.Join(s.Root(), "incoming", strings.Repeat("a", 64)), old, old))
	_, err = s.Prune(ctx, nil)
	must(t, err)
	if _, err := os.Lstat(filepath.Join(s.Root(), "incoming", strings.Repeat("a", 64))); !missing(err) {
		t.Errorf("a stale one was not: %v", err)
	}
	if err := s.Remove(ctx, one.ID); err == nil {
		t.Error("removed what is current")
	}
	consistent(t, s)
}

// TestPruneForgetsObjects wants objects that no tree needs to go, and the others to stay readable.
func TestPruneForgetsObjects(t *testing.T) {
	src, s := filepath.Join(fastDir(t), "src"), newStore(t)
	var last release.Release
	for i := range 12 {
		write(t, src, files{"a/b/c": strings.Repeat("x", i), "a/d": "same"})
		last = snapshot(t, s, src)
	}
	_, before := s.packs.held()
	_, err := s.Prune(context.Background(), []release.ID{last.ID})
	must(t, err)
	names, after := s.packs.held()
	if before != 36 || after != 6 || len(names) != 1 { // the release's and the spare's
		t.Errorf("%d objects, then %d in %q", before, after, names)
	}
	consistent(t, s)
	write(t, src, files{"a/b/c": "new"})
	must(t, s.Verify(context.Background(), snapshot(t, s, src).ID))
}

func TestPruneReplacesABadSpare(t *testing.T) {
	_, _, s, one, _ := pair(t, true)
	for title, damage := range map[string]func(path string){
		"edited": func(p string) {
			must(t, errors.Join(os.Remove(p+"/same/f"), os.WriteFile(p+"/same/f", []byte("X"), 0o644)))
		},
		"extra": func(p string) { write(t, p, files{"same/extra": "x"}) },
		"gone":  func(p string) { must(t, os.RemoveAll(p+"/same")) },
		"half":  func(p string) { must(t, os.RemoveAll(p)); must(t, os.Mkdir(p, 0o755)) },
	} {
		damage(sparePath(t, s))
		must(t, s.Respare(context.Background()))
		if err := s.verify(context.Background(), s.spareTree(one.ID), nil); err != nil {
			t.Errorf("%s: %v", title, err)
		}
	}
	// A damaged release gives no spare.
	must(t, os.RemoveAll(sparePath(t, s)))
	edit(t, s.Path(one.ID)+"/same/f", "X")
	if err := s.Respare(context.Background()); !errors.Is(err, ErrDamaged) {
		t.Errorf("error is %v", err)
	}
	if id, _ := s.spareID(); !id.IsZero() {
		t.Error("a damaged spare")
	}
}

func TestSnapshotMakesDamagedObjectsAnew(t *testing.T) {
	src, s := filepath.Join(fastDir(t), "src"), newStore(t)
	write(t, src, treeOne)
	snapshot(t, s, src)
	spoil(t, s.Root()+"/objects/*.pack", 20)
	write(t, src, files{"same/f": "z"})
	must(t, s.Verify(context.Background(), snapshot(t, s, src).ID))
}

func TestAdopt(t *testing.T) {
	ctx := context.Background()
	for title, exchange := range map[string]bool{"exchange": true, "two renames": false} {
		t.Run(title, func(t *testing.T) {
			dir := fastDir(t)
			served := filepath.Join(dir, "mediawiki")
			write(t, served, treeOne)
			s, err := OpenRefusing(filepath.Join(dir, "root"), func(op, _ string) error {
				if op == "swap" && !exchange {
					return unix.ENOSYS
				}
				return nil
			})
			must(t, err)
			defer s.Close()
			r, err := s.Adopt(ctx, served, SnapshotOptions{})
			must(t, err)
			if diff := cmp.Diff(read(t, served+"/"), read(t, served+asideMark+r.ID.Short())); diff != "" {
				t.Error(diff)
			}
			if now, err := s.Current(); err != nil || now != r.ID {
				t.Errorf("current is %v: %v", now, err)
			}
			if again, err := s.Adopt(ctx, served, SnapshotOptions{}); err != nil || again.ID != r.ID {
				t.Errorf("once more: %v, %v", again, err)
			}
		})
	}
	dir, s := fastDir(t), newStore(t)
	for title, make := range map[string]func(p string) error{
		"file":             func(p string) error { return os.WriteFile(p, nil, 0o644) },
		"nothing":          func(string) error { return nil },
		"another link":     func(p string) error { return os.Symlink("/etc", p) },
		"link, no release": func(p string) error { return os.Symlink(s.link(), p) },
		"refused": func(p string) error {
			return errors.Join(os.Mkdir(p, 0o755), os.Symlink("/etc", filepath.Join(p, "link")))
		},
	} {
		p := filepath.Join(dir, title)
		must(t, make(p))
		if _, err := s.Adopt(ctx, p, SnapshotOptions{}); err == nil {
			t.Errorf("%s was adopted", title)
		}
		if left, _ := filepath.Glob(p + asideMark + "*"); len(left) != 0 {
			t.Errorf("%s: left %q", title, left)
		}
	}
}

// TestAdoptNeedsTheParent: who may not write beside the served path hears it before anything is done. For root the
// question is asked on a thread of another real user, which ends with its goroutine.
func TestAdoptNeedsTheParent(t *testing.T) {
	parent := t.TempDir()
	must(t, os.Chmod(parent, 0o555))
	d, err := openDir(parent, nil)
	must(t, err)
	defer d.close()
	said := make(chan error)
	go func() {
		runtime.LockOSThread()
		if os.Geteuid() == 0 {
			const same = ^uintptr(0)
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, same, same); errno != 0 {
				said <- errno
				return
			}
		}
		said <- d.writable()
	}()
	if err := <-said; !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "setfacl -m u:USER:rwx "+parent) {
		t.Error(err)
	}
}
