package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The house's plan: what each package may import of ours, tests left out. A package without a place here fails.
// "*" allows everything but what stands in forbidden.
var rooms = map[string][]string{
	"cmd/scap":            {"*"},
	"cmd/scap-agent":      {"sync/agent", "sync/store", "sync/release", "targets/fpm", "targets/fpm/keeper", "targets/fpm/namespace", "targets/fpm/webserver", "canary/logs", "canary/probe"},
	"cmd/internal/config": {},
	"cmd/internal/ui":     {"phases", "phases/journal"},

	"cmd/internal/ui/chart": {"cmd/internal/ui", "phases/journal"},

	"phases":         {"phases/journal", "targets", "canary", "sync/release"},
	"phases/journal": {},

	"targets":               {"sync/release"},
	"targets/fpm":           {"sync/release", "targets/fpm/proc", "targets/fpm/fcgi", "targets/fpm/effective", "targets/fpm/socket", "targets/fpm/keeper"},
	"targets/fpm/proc":      {},
	"targets/fpm/fcgi":      {},
	"targets/fpm/effective": {},
	"targets/fpm/socket":    {"targets/fpm/proc", "targets/fpm/fcgi"},
	"targets/fpm/keeper":    {"sync/release", "targets/fpm/proc", "targets/fpm/fcgi", "targets/fpm/effective", "targets/fpm/socket", "targets/fpm/namespace", "targets/fpm/trust"},
	"targets/fpm/namespace": {"sync/release", "targets/fpm/trust"},
	"targets/fpm/trust":     {},
	"targets/fpm/webserver": {},
	"targets/lease":         {},
	"targets/pool":          {"targets", "sync/release"},
	"targets/remote":        {"targets", "sync/push", "sync/wire", "sync/release"},

	"canary":       {},
	"canary/logs":  {"canary"},
	"canary/probe": {"canary"},

	"canary/sim":        {"canary"},
	"canary/prom":       {"canary"},
	"canary/opensearch": {"canary"},
	"canary/sourcetest": {"canary"},

	"sync/change":              {},
	"sync/change/gerrit":       {"sync/change"},
	"sync/change/git":          {},
	"sync/change/pin":          {"sync/change", "sync/change/git"},
	"sync/change/registration": {},
	"sync/change/staging":      {"sync/change", "sync/change/git", "sync/change/registration", "sync/store", "sync/release"},
	"cmd/internal/announce":    {"phases", "phases/journal"},

	"sync/release":         {},
	"sync/store":           {"sync/release"},
	"sync/wire":            {"sync/release"},
	"sync/push":            {"sync/wire", "sync/release"},
	"sync/agent":           {"sync/store", "sync/wire", "sync/release"},
	"sync/agent/agenttest": {"sync/agent", "sync/release"},

	"fixtures/tree":  {"*"},
	"fixtures/fleet": {"*"},
	"fixtures/real":  {"*"},
	"fixtures/paper": {"*"},

	"fixtures/incidents":  {"*"},
	"fixtures/prom":       {"*"},
	"fixtures/opensearch": {"*"},
	"fixtures/gerrit":     {"*"},
}

// The only files outside of fixtures/ that may import fixtures.
var fixtureUsers = []string{"cmd/scap/demo.go", "cmd/scap/replay.go"}

// topLevel is all that may stand beside each other in the root.
var topLevel = []string{"cmd", "sync", "canary", "phases", "targets", "fixtures", "go.mod", "go.sum", "scap.yaml", "README.md", "Makefile", "LICENSE", "bin"}

type listed struct {
	ImportPath, Dir string
	GoFiles         []string
	Imports         []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports", "scap/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list found %d packages: the test would prove nothing", len(all))
	}
	return all
}

func TestLayout(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, "scap/")
		allowed, known := rooms[name]
		if !known {
			t.Errorf("package %s has no place in the house: give it one in layout_test.go", name)
			continue
		}
		for _, imported := range p.Imports {
			room, ours := strings.CutPrefix(imported, "scap/")
			if !ours {
				continue
			}
			if strings.HasPrefix(room, "fixtures/") && !strings.HasPrefix(name, "fixtures/") {
				checkFixtureUser(t, p, imported)
				continue
			}
			if !slices.Contains(allowed, "*") && !slices.Contains(allowed, room) {
				t.Errorf("%s imports %s, which its room does not allow", name, room)
			}
		}
	}
}

// checkFixtureUser finds which file of p imports a fixture and refuses all but the named ones.
func checkFixtureUser(t *testing.T, p listed, imported string) {
	t.Helper()
	for _, file := range p.GoFiles {
		src, err := os.ReadFile(filepath.Join(p.Dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(src), `"`+imported+`"`) {
			continue
		}
		if full := strings.TrimPrefix(p.ImportPath, "scap/") + "/" + file; !slices.Contains(fixtureUsers, full) {
			t.Errorf("%s imports %s: only %v may", full, imported, fixtureUsers)
		}
	}
}

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(topLevel, e.Name()) {
			t.Errorf("%s does not belong into the root", e.Name())
		}
	}
	if _, err := filepath.Glob("../../sync/*.go"); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob("../../sync/*.go"); len(files) > 0 {
		t.Errorf("sync/ holds Go files %v: no package may be called sync", files)
	}
}
