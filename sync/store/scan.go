package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"scap/sync/release"
)

// racy is how close to a scan's start a file's times may lie before the next scan trusts them: within it the file may
// have been written twice with one time.
const racy = 2 * time.Second

// stamp is what tells that a file has not changed since it was last read.
type stamp struct {
	size, mtime, ctime int64
	ino                uint64
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{st.Size, st.Mtim.Nano(), st.Ctim.Nano(), st.Ino}
}

// sight is one name as a scan saw it.
type sight struct {
	release.Entry
	stamp
	racy bool // the stamp proves nothing
}

// sights is one directory as a scan saw it, sorted by name.
type sights struct {
	sum  release.Sum
	list []sight
}

// scanner looks at a source tree. It reads only files whose stamp is not the one that it knows.
type scanner struct {
	ctx     context.Context
	crew    *crew
	exclude excludes
	known   map[string]*sights // from an earlier scan, by directory
	has     func(release.Sum) bool
	since   int64 // times from here on are racy
	own     stamp // the store's root, which must not lie in the source
	ownDev  uint64

	mu      sync.Mutex
	seen    map[string]*sights
	objects map[release.Sum][]byte // directory objects that the store lacks
	changed bool                   // seen is not known
	files   int
	bytes   int64
	refused []error
	more    int
}

// refusals bounds how many paths one error names.
const refusals = 200

func (s *scanner) refuse(path string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.refused) == refusals {
		s.more++
		return
	}
	s.refused = append(s.refused, fmt.Errorf("%q: %w", path, err))
}

// run scans the tree under d and returns its name.
func (s *scanner) run(d *dir) (release.ID, error) {
	s.seen, s.objects = make(map[string]*sights, len(s.known)), map[release.Sum][]byte{}
	sum, err := s.dir(d, "", 0)
	if err == nil && s.ctx.Err() != nil {
		err = context.Cause(s.ctx)
	}
	if s.more > 0 {
		s.refused = append(s.refused, fmt.Errorf("and %d more", s.more))
	}
	if err = errors.Join(err, errors.Join(s.refused...)); err != nil {
		return release.ID{}, err
	}
	s.changed = s.changed || len(s.seen) != len(s.known)
	return release.ID(sum), nil
}

func (s *scanner) dir(d *dir, path string, depth int) (release.Sum, error) {
	if s.ctx.Err() != nil {
		return release.Sum{}, context.Cause(s.ctx)
	}
	if depth > release.MaxDepth {
		s.refuse(path, fmt.Errorf("deeper than %d directories", release.MaxDepth))
		return release.Sum{}, nil
	}
	names, err := d.names()
	if err != nil {
		return release.Sum{}, err
	}
	slices.Sort(names)
	old := s.known[path]
	if old == nil {
		old = &sights{}
	}
	now := &sights{list: make([]sight, 0, len(names))}
	same, toRead, subs := s.look(d, path, names, old, now)
	if err := s.fill(d, path, depth, now, toRead, subs); err != nil {
		return release.Sum{}, err
	}
	for _, i := range slices.Concat(toRead, subs) {
		same = same && now.list[i].Entry == old.list[i].Entry // same: each stands where it stood
	}
	s.conclude(path, old, now, same && len(now.list) == len(old.list))
	return now.sum, nil
}

// look stats all names of a directory. same means that every entry stands where it stood in old; toRead and subs are the
// files and directories whose content is not known yet.
func (s *scanner) look(d *dir, path string, names []string, old, now *sights) (same bool, toRead, subs []int) {
	same = true
	rest := old.list
	for _, name := range names {
		p := join(path, name)
		st, err := d.stat(name)
		if err != nil {
			s.refuse(p, gone(err))
			continue
		}
		isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
		if s.exclude.match(p, isDir) {
			continue
		}
		for len(rest) > 0 && rest[0].Name < name {
			rest = rest[1:]
		}
		at := len(now.list)
		here := at < len(old.list) && old.list[at].Name == name
		same = same && here
		e, err := s.entry(d, p, name, &st)
		if err != nil {
			s.refuse(p, err)
			continue
		}
		switch {
		case isDir:
			subs = append(subs, at)
		case len(rest) > 0 && rest[0].Name == name && rest[0].Kind == e.Kind && rest[0].stamp == e.stamp && !rest[0].racy:
			e.Sum, e.Target, e.racy = rest[0].Sum, rest[0].Target, false
			same = same && rest[0].Mode == e.Mode
		default:
			toRead = append(toRead, at)
		}
		now.list = append(now.list, e)
	}
	return same, toRead, subs
}

