package main

import (
	"strings"
	"testing"

	"scap/phases/journal"
	"scap/sync/release"
)

// A revert with --now goes to a release without asking a gate only when nothing ever spoke against it: neither a gate nor
// who took the fleet away from it.
func TestWhatIsGoodEnoughForNoGate(t *testing.T) {
	id := func(letter string) string { return strings.Repeat(letter, 64) }
	deploy := func(from, to, how string) journal.Deploy {
		return journal.Deploy{From: id(from), To: id(to), How: how, Changed: true}
	}
	with := func(d journal.Deploy, do func(*journal.Deploy)) journal.Deploy { do(&d); return d }
	back := func(d *journal.Deploy) { d.Outline.Back = true }
	revert := func(d *journal.Deploy) { d.Outline.Verb = "backport --revert" }
	now := func(d *journal.Deploy) { d.Outline.Verb = "backport --revert --now" }
	for _, row := range []struct {
		name string
		past []journal.Deploy // newest first
		want bool             // of b
	}{
		{"never seen", []journal.Deploy{deploy("a", "c", journal.Deployed)}, false},
		{"deployed", []journal.Deploy{deploy("b", "c", journal.Deployed), deploy("a", "b", journal.Deployed)}, true},
		{"found", []journal.Deploy{deploy("b", "c", journal.Deployed)}, true},
		{"refused", []journal.Deploy{deploy("a", "b", journal.RolledBack)}, false},
		{"failed by its watch", []journal.Deploy{with(deploy("a", "b", journal.Deployed), func(d *journal.Deploy) { d.Failed = true })}, false},
		{"left by a rollback", []journal.Deploy{with(deploy("b", "a", journal.Deployed), back), deploy("a", "b", journal.Deployed)}, false},
		{"left by a revert", []journal.Deploy{with(deploy("b", "c", journal.Deployed), revert), deploy("a", "b", journal.Deployed)}, false},
		{"left by a revert at once", []journal.Deploy{with(deploy("b", "c", journal.Deployed), now), deploy("a", "b", journal.Deployed)}, false},
		{"reached by a rollback", []journal.Deploy{with(deploy("c", "b", journal.Deployed), back), deploy("b", "c", journal.Deployed), deploy("a", "b", journal.Deployed)}, true},
	} {
		b, err := release.ParseID(id("b"))
		if err != nil {
			t.Fatal(err)
		}
		if got := good(row.past, b); got != row.want {
			t.Errorf("%s: %v", row.name, got)
		}
	}
}
