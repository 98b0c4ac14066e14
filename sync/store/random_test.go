package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"scap/sync/release"
)

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
