// Package agent serves one deploy connection on a target: it stages releases into the host's store, switches store and
// runtime as one, and answers for what really runs. The same code serves SSH sessions and the embedded fleet.
package agent

import (
	"context"
	"encoding/json"
	"time"

	"scap/sync/release"
)

// Runtime is what executes a release on a host: php-fpm, its model, or nothing at all. Calls come one at a time.
type Runtime interface {
	// State asks the runtime, afresh, what it runs. It returns an error only when it could not ask at all; a runtime
	// that is down, mixed or wrongly configured is a Proof with a Reason.
	State(ctx context.Context) (release.Proof, error)

	// Switch makes the runtime run s.To in place of s.From. It calls link exactly when no process of the runtime can
	// run code or read files (or, for the reload strategy, right before the reload signal); link swaps the host's
	// `current` and is repeatable. On a nil error the returned Proof names s.To. On any other end Switch has changed
	// nothing that it did not say: the caller then reads State and, if that is not s.From, calls Switch the other way.
	// Switch does not give up half way because ctx ends after the runtime was stopped.
	Switch(ctx context.Context, s release.Switch, link func(context.Context) error) (release.Proof, error)

	// Quiet watches for window and reports what still reaches the runtime.
	Quiet(ctx context.Context, window time.Duration) (release.Quiet, error)

	// Check says before a deploy what would make Switch fail or lie (a broken configuration, a setting that lets code
	// change without a restart, a control command that is missing). It changes nothing.
	Check(ctx context.Context) error
}

// Answerer answers one kind of question about a host (its logs, an HTTP probe of itself) in JSON. It must bound what it
// returns and end with ctx.
type Answerer func(ctx context.Context, question json.RawMessage) (json.RawMessage, error)
