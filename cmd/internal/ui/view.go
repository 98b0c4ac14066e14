// Package ui shows a deploy to people and programs. Its views are readers of the journal: they decide nothing, know
// nothing but the records they are shown, and cannot disturb a deploy, whatever happens to the terminal or pipe behind them.
package ui

import (
	"io"
	"time"

	"scap/phases/journal"
)

// View is shown a deploy's records, one after the other, in the journal's order. Its methods may be called from several
// goroutines. Nothing is ever returned: when its writer fails, a view goes quiet, because the deploy goes on and the
// journal has everything. Close ends the view; what is shown later is not written.
type View interface {
	Show(r journal.Record)
	Close()
}

// patience is how long Close waits for a writer that hangs (a stopped terminal, a pipe nobody reads).
const patience = 2 * time.Second

// turn is a lock that Close does not wait for without end.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take() { t <- struct{}{} }
func (t turn) give() { <-t }

// takeSoon reports whether it got the turn within patience.
func (t turn) takeSoon() bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case t <- struct{}{}:
		return true
	case <-timer.C:
		return false
	}
}

// output writes until the first error and never after.
type output struct {
	w     io.Writer
	quiet bool
}

func (o *output) write(text string) {
	if o.quiet || text == "" {
		return
	}
	if n, err := io.WriteString(o.w, text); err != nil || n < len(text) {
		o.quiet = true
	}
}
