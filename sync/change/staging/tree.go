package staging

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"scap/sync/release"
)

// dirMode is that of every directory that comes from git, which knows none.
const dirMode = 0o755

// tree is a release that is being put together: directories of the store, with edits in memory above them. Only the
// directories on the way to an edit are read. It is for one goroutine.
type tree struct {
	src   *shelf
	root  *folder
	files int
	bytes int64
}

// folder is a directory that was read or made.
type folder struct {
	names map[string]release.Entry // a directory's Sum is right only while subs has nothing dirty under that name
	subs  map[string]*folder
	dirty bool
	sum   release.Sum // when not dirty
}

func newFolder() *folder {
	return &folder{names: map[string]release.Entry{}, subs: map[string]*folder{}, dirty: true}
}

// newTree begins with the release id, which has that many files and bytes; the zero id is the empty tree.
func newTree(src *shelf, id release.ID, files int, bytes int64) (*tree, error) {
	t := &tree{src: src, root: newFolder(), files: files, bytes: bytes}
	if id.IsZero() {
		return t, nil
	}
	var err error
	t.root, err = t.read(release.Sum(id))
	return t, err
}

func (t *tree) read(sum release.Sum) (*folder, error) {
	d, err := t.src.Dir(sum)
	if err != nil {
		return nil, err
	}
	f := &folder{names: make(map[string]release.Entry, len(d)), subs: map[string]*folder{}, sum: sum}
	for _, e := range d {
		f.names[e.Name] = e
	}
	return f, nil
}

func (t *tree) sub(f *folder, name string) (*folder, error) {
	if s := f.subs[name]; s != nil {
		return s, nil
	}
	s, err := t.read(f.names[name].Sum)
	if err == nil {
		f.subs[name] = s
	}
	return s, err
}

// find returns what stands at a path, or false. A directory's Sum is that of the last seal at most.
func (t *tree) find(path string) (release.Entry, bool, error) {
	parent, name := split(path)
	f, err := t.folder(parent)
	if f == nil || err != nil {
		return release.Entry{}, false, err
	}
	e, ok := f.names[name]
	return e, ok, nil
}

