// Package agent serves one deploy connection on a target: it stages releases into the host's store, switches store and
// runtime as one, and answers for what really runs. The same code serves SSH sessions and the embedded fleet.
package agent

import (
	"context"
	"encoding/json"
	"time"

	"scap/sync/release"
)

// Trier is a Runtime that can run a second release beside the one that serves. Calls come one at a time, as those of Runtime.
type Trier interface {
	// Try starts s.To beside s.From, warms and proves it where no user is, and then has the web server send it the share of
	// the host's requests that is configured there. The Proof's Trial names it. Repeatable: one that runs is proven again
	// and kept until the later time. After until the host ends it by itself. On an error nobody is sent to it.
	Try(ctx context.Context, s release.Switch, until time.Time) (release.Proof, error)
	// Abandon sends nobody to a trial any more and ends it; requests under way end. Without a trial it does nothing.
	Abandon(ctx context.Context) (release.Proof, error)
}

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
