package journal

import (
	"errors"
	"fmt"
	"sync"
)

// ErrTakenUp means that a deploy which had ended was taken up again, or that somebody else has begun to watch it.
var ErrTakenUp = errors.New("the deploy was taken up again, or is watched by somebody else")

// Postscript appends to the journal of a deploy that has ended what changes nothing: Watched and Note. It holds the journal
// only while it appends, so that nobody who takes the deploy up has to wait for it. Its methods may be called from several
// goroutines.
type Postscript struct {
	path string

	mu   sync.Mutex
	last uint64 // the number of the record that it wrote last
}

// After returns a Postscript to the journal at path.
func After(path string) *Postscript { return &Postscript{path: path} }

// Append is like Writer.Append. It fails with ErrBusy while another process writes the journal, and with ErrTakenUp when the
// deploy has not ended, or when somebody wrote after the last record that this Postscript wrote.
func (p *Postscript) Append(r Record) (_ Record, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !r.Kind.Idle() {
		return r, fmt.Errorf("append %s to the journal: the deploy has ended", r.Kind)
	}
	w, err := Open(p.path)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if seq := w.Seq(); !w.ended || p.last > 0 && seq != p.last {
		return r, fmt.Errorf("append %s to the journal: record %d: %w", r.Kind, seq, ErrTakenUp)
	}
	r, err = w.Append(r)
	if err == nil {
		p.last = r.Seq
	}
	return r, err
}
