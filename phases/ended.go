package phases

import (
	"errors"
	"fmt"

	"scap/phases/journal"
)

// Sentinels for why a deploy did not go on. They are wrapped in Ended.Cause.
var (
	// ErrGate: a gate failed the release.
	ErrGate = errors.New("the gate failed the release")
	// ErrHold: a gate came to no verdict in time, and nobody said to go on.
	ErrHold = errors.New("the gate came to no verdict")
	// ErrBothRed: what held the gate is not this release's doing. It comes with ErrHold.
	ErrBothRed = errors.New("not this release")
	// ErrSuperseded: another deploy came while this one was watched.
	ErrSuperseded = errors.New("another deploy has come since")
	// ErrDeclined: the deployer said no.
	ErrDeclined = errors.New("declined by the deployer")
	// ErrLeft: the deployer left at once.
	ErrLeft = errors.New("left at once")
	// ErrPreflight: a target or a gate is not ready; nothing was changed.
	ErrPreflight = errors.New("not ready to deploy")
	// ErrFinished: there is nothing to resume.
	ErrFinished = errors.New("the deploy has ended")
)

// Ended is the error of a deploy that did not end deployed and proven everywhere.
type Ended struct {
	// How is the journal's word: journal.RolledBack, Cancelled, Unchanged, Inconsistent or Declined.
	How string
	// Hosts are the targets that are not proven on one release with the others. Only with Inconsistent.
	Hosts []string
	// Suspects are those of Hosts that a gate found to serve badly by themselves. They are out of the pool, and stay out
	// until a person brings them back (`scap repair`).
	Suspects []string
	// Cause is what stopped the deploy, and what went wrong on the way back.
	Cause error
}

// Error says how the deploy ended and why.
func (e *Ended) Error() string {
	text := e.How
	switch e.How {
	case journal.RolledBack:
		text = "rolled back, every target is proven on the previous release"
	case journal.Cancelled:
		text = "cancelled, every target is on the previous release"
	case journal.Unchanged:
		text = "nothing was changed"
	case journal.Declined:
		text = "declined, every target is on the previous release"
	case journal.Inconsistent:
		text = "not known to be consistent: run `scap resume`"
		switch len(e.Hosts) {
		case 0:
		case len(e.Suspects): // each says for itself what is to be done
			text = fmt.Sprintf("proven everywhere but for %s, out of the pool", some(e.Hosts))
		default:
			text = fmt.Sprintf("not consistent: %s: run `scap resume`", some(e.Hosts))
		}
	}
	if e.Cause == nil {
		return text
	}
	return fmt.Sprintf("%s: %v", text, e.Cause)
}

// Unwrap returns Cause.
func (e *Ended) Unwrap() error { return e.Cause }
