package main

import (
	"testing"

	"scap/phases/journal"
)

// The last release that ended proven is where a rollback goes, also from a deploy that left a host behind.
func TestWhereARollbackGoes(t *testing.T) {
	deploy := func(from, to, how string) journal.Deploy {
		return journal.Deploy{From: from, To: to, How: how, Changed: true}
	}
	back := func(from, to, how string) journal.Deploy {
		d := deploy(from, to, how)
		d.Outline.Back = true
		return d
	}
	first := []journal.Deploy{deploy("", "A", journal.Deployed)} // the oldest
	second := append([]journal.Deploy{deploy("A", "B", journal.Deployed)}, first...)
	for _, c := range []struct {
		name   string
		newest []journal.Deploy
		want   string
	}{
		{"deployed", nil, "A"},
		{"rolled back", []journal.Deploy{deploy("B", "C", journal.RolledBack)}, "A"},
		{"a host was left behind", []journal.Deploy{deploy("B", "C", journal.Inconsistent)}, "B"},
		{"a host was left behind, and nothing was changed since", []journal.Deploy{{From: "B", To: "D", How: journal.Unchanged}, deploy("B", "C", journal.Inconsistent)}, "B"},
		{"a rollback left a host behind: again", []journal.Deploy{back("C", "B", journal.Inconsistent), deploy("B", "C", journal.Deployed)}, "B"},
		{"both", []journal.Deploy{back("C", "B", journal.Inconsistent), deploy("B", "C", journal.Inconsistent)}, "B"},
		{"a rollback", []journal.Deploy{back("C", "B", journal.Deployed), deploy("B", "C", journal.Deployed)}, "A"},
	} {
		past := append(append([]journal.Deploy{}, c.newest...), second...)
		if got, _ := journal.LastGood(past, serving(past)); got != c.want {
			t.Errorf("%s: to %q, want %q", c.name, got, c.want)
		}
	}
}
