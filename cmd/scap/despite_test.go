package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	embedded "scap/fixtures/fleet"
	"scap/fixtures/tree"
)

// A probe that fails on every host, with every release: what it asks for is broken elsewhere. Nothing is deployed, but for who says
// that this is the cure, or a part of it: then it keeps no host out of the pool, as long as what did not fail before does not fail.
func TestDespiteRed(t *testing.T) {
	t.Parallel()
	s := newSite(t, []embedded.Group{{Name: "canary", Hosts: 1}, {Name: "prod", Hosts: 2}},
		embedded.YAMLOptions{QuietWindow: 100 * time.Millisecond, Tick: 100 * time.Millisecond, Width: "1"})
	s.users(t, 20)
	path := filepath.Join(s.Dir(), "probes.yaml")
	probes, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	probes = append(probes, "  - name: a session store elsewhere\n    path: /index.php\n    expect: {contains: [\"nobody ever says this\"]}\n"...)
	if err := os.WriteFile(path, probes, 0o644); err != nil {
		t.Fatal(err)
	}
	s.stage(t, tree.GoodB())
	if r := s.want(t, exitError, "sync", "anything"); !strings.Contains(r.output, "--despite-red") {
		t.Error(r)
	}
	s.want(t, exitOK, "sync", "--despite-red", "half of the cure", "the revert")
	if _, mark := s.one(t); mark != "B" {
		t.Errorf("serves %s", mark)
	}
	if r := s.want(t, exitOK, "status"); !strings.Contains(r.output, "half of the cure") {
		t.Error(r)
	}
	if r := s.want(t, exitOK, "gate", "explain"); !strings.Contains(r.output, "half of the cure") {
		t.Error(r)
	}
	// What makes things worse is not let through.
	s.stage(t, tree.Broken())
	s.want(t, exitRolledBack, "sync", "--despite-red", "no cure at all", "worse")
	if _, mark := s.one(t); mark != "B" {
		t.Errorf("serves %s", mark)
	}
}
