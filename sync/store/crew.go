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
	once sync.Once
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

func (b *batch) fail(err error) {
	if err != nil {
		b.once.Do(func() { b.err = err })
	}
}

func (b *batch) wait() error {
	b.wg.Wait()
	return b.err
}
