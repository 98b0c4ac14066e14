package release

import (
	"slices"
	"time"
)

// Switch asks a host to serve To where it serves From: a compare and swap. Token is the deploy's fencing token; a host
// refuses a Switch whose token is smaller than the largest it has seen.
type Switch struct {
	From  ID     `json:"from"`
	To    ID     `json:"to"`
	Token uint64 `json:"token"`
	Owner string `json:"owner,omitempty"` // the deploy that asks, for the host's own journal
	// Emergency asks for the swap and restart at once, without waiting for requests in flight.
	Emergency bool `json:"emergency,omitempty"`
	// Serving says that users reach the host while it switches: a runtime that would have to stop for it must refuse, with
	// nothing changed. Without it nobody does, the host being out of the pool, or losing requests is allowed (Emergency, or
	// a reload that loses none), and any road will do. Of a target behind balancers it asks that the host does not leave them.
	Serving bool `json:"serving,omitempty"`
	// Hand asks a host, out of the pool, to hand its runtime over to scap or back to its distribution as part of the switch.
	// From and To may then be one release, and a host that proves To already is switched all the same. Not with Serving.
	Hand Hand `json:"hand,omitempty"`
}

// Hand says who starts and ends a host's runtime after a switch.
type Hand string

// The hands. The zero value changes nothing.
const (
	Adopt  Hand = "adopt"  // from the distribution's unit to scap's keeper
	GiveUp Hand = "giveup" // and back
)

// Back is the hand that undoes h.
func (h Hand) Back() Hand {
	switch h {
	case Adopt:
		return GiveUp
	case GiveUp:
		return Adopt
	}
	return h
}

// The roads from one release to another, as strategies are called.
const (
	ByDrain    = "drain"
	ByReload   = "reload"
	ByHandover = "handover"
)

// Road is how a host's runtime would go to another release now, found out afresh.
type Road struct {
	Strategy string `json:"strategy,omitempty"` // ByDrain, ByReload or ByHandover
	// Wanted is the configured strategy when it cannot be had now, and Why says why in words for people.
	Wanted string `json:"wanted,omitempty"`
	Why    string `json:"why,omitempty"`
	// Adopted says that scap's keeper starts and ends the runtime, not the distribution's unit.
	Adopted bool `json:"adopted,omitempty"`
	// Warm are releases for which the host keeps a proven runtime besides the one that serves, one that is tried too: going
	// there is one rename, also on a host that has no room for another start (Wanted is ByHandover then).
	Warm []ID `json:"warm,omitempty"`
	// NoTrial is why no release can be tried on a share of the requests, on a host that could hand over; empty: one can.
	NoTrial string `json:"no_trial,omitempty"`
	// TookRename and TookStart are how long the last switch of this host to a warm and to a cold release took, from the
	// question to the proof; 0: none was made yet.
	TookRename time.Duration `json:"took_rename,omitempty"`
	TookStart  time.Duration `json:"took_start,omitempty"`
}

// To says what a switch to id would be: "rename" to a warm runtime, "start" of one beside the old, "reload" or "drain"; and
// how long the last one of its kind took on this host, 0 when that is not known. The zero Road is a drain.
func (r Road) To(id ID) (kind string, took time.Duration) {
	switch {
	case (r.Strategy == ByHandover || r.Wanted == ByHandover) && slices.Contains(r.Warm, id):
		return ByRename, r.TookRename
	case r.Strategy == ByHandover:
		return ByStart, r.TookStart
	case r.Strategy == "":
		return ByDrain, 0
	}
	return r.Strategy, 0
}

// The kinds of a handover, besides the strategies themselves, as To says them.
const (
	ByRename = "rename"
	ByStart  = "start"
)

// Beside reports whether a switch to id disturbs no user: the runtime of id is there, or is started, beside the one that
// serves.
func (r Road) Beside(id ID) bool {
	kind, _ := r.To(id)
	return kind == ByRename || kind == ByStart
}