// folder returns the directory at a path, nil when none is there.
func (t *tree) folder(path string) (*folder, error) {
	f := t.root
	if path == "" {
		return f, nil
	}
	for name := range strings.SplitSeq(path, "/") {
		if e, ok := f.names[name]; !ok || e.Kind != release.Directory {
			return nil, nil
		}
		var err error
		if f, err = t.sub(f, name); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// errInTheWay means that two of those who make the tree want the same place.
var errInTheWay = errors.New("something else is there")

// put gives a file or link its place and makes the directories above it. A file or link that is there is replaced; a
// directory, or a file where a directory must be, is in the way.
func (t *tree) put(path string, e release.Entry) error {
	parent, name := split(path)
	f, err := t.mkdir(parent, dirMode)
	if err != nil {
		return err
	}
	e.Name = name
	old, ok := f.names[name]
	if ok && old.Kind == release.Directory {
		return fmt.Errorf("%q: %w: a directory", path, errInTheWay)
	}
	t.count(old, -1)
	t.count(e, 1)
	f.names[name] = e
	return nil
}

// mkdir returns the directory at a path, made when it is not there, the last of them with that mode. All on the way
// become dirty.
func (t *tree) mkdir(path string, mode uint16) (*folder, error) {
	f := t.root
	f.dirty = true
	if path == "" {
		return f, nil
	}
	if strings.Count(path, "/")+1 > release.MaxDepth {
		return nil, fmt.Errorf("%q: deeper than %d directories", path, release.MaxDepth)
	}
	for rest := path; rest != ""; {
		name, below, _ := strings.Cut(rest, "/")
		if err := release.CheckName(name); err != nil {
			return nil, fmt.Errorf("%q: %w", path, err)
		}
		e, ok := f.names[name]
		switch {
		case !ok:
			m := uint16(dirMode)
			if below == "" {
				m = mode
			}
			f.names[name] = release.Entry{Name: name, Kind: release.Directory, Mode: m}
			f.subs[name] = newFolder()
		case e.Kind != release.Directory:
			return nil, fmt.Errorf("%q: %w: %q is no directory", path, errInTheWay, name)
		}
		sub, err := t.sub(f, name)
		if err != nil {
			return nil, err
		}
		sub.dirty = true
		f, rest = sub, below
	}
	return f, nil
}

// graft puts a whole directory, whose objects src has, where nothing may be.
func (t *tree) graft(path string, mode uint16, sum release.Sum) error {
	parent, name := split(path)
	f, err := t.mkdir(parent, dirMode)
	if err != nil {
		return err
	}
	if _, ok := f.names[name]; ok {
		return fmt.Errorf("%q: %w", path, errInTheWay)
	}
	e := release.Entry{Name: name, Kind: release.Directory, Mode: mode, Sum: sum}
	if err := t.countBelow(sum, 1); err != nil {
		return err
	}
	f.names[name] = e
	return nil
}

// remove takes out what stands at a path, with all below it, and the directories above that are empty then: git has no
// empty ones. It reports whether anything was there.
func (t *tree) remove(path string) (bool, error) {
	chain := []*folder{t.root}
	parts := strings.Split(path, "/")
	for _, name := range parts[:len(parts)-1] {
		f := chain[len(chain)-1]
		if e, ok := f.names[name]; !ok || e.Kind != release.Directory {
			return false, nil
		}
		s, err := t.sub(f, name)
		if err != nil {
			return false, err
		}
		chain = append(chain, s)
	}
	f, name := chain[len(chain)-1], parts[len(parts)-1]
	e, ok := f.names[name]
	if !ok {
		return false, nil
	}
	if err := t.countAway(f, e); err != nil {
		return false, err
	}
	for i, f := range slices.Backward(chain) {
		delete(f.names, parts[i])
		delete(f.subs, parts[i])
		if len(f.names) > 0 {
			chain = chain[:i+1]
			break
		}
	}
	for _, f := range chain {
		f.dirty = true
	}
	return true, nil
}

func (t *tree) count(e release.Entry, sign int) {
	if e.Kind == release.File {
		t.files += sign
		t.bytes += int64(sign) * e.Size
	}
}

// countAway takes an entry, and what the directory has that it may be, off the totals.
func (t *tree) countAway(f *folder, e release.Entry) error {
	if e.Kind != release.Directory {
		t.count(e, -1)
		return nil
	}
	s := f.subs[e.Name]
	if s == nil {
		return t.countBelow(e.Sum, -1)
	}
	for _, e := range s.names {
		if err := t.countAway(s, e); err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) countBelow(sum release.Sum, sign int) error {
	return release.Walk(t.src, release.ID(sum), func(_ string, e release.Entry) error {
		t.count(e, sign)
		return nil
	})
}

// seal names the tree as it is now and gives src the directory objects that are new.
func (t *tree) seal() (release.ID, error) {
	sum, err := t.sealFolder("", t.root)
	return release.ID(sum), err
}

func (t *tree) sealFolder(path string, f *folder) (release.Sum, error) {
	if !f.dirty {
		return f.sum, nil
	}
	d := make(release.Dir, 0, len(f.names))
	for _, name := range slices.Sorted(maps.Keys(f.names)) {
		e := f.names[name]
		if s := f.subs[name]; s != nil {
			var err error
			if e.Sum, err = t.sealFolder(join(path, name), s); err != nil {
				return release.Sum{}, err
			}
			f.names[name] = e
		}
		d = append(d, e)
	}
	if err := d.Check(); err != nil {
		return release.Sum{}, fmt.Errorf("directory %q: %w", path, err)
	}
	raw := d.Encode()
	if len(raw) > release.MaxDirBytes {
		return release.Sum{}, fmt.Errorf("directory %q: too many names in one directory", path)
	}
	f.sum, f.dirty = t.src.add(raw, d), false
	return f.sum, nil
}

func split(path string) (parent, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}

func join(parent, name string) string {
	switch {
	case parent == "":
		return name
	case name == "":
		return parent
	}
	return parent + "/" + name
}

// below reports whether a path lies in the directory, or is it.
func below(path, dir string) bool {
	return dir == "" || path == dir || strings.HasPrefix(path, dir) && path[len(dir)] == '/'
}
