package main

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"scap/canary"
)

// A gate over a source asks for the hosts whose phases name that source, on either arm, and for no other.
func TestAmongAsksForItsOwnHosts(t *testing.T) {
	var asked []string
	source := canary.SourceFunc(func(_ context.Context, q canary.Query) (canary.Reading, error) {
		for _, h := range q.Hosts {
			asked = append(asked, h.Name)
		}
		return canary.Reading{}, errors.New("that is all it is for")
	})
	hosts := func(names ...string) (list []canary.Host) {
		for _, n := range names {
			list = append(list, canary.Host{Name: n, Nonce: "nonce-of-" + n})
		}
		return list
	}
	g := among{&canary.Traffic{From: "logs", Source: source}, map[string]bool{"can": true, "early": true, "old": true}}
	now := time.Date(2023, 1, 17, 18, 40, 0, 0, time.UTC)
	r, err := g.Judge(t.Context(), canary.Window{
		Deploy: "d", Release: "to", From: "from", Canary: hosts("can"), Earlier: hosts("early", "mwdebug"), Control: hosts("old", "maintenance"),
		Opened: now.Add(-time.Minute), Now: now,
	}, nil)
	if err != nil || r.Verdict != canary.Hold || r.Cause != canary.SourceDown {
		t.Errorf("%s %s, %v", r.Verdict, r.Cause, err)
	}
	if len(asked) == 0 || slices.Contains(asked, "mwdebug") || slices.Contains(asked, "maintenance") {
		t.Errorf("asked for %q", asked)
	}
}
