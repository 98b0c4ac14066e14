package store

import (
	"golang.org/x/sys/unix"

	"scap/sync/release"
)

// finder looks paths up in one tree, by description and on disk; paths of one directory, asked in a row, cost one.
type finder struct {
	src    release.Dirs
	tree   *tree
	dirs   map[string]release.Dir
	at     *dir
	parent string
	failed bool
}

func (f *finder) look(path string) (e release.Entry, st unix.Stat_t, ok bool) {
	parent, name := split(path)
	if e, ok = f.dir(parent).Find(name); !ok || e.Kind != release.File {
		return e, st, false
	}
	if f.at == nil && !f.failed || f.parent != parent {
		f.close()
		var err error
		f.at, err = f.tree.open(parent)
		f.parent, f.failed = parent, err != nil
	}
	if f.at == nil {
		return e, st, false
	}
	st, err := f.at.stat(name)
	return e, st, err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
}

// dir returns the directory at path as the tree's description has it, empty when there is none.
func (f *finder) dir(path string) release.Dir {
	if d, ok := f.dirs[path]; ok {
		return d
	}
	sum := release.Sum(f.tree.id)
	if path != "" {
		parent, name := split(path)
		e, ok := f.dir(parent).Find(name)
		if sum = e.Sum; !ok || e.Kind != release.Directory {
			f.dirs[path] = nil
			return nil
		}
	}
	d, err := f.src.Dir(sum)
	if err != nil {
		d = nil
	}
	f.dirs[path] = d
	return d
}

func (f *finder) close() {
	if f.at != nil {
		f.at.close()
		f.at = nil
	}
}
