package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// preamble is the first thing each side writes. It is text, so that a person who meets it in a terminal knows what it is.
const preamble = "scap-wire "

const preambleSize = len(preamble) + 5 // four hex digits of the version and a newline

// Type tells frames apart.
type Type byte

// The frame types, with what may be in them.
const (
	Question Type = 'q' // JSON of a Request
	Reply    Type = 'a' // JSON of a Response
	Block    Type = 'b' // a compressed piece of a stream of items
	Sums     Type = 's' // digests, one after the other
	Wants    Type = 'w' // encoded Want records
	End      Type = 'e' // no payload: the frames of this list or stream have ended
)

// Bound is the largest payload of a frame type, known before anything is allocated for it.
func (t Type) Bound() int {
	switch t {
	case Question, Sums, Wants:
		return 1 << 20
	case Reply:
		return 16 << 20
	case Block:
		return BlockSize + BlockSize/64 + 1024
	}
	return 0
}

// Frame is one message on the wire.
type Frame struct {
	Type    Type
	Payload []byte
}

const headerSize = 5 // type, length in big endian

// ErrPreamble is what a Reader ends with when the other side is no agent of ours: a login banner, a shell's error text or
// another version. The error that wraps it quotes what came instead.
var ErrPreamble = errors.New("the other side does not speak this protocol")

// Reader takes frames from a stream that it does not trust. It is for one goroutine.
type Reader struct {
	r       *bufio.Reader
	greeted bool
}

// NewReader returns a Reader that demands the preamble before the first frame.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 64<<10)} }

// Greeting looks at the first bytes of r without taking them and says whether an agent, or an asker, of this version wrote
// them. R must hold at least 64 bytes.
func Greeting(r *bufio.Reader) error {
	head, err := r.Peek(preambleSize)
	if len(head) == 0 && err != nil {
		return fmt.Errorf("%w: it ended before a word: %w", ErrPreamble, err)
	}
	if err != nil || !bytes.HasPrefix(head, []byte(preamble)) {
		noise, _ := r.Peek(r.Buffered())
		return fmt.Errorf("%w: it says %s", ErrPreamble, Quote(noise, 300))
	}
	if want := fmt.Sprintf("%s%04x\n", preamble, Version); string(head) != want {
		return fmt.Errorf("%w: it greets with %s, this is version %d", ErrPreamble, Quote(head, 40), Version)
	}
	return nil
}

// greet takes the other side's preamble.
func (r *Reader) greet() error {
	if r.greeted {
		return nil
	}
	if err := Greeting(r.r); err != nil {
		return err
	}
	r.greeted = true
	_, err := r.r.Discard(preambleSize)
	return err
}

// Next returns the next frame. The error is io.EOF only when the stream ended between two frames. Memory grows with what
// has really arrived, never with what a header claims.
func (r *Reader) Next() (Frame, error) {
	if err := r.greet(); err != nil {
		return Frame{}, err
	}
	var head [headerSize]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{Type: Type(head[0])}
	size := binary.BigEndian.Uint32(head[1:])
	if max := f.Type.Bound(); uint64(size) > uint64(max) {
		return Frame{}, fmt.Errorf("frame %q of %d bytes: at most %d are allowed", byte(f.Type), size, max)
	}
	if !strings.ContainsRune("qabswe", rune(f.Type)) {
		return Frame{}, fmt.Errorf("frame of unknown type %q", byte(f.Type))
	}
	if size == 0 {
		return f, nil
	}
	var b bytes.Buffer
	if n, err := io.CopyN(&b, r.r, int64(size)); err != nil {
		return Frame{}, fmt.Errorf("frame %q cut off after %d of %d bytes: %w", byte(f.Type), n, size, noEOF(err))
	}
	f.Payload = b.Bytes()
	return f, nil
}

// Writer puts frames on a stream, the preamble before the first. It is for one goroutine at a time.
type Writer struct {
	w       io.Writer
	greeted bool
}

// NewWriter returns a Writer on w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Greet writes the preamble unless it was written before.
func (w *Writer) Greet() error {
	if w.greeted {
		return nil
	}
	w.greeted = true
	_, err := fmt.Fprintf(w.w, "%s%04x\n", preamble, Version)
	return err
}

// Frame writes one frame in one Write, so that it costs one packet where it fits.
func (w *Writer) Frame(t Type, payload []byte) error {
	if len(payload) > t.Bound() {
		return fmt.Errorf("frame %q of %d bytes: at most %d are allowed", byte(t), len(payload), t.Bound())
	}
	if err := w.Greet(); err != nil {
		return err
	}
	b := make([]byte, headerSize, headerSize+len(payload))
	b[0] = byte(t)
	binary.BigEndian.PutUint32(b[1:], uint32(len(payload)))
	_, err := w.w.Write(append(b, payload...))
	return err
}

// Quote makes up to max bytes from outside fit to be shown: quoted, on one line, nothing that a terminal would obey.
func Quote(b []byte, max int) string {
	more := ""
	if len(b) > max {
		b, more = b[:max], "…"
	}
	return fmt.Sprintf("%+q%s", b, more)
}

// Plain takes what a terminal would obey out of a text from outside and cuts it to max bytes; newlines become " | ".
func Plain(text string, max int) string {
	var b strings.Builder
	for _, r := range strings.TrimSpace(text) {
		switch {
		case b.Len() >= max:
			return b.String() + "…"
		case r == '\n':
			b.WriteString(" | ")
		case r == utf8.RuneError || !unicode.IsPrint(r):
			b.WriteByte('?')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
