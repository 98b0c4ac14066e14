package store

import (
	"context"
	"runtime"
	"sync"
)

// crew spreads work on a tree over a few goroutines: a piece goes to a free one, or is done at once by whoever has it,
// so that the number of open directories stays that of the depth and not of the breadth.
type crew struct {
	ctx  context.Context
	free chan struct{}
}

func newCrew(ctx context.Context) *crew {
	return &crew{ctx: ctx, free: make(chan struct{}, max(3, runtime.GOMAXPROCS(0)))}
}

// batch is the pieces of one step. wait returns when all have ended, with the first error.
type batch struct {
	crew *crew
	wg   sync.WaitGroup
	mu   sync.Mutex
	err  error
}

func (c *crew) batch() *batch { return &batch{crew: c} }

func (b *batch) do(f func() error) {
	if b.crew.ctx.Err() != nil {
		b.fail(context.Cause(b.crew.ctx))
		return
	}
	select {
	case b.crew.free <- struct{}{}:
		b.wg.Go(func() {
			defer func() { <-b.crew.free }()
			b.fail(f())
		})
	default:
		b.fail(f())
	}
}

// fail notes an error and reports whether there has been one: the rest is then not worth its work.
func (b *batch) fail(err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	return b.err != nil
}

func (b *batch) wait() error {
	b.wg.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}
