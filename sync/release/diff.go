package release

import (
	"fmt"
	"slices"
)

// Diff says what makes next out of base, of which the zero ID is the empty tree. It reads only directories that differ,
// so its cost is that of the change and not of the tree. A directory is in Put when it is new or its mode changed.
func Diff(src Dirs, base, next ID) (Delta, error) {
	d := differ{src: src, has: map[Sum]bool{}, had: map[Sum]bool{}, out: Delta{Base: base, Next: next}}
	if base == next {
		return d.out, nil
	}
	if err := d.dirs("", Sum(base), Sum(next), 0); err != nil {
		return Delta{}, fmt.Errorf("difference from %s to %s: %w", base.Short(), next.Short(), err)
	}
	d.out.Dirs = slices.DeleteFunc(d.out.Dirs, func(s Sum) bool { return d.had[s] })
	return d.out, nil
}

type differ struct {
	src   Dirs
	out   Delta
	has   map[Sum]bool // objects of next met
	had   map[Sum]bool // objects of base met
	count int
}

func (d *differ) dirs(path string, base, next Sum, depth int) error {
	var old, now Dir
	var err error
	if base != (Sum{}) {
		if old, err = d.load(path, base, depth, d.had); err != nil {
			return err
		}
	}
	if next != (Sum{}) {
		if !d.has[next] {
			d.out.Dirs = append(d.out.Dirs, next)
		}
		if now, err = d.load(path, next, depth, d.has); err != nil {
			return err
		}
	}
	for len(old) > 0 || len(now) > 0 {
		switch {
		case len(now) == 0 || len(old) > 0 && old[0].Name < now[0].Name:
			err = d.remove(join(path, old[0].Name), old[0], depth)
			old = old[1:]
		case len(old) == 0 || now[0].Name < old[0].Name:
			err = d.put(join(path, now[0].Name), Entry{}, now[0], depth)
			now = now[1:]
		default:
			err = d.pair(join(path, now[0].Name), old[0], now[0], depth)
			old, now = old[1:], now[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *differ) load(path string, sum Sum, depth int, met map[Sum]bool) (Dir, error) {
	met[sum] = true
	dir, err := load(d.src, path, sum, depth)
	if d.count += len(dir); d.count > 2*MaxEntries {
		return nil, fmt.Errorf("%w: more than %d entries", ErrInvalid, MaxEntries)
	}
	return dir, err
}

func (d *differ) pair(path string, old, now Entry, depth int) error {
	switch {
	case old == now:
		return nil
	case old.Kind != now.Kind:
		if err := d.remove(path, old, depth); err != nil {
			return err
		}
		return d.put(path, old, now, depth)
	case now.Kind != Directory:
		d.out.Put = append(d.out.Put, Change{path, now, old})
		return nil
	}
	if old.Mode != now.Mode {
		d.out.Put = append(d.out.Put, Change{path, now, old})
	}
	if old.Sum == now.Sum {
		return nil
	}
	return d.dirs(path, old.Sum, now.Sum, depth+1)
}

func (d *differ) put(path string, old, now Entry, depth int) error {
	d.out.Put = append(d.out.Put, Change{path, now, old})
	if now.Kind != Directory {
		return nil
	}
	return d.dirs(path, Sum{}, now.Sum, depth+1)
}

func (d *differ) remove(path string, old Entry, depth int) error {
	if old.Kind == Directory {
		if err := d.dirs(path, old.Sum, Sum{}, depth+1); err != nil {
			return err
		}
	}
	d.out.Remove = append(d.out.Remove, Change{Path: path, Entry: old, Old: old})
	return nil
}
