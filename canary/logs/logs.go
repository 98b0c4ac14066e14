// Package logs judges a release by the logs of the hosts that run it. On a host, Files follows the web server's, php's
// and MediaWiki's own log files and counts requests and distinct failing ones, by the ticks of their own time; on the deploy
// host, Source asks the hosts for these counts, and Gate for totals.
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
package logs

import (
	"context"
	"time"

	"scap/canary"
)

// Query asks a host for what it logged: in the ticks of [From, To), or, when these are zero, in all since its runtime was
// proven.
type Query struct {
	Since   time.Time `json:"since"`             // lines from before it are not of the runtime; by the host's own clock
	Release string    `json:"release,omitempty"` // lines that name another one are not of the new runtime
	Nonce   string    `json:"nonce,omitempty"`   // what the new runtime wrote into its own log

	From   time.Time     `json:"from,omitzero"` // by the asker's clock, a whole multiple of Step since the Unix epoch, as To is
	To     time.Time     `json:"to,omitzero"`   // an hour after From at most
	Step   time.Duration `json:"step,omitempty"`
	Now    time.Time     `json:"now,omitzero"` // the asker's clock; zero: not compared with the host's
	Prints bool          `json:"prints,omitempty"`
}

func (q Query) ranged() bool { return q.Step != 0 || !q.From.IsZero() || !q.To.IsZero() }

// Page is a host's answer: totals since Query.Since, never differences, so a question may be asked again at any time and
// by another deploy host; or, to a Query with a range, its ticks.
type Page struct {
	Requests int64         `json:"requests"` // of users, served by the new runtime
	Vouched  int64         `json:"vouched"`  // of them, those since a log was last cut off while it was read
	Failing  int64         `json:"failing"`  // distinct failing requests
	Lines    int64         `json:"lines"`    // of access logs since then, whoever asked: the log is alive
	Top      []Fingerprint `json:"top,omitempty"`
	Nonce    bool          `json:"nonce"` // Query.Nonce was read back
	Newest   time.Time     `json:"newest"`
	Behind   int64         `json:"behind,omitempty"` // bytes that are still to be read
	// Problems are reasons not to trust the counts: an unreadable log, lines in an unknown form.
	Problems []string `json:"problems,omitempty"`

	// Ticks are the closed ones of the range in which anything was logged, in order; times are the asker's.
	Ticks   []canary.Tick  `json:"ticks,omitempty"`
	Prints  []canary.Print `json:"prints,omitempty"`  // of the closed ticks, the most frequent first
	Through time.Time      `json:"through,omitzero"`  // all before it has been read
	Skew    time.Duration  `json:"skew,omitempty"`    // how far the host's clock is ahead of the asker's; whole seconds
	Workers int            `json:"workers,omitempty"` // distinct ones whose requests failed in the closed ticks
	Cause   canary.Cause   `json:"cause,omitempty"`   // of the first of Problems
}

// Fingerprint is one kind of failure: "TypeError in Hook.php:12".
type Fingerprint struct {
	Text  string `json:"text"`
	Count int64  `json:"count"`
	ID    string `json:"id,omitempty"` // one request that failed so
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

// maxTop bounds the fingerprints in one Page.
const maxTop = 10
