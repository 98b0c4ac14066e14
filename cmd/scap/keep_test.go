package main

import (
	"slices"
	"testing"
	"time"

	"scap/phases/journal"
	"scap/sync/release"
)

func TestKeepLeavesEveryWayBack(t *testing.T) {
	now := time.Date(2023, 1, 17, 12, 0, 0, 0, time.UTC)
	id := func(n byte) release.ID { return release.ID{n} }
	// deployed is a deploy some hours ago; Changed with How empty is one that died.
	deployed := func(from, to byte, hours int, how string) journal.Deploy {
		at := now.Add(-time.Duration(hours) * time.Hour)
		return journal.Deploy{From: id(from).String(), To: id(to).String(), How: how, Changed: true, Began: at, Ended: at}
	}
	failed := deployed(2, 9, 1, journal.RolledBack)
	failed.Failed = true
	back := deployed(3, 2, 1, journal.Deployed)
	for _, c := range []struct {
		name string
		ds   []journal.Deploy // newest first
		n    int
		want []release.ID
	}{
		{"nothing yet", nil, 5, nil},
		{"what the first deploy found", []journal.Deploy{deployed(1, 2, 1, journal.Deployed)}, 5, []release.ID{id(2), id(1)}},
		{"never what a gate failed", []journal.Deploy{failed, deployed(1, 2, 2, journal.Deployed)}, 5, []release.ID{id(2), id(1)}},
		{"failed once, deployed since", []journal.Deploy{deployed(2, 9, 0, journal.Deployed), failed, deployed(1, 2, 2, journal.Deployed)}, 5, []release.ID{id(9), id(2), id(1)}},
		{"a deploy that died", []journal.Deploy{deployed(1, 2, 1, "")}, 5, []release.ID{id(1)}},
		{"after a rollback both", []journal.Deploy{back, deployed(2, 3, 2, journal.Deployed)}, 5, []release.ID{id(2), id(3)}},
		{"old ones up to n", []journal.Deploy{deployed(3, 4, 90, journal.Deployed), deployed(2, 3, 91, journal.Deployed), deployed(1, 2, 92, journal.Deployed)}, 2, []release.ID{id(4), id(3)}},
		{"young ones beyond n", []journal.Deploy{deployed(3, 4, 1, journal.Deployed), deployed(2, 3, 2, journal.Deployed), deployed(1, 2, 30, journal.Deployed)}, 2, []release.ID{id(4), id(3), id(2)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := keep(c.ds, c.n, 24*time.Hour, now); !slices.Equal(got, c.want) {
				t.Errorf("%v, not %v", got, c.want)
			}
		})
	}
}
