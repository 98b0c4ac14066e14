// Package push brings a release to a peer that lacks it: the directory objects that differ from what the peer has, then
// the files that the peer asks for. Its cost grows with what changed, not with the size of the release.
package push

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"

	"scap/sync/release"
	"scap/sync/wire"
)

// Source is where a release is read from; a store is one. It is used from several goroutines at once.
type Source interface {
	release.Dirs
	// OpenFile opens a regular file of a release that the source has complete. It refuses a path that leads out of it.
	OpenFile(id release.ID, path string) (*os.File, error)
}

// Peer receives releases. A Peer is for one push at a time. After an error that wraps ErrLost, or after its context
// ended, it is of no more use; what it received until then stays and a later push resumes.
type Peer interface {
	// Stage begins or resumes the staging of r and offers directory objects. It answers with the objects that the peer
	// still lacks or, when there are none, with the files that it lacks.
	Stage(ctx context.Context, r release.Release, dirs iter.Seq2[[]byte, error]) ([]release.Sum, []wire.Want, error)
	// Files sends the wanted files as n blocks. When it returns nil the release is complete, verified and durable there.
	Files(ctx context.Context, r release.Release, n int, block func(int) ([]byte, error)) error
}

// maxBases bounds how many of a peer's releases are tried as a base.
const maxBases = 4

// Send brings r from src to peer. Bases are releases that the peer is believed to have: a wrong belief costs time, never
// correctness. Use a Sender where many peers get the same release.
func Send(ctx context.Context, peer Peer, src Source, r release.Release, bases []release.ID) error {
	return Share(src).Send(ctx, peer, r, bases)
}

// Send is like the function, with blocks compressed once for all peers.
func (s *Sender) Send(ctx context.Context, peer Peer, r release.Release, bases []release.ID) error {
	first, err := s.firstDirs(r.ID, bases)
	if err != nil {
		return err
	}
	sent := make(map[release.Sum]bool)
	missing, wants, err := peer.Stage(ctx, r, s.dirs(first, sent))
	for err == nil && len(missing) > 0 {
		for _, sum := range missing {
			if sent[sum] {
				return fmt.Errorf("the host asks again for directory object %.12s, which was sent", sum)
			}
		}
		missing, wants, err = peer.Stage(ctx, r, s.trees(missing, sent))
	}
	if err != nil {
		return err
	}
	st, err := newStream(r.ID, wants)
	if err != nil {
		return err
	}
	return peer.Files(ctx, r, st.blocks(), func(i int) ([]byte, error) { return s.block(st, i) })
}

// firstDirs picks the base that leaves the fewest directory objects to send.
func (s *Sender) firstDirs(id release.ID, bases []release.ID) ([]release.Sum, error) {
	if len(bases) > maxBases {
		bases = bases[:maxBases]
	}
	var best []release.Sum
	found := false
	for _, base := range bases {
		d, err := release.Diff(s.Source, base, id)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // the deploy host has forgotten this base
		case err != nil:
			return nil, fmt.Errorf("compare %s with %s: %w", id.Short(), base.Short(), err)
		}
		if !found || len(d.Dirs) < len(best) {
			best, found = d.Dirs, true
		}
	}
	if found {
		return best, nil
	}
	d, err := release.Diff(s.Source, release.ID{}, id)
	if err != nil {
		return nil, fmt.Errorf("read release %s: %w", id.Short(), err)
	}
	return d.Dirs, nil
}

// dirs encodes the objects of sums and remembers them in sent.
func (s *Sender) dirs(sums []release.Sum, sent map[release.Sum]bool) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, sum := range sums {
			if sent[sum] {
				continue
			}
			sent[sum] = true
			d, err := s.Dir(sum)
			if err != nil {
				yield(nil, fmt.Errorf("directory object %.12s: %w", sum, err))
				return
			}
			if !yield(d.Encode(), nil) {
				return
			}
		}
	}
}

// trees encodes the objects of sums and all below them: a peer that lacks a directory cannot say what it lacks inside.
func (s *Sender) trees(sums []release.Sum, sent map[release.Sum]bool) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for stack := append([]release.Sum(nil), sums...); len(stack) > 0; {
			sum := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if sent[sum] {
				continue
			}
			sent[sum] = true
			d, err := s.Dir(sum)
			if err != nil {
				yield(nil, fmt.Errorf("directory object %.12s: %w", sum, err))
				return
			}
			if !yield(d.Encode(), nil) {
				return
			}
			for _, e := range d {
				if e.Kind == release.Directory {
					stack = append(stack, e.Sum)
				}
			}
		}
	}
}
