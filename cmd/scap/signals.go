package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// cancelled is the cause of a context that the deployer ended.
type cancelled struct{ signal os.Signal }

func (c cancelled) Error() string { return fmt.Sprintf("cancelled by the deployer (%v)", c.signal) }

// signals turns the first SIGINT or SIGTERM into the end of ctx, with a cause, and the second into the end of leave:
// the first means stop and go back, the second means let go at once.
type signals struct {
	ctx   context.Context
	leave context.Context
	stop  func()
}

// Each is told to say, which must not block: what it announces may not come before what it does.
func watchSignals(parent context.Context, say func(text string)) *signals {
	ctx, cancel := context.WithCancelCause(parent)
	leave, abandon := context.WithCancelCause(context.WithoutCancel(parent)) // the end of parent is a first signal, no second
	got := make(chan os.Signal, 2)
	signal.Notify(got, syscall.SIGINT, syscall.SIGTERM)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case sig := <-got:
				switch n {
				case 0:
					cancel(cancelled{sig})
					say(fmt.Sprintf("%v: stopping; what was activated goes back to the previous release. Again: leave at once.", sig))
				case 1:
					abandon(cancelled{sig})
					say(fmt.Sprintf("%v again: leaving now; `scap resume` brings the fleet to one release.", sig))
				}
			}
		}
	}()
	return &signals{ctx: ctx, leave: leave, stop: sync.OnceFunc(func() {
		signal.Stop(got)
		close(done)
		<-ended
		cancel(nil)
		abandon(nil)
	})}
}
