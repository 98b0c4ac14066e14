package keeper

import (
	"fmt"
	"slices"
	"time"
)

// Bounds of the alarms in the record.
const (
	maxAlarms = 16
	alarmTime = 7 * 24 * time.Hour
)

// raise adds an alarm to those of the last days. The same again, right after, is one.
func (r *record) raise(a Alarm) {
	r.Alarms = slices.DeleteFunc(r.Alarms, func(old Alarm) bool { return a.At.Sub(old.At) > alarmTime })
	if n := len(r.Alarms); n > 0 && r.Alarms[n-1].Pool == a.Pool && r.Alarms[n-1].Text == a.Text {
		r.Alarms = r.Alarms[:n-1]
	}
	r.Alarms = append(r.Alarms, a)
	r.Alarms = r.Alarms[max(0, len(r.Alarms)-maxAlarms):]
}

// alarmAgain is after how long something that is wrong as before is an alarm once more.
const alarmAgain = time.Hour

// alarm writes down what was found, of a pool or of everything, and says it. What is wrong as before is not repeated for a
// while.
func (w *watcher) alarm(r *record, pool, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	line := text
	if pool != everything {
		line = "pool " + pool + ": " + text
	}
	if !w.say(about(pool), line) {
		return
	}
	r.raise(Alarm{At: time.Now(), Pool: pool, Text: text})
	if err := w.save(r); err != nil {
		w.say("record", fmt.Sprintf("an alarm cannot be written down: %v", err))
	}
}

// well forgets what was said of a pool, or of everything: it would be news again.
func (w *watcher) well(pool string) { delete(w.remarks, about(pool)) }

func about(pool string) string { return "pool " + pool }

// remark is what was last said on a subject.
type remark struct {
	text string
	at   time.Time
}

// say prints a line, unless it was the last one on its subject, and reports whether it did.
func (w *watcher) say(subject, text string) bool {
	if last := w.remarks[subject]; last.text == text && time.Since(last.at) < alarmAgain {
		return false
	}
	w.remarks[subject] = remark{text, time.Now()}
	fmt.Fprintln(w.said, text)
	return true
}
