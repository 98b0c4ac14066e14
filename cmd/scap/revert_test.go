package main

import (
	"strings"
	"testing"

	"scap/phases/journal"
	"scap/sync/change"
	"scap/sync/change/pin"
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

// A change is taken back before what it stands on, whatever their numbers and whatever order they are named in.
func TestChildrenAreRevertedFirst(t *testing.T) {
	one := change.Change{Number: 1001, Revision: "a"}
	two := change.Change{Number: 1002, Revision: "b"}
	low := change.Change{Number: 900, Revision: "c", Parents: []string{"a"}} // a child with a lower number
	three := change.Change{Number: 950, Revision: "d"}
	for _, list := range [][]change.Change{{one, two, low}, {low, two, one}, {two, one, low}, {one, three, two, low}, {low, three, two, one}} {
		got := numbers(numbersOf(childrenFirst(list)))
		if strings.Index(got, "900") > strings.Index(got, "1001") || strings.Index(got, "1002") > strings.Index(got, "1001") {
			t.Errorf("%s of %s", got, numbers(numbersOf(list)))
		}
	}
}

// A revert that Gerrit makes, or that is open already, is deployed only if it comes to the trees that were confirmed.
func TestARevertThatComesToSomethingElseIsRefused(t *testing.T) {
	pinned := func(trees ...string) *pin.Pinned {
		p := &pin.Pinned{}
		for i, tree := range trees {
			if tree != "" {
				p.Parts = append(p.Parts, change.Part{Path: strings.Repeat("x", i), Project: "p", Tree: tree})
			}
		}
		return p
	}
	for _, row := range []struct {
		name string
		now  *pin.Pinned
		ok   bool
	}{
		{"the same", pinned("a", "b"), true},
		{"another tree", pinned("a", "c"), false},
		{"one more", pinned("a", "b", "c"), false},
		{"one less", pinned("a"), false},
		{"elsewhere", pinned("a", "", "b"), false},
	} {
		if err := samePins(pinned("a", "b"), row.now); (err == nil) != row.ok {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}
