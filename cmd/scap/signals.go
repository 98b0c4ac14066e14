package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
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

func watchSignals(parent context.Context, stderr io.Writer) *signals {
	ctx, cancel := context.WithCancelCause(parent)
	leave, abandon := context.WithCancelCause(parent)
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
					fmt.Fprintf(stderr, "\nscap: %v: stopping; what was activated goes back to the previous release. Again = leave at once.\n", sig)
					cancel(cancelled{sig})
				case 1:
					fmt.Fprintf(stderr, "\nscap: %v again: leaving now; `scap resume` brings the fleet to one release.\n", sig)
					abandon(cancelled{sig})
				}
			}
		}
	}()
	return &signals{ctx: ctx, leave: leave, stop: func() {
		signal.Stop(got)
		close(done)
		<-ended
		cancel(nil)
		abandon(nil)
	}}
}
