package ui

import (
	"encoding/json"
	"fmt"
	"time"

	"scap/phases/journal"
)

// watch is the watch after the end of a deploy.
type watch struct {
	began, until time.Time // of the watch; zero when not known
	at           time.Time // of the last word
	verdict      string    // the gate's, or how the watch ended
	ruling       ruling
	reason       string
	said         string
	told         time.Time
}

// turnWatch takes a Watched record.
func (s *story) turnWatch(r journal.Record) {
	w := s.watch
	if w == nil {
		w = &watch{}
		s.watch = w
		if s.end != nil {
			w.began = s.end.At
		}
	}
	var seen journal.Sighting
	if json.Unmarshal(r.Data, &seen) == nil && !seen.Until.IsZero() {
		w.until = seen.Until
	}
	w.at, w.verdict, w.reason, w.ruling = r.At, r.Verdict, r.Text, readRuling(r)
}

// span says how far the watch is: "12 min of 15".
func (w *watch) span() string {
	minutes := func(d time.Duration) int { return int(max(d, 0).Round(time.Minute) / time.Minute) }
	switch whole := w.until.Sub(w.began); {
	case w.began.IsZero() || w.until.IsZero() || whole <= 0:
		return ""
	case whole < 2*time.Minute:
		return fmt.Sprintf("%.0f s of %.0f", max(min(w.at.Sub(w.began), whole), 0).Seconds(), whole.Seconds())
	default:
		return fmt.Sprintf("%d min of %d", min(minutes(w.at.Sub(w.began)), minutes(whole)), minutes(whole))
	}
}

// says is the watch's last word.
func (w *watch) says() string {
	switch w.verdict {
	case journal.VerdictOver:
		return "over"
	case journal.VerdictSuperseded:
		return "ends: another deploy has begun"
	case journal.VerdictLeft:
		return "left; `scap watch` takes it up again"
	}
	return "gate " + w.ruling.says(w.verdict)
}

// over reports whether the last word ended the watch.
func (w *watch) over() bool {
	switch w.verdict {
	case journal.VerdictOver, journal.VerdictSuperseded, journal.VerdictLeft, journal.VerdictFail:
		return true
	}
	return false
}

// tellWatch tells each word of the watch that is news, and once in a while that it goes on.
func (s *story) tellWatch(r journal.Record) []line {
	w := s.watch
	key := w.says()
	if w.said == key && r.At.Sub(w.told) < again {
		return nil
	}
	w.said, w.told = key, r.At
	l := s.ruled(joined(joined("watch", w.span()), key), r.Text)
	l.loud = w.verdict == journal.VerdictFail || w.verdict == "suspect" || w.verdict == journal.VerdictSuperseded
	return []line{l}
}

// watchLine is the watch in the block of a terminal.
func (v *Screen) watchLine(width int) row {
	w := v.story.watch
	mark, look := "> ", yellow
	switch {
	case w.verdict == journal.VerdictOver:
		mark, look = "# ", green
	case w.over():
		mark, look = "x ", red
	}
	name, _ := v.story.widths()
	tone := map[string]style{"pass": green, "fail": red, "hold": yellow, "suspect": red}[w.verdict]
	r := row{{look, mark}, {normal, Pad("watch", name)}}
	if text := w.span(); text != "" {
		r = append(r, span{normal, " " + text})
	}
	r = append(r, span{tone, " " + w.says()})
	if w.reason != "" {
		r = append(r, span{tone, ": " + Clean(w.reason)})
	}
	return r.cut(width)
}