// entry judges what may be in a release by its inode alone.
func (s *scanner) entry(d *dir, path, name string, st *unix.Stat_t) (sight, error) {
	e := sight{Entry: release.Entry{Name: name, Mode: release.FileMode(st.Mode)}, stamp: stampOf(st)}
	e.racy = e.mtime >= s.since || e.ctime >= s.since
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Kind, e.Size = release.File, st.Size
		switch {
		case st.Mode&(unix.S_ISUID|unix.S_ISGID) != 0:
			return e, errors.New("a setuid or setgid file: chmod ug-s")
		case st.Mode&0o400 == 0:
			return e, errors.New("its owner may not read it: chmod u+r")
		}
	case unix.S_IFDIR:
		e.Kind, e.stamp, e.racy = release.Directory, stamp{}, false
		switch {
		case st.Mode&0o700 != 0o700:
			return e, errors.New("its owner may not read, write and enter it: chmod u+rwx")
		case st.Dev == s.ownDev && st.Ino == s.own.ino:
			return e, errors.New("the store itself lies in the tree: exclude it")
		}
	case unix.S_IFLNK:
		target, err := d.readlink(name)
		if err != nil {
			return e, err
		}
		if err := release.CheckLink(path, target); err != nil {
			return e, err
		}
		e.Kind, e.Mode, e.Size, e.Target = release.Link, 0, int64(len(target)), target
		e.Sum = release.SumOf([]byte(target))
	default:
		return e, fmt.Errorf("neither file, directory nor link: %s", kindName(st.Mode))
	}
	return e, nil
}

// fill reads files and descends into directories, spread over the crew.
func (s *scanner) fill(d *dir, path string, depth int, now *sights, toRead, subs []int) error {
	b := s.crew.batch()
	for part := range slices.Chunk(toRead, 16) {
		b.do(func() error {
			for _, i := range part {
				if now.list[i].Kind == release.File {
					s.read(d, path, &now.list[i])
				}
				if s.ctx.Err() != nil {
					return context.Cause(s.ctx)
				}
			}
			return nil
		})
	}
	for _, i := range subs {
		e := &now.list[i]
		b.do(func() error {
			p := join(path, e.Name)
			sub, err := d.sub(e.Name)
			if err != nil {
				s.refuse(p, gone(err))
				return nil
			}
			defer sub.close()
			e.Sum, err = s.dir(sub, p, depth+1)
			return err
		})
	}
	return b.wait()
}

func (s *scanner) read(d *dir, path string, e *sight) {
	sum, err := hashFile(d, e.Name, e.stamp)
	if err != nil {
		s.refuse(join(path, e.Name), gone(err))
	}
	e.Sum = sum
}

// conclude names a directory: by what it was named if nothing in it changed, else by encoding it.
func (s *scanner) conclude(path string, old, now *sights, same bool) {
	files, bytes := 0, int64(0)
	for i := range now.list {
		if now.list[i].Kind == release.File {
			files, bytes = files+1, bytes+now.list[i].Size
		}
	}
	var raw []byte
	if now.sum = old.sum; !same || !s.has(old.sum) {
		d := make(release.Dir, len(now.list))
		for i := range d {
			d[i] = now.list[i].Entry
		}
		raw = d.Encode()
		now.sum = release.SumOf(raw)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[path] = now
	s.files, s.bytes = s.files+files, s.bytes+bytes
	if raw != nil {
		s.changed = true
		if len(raw) > release.MaxDirBytes {
			s.refused = append(s.refused, fmt.Errorf("%q: too many names in one directory", path))
		} else if !s.has(now.sum) {
			s.objects[now.sum] = raw
		}
	}
	for i := range now.list {
		if s.changed {
			break
		}
		s.changed = i >= len(old.list) || now.list[i].stamp != old.list[i].stamp || now.list[i].racy != old.list[i].racy
	}
}

func kindName(mode uint32) string {
	kinds := map[uint32]string{unix.S_IFIFO: "a fifo", unix.S_IFSOCK: "a socket", unix.S_IFBLK: "a block device", unix.S_IFCHR: "a character device"}
	if k := kinds[mode&unix.S_IFMT]; k != "" {
		return k
	}
	return strings.TrimSpace(fmt.Sprintf("type %#o", mode&unix.S_IFMT))
}
