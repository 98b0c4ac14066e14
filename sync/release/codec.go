package release

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Bounds on what a directory object may hold. They are far above any real tree and far below what could hurt a host.
const (
	// MaxDirBytes bounds one encoded Dir.
	MaxDirBytes = 32 << 20
	// MaxName bounds one name, as file systems do.
	MaxName = 255
	// MaxTarget bounds a symbolic link's target.
	MaxTarget = 4095
	// MaxDepth bounds how many directories may lie within each other.
	MaxDepth = 256
	// MaxEntries bounds how many names a release may have; directory objects that name each other could otherwise
	// stand for more paths than any disk has.
	MaxEntries = 1 << 20
)

// magic begins every encoded Dir; its last byte is the version of the encoding.
const magic = "scapdir\x01"

// ErrInvalid is wrapped by every complaint about a directory object: retrying with the same bytes is useless.
var ErrInvalid = errors.New("invalid directory object")

// FileMode returns the bits of a file's permissions that a release keeps. Its owner can always write, so that a mode
// differs only where it means something: who may read and who may execute.
func FileMode(perm uint32) uint16 { return uint16(perm&0o555 | 0o200) }

// Encode returns the canonical encoding of d, which must satisfy Check: equal directories have equal bytes.
func (d Dir) Encode() []byte {
	n := len(magic)
	for _, e := range d {
		n += 4 + len(e.Name) + binary.MaxVarintLen64 + len(e.Sum) + len(e.Target)
	}
	b := append(make([]byte, 0, n), magic...)
	for _, e := range d {
		b = append(b, byte(e.Kind), byte(e.Mode>>8), byte(e.Mode), byte(len(e.Name)))
		b = append(b, e.Name...)
		switch e.Kind {
		case File:
			b = binary.AppendUvarint(b, uint64(e.Size))
			b = append(b, e.Sum[:]...)
		case Directory:
			b = append(b, e.Sum[:]...)
		case Link:
			b = binary.BigEndian.AppendUint16(b, uint16(len(e.Target)))
			b = append(b, e.Target...)
		}
	}
	return b
}

// Sum returns the digest of the encoded d: the name under which the directory is known.
func (d Dir) Sum() Sum { return SumOf(d.Encode()) }

// DecodeDir reads what Encode wrote and nothing else: a name that is no name, a wrong order, a mode that no release
// keeps, a link that leads out of every tree, or one byte too many is an error that wraps ErrInvalid.
func DecodeDir(b []byte) (Dir, error) {
	if len(b) > MaxDirBytes {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrInvalid, len(b), MaxDirBytes)
	}
	text, ok := strings.CutPrefix(string(b), magic)
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrInvalid, magic)
	}
	var d Dir
	for len(text) > 0 {
		e, rest, err := decodeEntry(text)
		if err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", ErrInvalid, len(d), err)
		}
		d, text = append(d, e), rest
	}
	if err := d.Check(); err != nil {
		return nil, err
	}
	return d, nil
}

var errShort = errors.New("cut short")

func decodeEntry(t string) (Entry, string, error) {
	if len(t) < 4 {
		return Entry{}, "", errShort
	}
	e := Entry{Kind: Kind(t[0]), Mode: uint16(t[1])<<8 | uint16(t[2])}
	n := int(t[3])
	if t = t[4:]; len(t) < n {
		return Entry{}, "", errShort
	}
	e.Name, t = t[:n], t[n:]
	switch e.Kind {
	case File:
		size, n, err := uvarint(t)
		if err != nil {
			return Entry{}, "", err
		}
		e.Size, t = int64(size), t[n:]
	case Directory:
	case Link:
		if len(t) < 2 {
			return Entry{}, "", errShort
		}
		n := int(t[0])<<8 | int(t[1])
		if t = t[2:]; len(t) < n {
			return Entry{}, "", errShort
		}
		e.Target, t = t[:n], t[n:]
		e.Size, e.Sum = int64(n), SumOf([]byte(e.Target))
		return e, t, nil
	default:
		return Entry{}, "", fmt.Errorf("kind %q is none", byte(e.Kind))
	}
	if len(t) < len(e.Sum) {
		return Entry{}, "", errShort
	}
	copy(e.Sum[:], t)
	return e, t[len(e.Sum):], nil
}

// uvarint reads an unsigned number and refuses any but its shortest form, which would give one Dir two names.
func uvarint(t string) (uint64, int, error) {
	var v uint64
	for i := 0; i < len(t) && i < binary.MaxVarintLen64; i++ {
		v |= uint64(t[i]&0x7f) << (7 * i)
		if t[i] >= 0x80 {
			continue
		}
		if i > 0 && t[i] == 0 || v >= 1<<63 || i == binary.MaxVarintLen64-1 {
			return 0, 0, errors.New("size is not a canonical number")
		}
		return v, i + 1, nil
	}
	return 0, 0, errShort
}

// Check says what is wrong with d, wrapping ErrInvalid: the rules that DecodeDir holds.
func (d Dir) Check() error {
	for i, e := range d {
		if err := e.check(); err != nil {
			return fmt.Errorf("%w: entry %d %q: %w", ErrInvalid, i, e.Name, err)
		}
		if i > 0 && d[i-1].Name >= e.Name {
			return fmt.Errorf("%w: entry %d %q does not sort after %q", ErrInvalid, i, e.Name, d[i-1].Name)
		}
	}
	return nil
}

func (e Entry) check() error {
	if err := CheckName(e.Name); err != nil {
		return err
	}
	if e.Kind != Link && e.Target != "" {
		return errors.New("a target, but no link")
	}
	switch e.Kind {
	case File:
		if e.Mode&^0o755 != 0 || e.Mode&0o600 != 0o600 {
			return fmt.Errorf("mode %#o of a file is not within 0755 or lacks 0600", e.Mode)
		}
		if e.Size < 0 {
			return fmt.Errorf("size %d", e.Size)
		}
	case Directory:
		if e.Mode&^0o755 != 0 || e.Mode&0o700 != 0o700 {
			return fmt.Errorf("mode %#o of a directory is not within 0755 or lacks 0700", e.Mode)
		}
		if e.Size != 0 {
			return fmt.Errorf("size %d of a directory", e.Size)
		}
	case Link:
		if e.Mode != 0 || e.Size != int64(len(e.Target)) || e.Sum != SumOf([]byte(e.Target)) {
			return errors.New("a link's mode, size or digest is not its target's")
		}
		_, err := climb(e.Target)
		return err
	default:
		return fmt.Errorf("kind %q is none", byte(e.Kind))
	}
	return nil
}

// CheckName refuses what cannot name an entry of a directory.
func CheckName(name string) error {
	switch {
	case name == "", name == ".", name == "..":
		return fmt.Errorf("name %q is no entry's", name)
	case len(name) > MaxName:
		return fmt.Errorf("name of %d bytes, more than %d", len(name), MaxName)
	case strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("name %q has a slash or a NUL", name)
	}
	return nil
}
