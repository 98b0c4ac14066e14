// Package logs counts requests and failing ones by the logs of the hosts that served them. On a host, Files follows the web
// server's, php's and MediaWiki's own log files and counts by the ticks of their lines' own time; on the deploy host, Source
// asks the hosts for these counts.
//
// What counts as a user's request: a line of an access log, unless its user agent begins with "scap/" or "scap-agent"
// (probes and warm-up of this tool), its path is listed as Own (health checks of balancers must be: they would otherwise
// stand in for traffic), or it says that no upstream was asked. It belongs to the new runtime when it ended at Since or
// later and, if the line carries a release, when that is the release asked for. Web servers cut times to the second, so
// the first second's requests may be left out; none is ever added.
//
// What counts as failing: an answer of 500 and above, an uncaught exception or fatal error in MediaWiki's log, a fatal
// error or a killed child in php's. Lines with one request id are one failing request. Lines without any cannot be told
// apart from those of another log, so the largest count of one log stands for them: a lower bound, never counted twice.
// A request known by several lines counts once, in the tick of the first of them by time, whichever log has it.
//
// What is closed: ticks that end five seconds before the last heartbeat that was read back from the access log, or longer if
// its lines come later than that. What a closed tick counts is a function of the logs alone: another agent, or one that was
// connected to anew, reads the same.
//
// # Two releases on one host
//
// While a host serves two releases at once (Query.Arm), a line belongs to one of them by the first of these that it has:
//
//  1. a field "release" that names one of the two; a line that names a third release is of neither;
//  2. in an access log the server that answered last, from nginx's $upstream_addr or Apache's %{BALANCER_WORKER_NAME}e, in
//     nginx's error log the upstream of the message: the trial's iff it is one of Config.Trial;
//  3. in a log of errors, the release in the path of the file that failed, …/releases/<64 hex digits>/…;
//  4. the access line with the same request id;
//  5. without an id, the one release that paths anywhere in the line are of.
//
// A request counts where it was served: an access line for the trial alone is in the trial's Requests. One that a web server
// tried at one release and then gave to the other, because the first did not answer, is a failing request of the first and a
// request of the second: users may not notice, but the release failed.
//
// A failing line with an id and none of 1 to 3 waits for its access line, and then counts at the later time of both, so that a
// closed tick stays as it is. What is left is of neither release and goes into Tick.Stray, without those that may be the same
// requests as failures whose release is known: a child that was killed without a word is the 502 of an access line. Page.Note
// has their number. How they are judged is said at package canary: no verdict rests on them. An access line without any
// of 1 and 2 is another matter, for then nobody knows what a release served: more than one in a hundred is a Problem.
package logs

import (
	"context"
	"time"

	"scap/canary"
)

// Query asks a host for what it logged in the ticks of [From, To), by the asker's clock.
type Query struct {
	Since   time.Time `json:"since,omitzero"`    // lines from before it are not of the runtime; by the host's own clock
	Release string    `json:"release,omitempty"` // lines that name another one are not of the runtime
	Nonce   string    `json:"nonce,omitempty"`   // what the runtime wrote into its own log
	Arm     Arm       `json:"arm,omitempty"`     // which of two releases that the host serves at once; empty: it serves one
	Beside  string    `json:"beside,omitempty"`  // with Arm, the other one

	From   time.Time     `json:"from"` // a whole multiple of Step since the Unix epoch, as To is
	To     time.Time     `json:"to"`   // an hour after From at most
	Step   time.Duration `json:"step"`
	Now    time.Time     `json:"now,omitzero"` // the asker's clock; zero: not compared with the host's
	Prints bool          `json:"prints,omitempty"`
}

// Arm is one of two releases that a host serves at once.
type Arm string

// The arms.
const (
	Main  Arm = "main"  // what its web server asks by the usual way
	Trial Arm = "trial" // what it asks by one of Config.Trial
)

// Page is a host's answer. The same ticks may be asked for again at any time, also by another deploy host.
type Page struct {
	Arm    Arm    `json:"arm,omitempty"`    // Query.Arm: an agent that knows none of it answers without
	Nonce  bool   `json:"nonce"`            // Query.Nonce was read back
	Behind int64  `json:"behind,omitempty"` // bytes that are still to be read
	Note   string `json:"note,omitempty"`   // what takes nothing from the counts and should be known
	// Problems are reasons not to trust the counts: an unreadable log, lines in an unknown form.
	Problems []string `json:"problems,omitempty"`

	// Ticks are the closed ones of the range in which anything was logged, in order; times are the asker's.
	Ticks   []canary.Tick  `json:"ticks,omitempty"`
	Prints  []canary.Print `json:"prints,omitempty"`  // of the closed ticks, the most frequent first
	Through time.Time      `json:"through,omitzero"`  // all before it has been read
	Skew    time.Duration  `json:"skew,omitempty"`    // how far the host's clock is ahead of the asker's; whole seconds
	Workers int            `json:"workers,omitempty"` // distinct ones whose requests failed in the closed ticks
	Cause   canary.Cause   `json:"cause,omitempty"`   // of the first of Problems
	Lost    time.Time      `json:"lost,omitzero"`     // all of Problems are of what was before it; zero: they may go on
}

// Reader asks a host. It must be safe for several hosts at once and end with ctx.
type Reader interface {
	Read(ctx context.Context, host string, q Query) (Page, error)
}

// ReaderFunc is a function that is a Reader.
type ReaderFunc func(ctx context.Context, host string, q Query) (Page, error)

var _ Reader = ReaderFunc(nil)

// Read calls f.
func (f ReaderFunc) Read(ctx context.Context, host string, q Query) (Page, error) {
	return f(ctx, host, q)
}
