package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"scap/sync/release"
)

// The index of a scan is a cache: what is torn, old or of another version is read as empty, and the next scan reads all
// files.
const (
	indexMagic = "scapidx\x01"
	indexLimit = 1 << 30
)

func indexName(src string) string {
	sum := sha256.Sum256([]byte(src))
	return hex.EncodeToString(sum[:16])
}

func (s *Store) readIndex(src string) map[string]*sights {
	b, err := s.readFile(s.scan, indexName(src), indexLimit)
	if err != nil {
		return nil
	}
	return decodeIndex(b)
}

func (s *Store) writeIndex(src string, seen map[string]*sights) error {
	return s.writeFile(s.scan, indexName(src), encodeIndex(seen), false)
}

func encodeIndex(seen map[string]*sights) []byte {
	n := 0
	for path, d := range seen {
		n += len(path) + 48
		for i := range d.list {
			n += len(d.list[i].Name) + len(d.list[i].Target) + 80
		}
	}
	b := append(make([]byte, 0, n+64), indexMagic...)
	for path, d := range seen {
		b = binary.AppendUvarint(b, uint64(len(path)))
		b = append(b, path...)
		b = append(b, d.sum[:]...)
		b = binary.AppendUvarint(b, uint64(len(d.list)))
		for i := range d.list {
			b = appendSight(b, &d.list[i])
		}
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func appendSight(b []byte, e *sight) []byte {
	flag := byte(0)
	if e.racy {
		flag = 1
	}
	b = append(b, byte(e.Kind), flag, byte(e.Mode>>8), byte(e.Mode), byte(len(e.Name)))
	b = append(b, e.Name...)
	b = append(b, e.Sum[:]...)
	if e.Kind == release.Directory {
		return b
	}
	b = binary.BigEndian.AppendUint64(b, uint64(e.size))
	b = binary.BigEndian.AppendUint64(b, uint64(e.mtime))
	b = binary.BigEndian.AppendUint64(b, uint64(e.ctime))
	b = binary.BigEndian.AppendUint64(b, e.ino)
	b = binary.AppendUvarint(b, uint64(len(e.Target)))
	return append(b, e.Target...)
}

// cursor reads an index; once something does not fit, bad stays set and everything reads as zero.
type cursor struct {
	text string // the whole file, once, so that names share it
	bad  bool
}

func (c *cursor) take(n uint64) string {
	if c.bad || n > uint64(len(c.text)) {
		c.bad = true
		return ""
	}
	t := c.text[:n]
	c.text = c.text[n:]
	return t
}

func (c *cursor) byte() byte {
	if t := c.take(1); !c.bad {
		return t[0]
	}
	return 0
}

func (c *cursor) uint64() (v uint64) {
	t := c.take(8)
	for i := range len(t) {
		v = v<<8 | uint64(t[i])
	}
	return v
}

func (c *cursor) uvarint() (v uint64) {
	for shift := 0; shift < 63; shift += 7 {
		b := c.byte()
		if v |= uint64(b&0x7f) << shift; b < 0x80 {
			return v
		}
	}
	c.bad = true
	return 0
}

func (c *cursor) sum() (s release.Sum) {
	copy(s[:], c.take(uint64(len(s))))
	return s
}

func decodeIndex(b []byte) map[string]*sights {
	n := len(b) - sha256.Size
	if n < len(indexMagic) || string(b[:len(indexMagic)]) != indexMagic {
		return nil
	}
	if sum := sha256.Sum256(b[:n]); string(sum[:]) != string(b[n:]) {
		return nil
	}
	c := &cursor{text: string(b[len(indexMagic):n])}
	out := map[string]*sights{}
	for len(c.text) > 0 && !c.bad {
		path := c.take(c.uvarint())
		d := &sights{sum: c.sum()}
		count := c.uvarint()
		if count > uint64(len(c.text)) { // an entry has more than a byte
			return nil
		}
		d.list = make([]sight, 0, count)
		for range count {
			d.list = append(d.list, c.sight())
		}
		out[path] = d
	}
	if c.bad {
		return nil
	}
	return out
}

func (c *cursor) sight() (e sight) {
	e.Kind = release.Kind(c.byte())
	e.racy = c.byte() != 0
	e.Mode = uint16(c.byte())<<8 | uint16(c.byte())
	e.Name = c.take(uint64(c.byte()))
	e.Sum = c.sum()
	if e.Kind == release.Directory {
		return e
	}
	e.size, e.mtime, e.ctime, e.ino = int64(c.uint64()), int64(c.uint64()), int64(c.uint64()), c.uint64()
	e.Target = c.take(c.uvarint())
	if e.Size = e.size; e.Kind == release.Link {
		e.Size = int64(len(e.Target))
	}
	return e
}
