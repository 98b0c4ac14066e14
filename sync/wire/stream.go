package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/klauspost/compress/zstd"
)

// BlockSize is how many bytes of a stream of items one Block frame carries. Each block is compressed on its own, so that
// a block made for one host can be sent to all hosts that want the same files.
const BlockSize = 512 << 10

// MaxDir bounds one encoded directory object.
const MaxDir = 64 << 20

// FileHeader comes before a file's content in the stream of OpFiles.
type FileHeader struct {
	Path  string
	Mtime time.Time
	Size  int64
}

// Append appends the encoded h to b. Its length depends on Path and Size alone.
func (h FileHeader) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(h.Path)))
	b = append(b, h.Path...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Mtime.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(h.Mtime.Nanosecond()))
	return binary.AppendUvarint(b, uint64(h.Size))
}

// AppendDir appends the header of a directory object of size bytes in the stream of OpStage.
func AppendDir(b []byte, size int) []byte { return binary.AppendUvarint(b, uint64(size)) }

// NewEncoder returns what compresses blocks. It may be used by several goroutines; one is enough for a whole deploy.
func NewEncoder() *zstd.Encoder {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2),
		zstd.WithWindowSize(BlockSize), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic("wire: options of the encoder: " + err.Error()) // they are constants
	}
	return enc
}

// Items reads the items of a stream out of its blocks.
type Items struct {
	next func() ([]byte, error) // the next block, io.EOF after the last
	dec  *zstd.Decoder
	raw  []byte // the block being read, decompressed
	rest []byte // what of raw is unread
	left int64  // bytes of the current file that were not read yet
}

// NewItems returns a reader of the blocks that next hands out.
func NewItems(next func() ([]byte, error)) *Items {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(BlockSize),
		zstd.WithDecoderLowmem(true))
	if err != nil {
		panic("wire: options of the decoder: " + err.Error()) // they are constants
	}
	return &Items{next: next, dec: dec}
}

// Close frees the decoder.
func (it *Items) Close() { it.dec.Close() }

// fill makes rest hold at least one byte.
func (it *Items) fill() error {
	for len(it.rest) == 0 {
		block, err := it.next()
		if err != nil {
			return err
		}
		if it.raw, err = it.dec.DecodeAll(block, it.raw[:0]); err != nil {
			return fmt.Errorf("block of %d bytes: %w", len(block), err)
		}
		it.rest = it.raw
	}
	return nil
}

// ReadByte implements io.ByteReader for binary.ReadUvarint.
func (it *Items) ReadByte() (byte, error) {
	if err := it.fill(); err != nil {
		return 0, err
	}
	c := it.rest[0]
	it.rest = it.rest[1:]
	return c, nil
}

// stream reads the raw stream, without regard to items.
type stream struct{ it *Items }

func (s stream) Read(p []byte) (int, error) {
	if err := s.it.fill(); err != nil {
		return 0, err
	}
	n := copy(p, s.it.rest)
	s.it.rest = s.it.rest[n:]
	return n, nil
}

// uvarint reads a number of at most max. io.EOF means that the stream ended before it.
func (it *Items) uvarint(what string, max uint64) (uint64, error) {
	if err := it.fill(); err != nil {
		return 0, err
	}
	n, err := binary.ReadUvarint(it)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, noEOF(err))
	}
	if n > max {
		return 0, fmt.Errorf("%s: %d is more than %d", what, n, max)
	}
	return n, nil
}

// Dir returns the next directory object, io.EOF after the last.
func (it *Items) Dir() ([]byte, error) {
	n, err := it.uvarint("size of a directory object", MaxDir)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, stream{it}, int64(n)); err != nil {
		return nil, fmt.Errorf("directory object cut off: %w", noEOF(err))
	}
	return b.Bytes(), nil
}

// File returns the header of the next file, io.EOF after the last; Read then gives its content. What of the file before
// was not read is skipped.
func (it *Items) File() (FileHeader, error) {
	if _, err := io.Copy(io.Discard, it); err != nil {
		return FileHeader{}, err
	}
	n, err := it.uvarint("length of a path", maxPath)
	if err != nil {
		return FileHeader{}, err
	}
	b := make([]byte, int(n)+12)
	if _, err := io.ReadFull(stream{it}, b); err != nil {
		return FileHeader{}, fmt.Errorf("header of a file: %w", noEOF(err))
	}
	h := FileHeader{Path: string(b[:n])}
	nsec := binary.BigEndian.Uint32(b[n+8:])
	if n == 0 || nsec >= 1e9 {
		return FileHeader{}, errors.New("header of a file: empty path or bad time")
	}
	h.Mtime = time.Unix(int64(binary.BigEndian.Uint64(b[n:])), int64(nsec))
	size, err := it.uvarint("size of a file", math.MaxInt64)
	if err != nil {
		return FileHeader{}, noEOF(err)
	}
	h.Size, it.left = int64(size), int64(size)
	return h, nil
}

// Read reads the content of the current file and ends with io.EOF behind it.
func (it *Items) Read(p []byte) (int, error) {
	if it.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > it.left {
		p = p[:it.left]
	}
	n, err := stream{it}.Read(p)
	it.left -= int64(n)
	if err != nil {
		return n, fmt.Errorf("file cut off: %w", noEOF(err))
	}
	return n, nil
}
