// Package announce tells people and their machines how deploys go: IRC, chat, the changes under review, a status page,
// metrics and traces. It reads the journal, so what it says is what happened; nothing it does, and nothing that happens to
// it, changes a deploy.
package announce

import (
	"context"
	"slices"
	"time"

	"scap/phases/journal"
)

// What is what there is to tell.
type What string

// What can be told. How a deploy ended has the journal's word.
const (
	Started      What = "started"
	Tested       What = "tested"       // the test servers serve it and their gate has passed
	Returning    What = "rolling-back" // the way back begins; who wants to hear RolledBack is told
	Deployed     What = journal.Deployed
	RolledBack   What = journal.RolledBack
	Cancelled    What = journal.Cancelled
	Declined     What = journal.Declined
	Unchanged    What = journal.Unchanged
	Inconsistent What = journal.Inconsistent
	Watch        What = "watch" // the gate failed the release after the deploy's end
	Said         What = "said"  // by a deployer, in his own words
)

// watched is the end of a watch that failed nothing. It is for the metrics.
const watched What = ""

// Words are what Options.On may name.
func Words() []string {
	var list []string
	for _, w := range []What{Started, Tested, Deployed, RolledBack, Cancelled, Declined, Unchanged, Inconsistent, Watch, Said} {
		list = append(list, string(w))
	}
	return list
}

// Event is one thing to tell. Nothing in it comes from a change that is not public, and no error's text: in those are lines
// of logs, which not everybody may read.
type Event struct {
	What   What
	At     time.Time
	Deploy string // the journal's name of it; empty with Said
	// The parts of the line: "jd@deploy1 Finished scap sync" ": " "the message" " (duration: 00m 12s)".
	Did, About, Rest string
	// Full is the reason as it stands in the journal, texts of errors included. It must not leave the deploy host. It is
	// empty where Rest says it all, and where the deploy has a change that is not public.
	Full string

	facts *facts // of the deploy so far; nil with Said
}

// Announcer tells one event. It may try again what went wrong, and ends with ctx. It is called by one goroutine at a time,
// in the order of the events. One that is an io.Closer is closed behind the last of them.
type Announcer interface {
	Tell(ctx context.Context, e Event) error
}

// Text is the event on one line of at most most bytes, with mark before it. What it is about is cut before what happened.
func (e Event) Text(mark string, most int) string {
	head, about, rest := mark+e.Did, e.About, e.Rest
	if about != "" {
		head += ": "
	}
	const least = 40 // bytes that say what it is about
	if over := len(head) + len(about) + len(rest) - most; over > 0 {
		about = cut(about, max(len(about)-over, min(least, len(about))))
	}
	return cut(head+about+rest, most)
}

// wanted reports whether who asked for words is told e.
func (e Event) wanted(words []What) bool {
	w := e.What
	if w == Returning {
		w = RolledBack
	}
	return len(words) == 0 || slices.Contains(words, w)
}

// ended reports whether e is how a deploy ended.
func (e Event) ended() bool {
	switch e.What {
	case Deployed, RolledBack, Cancelled, Declined, Unchanged, Inconsistent:
		return true
	}
	return false
}
