// Package canary decides whether a deploy may go on: a Gate looks at the evidence of a Window and gives a Ruling. It
// knows hosts and releases by name only.
package canary

import (
	"context"
	"encoding/json"
	"time"
)

// Verdict is a gate's word. The zero value is Hold: no evidence is no pass.
type Verdict int

// The verdicts. Only Pass lets a deploy advance.
const (
	Hold Verdict = iota
	Pass
	Fail
)

// String returns hold, pass or fail.
func (v Verdict) String() string {
	switch v {
	case Pass:
		return "pass"
	case Fail:
		return "fail"
	}
	return "hold"
}

// MarshalText writes String.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Host is one host of a Window: its name and what its runtime proved.
type Host struct {
	Name    string    `json:"name"`
	Release string    `json:"release"`
	Since   time.Time `json:"since"` // when the runtime that serves Release began, by its own clock
	Nonce   string    `json:"nonce,omitempty"`
}

// Window is what a gate is asked to look at. No request older than a canary host's Since belongs to it.
type Window struct {
	Deploy  string    `json:"deploy"`
	Phase   string    `json:"phase"`
	Release string    `json:"release"`
	Canary  []Host    `json:"canary"`  // run Release
	Control []Host    `json:"control"` // run what was before
	Opened  time.Time `json:"opened"`  // when the last canary host was proven
	Now     time.Time `json:"now"`
}

// Evidence is what a gate carries from one look to the next: O(1) in size and kept in the journal. Only the gate that
// wrote it reads it; nil is none.
type Evidence = json.RawMessage

// Ruling is one look's outcome.
type Ruling struct {
	Verdict  Verdict         `json:"verdict"`
	Reason   string          `json:"reason"`            // one or two lines a person can check by hand
	Numbers  json.RawMessage `json:"numbers,omitempty"` // all figures of the reason
	Evidence Evidence        `json:"evidence,omitempty"`
}

// Gate rules on a window. Judge never sleeps: the caller ticks, and journals every ruling.
type Gate interface {
	// Ready says before a deploy whether the gate's sources answer and can reach a verdict.
	Ready(ctx context.Context) error
	// Judge takes one look. An error means that it could not look at all and counts as Hold.
	Judge(ctx context.Context, w Window, prior Evidence) (Ruling, error)
}
