package staging

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"scap/sync/release"
)

// shelf is the store's directories with those that are new, which the store does not have yet. Steps read it at once.
type shelf struct {
	below release.Dirs
	mu    sync.Mutex
	fresh map[release.Sum][]byte
	dirs  map[release.Sum]release.Dir // read or made before
}

func newShelf(below release.Dirs) *shelf {
	return &shelf{below: below, fresh: map[release.Sum][]byte{}, dirs: map[release.Sum]release.Dir{}}
}

var _ release.Dirs = (*shelf)(nil)

// Dir returns a directory object.
func (s *shelf) Dir(sum release.Sum) (release.Dir, error) {
	s.mu.Lock()
	d, ok := s.dirs[sum]
	s.mu.Unlock()
	if ok {
		return d, nil
	}
	if s.below == nil {
		return nil, fmt.Errorf("directory object %s: %w", sum, fs.ErrNotExist)
	}
	d, err := s.below.Dir(sum)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirs[sum] = d
	return d, nil
}

func (s *shelf) add(raw []byte, d release.Dir) release.Sum {
	sum := release.SumOf(raw)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh[sum], s.dirs[sum] = raw, d
	return sum
}

// objects returns the directory objects that are new.
func (s *shelf) objects() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.fresh))
}
