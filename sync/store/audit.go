package store

import (
	"context"
	"sync"

	"golang.org/x/sys/unix"

	"scap/sync/release"
)

// auditor compares what a plan takes from its base unseen with what the base's description says.
type auditor struct {
	p     *plan
	crew  *crew
	times times
	puts  map[string]bool // made anew in any case
	mu    sync.Mutex
}

// tree checks everything that base and next have in common.
func (a *auditor) tree() error {
	d, err := a.p.base.open("")
	if err != nil {
		return err
	}
	defer d.close()
	return a.dir(d, "", release.Sum(a.p.base.id), release.Sum(a.p.next))
}

func (a *auditor) dir(d *dir, path string, base, next release.Sum) error {
	if a.crew.ctx.Err() != nil {
		return context.Cause(a.crew.ctx)
	}
	old, now, err := a.both(base, next)
	if err != nil {
		return err
	}
	a.entries(d, path, old, now, nil)
	b := a.crew.batch()
	for _, e := range now {
		was, ok := old.Find(e.Name)
		if e.Kind != release.Directory || !ok || was.Kind != release.Directory {
			continue
		}
		b.do(func() error {
			p := join(path, e.Name)
			sub, err := d.sub(e.Name)
			if err != nil {
				return a.lost(p, e)
			}
			defer sub.close()
			return a.dir(sub, p, was.Sum, e.Sum)
		})
	}
	return b.wait()
}

func (a *auditor) both(base, next release.Sum) (old, now release.Dir, err error) {
	if old, err = a.p.src.Dir(base); err != nil {
		return nil, nil, err
	}
	if base == next {
		return old, old, nil
	}
	now, err = a.p.src.Dir(next)
	return old, now, err
}

// some checks the directories in touched, and reads the files in hashed.
func (a *auditor) some(touched, hashed map[string]bool) error {
	was := &finder{src: a.p.src, tree: a.p.base, dirs: map[string]release.Dir{}}
	will := &finder{src: a.p.src, tree: &tree{id: a.p.next}, dirs: map[string]release.Dir{}}
	b := a.crew.batch()
	for path := range touched {
		old, now := was.dir(path), will.dir(path)
		if old == nil || now == nil {
			continue
		}
		b.do(func() error {
			d, err := a.p.base.open(path)
			if missing(err) {
				return errSpoiled // a directory of the spare is gone: it is no spare
			}
			if err != nil {
				return err
			}
			defer d.close()
			a.entries(d, path, old, now, hashed)
			return nil
		})
	}
	return b.wait()
}

// entries checks the files and links of one directory that next takes over from the base.
func (a *auditor) entries(d *dir, path string, old, now release.Dir, hashed map[string]bool) {
	for _, e := range now {
		p := join(path, e.Name)
		if was, ok := old.Find(e.Name); e.Kind == release.Directory || !ok || was != e || a.puts[p] {
			continue
		}
		ok, mtime := a.right(d, p, e, hashed[p])
		a.mu.Lock()
		switch {
		case !ok:
			a.p.damaged[p] = true
			a.p.puts = append(a.p.puts, release.Change{Path: p, Entry: e, Old: e})
		case mtime != 0:
			a.p.touched[p] = mtime
		}
		a.mu.Unlock()
	}
}

// right reports whether a file or link is what e says, and its mtime when that is not the recorded one.
func (a *auditor) right(d *dir, path string, e release.Entry, read bool) (ok bool, mtime int64) {
	st, err := d.stat(e.Name)
	if err != nil {
		return false, 0
	}
	if e.Kind == release.Link {
		target, err := d.readlink(e.Name)
		return err == nil && target == e.Target, 0
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size != e.Size || uint16(st.Mode&0o7777) != e.Mode {
		return false, 0
	}
	at, known := a.times.get(path)
	same := known && at == st.Mtim.Nano()
	if same && !read {
		return true, 0
	}
	if sum, err := hashFile(d, e.Name, stampOf(&st)); err != nil || sum != e.Sum {
		return false, 0
	}
	if same {
		return true, 0
	}
	return true, st.Mtim.Nano()
}

// lost has a whole directory made anew that the base should have.
func (a *auditor) lost(path string, e release.Entry) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.p.damaged[path] = true
	a.p.puts = append(a.p.puts, release.Change{Path: path, Entry: e, Old: e})
	return release.Walk(a.p.src, release.ID(e.Sum), func(sub string, e release.Entry) error {
		p := path + "/" + sub
		if !a.puts[p] {
			a.p.damaged[p] = true
			a.p.puts = append(a.p.puts, release.Change{Path: p, Entry: e, Old: e})
		}
		return nil
	})
}
