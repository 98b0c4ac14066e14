package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// gated is a terminal that can be stopped.
type gated struct {
	mu    sync.Mutex
	open  chan struct{}
	shown strings.Builder
}

func (g *gated) Write(p []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shown.Write(p)
}

func TestPatientKeepsWordsForAStoppedTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gated{open: make(chan struct{})}
		q := &patient{w: g}
		began := time.Now()
		for i := range 3 {
			if _, err := fmt.Fprintf(q, "%d\n", i); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != hungAfter {
			t.Errorf("three lines took %v, not %v", took, hungAfter)
		}
		close(g.open)
		synctest.Wait()
		if got := g.shown.String(); got != "0\n1\n2\n" {
			t.Errorf("shown %q", got)
		}
		began = time.Now()
		fmt.Fprint(q, "3\n")
		if got := g.shown.String(); time.Since(began) != 0 || got != "0\n1\n2\n3\n" {
			t.Errorf("shown %q, %v later", got, time.Since(began))
		}
	})
}

func TestPatientHasABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gated{open: make(chan struct{})}
		q := &patient{w: g}
		for range 5 {
			_, _ = q.Write(make([]byte, maxQueued/2))
		}
		if n := len(q.queue); n > maxQueued {
			t.Errorf("%d bytes are queued", n)
		}
		close(g.open)
		synctest.Wait()
	})
}
