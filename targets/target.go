// Package targets defines what a deploy acts on and how it acts on many at once: a Target is asked for its State, given a
// release to stage and told to activate it; Each does so on a group within a width and a failure budget.
package targets

import (
	"context"
	"strings"
	"time"

	"scap/sync/release"
)

// Switch is what Activate is asked to do.
type Switch = release.Switch

// Pooling is what the balancers say of a host.
type Pooling string

// The pool states. The zero value means that nobody was asked.
const (
	PoolUnknown Pooling = ""
	PoolIn      Pooling = "in"
	PoolOut     Pooling = "out"
	PoolMixed   Pooling = "mixed" // balancers disagree
	PoolNone    Pooling = "none"  // the target has no balancer
)

// State is what a target says of itself now. It is asked afresh, never remembered.
type State struct {
	Disk    release.ID     `json:"disk"`    // where `current` points
	Running release.ID     `json:"running"` // what the runtime proved; zero when it proved nothing
	Reason  string         `json:"reason,omitempty"`
	Desired release.ID     `json:"desired"` // what the host's last intent wants: To, or From after a proven return
	Pooled  Pooling        `json:"pooled,omitempty"`
	Serving bool           `json:"serving"` // in the pool and answering its health check: counts as capacity
	Intent  release.Intent `json:"intent"`
	Proof   release.Proof  `json:"proof"`
	// Releases are complete on the target's disk.
	Releases []release.ID `json:"releases,omitempty"`
	Free     uint64       `json:"free"`   // bytes a deploy user can still write
	Plain    bool         `json:"plain"`  // the served path is a plain directory: adopt it first
	Served   string       `json:"served"` // the served path
	// Problems are reasons not to deploy to this target (Check of its runtime, a stray balancer, orphan workers).
	Problems []string `json:"problems,omitempty"`
}

// Consistent reports whether disk, running and desired release are one, and which.
func (s State) Consistent() (release.ID, bool) {
	return s.Disk, !s.Disk.IsZero() && s.Disk == s.Running && (s.Desired.IsZero() || s.Desired == s.Disk)
}

// Target is one host, or anything else that serves a release as a unit. Its methods may be called from several
// goroutines, one call at a time does work on the target. An error says what was tried; it means that the act may or may
// not have happened, and State tells.
type Target interface {
	Name() string
	// Stage puts r on the target, unseen by users. Repeatable; an interrupted Stage resumes.
	Stage(ctx context.Context, r release.Release) error
	// Activate makes code and runtime serve s.To as one act. Repeatable. After an error that wraps ErrReturned the
	// target serves s.From again, proven, and is back in the pool. Once begun it ends, also when ctx does.
	Activate(ctx context.Context, s Switch) error
	// State asks the target.
	State(ctx context.Context) (State, error)
}

// Steward is what a Target that keeps releases and fences orchestrators can do besides.
type Steward interface {
	// Claim raises the target's fencing token. It fails with ErrFenced when the target has seen a larger one.
	Claim(ctx context.Context, token uint64, owner string) error
	// Verify hashes the release on the target's disk.
	Verify(ctx context.Context, id release.ID) error
	// Prune removes all releases but those in keep, the current one and any that is running.
	Prune(ctx context.Context, token uint64, keep []release.ID) error
	// Repair brings a host that is out, or between two releases, to serve id, proven and pooled; the host's own
	// journal is obeyed as to who took it out.
	Repair(ctx context.Context, s Switch) error
}

// Isolator is a Target that can be taken out of service as it is: it alone serves badly, and the release is not to blame.
type Isolator interface {
	// Isolate takes the target out of every balancer and marks it out in its own journal, in the name of
	// SuspectOwner(s.Owner). It serves nobody then; its release is left as it is, and requests under way end by
	// themselves. Of s only Token and Owner matter. It is repeatable and fenced by the token (ErrFenced). Whether the
	// pool can spare the target is for the caller to know. Once begun it ends, also when ctx does; after an error the
	// target may be out at some places: State tells.
	Isolate(ctx context.Context, s Switch) error
}

// Trier is a Target that can serve a second release to a share of its users, beside the one that it serves.
type Trier interface {
	// CanTry says from a target's State whether it can try a release now, and why not.
	CanTry(State) error
	// Try starts s.To beside s.From, proves it unseen, and sends it its share of the requests until then at the latest; the
	// target ends the trial by itself after that. State.Proof.Trial names it. The target's Disk and Running stay s.From; an
	// Activate of s.To makes the trial what all users get. It is repeatable and fenced by the token (ErrFenced). After an
	// error nobody is sent to s.To.
	Try(ctx context.Context, s Switch, until time.Time) error
	// Abandon ends a trial: nobody is sent to it any more, requests under way end. Without one it does nothing. Repeatable,
	// fenced.
	Abandon(ctx context.Context, token uint64) error
}

// suspected stands in a host's own journal behind the deploy that isolated it. It outlives the deploy: nothing but a person's
// word brings such a host back, save the way back of the deploy itself.
const suspected = " (suspect)"

// SuspectOwner is in whose name owner isolates a target.
func SuspectOwner(owner string) string { return owner + suspected }

// IsSuspect reports whether a target is out because a deploy isolated it, and by whom.
func IsSuspect(in release.Intent) (owner string, ok bool) {
	owner, _, ok = strings.Cut(in.Owner, suspected)
	return owner, ok && in.Out
}
