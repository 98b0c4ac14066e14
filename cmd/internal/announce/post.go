package announce

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// queueMost is how many events may wait for one announcer. A deploy has less than ten.
const queueMost = 64

// post is the queue to one announcer, and the goroutine that tells it.
type post struct {
	name    string
	to      Announcer
	on      []What
	says    bool // it tells what a deployer says
	timeout time.Duration

	mu      sync.Mutex
	queue   []parcel
	more    chan struct{} // there is something to do
	closed  bool
	dropped int
	left    int // not told when time was over
	errs    []string
	times   map[string]int // by error
}

// parcel is an event on its way; done, if any, is told how it went.
type parcel struct {
	Event
	done chan<- error
}

func newPost(name string, to Announcer, timeout time.Duration) *post {
	return &post{name: name, to: to, timeout: timeout, more: make(chan struct{}, 1), times: map[string]int{}}
}

// put queues p, at once. When the queue is full the oldest gives way that is not how a deploy ended.
func (t *post) put(p parcel) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		t.dropped++
		return false
	}
	if len(t.queue) >= queueMost {
		t.dropped++
		i := slices.IndexFunc(t.queue, func(p parcel) bool { return !p.ended() && p.done == nil })
		if i < 0 {
			return false
		}
		t.queue = slices.Delete(t.queue, i, i+1)
	}
	t.queue = append(t.queue, p)
	t.wake()
	return true
}

func (t *post) wake() {
	select {
	case t.more <- struct{}{}:
	default:
	}
}

// run tells what is queued until the post is closed and empty, or ctx ends.
func (t *post) run(ctx context.Context) {
	defer t.close(ctx)
	for {
		p, ok, over := t.next()
		switch {
		case ok:
			err := t.tell(ctx, p.Event)
			if p.done != nil {
				p.done <- err // buffered
			} else if err != nil {
				t.wrong(err)
			}
		case over:
			return
		default:
			select {
			case <-t.more:
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			t.giveUp(context.Cause(ctx))
			return
		}
	}
}

// next takes the oldest parcel; over says that none will come.
func (t *post) next() (p parcel, ok, over bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue) == 0 {
		return p, false, t.closed
	}
	p, t.queue = t.queue[0], t.queue[1:]
	return p, true, false
}

func (t *post) tell(ctx context.Context, e Event) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, t.timeout, fmt.Errorf("no end within %s", t.timeout))
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return t.to.Tell(ctx, e)
}

func (t *post) giveUp(why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.left += len(t.queue)
	for _, p := range t.queue {
		if p.done != nil {
			p.done <- why
		}
	}
	t.queue = nil
}

func (t *post) close(ctx context.Context) {
	if c, ok := t.to.(io.Closer); ok && ctx.Err() == nil {
		if err := c.Close(); err != nil {
			t.wrong(err)
		}
	} else if ok {
		_ = c.Close() // why there is no time left is told already
	}
}

// wrong keeps an error, each once.
func (t *post) wrong(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := clean(err.Error())
	if t.times[text]++; t.times[text] == 1 && len(t.errs) < queueMost {
		t.errs = append(t.errs, text)
	}
}

// report returns what went wrong since the last report.
func (t *post) report() (errs []error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, text := range t.errs {
		if n := t.times[text]; n > 1 {
			text += fmt.Sprintf(" (%d times)", n)
		}
		errs = append(errs, fmt.Errorf("announcer %s: %s", t.name, text))
	}
	if t.dropped > 0 {
		errs = append(errs, fmt.Errorf("announcer %s: %d events were not told: too many waited, or it was closed", t.name, t.dropped))
	}
	if t.left > 0 {
		errs = append(errs, fmt.Errorf("announcer %s: %d events were not told: there was no time left", t.name, t.left))
	}
	t.errs, t.times, t.dropped, t.left = nil, map[string]int{}, 0, 0
	return errs
}

// finish lets the goroutine end once the queue is empty.
func (t *post) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.wake()
}
