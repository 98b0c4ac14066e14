// Package release says what is deployed: a Merkle tree of directories whose root hash is the release's name, the
// difference between two such trees, and the plain words in which a switch is asked for and proven. It touches no disk.
package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// Sum is a SHA-256 digest, written in lower-case hex.
type Sum [sha256.Size]byte

// SumOf returns the digest of b.
func SumOf(b []byte) Sum { return sha256.Sum256(b) }

// ID names a release: the Sum of its encoded root Dir. The zero ID names no release.
type ID Sum

// String returns the 64 hex digits of s.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// String returns the 64 hex digits of id.
func (id ID) String() string { return Sum(id).String() }

// Short returns the first 12 hex digits, for people; "none" for the zero ID.
func (id ID) Short() string {
	if id.IsZero() {
		return "none"
	}
	return id.String()[:12]
}

// IsZero reports whether id names no release.
func (id ID) IsZero() bool { return id == ID{} }

// ParseSum reads 64 lower-case hex digits.
func ParseSum(text string) (Sum, error) {
	var s Sum
	if len(text) != 2*len(s) {
		return Sum{}, fmt.Errorf("digest %q: want %d hex digits, have %d characters", text, 2*len(s), len(text))
	}
	b, err := hex.DecodeString(text)
	if err != nil || !bytes.Equal([]byte(hex.EncodeToString(b)), []byte(text)) {
		return Sum{}, fmt.Errorf("digest %q: not lower-case hex", text)
	}
	copy(s[:], b)
	return s, nil
}

// ParseID reads 64 lower-case hex digits as a release's name.
func ParseID(text string) (ID, error) {
	s, err := ParseSum(text)
	return ID(s), err
}

// MarshalText and UnmarshalText let a Sum stand in JSON as hex.
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText accepts what MarshalText writes.
func (s *Sum) UnmarshalText(b []byte) (err error) { *s, err = ParseSum(string(b)); return err }

// MarshalText writes 64 hex digits, or nothing for the zero ID.
func (id ID) MarshalText() ([]byte, error) {
	if id.IsZero() {
		return nil, nil
	}
	return []byte(id.String()), nil
}

// UnmarshalText accepts what MarshalText writes.
func (id *ID) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*id = ID{}
		return nil
	}
	*id, err = ParseID(string(b))
	return err
}

// Release is one snapshot: its name and what a person wants to know of it.
type Release struct {
	ID      ID        `json:"id"`
	Message string    `json:"message,omitempty"`
	Created time.Time `json:"created"`
	Files   int       `json:"files"`
	Bytes   int64     `json:"bytes"`
}
