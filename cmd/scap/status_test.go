package main

import (
	"strings"
	"testing"
	"time"

	"scap/phases/journal"
)

// What a watch does is told as it is, also when nobody watches any more: the deploy host was restarted, or the watcher died.
func TestTheStatusOfAWatch(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	open := func(heard, until time.Duration) journal.Deploy {
		return journal.Deploy{Watched: journal.WatchOpen, WatchAt: now.Add(-heard), WatchUntil: now.Add(until), WatchText: "so far\x1b[2J"}
	}
	left := open(time.Minute, 9*time.Minute)
	left.WatchLeft = true
	for name, tt := range map[string]struct {
		deploy journal.Deploy
		want   string
	}{
		"none":        {journal.Deploy{}, ""},
		"goes on":     {open(90*time.Second, 9*time.Minute), "watched until 12:09:00 UTC"},
		"just over":   {open(30*time.Second, -30*time.Second), "watched until"},
		"was stopped": {left, "stopped at 11:59:00 UTC: `scap watch` takes it up"},
		"died":        {open(6*time.Minute, 9*time.Minute), "nothing was heard of its watch since 11:54:00 UTC: `scap watch` takes it up"},
		"died, late":  {open(6*time.Minute, -2*time.Minute), "was to end at 11:58:00 UTC and did not"},
		"failed":      {journal.Deploy{Watched: journal.WatchFailed, WatchText: "ratio 12"}, "failed it: ratio 12; it is not taken back yet: `scap rollback`"},
		"over":        {journal.Deploy{Watched: journal.WatchOver, WatchText: "watch over"}, "its watch: over: watch over"},
	} {
		t.Run(name, func(t *testing.T) {
			got := watchText(tt.deploy, now)
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) || strings.Contains(got, "\x1b") {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
