// Package sourcetest holds every canary.Source to the same promises: logs read on hosts, Prometheus, OpenSearch and the models
// of them. A case that a rig cannot stage is skipped with the reason, never passed.
package sourcetest

import (
	"testing"
	"time"

	"scap/canary"
)

// What the suite's events are about. Where a host serves two releases at once, Release is the one that is tried. A rig whose
// source is configured with releases or signals configures these.
const (
	Release = "9f2c4e6a8b0d1f3e5a7c9b1d3f5e7a9c0b2d4f6e8a1c3e5f7b9d1a3c5e7f9b1d" // what every Host given to a rig runs
	Earlier = "1a3c5e7f9b2d4f6a8c0e1b3d5f7a9c2e4b6d8f0a2c4e6b8d0f1a3c5e7b9d2f4a" // what ran before
	Edits   = "edits"                                                            // a business signal
	Logins  = "logins"                                                           // another one
)

// MaxPrints is how many fingerprints a host's reading may hold, and MaxText how many bytes of text each, or a Problem, may have.
const (
	MaxPrints = 1000
	MaxText   = 1000
)

// Event is one record of a request that ended at At, which is always a whole second.
type Event struct {
	Host, Release string
	At            time.Time
	Failing       bool
	Print         canary.Print // of a failing one: Text is "Class in file:line: message", File the file in it
	// ID is the request's. Events that share one are records of one request, which is served once, at the first one's At. An
	// empty one is unknown: such events are requests of their own.
	ID   string
	Good []string // the signals whose success it was
	// Stray says of a failing one that nothing which is written of it tells whose release it was; it has no ID.
	Stray bool
}

// Rig is one source and the world that it reads. Whatever it starts ends with its test. Its functions are called by one
// goroutine at a time; only Source is called by several. Its world begins at Epoch, without traffic before it, and the suite uses no
// more than the 100 Steps after it.
type Rig struct {
	Source canary.Source
	// Again is another reader of the same world, as another process has; nil: Source itself is asked again.
	Again canary.Source
	Step  time.Duration // the finest that the source can see, whole seconds
	Epoch time.Time
	// Log makes the events known as this kind of source gets them, in the order in which they arrive. It never makes the watermark
	// advance.
	Log func(t *testing.T, es ...Event)
	// Beat says that everything of these hosts before at has arrived; at never goes back. A watermark may stay behind it by
	// up to 12 Steps, never before it.
	Beat func(t *testing.T, at time.Time, hosts ...string)
	// Nonce writes the nonce of h, at h.Since, as its runtime does. A nonce is only asked for with a range that begins at Since.
	Nonce func(t *testing.T, h canary.Host)
	// Skew makes the clock of a host run ahead: what is logged from now on, and its beats, bear times that are later by that much. Nil when
	// it cannot be staged.
	Skew func(t *testing.T, host string, ahead time.Duration)
	// Faults are ways to break what the source reads from. Log and Beat go on being called meanwhile. Under each, every closed
	// count is the true one or the source says nothing: an error, a Problem, a Through in the past. After mend it answers again for what comes
	// then.
	Faults map[string]func(t *testing.T) (mend func())
	// What this kind of source cannot tell.
	NoRelease, NoPrints, NoGood, NoNonce, NoIDs, NoRequests bool
	// NoArms says that it cannot tell two releases that a host serves at once apart, and NoStrays that it never meets a failure of
	// which it cannot be told whose it is.
	NoArms, NoStrays bool
}
