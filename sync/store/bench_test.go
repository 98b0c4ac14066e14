package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	big "scap/fixtures/tree"
	"scap/sync/release"
)

const benchFiles = 100_000

// bench is one large tree with a store that has its first release, made once for all benchmarks.
type bench struct {
	dir, src string
	s        *Store
	first    release.Release
}

var theBench = sync.OnceValues(func() (*bench, error) {
	dir, err := os.MkdirTemp("", "scap-bench")
	if err != nil {
		return nil, err
	}
	b := &bench{dir: dir, src: filepath.Join(dir, "src")}
	if err := big.Big(b.src, big.BigOptions{Files: benchFiles}); err != nil {
		return b, err
	}
	if b.s, err = Open(filepath.Join(dir, "root")); err != nil {
		return b, err
	}
	b.first, err = b.s.Snapshot(context.Background(), b.src, SnapshotOptions{})
	return b, err
})

func setup(b *testing.B) *bench {
	if testing.Short() {
		b.Skip("short")
	}
	x, err := theBench()
	must(b, err)
	return x
}

// BenchmarkSnapshot5 takes a snapshot after 5 of 100,000 files changed, with a spare as after every Prune.
func BenchmarkSnapshot5(b *testing.B) {
	x := setup(b)
	ctx := context.Background()
	for b.Loop() {
		b.StopTimer()
		_, err := x.s.Prune(ctx, []release.ID{x.first.ID})
		must(b, err)
		_, err = big.Touch(x.src, 5)
		must(b, err)
		b.StartTimer()
		_, err = x.s.Snapshot(ctx, x.src, SnapshotOptions{})
		must(b, err)
	}
}

// BenchmarkScan looks at 100,000 files that did not change.
func BenchmarkScan(b *testing.B) {
	x := setup(b)
	ctx := context.Background()
	_, err := x.s.Snapshot(ctx, x.src, SnapshotOptions{})
	must(b, err)
	for b.Loop() {
		_, err := x.s.Snapshot(ctx, x.src, SnapshotOptions{})
		must(b, err)
	}
}

// BenchmarkFarm and BenchmarkSpare build, on a target, the release that differs by 5 of 100,000 files.
func BenchmarkFarm(b *testing.B) { benchCommit(b, false) }

// BenchmarkSpare is BenchmarkFarm with a spare ready.
func BenchmarkSpare(b *testing.B) { benchCommit(b, true) }

func benchCommit(b *testing.B, spare bool) {
	x := setup(b)
	ctx := context.Background()
	to, err := Open(filepath.Join(b.TempDir(), "target"))
	must(b, err)
	defer to.Close()
	_, _, err = stage(ctx, x.s, to, x.first)
	must(b, err)
	must(b, to.Swap(ctx, release.ID{}, x.first.ID))
	for b.Loop() {
		b.StopTimer()
		_, err := big.Touch(x.src, 5)
		must(b, err)
		r, err := x.s.Snapshot(ctx, x.src, SnapshotOptions{})
		must(b, err)
		if spare {
			_, err = to.Prune(ctx, []release.ID{x.first.ID})
			must(b, err)
		}
		again, err := Open(to.Root()) // as a new session of the agent does
		must(b, err)
		b.StartTimer()
		_, sent, err := stage(ctx, x.s, again, r)
		must(b, err)
		b.StopTimer()
		if len(sent) != 5 {
			b.Fatalf("sent %q", sent)
		}
		must(b, again.Close())
		b.StartTimer()
	}
}

// BenchmarkVerify reads and hashes 100,000 files.
func BenchmarkVerify(b *testing.B) {
	x := setup(b)
	for b.Loop() {
		must(b, x.s.Verify(context.Background(), x.first.ID))
	}
}

// BenchmarkFirst takes the first snapshot of 100,000 files.
func BenchmarkFirst(b *testing.B) {
	x := setup(b)
	for b.Loop() {
		s, err := Open(filepath.Join(b.TempDir(), "first"))
		must(b, err)
		_, err = s.Snapshot(context.Background(), x.src, SnapshotOptions{})
		must(b, err)
		must(b, s.Close())
	}
}

// BenchmarkPrune removes a release of 100,000 files while another is the spare.
func BenchmarkPrune(b *testing.B) {
	x := setup(b)
	ctx := context.Background()
	for b.Loop() {
		b.StopTimer()
		_, err := x.s.Prune(ctx, []release.ID{x.first.ID})
		must(b, err)
		for range 2 { // the spare becomes the first, a farm the second
			_, err = big.Touch(x.src, 5)
			must(b, err)
			_, err = x.s.Snapshot(ctx, x.src, SnapshotOptions{})
			must(b, err)
		}
		b.StartTimer()
		gone, err := x.s.Prune(ctx, []release.ID{x.first.ID})
		must(b, err)
		if len(gone) != 2 {
			b.Fatal(fmt.Sprint(gone))
		}
	}
}
