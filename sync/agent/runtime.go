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
	// State asks the runtime, afresh, what it runs for users. It returns an error only when it could not ask at all; a
	// runtime that is down, mixed or wrongly configured is a Proof with a Reason. What is kept warm is in its Road, what is
	// tried on a share of the requests is its Trial; neither changes what Release names.
	State(ctx context.Context) (release.Proof, error)

	// Switch makes the runtime run s.To in place of s.From. link swaps the host's `current` and is repeatable. It is called
	// when no process that serves users, or ever will, reads what `current` names:
	//   - drain: every process of the runtime has ended, and none is started before it returns;
	//   - reload: right before the reload signal;
	//   - handover: while users are served. The runtime of s.From and that of s.To, which is proven by then, each see their
	//     one release and no link of the host's; what link moves is for commands and jobs alone. Users move right after it.
	// On a nil error the returned Proof names s.To. On any other end Switch has changed nothing that it did not say: the
	// caller then reads State and, if that is not s.From, calls Switch the other way. Switch does not give up half way
	// because ctx ends after the runtime was stopped, or link was called.
	//
	// With s.Serving users reach the host from beginning to end: a runtime that would have to stop for the switch refuses,
	// with nothing changed and link not called. Only a handover can be done so. With s.Hand, which goes with a host that
	// nobody reaches, whose the runtime is changes hands too; s.From may then be s.To. After an error it is again whose it
	// was as far as that can be had, and the caller's Switch back has the opposite Hand.
	//
	// The Proof's Road says by which strategy the next switch would go. A runtime whose strategy is handover keeps that of
	// s.From warm for a while, so that the way back is one more Switch, by rename.
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
