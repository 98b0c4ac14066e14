package store

import (
	"context"
	"fmt"
	"io/fs"

	"scap/sync/release"
)

// Scanned is a tree that was read and hashed, and of which no copy was made.
type Scanned struct {
	release.Release
	objects map[release.Sum][]byte
}

var _ release.Dirs = (*Scanned)(nil)

// Scan reads the tree at src as Snapshot does and refuses the same, without a store: for a look at a tree where nothing
// may be written. Excludes are those of SnapshotOptions.
func Scan(ctx context.Context, src string, excludes []string) (*Scanned, error) {
	x, err := newExcludes(excludes)
	if err != nil {
		return nil, err
	}
	d, err := openDir(src, nil)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", src, err)
	}
	defer d.close()
	sc := &scanner{ctx: ctx, crew: newCrew(ctx), exclude: x, has: func(release.Sum) bool { return false }}
	id, err := sc.run(d)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", src, err)
	}
	return &Scanned{Release: release.Release{ID: id, Files: sc.files, Bytes: sc.bytes}, objects: sc.objects}, nil
}

// Dir returns a directory of the tree.
func (s *Scanned) Dir(sum release.Sum) (release.Dir, error) {
	raw, ok := s.objects[sum]
	if !ok {
		return nil, fmt.Errorf("directory %s: %w", sum, fs.ErrNotExist)
	}
	return release.DecodeDir(raw)
}
