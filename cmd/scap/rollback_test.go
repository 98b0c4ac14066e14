package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	embedded "scap/fixtures/fleet"
	"scap/fixtures/tree"
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

// Probes that came with the bad release fail on the one before it. Who obeyed them would take every host back to the release
// that the rollback is to get away from.
func TestARollbackObeysNoProbe(t *testing.T) {
	s := newSite(t, []embedded.Group{{Name: "prod", Hosts: 2}}, embedded.YAMLOptions{})
	s.stage(t, tree.GoodB())
	s.want(t, exitOK, "sync", "--no-gate", "for the test")
	probes := "host: wiki.example\nprobes:\n  - {name: only B has it, path: /index.php, expect: {headers: {X-Mark-Hook: B}}}\n"
	if err := os.WriteFile(filepath.Join(s.Dir(), "probes.yaml"), []byte(probes), 0o644); err != nil {
		t.Fatal(err)
	}
	s.stage(t, tree.GoodA())
	s.want(t, exitRolledBack, "sync", "--no-gate", "the probe must be what refuses A")
	r := s.want(t, exitOK, "rollback")
	if !strings.Contains(r.output, "only B has it") {
		t.Errorf("nothing says that the probe fails:\n%s", r.output)
	}
	if _, mark, err := s.One(t.Context()); err != nil || mark != "A" {
		t.Errorf("the fleet serves %q, %v", mark, err)
	}
}
