package registration

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// debian is where the package mediawiki has its tree.
const debian = "/usr/share/mediawiki"

// needPHP skips a test where there is no php; where everything has to be proven, it fails.
func needPHP(t testing.TB) []string {
	t.Helper()
	if _, err := exec.LookPath("php"); err != nil {
		notHere(t, "php is not installed: apt install php-cli")
	}
	return []string{"php"}
}

// needMediaWiki is Debian's MediaWiki.
func needMediaWiki(t testing.TB) fs.FS {
	t.Helper()
	if _, err := os.Stat(debian + "/includes/ServiceWiring.php"); err != nil {
		notHere(t, "MediaWiki is not installed: apt install mediawiki")
	}
	return os.DirFS(debian)
}

func notHere(t testing.TB, text string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(text)
	}
	t.Skip(text)
}

// overlay is a tree with some files of its own over another one: a copy of which only the changed files are copied.
type overlay struct {
	under fs.FS
	files fstest.MapFS // its own
	gone  map[string]bool
}

func over(under fs.FS) *overlay {
	return &overlay{under: under, files: fstest.MapFS{}, gone: map[string]bool{}}
}

func (o *overlay) write(name, text string) { o.files[name] = &fstest.MapFile{Data: []byte(text)} }
func (o *overlay) remove(name string)      { o.gone[name] = true }

func (o *overlay) isGone(name string) bool {
	for ; name != "."; name = path.Dir(name) {
		if o.gone[name] {
			return true
		}
	}
	return false
}

func (o *overlay) Open(name string) (fs.File, error) {
	if o.isGone(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if _, ok := o.files[name]; ok {
		return o.files.Open(name)
	}
	return o.under.Open(name)
}

func (o *overlay) Stat(name string) (fs.FileInfo, error) {
	if o.isGone(name) {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	if _, ok := o.files[name]; ok {
		return o.files.Stat(name)
	}
	return fs.Stat(o.under, name)
}

func (o *overlay) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(o.under, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []fs.DirEntry
	own := map[string]bool{}
	if mine, err := o.files.ReadDir(name); err == nil {
		for _, e := range mine {
			own[e.Name()] = true
			all = append(all, e)
		}
	}
	for _, e := range entries {
		if !own[e.Name()] && !o.isGone(path.Join(name, e.Name())) {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return all, nil
}

// text is a file of the tree.
func text(t testing.TB, tree fs.FS, name string) string {
	t.Helper()
	data, err := fs.ReadFile(tree, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// lines are findings as text, for messages.
func lines(findings []Finding) string {
	var all []string
	for _, f := range findings {
		all = append(all, f.String())
	}
	return strings.Join(all, "\n")
}

// memo asks the tree under it no question twice: hundreds of copies of one tree are looked at.
type memo struct {
	under fs.FS
	files sync.Map // name -> fstest.MapFS with one file
	stats sync.Map // name -> func() (fs.FileInfo, error)
	dirs  sync.Map // name -> func() ([]fs.DirEntry, error)
}

func (m *memo) Open(name string) (fs.File, error) {
	if f, ok := m.files.Load(name); ok {
		return f.(fstest.MapFS).Open("file")
	}
	data, err := fs.ReadFile(m.under, name)
	if err != nil {
		return nil, err
	}
	m.files.Store(name, fstest.MapFS{"file": {Data: data}})
	return m.Open(name)
}

func (m *memo) Stat(name string) (fs.FileInfo, error) {
	f, _ := m.stats.LoadOrStore(name, sync.OnceValues(func() (fs.FileInfo, error) { return fs.Stat(m.under, name) }))
	return f.(func() (fs.FileInfo, error))()
}

func (m *memo) ReadDir(name string) ([]fs.DirEntry, error) {
	f, _ := m.dirs.LoadOrStore(name, sync.OnceValues(func() ([]fs.DirEntry, error) { return fs.ReadDir(m.under, name) }))
	return f.(func() ([]fs.DirEntry, error))()
}