// Trial is a second runtime of a host, with another release, that a share of the host's requests goes to.
type Trial struct {
	Release  ID        `json:"release"`
	Started  time.Time `json:"started"`          // as Proof.Started
	Nonce    string    `json:"nonce,omitempty"`  // as Proof.Nonce
	Requests int64     `json:"requests"`         // as Proof.Requests
	Until    time.Time `json:"until"`            // the host ends it then by itself
	Reason   string    `json:"reason,omitempty"` // why it is not proven now; empty: it is
}

// Outcome is how a host's last switch ended. The zero value means that it has not ended, or that nobody knows.
type Outcome string

// The outcomes a host writes into its own journal.
const (
	Unknown   Outcome = ""       // begun, not ended: it may have happened
	ProvenNew Outcome = "new"    // the runtime proved To
	ProvenOld Outcome = "old"    // the switch failed and the runtime proved From again
	Broken    Outcome = "broken" // neither could be proven: the host must stay out of the pool
)

// Intent is a host's own record of the last thing that a deploy asked of it. It is fsynced before the act, so that any
// deploy host can finish the work from the targets alone.
type Intent struct {
	Switch  Switch    `json:"switch"`
	Outcome Outcome   `json:"outcome"`
	Error   string    `json:"error,omitempty"` // why Outcome is not ProvenNew
	Out     bool      `json:"out"`             // this host was taken out of the pool and not yet put back
	Owner   string    `json:"owner,omitempty"` // the deploy that took it out
	Token   uint64    `json:"token"`           // the largest fencing token seen
	Claimer string    `json:"claimer,omitempty"`
	At      time.Time `json:"at"`
}

// Proof is what a runtime says of itself, asked afresh: never remembered.
type Proof struct {
	// Release is the one release that every worker of every instance answered with; zero when they disagree, when
	// nothing runs, or when the runtime's settings break the promise that code changes only with a restart.
	Release ID `json:"release"`
	// Reason says why Release is zero.
	Reason string `json:"reason,omitempty"`
	// Started is when the youngest instance began to run what it runs now (by opcode cache, not by process).
	Started time.Time `json:"started"`
	// Requests counts what the runtime answered since Started for others than the agent.
	Requests  int64      `json:"requests"`
	Instances []Instance `json:"instances,omitempty"`
	// Nonce was written by the new runtime itself through its own error log right after it was proven; the gate reads
	// it back through the log path to know that evidence arrives.
	Nonce string `json:"nonce,omitempty"`
	// Road is how the next switch would go. Trial is the release that is tried on a share of the requests; nil: none is.
	Road  Road   `json:"road,omitzero"`
	Trial *Trial `json:"trial,omitempty"`
	// Notes are what people should know and what stops no deploy, such as a master that had died and was replaced.
	Notes []string `json:"notes,omitempty"`
}

// Instance is one php-fpm master and its workers.
type Instance struct {
	Name     string            `json:"name"`
	Master   int               `json:"master"`
	Tick     uint64            `json:"tick"` // kernel start tick of the master; a USR2 reload keeps it
	Started  time.Time         `json:"started"`
	Workers  []Worker          `json:"workers,omitempty"`
	Settings map[string]string `json:"settings,omitempty"` // effective php settings that matter to the proof
	Strays   []int             `json:"strays,omitempty"`   // workers of this pool that belong to no living master
}

// Worker is one php-fpm child and the release it answered with.
type Worker struct {
	PID     int `json:"pid"`
	Release ID  `json:"release"`
}

// Quiet is a host's own view of whether anything still reaches it.
type Quiet struct {
	Active  int           `json:"active"`  // requests being served now, the agent's own left out
	Queued  int           `json:"queued"`  // connections waiting in the sockets' backlogs, by the kernel's word
	Outside int64         `json:"outside"` // requests from outside seen in the last Window
	Window  time.Duration `json:"window"`
	Last    string        `json:"last,omitempty"` // the last outside request's URI, to say who still comes
}

// Calm reports whether nothing is served, nothing waits and nobody came during the window.
func (q Quiet) Calm() bool { return q.Active == 0 && q.Queued == 0 && q.Outside == 0 }
