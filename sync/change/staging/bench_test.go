package staging

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"scap/sync/change"
	"scap/sync/release"
)

const (
	benchFiles = 100_000
	benchParts = 200
)

// large makes a wiki of that many files, some 20 in a directory, in that many repositories: a configuration, MediaWiki with a third of the files,
// and extensions.
func large(b *testing.B, w *world) []change.Part {
	content := func(repo, i, n int) string {
		return fmt.Sprintf("<?php // %d of %d in %d\n", i, n, repo) + strings.Repeat(fmt.Sprintf("$x[%d] = %d;\n", i, repo), 20+i%400)
	}
	some := func(repo, n int) repoFiles {
		f := make(repoFiles, n)
		for i := range n {
			f[fmt.Sprintf("src/d%d/File%d.php", i/20, i)] = content(repo, i, n)
		}
		return f
	}
	core, n := some(1, benchFiles/3), 0
	each := (benchFiles - benchFiles/3 - 500) / (benchParts - 2)
	var parts []change.Part
	for i := range benchParts - 2 {
		name := fmt.Sprintf("extensions/Ext%03d", i)
		core[name] = gitlink
		parts = append(parts, w.commit("php-1/"+name, "mediawiki/"+name, some(i+2, each)))
		n += each
	}
	return append(parts, w.commit("php-1", "core", core), w.commit("", "config", some(0, benchFiles-benchFiles/3-n)))
}

// BenchmarkBuild builds a release of 100,000 files in 200 repositories: from nothing, and with 5 files changed, with a
// spare in the store as after every deploy and without.
func BenchmarkBuild(b *testing.B) {
	if testing.Short() {
		b.Skip("short")
	}
	dir, err := os.MkdirTemp("", "scap-staging")
	must(b, err)
	defer os.RemoveAll(dir)
	w := newWorld(b, dir)
	parts := large(b, w)
	var first *Built
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			if first != nil {
				b.StopTimer()
				must(b, w.store.Remove(b.Context(), first.Release.ID))
				b.StartTimer()
			}
			first = measured(b, w, nil, parts)
		}
	})
	for _, spare := range []bool{true, false} {
		b.Run(fmt.Sprintf("change5/spare=%v", spare), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				next := slices.Clone(parts)
				next[7] = changed5(w, parts[7], i)
				if spare {
					_, err := w.store.Prune(b.Context(), []release.ID{first.Release.ID})
					must(b, err)
				}
				b.StartTimer()
				got := measured(b, w, first.Record, next)
				b.StopTimer()
				if len(got.Changed) != 5 || got.Cold {
					b.Fatalf("changed %q, cold %v", got.Changed, got.Cold)
				}
				must(b, w.store.Remove(b.Context(), got.Release.ID))
				b.StartTimer()
			}
		})
	}
}

func changed5(w *world, p change.Part, round int) change.Part {
	f := repoFiles{}
	for i := range 5 {
		f[fmt.Sprintf("src/d%d/File%d.php", i/20, i)] = fmt.Sprintf("<?php // round %d %d\n", round, time.Now().UnixNano())
	}
	stream := strings.Replace(importStream(f), "deleteall\n", "from "+p.Commit+"\n", 1)
	w.git(stream, "-C", w.repo(p.Project), "fast-import", "--quiet", "--force")
	ids := strings.Fields(w.git("", "-C", w.repo(p.Project), "rev-parse", "refs/heads/main", "refs/heads/main^{tree}"))
	p.Commit, p.Head, p.Tree = ids[0], ids[0], ids[1]
	return p
}

// measured builds and reports where the time went, and the processor time of this process alone.
func measured(b *testing.B, w *world, base *Record, parts []change.Part) *Built {
	var before, after unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &before))
	got, err := w.stager().Build(context.Background(), base, parts, BuildOptions{})
	must(b, err)
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &after))
	b.ReportMetric(float64(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano())/1e6, "cpu-ms/op")
	for _, name := range sortedKeys(got.Times) {
		if d := got.Times[name]; d > time.Millisecond {
			b.ReportMetric(float64(d.Microseconds())/1000, strings.ReplaceAll(name, " ", "-")+"-ms")
		}
	}
	return got
}
