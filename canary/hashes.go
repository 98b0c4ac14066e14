package canary

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
)

// hashes is a sorted set of fingerprints by their hash, short in JSON.
type hashes []uint64

// maxHashes is the largest set that is read back.
const maxHashes = 1 << 16

func (h hashes) has(s string) bool {
	_, ok := slices.BinarySearch(h, hash(s))
	return ok
}

func (h *hashes) put(s string) {
	v := hash(s)
	if i, ok := slices.BinarySearch(*h, v); !ok && len(*h) < maxHashes {
		*h = slices.Insert(*h, i, v)
	}
}

// MarshalText writes eight bytes for each, in base64.
func (h hashes) MarshalText() ([]byte, error) {
	raw := make([]byte, 0, 8*len(h))
	for _, v := range h {
		raw = binary.BigEndian.AppendUint64(raw, v)
	}
	return base64.RawStdEncoding.AppendEncode(nil, raw), nil
}

// UnmarshalText reads what MarshalText wrote.
func (h *hashes) UnmarshalText(text []byte) error {
	raw, err := base64.RawStdEncoding.AppendDecode(nil, text)
	if err != nil || len(raw)%8 != 0 || len(raw) > 8*maxHashes {
		return fmt.Errorf("known fingerprints: %d bytes that are no set of hashes", len(text))
	}
	*h = (*h)[:0]
	for ; len(raw) > 0; raw = raw[8:] {
		*h = append(*h, binary.BigEndian.Uint64(raw))
	}
	slices.Sort(*h)
	return nil
}
