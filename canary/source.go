package canary

import (
	"context"
	"time"
)

// Source counts requests and failures by host and tick. Whoever implements it passes the suite of canary/sourcetest.
//
// It never gives a zero for what it does not know: a host that it knows nothing of has a Problem or a Through in the past.
// An error means that nothing was learned of any host. Read may be called for several questions at once, may be repeated
// and gives the same answer for the same closed ticks, also to another process. It ends with ctx.
type Source interface {
	Read(ctx context.Context, q Query) (Reading, error)
}

// SourceFunc is a function that is a Source.
type SourceFunc func(ctx context.Context, q Query) (Reading, error)

var _ Source = SourceFunc(nil)

// Read calls f.
func (f SourceFunc) Read(ctx context.Context, q Query) (Reading, error) { return f(ctx, q) }

// Query asks for events whose own time (never the time of their arrival) is in [From, To), both whole multiples of Step since
// the Unix epoch.
type Query struct {
	// Hosts are those asked about. What a host served before its Since, or for another release than its Release (when
	// the record or its runtime says so), is not counted. A zero Since and an empty Release stand for anything.
	//
	// A host with On is one of two releases that the machine On serves at once: the machine is asked, and what is known to be
	// of that release is answered under the host's Name. A source that cannot tell the two apart has a Problem with it, never a
	// mixture of both. An empty Release with On, asked before there is a second one, is what the machine serves by its usual way.
	Hosts    []Host
	From, To time.Time
	Step     time.Duration
	Now      time.Time // the asker's clock, by which a host's own is judged
	Prints   bool      // fingerprints are wanted too
}

// Reading has one HostReading for each host of the Query, in order.
type Reading struct {
	Hosts []HostReading
	// Step is the length of the ticks: the Query's, or a multiple of it when the source cannot see as finely.
	Step time.Duration
}

// HostReading is what is known of one host.
type HostReading struct {
	Host string
	// Through is the host's watermark: all events before it have arrived. Ticks that end at or before it are closed; one that
	// is not listed had no request. Zero: nothing is known.
	Through time.Time
	Ticks   []Tick // in order; only those in [From, To)
	Prints  []Print
	// Workers counts the distinct workers of the host whose requests failed from its Since to To, as far as the source looks
	// back; 0: it cannot tell. A failure that two workers had is not one worker's.
	Workers int
	// Nonce says that the host's Nonce was read back through the same path as the events.
	Nonce bool
	// Skew is how far the host's clock is ahead of Query.Now, where the source can tell. Ticks and Through are corrected for it.
	Skew time.Duration
	// Note, when not empty, is what takes nothing from the counts and people should know.
	Note string
	// Problem, when not empty, is why the host's counts must not be used, in words for people; Cause is its kind.
	Problem string
	Cause   Cause
	// Lost, of a Problem, says that nothing will ever be known of the host before it, and that the source sees no Problem from
	// then on: what was asked is damaged and the damage is over. Zero: it may still come.
	Lost time.Time
}

// Tick counts one host's requests in one tick.
type Tick struct {
	At       time.Time        `json:"at"` // its beginning
	Requests int64            `json:"n"`
	Failing  int64            `json:"x,omitempty"`    // distinct failing requests
	Good     map[string]int64 `json:"good,omitempty"` // successes of business signals, by the signal's name
	// Stray counts distinct failing requests of a machine that serves two releases of which it cannot be told whose they are: they
	// are in the Failing of neither, and in the Stray of either.
	Stray int64 `json:"stray,omitempty"`
}

// Print is one kind of failure on one host: its normalised class, message and top frame.
type Print struct {
	Text  string `json:"text"`           // "TypeError in src/Hook.php:12: Too few arguments", numbers and ids replaced
	File  string `json:"file,omitempty"` // of the top frame, relative to the release's root
	Count int64  `json:"count"`          // distinct requests in the Query's range
	ID    string `json:"id,omitempty"`   // one request that failed so
}
