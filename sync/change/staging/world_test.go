package staging

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"scap/sync/change"
	"scap/sync/change/git"
	"scap/sync/release"
	"scap/sync/store"
)

func TestMain(m *testing.M) {
	syscall.Umask(0o022) // git's checkouts, which the tests compare with, follow it
	goleak.VerifyTestMain(m)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// repoFiles is a repository's content: a value that begins with "-> " is a link, with "#!" an executable, with "@" the commit
// of a submodule.
type repoFiles = map[string]string

// world is mirrors, a store, and the directories beside them.
type world struct {
	t       testing.TB
	dir     string
	mirrors *git.Mirrors
	store   *store.Store
	o       Options
	told    []string
}

func newWorld(t testing.TB, dir string) *world {
	t.Helper()
	w := &world{t: t, dir: dir}
	var err error
	w.mirrors, err = git.Open(git.Options{Dir: filepath.Join(dir, "mirrors"), URL: "file://" + dir, Local: true})
	must(t, err)
	w.store, err = store.Open(filepath.Join(dir, "store"))
	must(t, err)
	t.Cleanup(func() { w.store.Close() })
	w.o = Options{Store: w.store, Mirrors: w.mirrors, Dir: filepath.Join(dir, "staging"), Lint: Off, Registration: Off, Parallel: 3}
	return w
}

func (w *world) stager() *Stager {
	w.t.Helper()
	s, err := New(w.o)
	must(w.t, err)
	return s
}

func (w *world) git(stdin string, args ...string) string {
	w.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("git %v: %v: %s", args, err, &said)
	}
	return strings.TrimSpace(string(out))
}

func (w *world) repo(project string) string { return filepath.Join(w.dir, "mirrors", project+".git") }

// commit makes a commit with exactly these files in a mirror, and the part that it is at a path.
func (w *world) commit(path, project string, f repoFiles) change.Part {
	w.t.Helper()
	dir := w.repo(project)
	if _, err := os.Stat(dir); err != nil {
		w.git("", "init", "--quiet", "--bare", "--template=", dir)
	}
	w.git(importStream(f), "-C", dir, "fast-import", "--quiet", "--force")
	ids := strings.Fields(w.git("", "-C", dir, "rev-parse", "refs/heads/main", "refs/heads/main^{tree}"))
	return change.Part{Path: path, Project: project, Branch: "main", Commit: ids[0], Head: ids[0], Tree: ids[1]}
}

func importStream(f repoFiles) string {
	var b strings.Builder
	b.WriteString("commit refs/heads/main\ncommitter T <t@example.org> 1000000000 +0000\ndata 1\nx\ndeleteall\n")
	for _, p := range slices.Sorted(maps.Keys(f)) {
		text, mode := f[p], "100644"
		if oid, ok := strings.CutPrefix(text, "@"); ok {
			fmt.Fprintf(&b, "M 160000 %s %s\n", oid, quoteGit(p))
			continue
		}
		if strings.HasPrefix(text, "#!") {
			mode = "100755"
		}
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			text, mode = target, "120000"
		}
		fmt.Fprintf(&b, "M %s inline %s\ndata %d\n%s\n", mode, quoteGit(p), len(text), text)
	}
	return b.String()
}

// quoteGit writes a path as git's C-style string.
func quoteGit(p string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(p) {
		fmt.Fprintf(&b, "\\%03o", c)
	}
	return b.String() + `"`
}

// checkout is what git itself makes of the parts in a directory.
func (w *world) checkout(dir string, parts []change.Part) {
	w.t.Helper()
	must(w.t, os.MkdirAll(dir, 0o755))
	for _, p := range sortedParts(parts) {
		index := filepath.Join(w.t.TempDir(), "index")
		for _, args := range [][]string{{"read-tree", p.Final()}, {"checkout-index", "-a", "-f", "--prefix=" + filepath.Join(dir, p.Path) + "/"}} {
			cmd := exec.Command("git", append([]string{"--git-dir=" + w.repo(p.Project), "--work-tree=" + dir}, args...)...)
			cmd.Env = append(os.Environ(), "GIT_INDEX_FILE="+index, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				w.t.Fatalf("git %v: %v: %s", args, err, out)
			}
		}
		must(w.t, os.RemoveAll(index))
	}
}

// oracle is the release that a snapshot of the checked-out parts, with these files laid over them, is.
func (w *world) oracle(parts []change.Part, over repoFiles, dirs ...string) release.Release {
	w.t.Helper()
	dir, err := os.MkdirTemp(w.dir, "oracle")
	must(w.t, err)
	defer os.RemoveAll(dir)
	w.checkout(dir, parts)
	writeFiles(w.t, dir, over)
	for _, d := range dirs {
		must(w.t, os.CopyFS(dir, os.DirFS(d)))
	}
	s, err := store.Scan(context.Background(), dir, w.o.Excludes)
	must(w.t, err)
	return s.Release
}

func writeFiles(t testing.TB, dir string, f repoFiles) {
	t.Helper()
	for p, text := range f {
		full := filepath.Join(dir, p)
		must(t, os.MkdirAll(filepath.Dir(full), 0o755))
		must(t, os.RemoveAll(full))
		switch target, ok := strings.CutPrefix(text, "-> "); {
		case ok:
			must(t, os.Symlink(target, full))
		case strings.HasPrefix(text, "#!"):
			must(t, os.WriteFile(full, []byte(text), 0o755))
		default:
			must(t, os.WriteFile(full, []byte(text), 0o644))
		}
	}
}

// build builds and wants it to be right on disk.
func (w *world) build(base *Record, parts ...change.Part) *Built {
	w.t.Helper()
	b, err := w.try(base, parts...)
	must(w.t, err)
	must(w.t, w.store.Verify(context.Background(), b.Release.ID))
	return b
}

func (w *world) try(base *Record, parts ...change.Part) (*Built, error) {
	w.t.Helper()
	w.told = nil
	return w.stager().Build(context.Background(), base, parts, BuildOptions{Message: "m", Tell: func(text string) { w.told = append(w.told, text) }})
}

// same wants a build to be what git checks out.
func (w *world) same(b *Built, parts []change.Part, over repoFiles, dirs ...string) {
	w.t.Helper()
	want := w.oracle(parts, over, dirs...)
	if b.Release.ID != want.ID || b.Release.Files != want.Files || b.Release.Bytes != want.Bytes {
		w.t.Fatalf("built %s with %d files of %d bytes, checked out %s with %d of %d",
			b.Release.ID.Short(), b.Release.Files, b.Release.Bytes, want.ID.Short(), want.Files, want.Bytes)
	}
}

func (w *world) read(b *Built, path string) string {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.store.Path(b.Release.ID), path))
	must(w.t, err)
	return string(text)
}

// look composes a tree and shows it as the checks see it.
func (s *Stager) look(ctx context.Context, base *Record, parts []change.Part, do func(fs.FS) error) error {
	b := &build{
		s: s, prior: base, base: base, parts: parts, library: newLibrary(ctx, s.o.Mirrors, s.o.Parallel), shelf: newShelf(s.o.Store),
		contents: map[string]content{}, touched: map[string]bool{}, record: &Record{},
	}
	defer b.library.close()
	if err := b.compose(ctx); err != nil {
		return err
	}
	id, err := b.tree.seal()
	if err != nil {
		return err
	}
	return do(&files{ctx: ctx, b: b, id: id})
}
