// Package journal is a deploy's memory: one line of JSON a record, written and fsynced before each act and after its
// outcome, so that a deploy which died at any instant can be taken up or taken back from what is on disk.
package journal

import (
	"encoding/json"
	"time"
)

// Kind is what a record says.
type Kind string

// The kinds. An Intent without a later Done, Failed or Undone for the same act on the same target counts as done: it may
// have been.
const (
	Begin  Kind = "begin"  // the plan (Data), the releases From and To; first record of a deploy
	Intent Kind = "intent" // about to Act on Target
	Done   Kind = "done"
	Failed Kind = "failed"
	Ruled  Kind = "ruled"  // a gate's ruling (Data); Verdict is its word
	Undone Kind = "undone" // the act was taken back: the target serves From again, proven
	Note   Kind = "note"   // something a person should see; changes nothing
	End    Kind = "end"    // how the deploy ended (Verdict is one of the Ended words)
	// Watched is a look after the end: a gate's ruling (Data, with a Sighting), or how the watch ended (WatchOver, …).
	// Like a Note it changes nothing, and leaves the deploy ended as it was.
	Watched Kind = "watch"
)

// Idle reports whether records of this kind change nothing: a deploy that has ended is not taken up by them.
func (k Kind) Idle() bool { return k == Note || k == Watched }

// The acts. Phase and Confirm concern a phase and have no target.
const (
	Lock      = "lock"
	Claim     = "claim"
	Preflight = "preflight"
	Snapshot  = "snapshot"
	Stage     = "stage"
	Verify    = "verify"
	PhaseAct  = "phase"
	Activate  = "activate"
	Repair    = "repair"
	Confirm   = "confirm"
	Prune     = "prune"
	Rollback  = "rollback"
	Merge     = "merge"   // the changes of a backport, between two phases
	LookUp    = "look-up" // the changes and what they depend on
	Compose   = "compose" // the tree, out of repositories, patches and steps
	Try       = "try"     // Target runs the release To beside From and sends it a share of its requests (Data: a Term); taken back by Abandon
	Abandon   = "abandon" // the trial ends; Target serves From to all, as before
	Isolate   = "isolate" // Target serves badly by itself (Text): it leaves the pool and keeps its release
)

// How a deploy ends.
const (
	Deployed     = "deployed"     // proven everywhere
	RolledBack   = "rolled-back"  // a gate or a failure; the fleet is on From, proven
	Cancelled    = "cancelled"    // the deployer; the fleet is on From, proven, or nothing had changed
	Unchanged    = "unchanged"    // an error before anything changed
	Inconsistent = "inconsistent" // hosts named in Text; resume goes on
	Declined     = "declined"     // the deployer's "no" at a question
)

// Record is one line of the journal.
type Record struct {
	Seq     uint64          `json:"seq"` // 1, 2, 3, … without a gap
	At      time.Time       `json:"at"`
	Deploy  string          `json:"deploy"`
	Kind    Kind            `json:"kind"`
	Act     string          `json:"act,omitempty"`
	Phase   string          `json:"phase,omitempty"`
	Target  string          `json:"target,omitempty"`
	From    string          `json:"from,omitempty"` // release ids, 64 hex digits
	To      string          `json:"to,omitempty"`
	Token   uint64          `json:"token,omitempty"`
	Verdict string          `json:"verdict,omitempty"`
	Text    string          `json:"text,omitempty"` // an error, a reason, a message: for people
	Data    json.RawMessage `json:"data,omitempty"`
}
