package store

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"scap/sync/release"
)

// replay reads directory objects that an earlier Incoming received. The first record that is not whole ends the log:
// the rest was being written when that one died.
func (in *Incoming) replay() error {
	r, good := bufio.NewReaderSize(in.log, 1<<20), int64(0)
	for {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			break
		}
		n := int64(binary.BigEndian.Uint32(head[:]))
		if n > release.MaxDirBytes || in.bytes+n > objectsLimit {
			break
		}
		raw := make([]byte, n)
		if _, err := io.ReadFull(r, raw); err != nil {
			break
		}
		if _, err := release.DecodeDir(raw); err != nil {
			break
		}
		in.objects[release.SumOf(raw)] = raw
		in.bytes += n
		good += n + int64(len(head))
	}
	if err := in.log.Truncate(good); err != nil {
		return err
	}
	_, err := in.log.Seek(good, io.SeekStart)
	return err
}

// AddDirs takes directory objects. One that is invalid is refused, one that is no part of the release is forgotten.
func (in *Incoming) AddDirs(raw [][]byte) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.done {
		return nil
	}
	var out []byte
	for _, b := range raw {
		if _, err := release.DecodeDir(b); err != nil {
			return fmt.Errorf("release %s: %w", in.r.ID.Short(), err)
		}
		sum := release.SumOf(b)
		if in.objects[sum] != nil {
			continue
		}
		if in.bytes += int64(len(b)); in.bytes > objectsLimit {
			return fmt.Errorf("release %s: %w: more than %d bytes of directories", in.r.ID.Short(), release.ErrInvalid, objectsLimit)
		}
		in.objects[sum] = append([]byte(nil), b...)
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(b))), b...)
	}
	in.plan = nil
	if err := in.at.change("append", logName); err != nil {
		return err
	}
	if _, err := in.log.Write(out); err != nil {
		return fmt.Errorf("release %s: keep directory objects: %w", in.r.ID.Short(), full(err))
	}
	return nil
}

// MissingDirs returns directory objects that the release needs and that are not here. Objects not yet here can name
// further ones, so it is asked until it returns none.
func (in *Incoming) MissingDirs() ([]release.Sum, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.done {
		return nil, nil
	}
	for {
		whole := in.s.packs.whole()
		_, missing, err := in.reach()
		if err != nil || len(missing) > 0 {
			return missing, err
		}
		// What seemed to be here is read now: an object may turn out to be damaged, and its whole pack with it.
		if in.prepare() == nil || whole == in.s.packs.whole() {
			return nil, nil // Wants tells of any error
		}
	}
}

// reach returns the release's directory objects that are here but not in the store, and those that are nowhere.
func (in *Incoming) reach() (fresh map[release.Sum][]byte, missing []release.Sum, err error) {
	fresh = map[release.Sum][]byte{}
	whole, seen := in.s.packs.whole(), map[release.Sum]bool{}
	var visit func(sum release.Sum, depth int) error
	visit = func(sum release.Sum, depth int) error {
		if seen[sum] {
			return nil
		}
		seen[sum] = true
		if depth > release.MaxDepth {
			return fmt.Errorf("release %s: %w: deeper than %d directories", in.r.ID.Short(), release.ErrInvalid, release.MaxDepth)
		}
		stored := in.s.packs.has(sum)
		if stored && whole {
			return nil // and so is all that it names
		}
		d, ok := in.dir(sum)
		if !ok {
			missing = append(missing, sum)
			return nil
		}
		if raw := in.objects[sum]; raw != nil {
			fresh[sum] = raw
		}
		for _, e := range d {
			if e.Kind != release.Directory {
				continue
			}
			if err := visit(e.Sum, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	err = visit(release.Sum(in.r.ID), 0)
	return fresh, missing, err
}

// dir returns a directory object that is here and whole.
func (in *Incoming) dir(sum release.Sum) (release.Dir, bool) {
	d, err := overlay{in.objects, in.s.packs}.Dir(sum)
	return d, err == nil
}
