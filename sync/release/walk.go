package release

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Walk calls fn for every entry of a release, parents before children, each directory in byte order. The root itself
// is not told. It ends with fn's first error. A tree that is too deep, too large or has a link that leads out of it is
// an error.
func Walk(src Dirs, id ID, fn func(path string, e Entry) error) error {
	w := walker{src: src, fn: fn}
	return w.dir("", Sum(id), 0)
}

type walker struct {
	src   Dirs
	fn    func(path string, e Entry) error
	count int
}

func (w *walker) dir(path string, sum Sum, depth int) error {
	d, err := load(w.src, path, sum, depth)
	if err != nil {
		return err
	}
	if w.count += len(d); w.count > MaxEntries {
		return fmt.Errorf("%w: more than %d entries", ErrInvalid, MaxEntries)
	}
	for _, e := range d {
		p := join(path, e.Name)
		if err := w.fn(p, e); err != nil {
			return err
		}
		if e.Kind == Directory {
			if err := w.dir(p, e.Sum, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// load reads one directory object and checks what only its place can tell.
func load(src Dirs, path string, sum Sum, depth int) (Dir, error) {
	if depth > MaxDepth {
		return nil, fmt.Errorf("%w: %q lies deeper than %d directories", ErrInvalid, path, MaxDepth)
	}
	d, err := src.Dir(sum)
	if err != nil {
		return nil, fmt.Errorf("directory %q: %w", path, err)
	}
	for _, e := range d {
		if e.Kind != Link {
			continue
		}
		if err := checkLink(e.Target, depth); err != nil {
			return nil, fmt.Errorf("%w: %q: %w", ErrInvalid, join(path, e.Name), err)
		}
	}
	return d, nil
}

// Find returns the entry at path, or an error that wraps fs.ErrNotExist. It reads the directories on the way only.
func Find(src Dirs, id ID, path string) (Entry, error) {
	sum, rest := Sum(id), path
	for depth := 0; ; depth++ {
		name, more, deeper := strings.Cut(rest, "/")
		d, err := load(src, path, sum, depth)
		if err != nil {
			return Entry{}, err
		}
		e, ok := d.Find(name)
		if !ok || deeper && e.Kind != Directory {
			return Entry{}, fmt.Errorf("%q in release %s: %w", path, id.Short(), fs.ErrNotExist)
		}
		if !deeper {
			return e, nil
		}
		sum, rest = e.Sum, more
	}
}

// Find returns the entry of that name.
func (d Dir) Find(name string) (Entry, bool) {
	i, ok := slices.BinarySearchFunc(d, name, func(e Entry, n string) int { return strings.Compare(e.Name, n) })
	if !ok {
		return Entry{}, false
	}
	return d[i], true
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
