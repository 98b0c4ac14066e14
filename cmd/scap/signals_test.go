package main

import (
	"context"
	"testing"
)

// Whoever ends a deploy's context asks for the way back. Only a second signal lets go of it.
func TestTheEndOfTheParentIsNoSecondSignal(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	s := watchSignals(parent, func(string) {})
	defer s.stop()
	cancel()
	<-s.ctx.Done()
	if s.leave.Err() != nil {
		t.Error("the end of the parent left at once")
	}
}
