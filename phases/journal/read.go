package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
)

// ErrCorrupt means that a line which is not the last is not what the next record would be: nobody may guess what
// followed it.
var ErrCorrupt = errors.New("the journal is corrupt")

// Read yields the records of the journal at path. A torn last line, which a crash leaves and whose Append never
// returned, is left out. An error is the last thing yielded; it wraps ErrCorrupt, with the line, when a line in the
// middle is bad.
func Read(path string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(Record{}, fmt.Errorf("read journal: %w", err))
			return
		}
		defer f.Close()
		for r, err := range records(f) {
			if err != nil {
				yield(Record{}, fmt.Errorf("read journal %s: %w", path, err))
				return
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Load returns all records of the journal at path.
func Load(path string) ([]Record, error) {
	var rs []Record
	for r, err := range Read(path) {
		if err != nil {
			return rs, err
		}
		rs = append(rs, r)
	}
	return rs, nil
}

func records(r io.Reader) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		s := newScanner(r)
		for {
			rec, err := s.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(rec, err) || err != nil {
				return
			}
		}
	}
}

// scanner reads records one by one and knows how far they are whole.
type scanner struct {
	in     *bufio.Reader
	seq    uint64 // of the last whole record
	deploy string // of the first
	good   int64  // bytes up to the end of the last whole record
	read   int64  // bytes read
}

func newScanner(r io.Reader) *scanner { return &scanner{in: bufio.NewReaderSize(r, 64<<10)} }

// next returns io.EOF behind the last whole record.
func (s *scanner) next() (Record, error) {
	line, whole, err := s.line()
	if err != nil {
		return Record{}, err
	}
	rec, bad := s.take(line, whole)
	if bad == nil {
		return rec, nil
	}
	// Each record was on the disk before the next was begun, so only the last line can be torn.
	if _, err := s.in.Peek(1); errors.Is(err, io.EOF) {
		return Record{}, io.EOF
	} else if err != nil {
		return Record{}, err
	}
	return Record{}, fmt.Errorf("line %d: %w: %w", s.seq+1, ErrCorrupt, bad)
}

// take checks a line to be the next record.
func (s *scanner) take(line []byte, whole bool) (Record, error) {
	if !whole {
		return Record{}, fmt.Errorf("no end within %d bytes", MaxLine)
	}
	rec, err := parse(line)
	switch {
	case err != nil:
		return Record{}, err
	case rec.Seq != s.seq+1:
		return Record{}, fmt.Errorf("record %d where %d should be", rec.Seq, s.seq+1)
	case s.seq > 0 && rec.Deploy != s.deploy:
		return Record{}, fmt.Errorf("a record of deploy %q in the journal of %q", rec.Deploy, s.deploy)
	}
	s.seq, s.deploy, s.good = rec.Seq, rec.Deploy, s.read
	return rec, nil
}

// line reads up to the next newline, keeps at most MaxLine bytes of it, and reports whether it is whole. io.EOF comes
// only at the very end.
func (s *scanner) line() (line []byte, whole bool, err error) {
	long := false
	for {
		part, err := s.in.ReadSlice('\n')
		s.read += int64(len(part))
		if long = long || len(line)+len(part) > MaxLine; !long {
			line = append(line, part...)
		}
		switch {
		case err == nil:
			return bytes.TrimSuffix(line, []byte("\n")), !long, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && (len(line) > 0 || long):
			return line, false, nil
		default:
			return nil, false, err
		}
	}
}

// parse reads one record strictly.
func parse(line []byte) (Record, error) {
	var r Record
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); errors.Is(err, io.EOF) {
		return Record{}, errors.New("an empty line") // io.EOF would read as the end
	} else if err != nil {
		return Record{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Record{}, errors.New("more than one value on the line")
	}
	switch {
	case r.Kind == "":
		return Record{}, errors.New("a record without a kind")
	case checkDeploy(r.Deploy) != nil:
		return Record{}, checkDeploy(r.Deploy)
	}
	return r, nil
}
