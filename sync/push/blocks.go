package push

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"scap/sync/release"
	"scap/sync/wire"
)

// stream is the concatenation of the wanted files and their headers. Any part of it can be made from the files again, so
// no more than one block is ever held for it.
type stream struct {
	id    release.ID
	key   release.Sum // of the release and the list: hosts in the same state have the same stream
	wants []wire.Want
	at    []int64 // where each item starts
	size  int64
}

func newStream(id release.ID, wants []wire.Want) (*stream, error) {
	st := &stream{id: id, wants: wants, at: make([]int64, len(wants))}
	h := sha256.New()
	h.Write(id[:])
	var b []byte
	for i, w := range wants {
		if !filepath.IsLocal(w.Path) {
			return nil, fmt.Errorf("the host asks for %s, which is outside of a release", wire.Quote([]byte(w.Path), 200))
		}
		b = w.Append(b[:0])
		h.Write(b)
		st.at[i] = st.size
		st.size += int64(len(header(w, nil))) + w.Size
		if w.Size < 0 || st.size < st.at[i] {
			return nil, errors.New("the host asks for more bytes than there can be")
		}
	}
	h.Sum(st.key[:0])
	return st, nil
}

// blocks returns how many blocks the stream has.
func (st *stream) blocks() int { return int((st.size + wire.BlockSize - 1) / wire.BlockSize) }

// header encodes the header of w; the time in it is zero without info.
func header(w wire.Want, info os.FileInfo) []byte {
	h := wire.FileHeader{Path: w.Path, Size: w.Size}
	if info != nil {
		h.Mtime = info.ModTime()
	}
	return h.Append(nil)
}

// raw makes block i of the stream.
func (st *stream) raw(src Source, i int) ([]byte, error) {
	from := int64(i) * wire.BlockSize
	to := min(from+wire.BlockSize, st.size)
	b := make([]byte, 0, to-from)
	first := sort.Search(len(st.at), func(k int) bool { return st.at[k] > from }) - 1
	for k := first; k < len(st.at) && st.at[k] < to; k++ {
		var err error
		if b, err = st.item(src, k, from, to, b); err != nil {
			return nil, fmt.Errorf("read %s of release %s: %w", wire.Quote([]byte(st.wants[k].Path), 200), st.id.Short(), err)
		}
	}
	return b, nil
}

// item appends what of item k lies in [from, to) of the stream.
func (st *stream) item(src Source, k int, from, to int64, b []byte) ([]byte, error) {
	w := st.wants[k]
	f, err := src.OpenFile(st.id, w.Path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() != w.Size {
		return nil, fmt.Errorf("%d bytes are on disk, %d in the release: it was changed after it was made", info.Size(), w.Size)
	}
	head := header(w, info)
	start, content := st.at[k], st.at[k]+int64(len(head))
	if from < content {
		b = append(b, head[max(from-start, 0):min(to, content)-start]...)
	}
	lo, hi := max(from, content)-content, min(to-content, w.Size)
	if lo >= hi {
		return b, nil
	}
	n := len(b)
	b = b[:n+int(hi-lo)]
	if m, err := f.ReadAt(b[n:], lo); m < len(b)-n {
		return nil, fmt.Errorf("cut off while it was read: %w", err)
	}
	return b, nil
}
