package store

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"scap/sync/release"
)

// repack drops objects that no tree of roots needs: one pack with the rest takes the place of all.
func (s *Store) repack(roots []release.ID) error {
	need := map[release.Sum][]byte{}
	var visit func(sum release.Sum) error
	visit = func(sum release.Sum) error {
		if need[sum] != nil {
			return nil
		}
		raw, err := s.packs.raw(sum)
		if err != nil {
			return err
		}
		need[sum] = raw
		d, err := release.DecodeDir(raw)
		if err != nil {
			return err
		}
		for _, e := range d {
			if e.Kind == release.Directory {
				if err := visit(e.Sum); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, id := range roots {
		if err := visit(release.Sum(id)); err != nil {
			return fmt.Errorf("repack directory objects of %s: %w", id.Short(), err)
		}
	}
	names, held := s.packs.held()
	if s.packs.whole() && (len(names) <= 1 && held == len(need) || len(names) <= 8 && held <= 2*len(need)) {
		return nil
	}
	keep, err := s.writePack(need)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == keep {
			continue
		}
		if err := s.objects.unlink(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	s.packs.forget()
	return s.objects.sync()
}

// held returns the packs' names, damaged ones too, and the number of objects in those that can be read.
func (p *packs) held() (names []string, objects int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.load()
	all, _ := p.at.names()
	for _, name := range all {
		if strings.HasSuffix(name, packSuffix) {
			names = append(names, name)
		}
	}
	for _, k := range p.open {
		objects += len(k.rows) / packRow
	}
	return names, objects
}
