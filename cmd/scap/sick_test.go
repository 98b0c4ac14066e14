package main

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	embedded "scap/fixtures/fleet"
	"scap/fixtures/tree"
)

// A host is well by its own health check, and what it asks of others fails since its runtime was started anew, whatever release it
// runs: it is taken back and stays out, named. Once all hosts fail alike none of them is to blame, and all come back.
func TestASickHostStaysOutAndAnOutageKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	var sick, outage atomic.Bool
	s := newSiteWith(t, embedded.Options{
		Groups: []embedded.Group{{Name: "prod", Hosts: 4}},
		Upstream: func(host string, r *embedded.Request, _ *embedded.Response) *embedded.Trouble {
			if strings.HasPrefix(r.Agent, "scap/") && (outage.Load() || sick.Load() && host == "prod02") {
				return &embedded.Trouble{Class: "StoreError", Message: "no quorum"}
			}
			return nil
		},
	}, embedded.YAMLOptions{QuietWindow: 100 * time.Millisecond, Tick: 100 * time.Millisecond, Width: "1"})
	s.stage(t, tree.GoodB())
	s.want(t, exitOK, "sync", "--no-gate", "the checks before a host is repooled are the matter", "B")
	s.stage(t, tree.GoodA())
	sick.Store(true)
	r := s.want(t, exitInconsistent, "sync", "--no-gate", "as above", "A")
	if !strings.Contains(r.output, "prod02") || !strings.Contains(r.output, "passes") {
		t.Error(r)
	}
	if got := s.Balancer.State("prod02"); got == "ready" {
		t.Errorf("prod02 is %s", got)
	}
	sick.Store(false)
	s.want(t, exitOK, "repair", "prod02")
	s.want(t, exitOK, "status")

	outage.Store(true)
	s.want(t, exitRolledBack, "sync", "--no-gate", "as above", "during an outage")
	outage.Store(false)
	if _, mark := s.one(t); mark != "B" {
		t.Errorf("serves %s", mark)
	}
}
