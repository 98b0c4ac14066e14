package journal

import (
	"encoding/json"
	"time"
)

// The Verdicts of a Watched record besides those of a gate.
const (
	VerdictOver       = "over"       // nothing failed for as long as it was to be watched
	VerdictFail       = "fail"       // the gate's: it ends the watch
	VerdictSuperseded = "superseded" // another deploy came; what it does to the targets is its own affair
	VerdictLeft       = "left"       // who watched was told to stop; it can be taken up again
)

// Watching is what became of the watch after a deploy.
type Watching string

// The states of a watch. One whose watcher died or left is open.
const (
	WatchNone       Watching = ""
	WatchOpen       Watching = "open"
	WatchOver       Watching = "over"
	WatchFailed     Watching = "failed"
	WatchSuperseded Watching = "superseded"
)

// Sighting is what stands in the Data of a Watched record beside the fields of the gate's ruling.
type Sighting struct {
	Until time.Time `json:"until"` // when the watch is to end
}

// watch takes a Watched record.
func (d *Deploy) watch(r Record) {
	d.Watched, d.WatchText, d.WatchAt, d.WatchLeft = WatchOpen, r.Text, r.At, r.Verdict == VerdictLeft
	switch r.Verdict {
	case VerdictOver:
		d.Watched = WatchOver
	case VerdictSuperseded:
		d.Watched = WatchSuperseded
	case VerdictFail:
		d.Watched, d.Failed = WatchFailed, true
	}
	var s Sighting
	if json.Unmarshal(r.Data, &s) == nil && !s.Until.IsZero() {
		d.WatchUntil = s.Until
	}
}
