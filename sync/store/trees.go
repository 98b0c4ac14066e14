package store

import (
	"scap/sync/release"
)

// tree is a complete tree on disk.
type tree struct {
	id    release.ID
	at    *dir // where it stands: releases/ or spare/
	name  string
	spare bool
}

func (s *Store) releaseTree(id release.ID) *tree {
	return &tree{id: id, at: s.releases, name: id.String()}
}

func (s *Store) spareTree(id release.ID) *tree {
	return &tree{id: id, at: s.spare, name: id.String(), spare: true}
}

func (t *tree) open(path string) (*dir, error) { return t.at.walk(join(t.name, path)) }

// trees returns the complete trees here: the spare if it may be changed, the current release, then the newest.
func (s *Store) trees() ([]*tree, error) {
	var out []*tree
	if id, err := s.spareID(); err != nil {
		return nil, err
	} else if !id.IsZero() {
		held, err := s.spare.pinned(id.String())
		if err != nil {
			return nil, err
		}
		if !held {
			out = append(out, s.spareTree(id))
		}
	}
	now, err := s.Current()
	if err != nil {
		now = release.ID{} // a strange link does not hinder staging
	}
	if !now.IsZero() {
		out = append(out, s.releaseTree(now))
	}
	all, err := s.Releases()
	for _, r := range all {
		if r.ID != now {
			out = append(out, s.releaseTree(r.ID))
		}
	}
	return out, err
}

// spareID returns the spare's id, zero when there is none.
func (s *Store) spareID() (release.ID, error) {
	names, err := s.spare.names()
	if err != nil {
		return release.ID{}, err
	}
	for _, name := range names {
		if id, err := release.ParseID(name); err == nil {
			return id, nil
		}
	}
	return release.ID{}, nil
}
