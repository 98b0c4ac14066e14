package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"scap/sync/release"
)

// incoming begins a release that a scan described.
func incoming(t *testing.T, s *Store, src string) (*Incoming, *Scanned) {
	t.Helper()
	seen, err := Scan(context.Background(), src, nil)
	must(t, err)
	in, err := s.Begin(context.Background(), seen.Release)
	must(t, err)
	t.Cleanup(func() { in.Close() })
	raw := [][]byte{}
	add := func(sum release.Sum) { d, err := seen.Dir(sum); must(t, err); raw = append(raw, d.Encode()) }
	add(release.Sum(seen.ID))
	must(t, release.Walk(seen, seen.ID, func(_ string, e release.Entry) error {
		if e.Kind == release.Directory {
			add(e.Sum)
		}
		return nil
	}))
	must(t, in.AddDirs(raw))
	return in, seen
}

// TestFree wants the second of another content not to be given to a new one.
func TestFree(t *testing.T) {
	s, src := newStore(t), t.TempDir()
	at := time.Unix(1_700_000_000, 500)
	for i, text := range []string{"one", "two"} {
		write(t, src, files{"d/a": text, "b": "same"})
		for _, p := range []string{"d/a", "b"} {
			must(t, os.Chtimes(filepath.Join(src, p), at, at.Add(time.Duration(i)*time.Second)))
		}
		snapshot(t, s, src)
	}
	write(t, src, files{"d/a": "three", "b": "same", "new": ""})
	in, _ := incoming(t, s, src)
	if got := in.Free("d/a", at); !got.Equal(at) {
		t.Errorf("before Wants it says %v", got)
	}
	_, err := in.Wants()
	must(t, err)
	for path, want := range map[string]time.Time{"d/a": time.Unix(at.Unix()+2, 0), "new": at} {
		if got := in.Free(path, at); !got.Equal(want) {
			t.Errorf("%s: %v, not %v", path, got, want)
		}
	}
	later := at.Add(time.Minute)
	if got := in.Free("d/a", later); !got.Equal(later) {
		t.Errorf("a free second is taken for another: %v", got)
	}
	must(t, in.Put("d/a", later, bytes.NewReader([]byte("three"))))
}

// TestRetire wants a release to become the spare that the next is made from, and the current one to stay.
func TestRetire(t *testing.T) {
	s, src, ctx := newStore(t), t.TempDir(), context.Background()
	write(t, src, files{"a": "1"})
	first := snapshot(t, s, src)
	write(t, src, files{"a": "2"})
	second := snapshot(t, s, src)
	must(t, s.Swap(ctx, release.ID{}, first.ID))
	if err := s.Retire(ctx, first.ID); err == nil || !s.Has(first.ID) {
		t.Errorf("the current release: %v", err)
	}
	must(t, s.Retire(ctx, second.ID))
	if spare, err := s.spareID(); err != nil || spare != second.ID || s.Has(second.ID) {
		t.Errorf("the spare is %v (%v), and is a release: %v", spare.Short(), err, s.Has(second.ID))
	}
	if err := s.Retire(ctx, second.ID); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("once more: %v", err)
	}
}

func TestExcluder(t *testing.T) {
	match, err := Excluder([]string{"*.cdb", "/scap", "cache/", "a/*.php"})
	must(t, err)
	for path, want := range map[string]bool{
		"x.cdb": true, "d/x.cdb": true, "d.cdb/x": true, "scap": true, "scap/x/y": true, "d/scap": false, "d/cache/x/y": true, "cache": false,
		"a/b.php": true, "d/a/b.php": true, "a/b.php5": false, "a": false, ".git/config": true, ".gitignore": false,
	} {
		if match(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
	if _, err := Excluder([]string{"a/["}); err == nil {
		t.Error("took a pattern that is none")
	}
}
