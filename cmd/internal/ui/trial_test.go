package ui

import (
	"encoding/json"
	"testing"
	"time"

	"scap/phases/journal"
)

// tried is a deploy that tries first: the test of the canaries passes and is promoted, but for one that does not try; in
// production the gate fails the release, one trial cannot be ended, and what is promoted goes back.
func tried(v View) {
	k := newTale(v)
	k.begin("Bump", journal.Group{Name: "canaries", Targets: canaries, Share: .05}, journal.Group{Name: "production", Targets: fleet[:3], Share: .005})
	k.host(journal.Intent, journal.Abandon, "production", fleet[0], "", 0) // somebody left it
	k.host(journal.Done, journal.Abandon, "production", fleet[0], "", time.Second)
	k.tell(0, journal.Record{Kind: journal.Intent, Act: journal.PhaseAct, Phase: "canaries"})
	k.tell(0, journal.Record{Kind: journal.Note, Phase: "canaries", Text: "not tried on a share first, activated after the others have passed: mw1004: no memory"})
	for _, n := range canaries[:3] {
		k.host(journal.Intent, journal.Try, "canaries", n, "", 0)
	}
	for _, n := range canaries[:2] {
		k.host(journal.Done, journal.Try, "canaries", n, "", 2*time.Second)
	}
	k.host(journal.Failed, journal.Try, "canaries", canaries[2], "the warm-up answered 500: the host went back", time.Second)
	k.held("canaries", "gathering", "canary 0 of 412 failing (0 %), control 3 of 8,204 (0.037 %)")
	data, _ := json.Marshal(journal.Term{Until: k.at.Add(5 * time.Minute)})
	k.tell(0, journal.Record{Kind: journal.Intent, Act: journal.Try, Phase: "canaries", Data: data})
	k.ruled("canaries", "pass", "canary 0 of 14,020 failing", time.Minute)
	for _, n := range []string{canaries[0], canaries[1], canaries[3]} {
		k.host(journal.Intent, journal.Activate, "canaries", n, "", 0)
		k.host(journal.Done, journal.Activate, "canaries", n, "", 300*time.Millisecond)
	}
	k.phaseEnds(journal.Done, "canaries", "")
	k.tell(0, journal.Record{Kind: journal.Intent, Act: journal.PhaseAct, Phase: "production"})
	for _, n := range fleet[:2] {
		k.host(journal.Intent, journal.Try, "production", n, "", 0)
		k.host(journal.Done, journal.Try, "production", n, "", 2*time.Second)
	}
	k.host(journal.Intent, journal.Try, "production", fleet[2], "", 0)
	k.host(journal.Failed, journal.Try, "production", fleet[2], "i/o timeout", 2*time.Second)
	k.held("production", "gathering", "canary 1 of 300 failing")
	k.ruled("production", "fail", "23 distinct failing requests of 812", 5*time.Second)
	k.phaseEnds(journal.Failed, "production", "the gate failed the release: 23 distinct failing requests of 812")
	k.host(journal.Intent, journal.Abandon, "production", fleet[0], "", 0)
	k.host(journal.Done, journal.Abandon, "production", fleet[0], "", 100*time.Millisecond)
	k.host(journal.Intent, journal.Abandon, "production", fleet[1], "", 0)
	k.host(journal.Failed, journal.Abandon, "production", fleet[1], "no route to host; the host ends it by itself at 2026-11-20T06:09:00Z", time.Second)
	k.tell(0, journal.Record{Kind: journal.Intent, Act: journal.Rollback, From: newID, To: oldID, Text: "phase production: the gate failed the release: 23 distinct failing requests of 812"})
	for _, n := range []string{canaries[0], canaries[1], canaries[3]} {
		k.host(journal.Intent, journal.Rollback, "canaries", n, "", 0)
		k.host(journal.Undone, journal.Rollback, "canaries", n, "", 100*time.Millisecond)
	}
	k.end(journal.Inconsistent, "not consistent: mw1006, mw1007: run `scap resume`")
}

// A host that was isolated while it tried stays so when its trial is ended behind it.
func TestTheEndOfATrialBehindAnIsolation(t *testing.T) {
	s := newStory()
	for _, r := range []journal.Record{
		{Kind: journal.Intent, Act: journal.Try, Phase: "p", Target: "a"},
		{Kind: journal.Done, Act: journal.Try, Phase: "p", Target: "a"},
		{Kind: journal.Intent, Act: journal.Isolate, Phase: "p", Target: "a"},
		{Kind: journal.Done, Act: journal.Isolate, Phase: "p", Target: "a"},
		{Kind: journal.Intent, Act: journal.Abandon, Phase: "p", Target: "a"},
		{Kind: journal.Done, Act: journal.Abandon, Phase: "p", Target: "a"},
	} {
		s.take(r)
	}
	if h := s.hosts["a"]; h.cell != isolated {
		t.Errorf("it is shown as %s", wordOf(h.cell))
	}
}
