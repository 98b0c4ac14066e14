package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scap/sync/release"
	"scap/sync/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a Source of releases that are plain directories, with every release's directory objects in memory.
type shelf struct {
	root  string
	dirs  map[release.Sum]release.Dir
	opens atomic.Int64
}

func newShelf(t *testing.T) *shelf {
	return &shelf{root: t.TempDir(), dirs: make(map[release.Sum]release.Dir)}
}

func (s *shelf) Dir(sum release.Sum) (release.Dir, error) {
	d, ok := s.dirs[sum]
	if !ok {
		return nil, fmt.Errorf("directory %s: %w", sum, fs.ErrNotExist)
	}
	return d, nil
}

func (s *shelf) OpenFile(id release.ID, p string) (*os.File, error) {
	s.opens.Add(1)
	return os.Open(filepath.Join(s.root, id.String(), p))
}

// add makes a release of files.
func (s *shelf) add(t *testing.T, files map[string]string) release.Release {
	t.Helper()
	id := release.ID(s.tree(files, ""))
	for p, content := range files {
		file := filepath.Join(s.root, id.String(), p)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return release.Release{ID: id, Files: len(files)}
}

func (s *shelf) tree(files map[string]string, under string) release.Sum {
	var d release.Dir
	seen := make(map[string]bool)
	for p, content := range files {
		rest, ok := strings.CutPrefix(p, under)
		if !ok {
			continue
		}
		name, _, deep := strings.Cut(rest, "/")
		if seen[name] {
			continue
		}
		seen[name] = true
		e := release.Entry{Name: name, Kind: release.File, Mode: 0o644, Size: int64(len(content)), Sum: release.SumOf([]byte(content))}
		if deep {
			e = release.Entry{Name: name, Kind: release.Directory, Mode: 0o755, Sum: s.tree(files, under+name+"/")}
		}
		d = append(d, e)
	}
	slices.SortFunc(d, func(a, b release.Entry) int { return strings.Compare(a.Name, b.Name) })
	s.dirs[d.Sum()] = d
	return d.Sum()
}

// pile is a Peer that keeps what it gets in memory.
type pile struct {
	dirs   map[release.Sum]release.Dir
	files  map[release.Sum][]byte
	rounds int
	got    int // files received
	blocks int
}

func newPile() *pile {
	return &pile{dirs: make(map[release.Sum]release.Dir), files: make(map[release.Sum][]byte)}
}

func (p *pile) Stage(_ context.Context, r release.Release, dirs iter.Seq2[[]byte, error]) ([]release.Sum, []wire.Want, error) {
	p.rounds++
	for b, err := range dirs {
		if err != nil {
			return nil, nil, err
		}
		d, err := release.DecodeDir(b)
		if err != nil {
			return nil, nil, err
		}
		p.dirs[d.Sum()] = d
	}
	var (
		missing []release.Sum
		wants   []wire.Want
		visit   func(sum release.Sum, at string)
	)
	visit = func(sum release.Sum, at string) {
		d, ok := p.dirs[sum]
		if !ok {
			missing = append(missing, sum)
			return
		}
		for _, e := range d {
			if e.Kind == release.Directory {
				visit(e.Sum, path.Join(at, e.Name))
			} else if _, ok := p.files[e.Sum]; !ok {
				wants = append(wants, wire.Want{Path: path.Join(at, e.Name), Sum: e.Sum, Size: e.Size})
			}
		}
	}
	visit(release.Sum(r.ID), "")
	if len(missing) > 0 {
		wants = nil
	}
	return missing, wants, nil
}

func (p *pile) Files(_ context.Context, _ release.Release, n int, block func(int) ([]byte, error)) error {
	i := 0
	items := wire.NewItems(func() ([]byte, error) {
		if i++; i > n {
			return nil, io.EOF
		}
		p.blocks++
		return block(i - 1)
	})
	defer items.Close()
	for {
		h, err := items.File()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := io.ReadAll(items)
		if err != nil || int64(len(b)) != h.Size {
			return fmt.Errorf("%s: %d bytes: %w", h.Path, len(b), err)
		}
		if time.Since(h.Mtime) > time.Hour {
			return fmt.Errorf("%s: mtime %v", h.Path, h.Mtime)
		}
		p.files[release.SumOf(b)] = b
		p.got++
	}
}

func tree(n int, mark string) map[string]string {
	files := map[string]string{"index.php": "<?php //" + mark, "empty": "", "bin/big": strings.Repeat("0123456789abcdef", 3*wire.BlockSize/16)}
	for i := range n {
		files[fmt.Sprintf("d%d/s%d/f\xff%d.php", i%7, i%3, i)] = fmt.Sprintf("<?php // %d", i)
	}
	return files
}

func TestSendsEverythingOnceAndThenTheDifference(t *testing.T) {
	src, peer := newShelf(t), newPile()
	a, b := src.add(t, tree(100, "A")), src.add(t, tree(100, "B"))
	if err := Send(t.Context(), peer, src, a, nil); err != nil {
		t.Fatal(err)
	}
	if peer.rounds != 1 || peer.got != 103 {
		t.Errorf("first release: %d rounds, %d files; want 1 and 103", peer.rounds, peer.got)
	}
	if err := Send(t.Context(), peer, src, b, []release.ID{a.ID}); err != nil {
		t.Fatal(err)
	}
	if peer.rounds != 2 || peer.got != 104 {
		t.Errorf("one changed file: %d rounds, %d files; want 2 and 104 in all", peer.rounds, peer.got)
	}
}

func TestWrongBeliefAboutThePeerCostsARound(t *testing.T) {
	src, peer := newShelf(t), newPile()
	a, b := src.add(t, tree(30, "A")), src.add(t, tree(30, "B"))
	if err := Send(t.Context(), peer, src, b, []release.ID{a.ID, {1, 2, 3}}); err != nil {
		t.Fatal(err)
	}
	if peer.rounds != 2 || peer.got != 33 {
		t.Errorf("%d rounds, %d files; want 2 and 33", peer.rounds, peer.got)
	}
}

type forgetful struct{ *pile }

func (f forgetful) Stage(ctx context.Context, r release.Release, dirs iter.Seq2[[]byte, error]) ([]release.Sum, []wire.Want, error) {
	clear(f.dirs)
	missing, wants, err := f.pile.Stage(ctx, r, dirs)
	clear(f.dirs)
	return append(missing, release.Sum(r.ID)), wants, err
}

func TestPeerThatForgetsIsAnErrorNotALoop(t *testing.T) {
	src := newShelf(t)
	if err := Send(t.Context(), forgetful{newPile()}, src, src.add(t, tree(3, "A")), nil); err == nil {
		t.Error("no error")
	}
}

func TestManyPeersShareTheWork(t *testing.T) {
	src := newShelf(t)
	a := src.add(t, tree(200, "A"))
	shared := Share(src)
	if Share(shared) != shared {
		t.Error("a shared source is shared once more")
	}
	alone := newPile()
	if err := Send(t.Context(), alone, src, a, nil); err != nil {
		t.Fatal(err)
	}
	one := src.opens.Swap(0)
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			if err := shared.Send(t.Context(), newPile(), a, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := src.opens.Load(); got != one {
		t.Errorf("12 peers opened %d files, one peer %d", got, one)
	}
}

func TestCacheIsBounded(t *testing.T) {
	s := Share(newShelf(t))
	for i := range 200 {
		c := &cached{key: blockKey{index: i}, ready: make(chan struct{}), data: make([]byte, 1<<20)}
		s.byKey[c.key] = s.order.PushFront(c)
		s.settle(c)
	}
	if s.size > cacheSize || s.order.Len() != len(s.byKey) || s.order.Len() < 60 {
		t.Errorf("%d bytes in %d blocks, %d keys", s.size, s.order.Len(), len(s.byKey))
	}
}

func TestFileThatChangedAfterTheSnapshotIsAnError(t *testing.T) {
	src := newShelf(t)
	a := src.add(t, tree(3, "A"))
	if err := os.WriteFile(filepath.Join(src.root, a.ID.String(), "index.php"), []byte("longer than it was"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Send(t.Context(), newPile(), src, a, nil); err == nil || !strings.Contains(err.Error(), "index.php") {
		t.Errorf("error %v", err)
	}
}

func TestPathsOutsideARefusedRelease(t *testing.T) {
	for _, p := range []string{"../etc/passwd", "/etc/passwd", "a/../../b", ""} {
		if _, err := newStream(release.ID{1}, []wire.Want{{Path: p}}); err == nil {
			t.Errorf("%q is sent", p)
		}
	}
	if _, err := newStream(release.ID{1}, []wire.Want{{Path: "a", Size: 1 << 62}, {Path: "b", Size: 1 << 62}, {Path: "c", Size: 1 << 62}}); err == nil {
		t.Error("sizes that overflow are accepted")
	}
}

// TestBlocksAreTheStream cuts a stream everywhere a block can start: the pieces are the concatenation of all items.
func TestBlocksAreTheStream(t *testing.T) {
	src := newShelf(t)
	files := map[string]string{"a": strings.Repeat("x", wire.BlockSize-20), "b": "", "c": strings.Repeat("yz", wire.BlockSize), "d": "end"}
	r := src.add(t, files)
	var wants []wire.Want
	var whole []byte
	for _, name := range []string{"a", "b", "c", "d"} {
		w := wire.Want{Path: name, Size: int64(len(files[name]))}
		wants = append(wants, w)
		info, err := os.Stat(filepath.Join(src.root, r.ID.String(), name))
		if err != nil {
			t.Fatal(err)
		}
		whole = append(append(whole, header(w, info)...), files[name]...)
	}
	st, err := newStream(r.ID, wants)
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for i := range st.blocks() {
		b, err := st.raw(src, i)
		if err != nil {
			t.Fatal(err)
		}
		if i < st.blocks()-1 && len(b) != wire.BlockSize {
			t.Errorf("block %d has %d bytes", i, len(b))
		}
		got = append(got, b...)
	}
	if !bytes.Equal(got, whole) {
		t.Errorf("%d bytes differ from the %d of the items", len(got), len(whole))
	}
}
