// Package canary decides whether a deploy may go on: a Gate looks at the evidence of a Window and gives a Ruling. It
// knows hosts and releases by name only.
//
// Two releases of one machine (Window.Share): the arms are then not hosts but the two releases that each machine serves at
// once, the new one as a trial with a small part of the requests. Each machine is compared with itself, in the same tick: a
// full disk, a slow upstream or a bad neighbour hits both of its releases alike and is no evidence, neither of harm nor
// against it. So no machine is ever Suspect for what its trial does: what fails there and not beside it is the release or the
// processes that serve it, and several workers (or machines) of a trial that fail are a Fail, one alone is a Hold.
//
// Whose a failure is must be told by what was logged or counted of it (see canary/logs). One that cannot be told counts as
// the old release's where harm is looked for and as the new one's where harm is to be refuted: no verdict rests on it, the
// new release cannot hide in it, and the old one's noise cannot fail a good one. Where it is more than a tenth of all
// failures the gate holds and says so.
package canary

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"
)

// ErrRed says that users are failing before a deploy has begun.
var ErrRed = errors.New("red before the deploy")

// Verdict is a gate's word. The zero value is Hold: no evidence is no pass.
type Verdict int

// The verdicts. Only Pass lets a deploy advance.
const (
	Hold    Verdict = iota // inconclusive; Ruling.Cause says why
	Pass                   // the release does no harm
	Fail                   // the release does harm
	Suspect                // hosts named in Ruling.Suspects do, the release does not: take them out and go on
)

// String returns hold, pass, fail or suspect.
func (v Verdict) String() string {
	switch v {
	case Pass:
		return "pass"
	case Fail:
		return "fail"
	case Suspect:
		return "suspect"
	}
	return "hold"
}

// Cause says in one word why a gate holds; people read Ruling.Reason, programs read this.
type Cause string

// The causes. A ruling that is no Hold has none.
const (
	Gathering  Cause = "gathering"        // evidence comes in; nothing is wrong
	NoTraffic  Cause = "no-traffic"       // nothing was served by the new runtime
	LowTraffic Cause = "low-traffic"      // at this rate there is no verdict within the time there is
	Late       Cause = "late"             // telemetry lags behind
	SourceDown Cause = "source-down"      // a source does not answer, or not in its form
	Unproven   Cause = "unproven"         // a nonce was not read back: the log may not be the runtime's
	Skewed     Cause = "skewed"           // a host's clock is wrong, so its counts cannot be placed
	BothRed    Cause = "not-this-release" // canary and control fail alike
	OffShare   Cause = "off-share"        // the canaries get much less traffic than they should
	Contradict Cause = "contradictory"    // a source says two things of one time
	OneHost    Cause = "one-host"         // one host fails, and too few others are there to compare with
)

// MarshalText writes String.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Host is one host of a Window: its name and what its runtime proved.
type Host struct {
	Name    string    `json:"name"`
	On      string    `json:"on,omitempty"` // the machine, where Name is one of two releases that it serves at once; empty: Name
	Release string    `json:"release"`
	Since   time.Time `json:"since"` // when the runtime that serves Release began, by its own clock
	Nonce   string    `json:"nonce,omitempty"`
	// Of two releases that On serves at once: whether Release is the one that is tried, and which the other is. A Traffic
	// fills both, by the arms of its Window.
	Trial  bool   `json:"trial,omitempty"`
	Beside string `json:"beside,omitempty"`
}

// Machine is On, or Name where a host has the machine for itself.
func (h *Host) Machine() string { return cmp.Or(h.On, h.Name) }

// Window is what a gate is asked to look at. No request older than a canary host's Since belongs to it.
type Window struct {
	Deploy  string    `json:"deploy"`
	Phase   string    `json:"phase"`
	Release string    `json:"release"`
	From    string    `json:"from,omitempty"`    // what was served before; "" when it is not one
	Canary  []Host    `json:"canary"`            // hosts of the phase that run Release
	Earlier []Host    `json:"earlier,omitempty"` // hosts of earlier phases that run it
	Control []Host    `json:"control"`           // run what was before
	Opened  time.Time `json:"opened"`            // when the last canary host was proven
	Now     time.Time `json:"now"`
	// Share, above 0, says that the arms are two releases of the same machines, and that Release is to get this part of their
	// requests. Host.On names the machine then.
	Share float64 `json:"share,omitempty"`
	Watch bool    `json:"watch,omitempty"` // after the end of the deploy: every host runs Release
}

// Evidence is what a gate carries from one look to the next: O(1) in size and kept in the journal. Only the gate that
// wrote it reads it; nil is none.
type Evidence = json.RawMessage

// Ruling is one look's outcome.
type Ruling struct {
	Verdict  Verdict         `json:"verdict"`
	Cause    Cause           `json:"cause,omitempty"`    // of a Hold
	Suspects []string        `json:"suspects,omitempty"` // of a Suspect: the hosts to take out
	Reason   string          `json:"reason"`             // one or two lines a person can check by hand
	Numbers  json.RawMessage `json:"numbers,omitempty"`  // all figures of the reason
	Evidence Evidence        `json:"evidence,omitempty"`
}

// Gate rules on a window. Judge never sleeps: the caller ticks, and journals every ruling.
type Gate interface {
	// Ready says before a deploy whether the gate's sources answer and can reach a verdict. An error that wraps ErrRed
	// says that something is broken already, which a deploy may be the cure of.
	Ready(ctx context.Context) error
	// Judge takes one look. An error means that it could not look at all and counts as Hold.
	Judge(ctx context.Context, w Window, prior Evidence) (Ruling, error)
}
