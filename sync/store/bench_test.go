package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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

// meter counts the processor time of the calls it is given: wall time says little on a machine that others share.
type meter struct{ ns int64 }

func (m *meter) run(b *testing.B, f func() error) {
	b.Helper()
	before := cpuTime()
	b.StartTimer()
	must(b, f())
	b.StopTimer()
	m.ns += cpuTime() - before
}

func (m *meter) report(b *testing.B) {
	b.ReportMetric(float64(m.ns)/1e6/float64(b.N), "cpu-ms/op")
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/op")
	b.ReportMetric(0, "ns/op")
}

func cpuTime() int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkSnapshot5 takes a snapshot after 5 of 100,000 files changed, with a spare as after every Prune.
func BenchmarkSnapshot5(b *testing.B) {
	x, ctx, m := setup(b), context.Background(), meter{}
	for b.Loop() {
		b.StopTimer()
		_, err := x.s.Prune(ctx, []release.ID{x.first.ID})
		must(b, err)
		_, err = big.Touch(x.src, 5)
		must(b, err)
		m.run(b, func() error { _, err := x.s.Snapshot(ctx, x.src, SnapshotOptions{}); return err })
		b.StartTimer()
	}
	m.report(b)
}

// BenchmarkScan looks at 100,000 files that did not change.
func BenchmarkScan(b *testing.B) {
	x, ctx, m := setup(b), context.Background(), meter{}
	_, err := x.s.Snapshot(ctx, x.src, SnapshotOptions{})
	must(b, err)
	for b.Loop() {
		b.StopTimer()
		m.run(b, func() error { _, err := x.s.Snapshot(ctx, x.src, SnapshotOptions{}); return err })
		b.StartTimer()
	}
	m.report(b)
}

// BenchmarkFarm builds, on a target without a spare, the release that differs by 5 of 100,000 files.
func BenchmarkFarm(b *testing.B) { benchCommit(b, false) }

// BenchmarkSpare is BenchmarkFarm with a spare ready.
func BenchmarkSpare(b *testing.B) { benchCommit(b, true) }

func benchCommit(b *testing.B, spare bool) {
	x, ctx, m := setup(b), context.Background(), meter{}
	to, err := Open(filepath.Join(b.TempDir(), "target"))
	must(b, err)
	defer to.Close()
	_, _, err = stage(ctx, x.s, to, x.first)
	must(b, err)
	must(b, to.Swap(ctx, release.ID{}, x.first.ID))
	for b.Loop() {
		b.StopTimer()
		_, err := x.s.Prune(ctx, []release.ID{x.first.ID})
		must(b, err)
		_, err = big.Touch(x.src, 5)
		must(b, err)
		r, err := x.s.Snapshot(ctx, x.src, SnapshotOptions{})
		must(b, err)
		if spare {
			_, err = to.Prune(ctx, []release.ID{x.first.ID})
			must(b, err)
		}
		m.run(b, func() error { // a new session of the agent opens the store anew
			s, err := Open(to.Root())
			if err != nil {
				return err
			}
			_, sent, err := stage(ctx, x.s, s, r)
			if err == nil && len(sent) != 5 {
				err = fmt.Errorf("sent %q", sent)
			}
			return errors.Join(err, s.Close())
		})
		b.StartTimer()
	}
	m.report(b)
}

// BenchmarkVerify reads and hashes 100,000 files.
func BenchmarkVerify(b *testing.B) {
	x, m := setup(b), meter{}
	for b.Loop() {
		b.StopTimer()
		x.s.read = proven{}
		m.run(b, func() error { return x.s.Verify(context.Background(), x.first.ID) })
		b.StartTimer()
	}
	m.report(b)
}

// BenchmarkVerifyAgain looks once more at what was just read.
func BenchmarkVerifyAgain(b *testing.B) {
	x, m := setup(b), meter{}
	var st unix.Stat_t
	must(b, unix.Stat(x.s.Path(x.first.ID), &st))
	time.Sleep(time.Until(time.Unix(st.Ctim.Unix()).Add(2 * racy))) // what was written a moment ago is read again
	must(b, x.s.Verify(context.Background(), x.first.ID))
	for b.Loop() {
		b.StopTimer()
		m.run(b, func() error { return x.s.Verify(context.Background(), x.first.ID) })
		b.StartTimer()
	}
	m.report(b)
}

// BenchmarkFirst takes the first snapshot of 100,000 files.
func BenchmarkFirst(b *testing.B) {
	x, m := setup(b), meter{}
	for b.Loop() {
		b.StopTimer()
		dir := filepath.Join(b.TempDir(), "first")
		s, err := Open(dir)
		must(b, err)
		m.run(b, func() error { _, err := s.Snapshot(context.Background(), x.src, SnapshotOptions{}); return err })
		must(b, errors.Join(s.Close(), os.RemoveAll(dir)))
		b.StartTimer()
	}
	m.report(b)
}

// BenchmarkPrune removes one release of 100,000 files and makes another the spare.
func BenchmarkPrune(b *testing.B) {
	x, ctx, m := setup(b), context.Background(), meter{}
	for b.Loop() {
		b.StopTimer()
		_, err := x.s.Prune(ctx, []release.ID{x.first.ID})
		must(b, err)
		for range 2 { // the first uses up the spare
			_, err = big.Touch(x.src, 5)
			must(b, err)
			_, err = x.s.Snapshot(ctx, x.src, SnapshotOptions{})
			must(b, err)
		}
		m.run(b, func() error {
			gone, err := x.s.Prune(ctx, []release.ID{x.first.ID})
			if err == nil && len(gone) != 2 {
				err = fmt.Errorf("pruned %v", gone)
			}
			return err
		})
		b.StartTimer()
	}
	m.report(b)
}
