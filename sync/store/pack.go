package store

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"scap/sync/release"
)

// A pack is a file of directory objects:
//
//	packMagic | objects, one after the other | index: (sum 32, offset 8, length 4), sorted by sum | count 4 | SHA-256 of index and count
//
// so that opening one costs its index alone, and an object is checked against its name when it is read.
const (
	packMagic  = "scappck\x01"
	packRow    = 32 + 8 + 4
	packTail   = 4 + sha256.Size
	packSuffix = ".pack"
	// packLimit bounds the objects of one pack.
	packLimit = 2 * release.MaxEntries
)

type pack struct {
	name string
	file *os.File
	rows []byte
}

// packs are all packs of a store. They are read when first asked for, and again when an object is missed: another
// process may have added some.
type packs struct {
	at   *dir
	mu   sync.Mutex
	open map[string]*pack
	// damaged is set when a pack could not be read, so that what is here may lack what it names.
	damaged bool
	bad     map[string]bool
}

var _ release.Dirs = (*packs)(nil)

// Dir returns the object of that name, checked; an object with other bytes is as good as none.
func (p *packs) Dir(sum release.Sum) (release.Dir, error) {
	raw, err := p.raw(sum)
	if err != nil {
		return nil, err
	}
	return release.DecodeDir(raw)
}

func (p *packs) raw(sum release.Sum) ([]byte, error) {
	for {
		k, off, n, err := p.find(sum)
		if err != nil {
			return nil, err
		}
		b := make([]byte, n)
		if _, err := k.file.ReadAt(b, off); err == nil && release.SumOf(b) == sum {
			return b, nil
		}
		p.condemn(k) // and look for the object in another one
	}
}

// condemn takes a pack whose objects are not what they are called out of use: all that it held counts as missing.
func (p *packs) condemn(k *pack) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.damaged = true
	if p.bad == nil {
		p.bad = map[string]bool{}
	}
	p.bad[k.name] = true
	delete(p.open, k.name)
}

func (p *packs) has(sum release.Sum) bool {
	_, _, _, err := p.find(sum)
	return err == nil
}

func (p *packs) find(sum release.Sum) (*pack, int64, int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, fresh := range []bool{false, true} {
		if fresh || p.open == nil {
			if err := p.load(); err != nil {
				return nil, 0, 0, err
			}
		}
		for _, k := range p.open {
			if off, n, ok := k.find(sum); ok {
				return k, off, n, nil
			}
		}
	}
	return nil, 0, 0, fmt.Errorf("directory object %s: %w", sum, fs.ErrNotExist)
}

// whole reports that no pack is damaged: what is here then has all that it names, because a pack is added only when its
// objects and those already here are.
func (p *packs) whole() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		_ = p.load()
	}
	return !p.damaged
}

// load opens packs that are not open yet. A damaged one is left out: what it held counts as missing and is fetched anew.
func (p *packs) load() error {
	names, err := p.at.names()
	if err != nil {
		return err
	}
	if p.open == nil {
		p.open = map[string]*pack{}
	}
	for _, name := range names {
		if p.open[name] != nil || p.bad[name] || !strings.HasSuffix(name, packSuffix) {
			continue
		}
		k, err := openPack(p.at, name)
		switch {
		case errors.Is(err, fs.ErrNotExist): // another process has just repacked
		case errors.Is(err, ErrDamaged):
			p.damaged = true // closed; a repack removes it
		case err != nil:
			return err
		default:
			p.open[name] = k
		}
	}
	return nil
}

func openPack(at *dir, name string) (_ *pack, err error) {
	f, st, err := at.open(name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	tail := make([]byte, packTail)
	bad := fmt.Errorf("pack %s: %w", name, ErrDamaged)
	if _, err := f.ReadAt(tail, max(0, st.Size-packTail)); err != nil {
		return nil, errors.Join(bad, err)
	}
	n := int64(binary.BigEndian.Uint32(tail))
	start := st.Size - packTail - n*packRow
	if n > packLimit || start < int64(len(packMagic)) {
		return nil, bad
	}
	rows := make([]byte, n*packRow+4)
	if _, err := f.ReadAt(rows, start); err != nil {
		return nil, errors.Join(bad, err)
	}
	if sum := sha256.Sum256(rows); !bytes.Equal(sum[:], tail[4:]) {
		return nil, bad
	}
	k := &pack{name: name, file: f, rows: rows[:n*packRow]}
	for i := range int(n) {
		_, off, size := k.row(i)
		if off < int64(len(packMagic)) || size > release.MaxDirBytes || off+int64(size) > start {
			return nil, bad
		}
	}
	return k, nil
}

func (k *pack) row(i int) (sum release.Sum, off int64, n int) {
	r := k.rows[i*packRow:]
	copy(sum[:], r)
	return sum, int64(binary.BigEndian.Uint64(r[32:])), int(binary.BigEndian.Uint32(r[40:]))
}

func (k *pack) find(sum release.Sum) (off int64, n int, ok bool) {
	lo, hi := 0, len(k.rows)/packRow
	for lo < hi {
		mid := (lo + hi) / 2
		switch c := bytes.Compare(k.rows[mid*packRow:mid*packRow+32], sum[:]); {
		case c == 0:
			_, off, n = k.row(mid)
			return off, n, true
		case c < 0:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return 0, 0, false
}

// forget has the packs read anew. Those in use by others stay open until they are let go.
func (p *packs) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open, p.bad, p.damaged = nil, nil, false
}

func (p *packs) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.open {
		k.file.Close()
	}
	p.open = nil
}

// writePack makes objects part of the store, durably and all at once. They must be complete together with those that
// are here: every directory that one of them names is in one or the other.
func (s *Store) writePack(objects map[release.Sum][]byte) (name string, err error) {
	if len(objects) == 0 {
		return "", nil
	}
	f, err := s.scratch()
	if err != nil {
		return "", fmt.Errorf("write directory objects: %w", err)
	}
	name, err = fillPack(f, objects)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("write directory objects: %w", full(err)), os.Remove(f.Name()))
	}
	if err := s.tmp.rename(filepath.Base(f.Name()), s.objects, name); err != nil {
		return "", fmt.Errorf("write directory objects: %w", err)
	}
	return name, s.objects.sync()
}

func fillPack(f *os.File, objects map[release.Sum][]byte) (name string, err error) {
	sums := make([]release.Sum, 0, len(objects))
	for sum := range objects {
		sums = append(sums, sum)
	}
	slices.SortFunc(sums, func(a, b release.Sum) int { return cmp.Or(bytes.Compare(a[:], b[:])) })
	body := bytes.NewBufferString(packMagic)
	rows := make([]byte, 0, len(sums)*packRow+packTail)
	for _, sum := range sums {
		rows = append(rows, sum[:]...)
		rows = binary.BigEndian.AppendUint64(rows, uint64(body.Len()))
		rows = binary.BigEndian.AppendUint32(rows, uint32(len(objects[sum])))
		body.Write(objects[sum])
	}
	rows = binary.BigEndian.AppendUint32(rows, uint32(len(sums)))
	check := sha256.Sum256(rows)
	body.Write(rows)
	body.Write(check[:])
	if _, err := io.Copy(f, body); err != nil {
		return "", err
	}
	return release.Sum(check).String() + packSuffix, f.Sync()
}
