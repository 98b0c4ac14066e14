package store

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"scap/sync/release"
)

// hold has another process pin a directory until it is let go.
func hold(t *testing.T, dir string) (letGo func()) {
	t.Helper()
	cmd := exec.Command("flock", "--shared", "--nonblock", dir, "sh", "-c", "echo pinned; read x")
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "pinned\n" {
		t.Fatalf("flock said %q: %v", line, err)
	}
	over := false
	letGo = func() {
		if over {
			return
		}
		over = true
		_, _ = io.WriteString(in, "\n")
		must(t, cmd.Wait())
	}
	t.Cleanup(letGo)
	return letGo
}

// TestPinnedRelease has everything that takes releases away meet one that somebody runs in.
func TestPinnedRelease(t *testing.T) {
	s, src, ctx := newStore(t), t.TempDir(), context.Background()
	var ids []release.ID
	for _, text := range []string{"one", "two", "three", "four"} {
		write(t, src, files{"a": text, "b/c": text})
		ids = append(ids, snapshot(t, s, src).ID)
	}
	must(t, s.Swap(ctx, release.ID{}, ids[3]))
	letGo := hold(t, s.Path(ids[0]))
	if err := s.Remove(ctx, ids[0]); !errors.Is(err, ErrPinned) {
		t.Errorf("remove: %v", err)
	}
	if err := s.Retire(ctx, ids[0]); !errors.Is(err, ErrPinned) {
		t.Errorf("retire: %v", err)
	}
	gone, err := s.Prune(ctx, nil)
	if err != nil || len(gone) != 2 || s.Has(ids[1]) || s.Has(ids[2]) {
		t.Errorf("prune took %v: %v", gone, err)
	}
	must(t, s.Verify(ctx, ids[0]))
	letGo()
	if gone, err := s.Prune(ctx, nil); err != nil || len(gone) != 1 || s.Has(ids[0]) {
		t.Errorf("once it was let go, prune took %v: %v", gone, err)
	}
}

// TestPinnedSpare wants a spare that somebody sees to be neither changed nor thrown away: the next release is made
// beside it.
func TestPinnedSpare(t *testing.T) {
	s, src, ctx := newStore(t), t.TempDir(), context.Background()
	write(t, src, files{"a": "1", "b/c": "1"})
	first := snapshot(t, s, src)
	must(t, s.Swap(ctx, release.ID{}, first.ID))
	must(t, s.Respare(ctx))
	spare := filepath.Join(s.Root(), spareName, first.ID.String())
	letGo := hold(t, spare)
	was, err := os.Stat(spare)
	must(t, err)
	write(t, src, files{"a": "2", "b/c": "1"})
	second := snapshot(t, s, src)
	must(t, s.Swap(ctx, first.ID, second.ID))
	extra := filepath.Join(spare, "extra") // no spare to work with: it would be thrown away
	must(t, os.WriteFile(extra, nil, 0o644))
	if _, err := s.Prune(ctx, nil); err != nil {
		t.Error(err)
	}
	must(t, s.Verify(ctx, second.ID))
	now, err := os.Stat(spare)
	if err != nil || !os.SameFile(was, now) {
		t.Fatalf("the spare is another: %v", err)
	}
	must(t, os.Remove(extra))
	must(t, s.verify(ctx, s.spareTree(first.ID), nil))
	letGo()
	write(t, src, files{"a": "3", "b/c": "1"})
	third := snapshot(t, s, src)
	if now, err := os.Stat(s.Path(third.ID)); err != nil || !os.SameFile(was, now) {
		t.Errorf("once it was let go, the spare was not used: %v", err)
	}
}

// TestNobodyPinsWhatMoves has the rename find a release that nobody can pin at that moment.
func TestNobodyPinsWhatMoves(t *testing.T) {
	s, src, ctx := newStore(t), t.TempDir(), context.Background()
	write(t, src, files{"a": "1"})
	first := snapshot(t, s, src)
	dir, err := os.Open(s.Path(first.ID))
	must(t, err)
	defer dir.Close()
	tried := false
	s.releases.fault = &fault{before: func(op, name string) error {
		if op == "rename" && name == first.ID.String() {
			tried = true
			if err := unix.Flock(int(dir.Fd()), unix.LOCK_SH|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
				t.Errorf("it could be pinned: %v", err)
			}
		}
		return nil
	}}
	must(t, s.Remove(ctx, first.ID))
	if !tried {
		t.Error("nothing was moved: the test proves nothing")
	}
}
