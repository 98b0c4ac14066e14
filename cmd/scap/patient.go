package main

import (
	"io"
	"sync"
	"time"
)

// hungAfter is how long a deploy waits for a terminal that is stopped or a pipe that nobody reads.
const hungAfter = 2 * time.Second

// patient is a writer that never holds up a deploy. What is written stands in a queue while the writer behind it hangs,
// and comes out in order once it goes on.
type patient struct {
	w io.Writer

	mu    sync.Mutex
	queue []byte
	idle  chan struct{} // closed when the queue is written; nil when nothing is
	late  bool          // nobody waits until the queue is written
}

// maxQueued bounds what a writer that hangs for ever costs.
const maxQueued = 1 << 20

// Write returns when p is written, or after hungAfter; it never fails: what cannot be shown is in the journal.
func (q *patient) Write(p []byte) (int, error) {
	q.mu.Lock()
	if len(q.queue)+len(p) <= maxQueued {
		q.queue = append(q.queue, p...)
	}
	if q.idle == nil {
		q.idle = make(chan struct{})
		go q.drain() // ends when the queue is empty, or with the process when the writer hangs
	}
	idle, late := q.idle, q.late
	q.mu.Unlock()
	if late {
		return len(p), nil
	}
	timer := time.NewTimer(hungAfter)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
		q.mu.Lock()
		q.late = q.idle != nil
		q.mu.Unlock()
	}
	return len(p), nil
}

func (q *patient) drain() {
	for {
		q.mu.Lock()
		part := q.queue
		q.queue = nil
		if len(part) == 0 {
			close(q.idle)
			q.idle, q.late = nil, false
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		_, _ = q.w.Write(part)
	}
}
