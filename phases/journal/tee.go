package journal

import (
	"context"
	"sync"
)

// Tee appends to a journal and then tells observers, in the journal's order. An observer that is slow, blocks or panics
// neither delays nor breaks the deploy: each has its own goroutine and a queue without a limit (a deploy has some
// thousand records).
type Tee struct {
	to    interface{ Append(Record) (Record, error) }
	mu    sync.Mutex // makes the observers' order the journal's
	lines []*line
}

// line is the queue to one observer.
type line struct {
	tell func(Record)

	mu     sync.Mutex
	queue  []Record
	busy   bool          // the goroutine of tell is there
	idle   chan struct{} // closed when busy ends; nil when not busy
	broken bool          // tell panicked: it is told no more
}

// NewTee returns a Tee to a journal. It has no goroutine while there is nothing to tell.
func NewTee(to interface {
	Append(Record) (Record, error)
}, observers ...func(Record),
) *Tee {
	t := &Tee{to: to}
	for _, o := range observers {
		if o != nil {
			t.lines = append(t.lines, &line{tell: o})
		}
	}
	return t
}

// Append appends r and, when it is in the journal, queues it for the observers.
func (t *Tee) Append(r Record) (Record, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.to.Append(r)
	if err == nil {
		t.queue(r)
	}
	return r, err
}

// Tell queues r for the observers only: for what could not be journaled and must still be seen.
func (t *Tee) Tell(r Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue(r)
}

func (t *Tee) queue(r Record) {
	for _, l := range t.lines {
		l.put(r)
	}
}

// Flush waits until every observer has seen what was appended before, or ctx ends. An observer that hangs for ever keeps
// its goroutine.
func (t *Tee) Flush(ctx context.Context) error {
	for _, l := range t.lines {
		l.mu.Lock()
		idle := l.idle
		l.mu.Unlock()
		if idle == nil {
			continue
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (l *line) put(r Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return
	}
	l.queue = append(l.queue, r)
	if !l.busy {
		l.busy, l.idle = true, make(chan struct{})
		go l.drain() // ends when the queue is empty; Flush waits for it
	}
}

// drain tells the observer until the queue is empty.
func (l *line) drain() {
	for {
		l.mu.Lock()
		if len(l.queue) == 0 || l.broken {
			l.queue, l.busy = nil, false
			close(l.idle)
			l.idle = nil
			l.mu.Unlock()
			return
		}
		r := l.queue[0]
		l.queue = l.queue[1:]
		l.mu.Unlock()
		l.one(r)
	}
}

func (l *line) one(r Record) {
	defer func() {
		if p := recover(); p != nil {
			l.mu.Lock()
			l.broken = true
			l.mu.Unlock()
		}
	}()
	l.tell(r)
}
