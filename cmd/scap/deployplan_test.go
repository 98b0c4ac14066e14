package main

import (
	"context"
	"strings"
	"testing"

	"scap/cmd/internal/config"
	"scap/phases"
	"scap/sync/release"
)

// What comes between the test servers and the rest stands behind the last of them, and the deployer is asked on each. Where no
// test server is, nothing goes past it.
func TestTheMergeStandsBehindTheLastTestServers(t *testing.T) {
	t.Parallel()
	f, conf := wired(t)
	after := &phases.After{Act: "merge", Text: "1001", Do: func(context.Context, func(string)) (string, error) { return "", nil }}
	shape := func(o planOptions) string {
		t.Helper()
		p, err := f.plan("d1", release.Release{ID: release.ID{1}}, o)
		if err != nil {
			return err.Error()
		}
		var list []string
		for _, ph := range p.Phases {
			word := ph.Name
			if ph.Confirm {
				word += "?"
			}
			if ph.After != nil {
				word += "+"
			}
			if strings.Contains(ph.Hint, "look at it now") {
				word += "!"
			}
			list = append(list, word)
		}
		return strings.Join(list, " ")
	}
	full, none := planOptions{confirm: true, look: true, after: after}, planOptions{confirm: true}
	look, still := planOptions{confirm: true, look: true}, planOptions{look: true, after: after}
	for i := range conf.Phases {
		conf.Phases[i].Test = false
	}
	if got := shape(full); !strings.Contains(got, "nowhere to look at the change") {
		t.Errorf("no test servers: %s", got)
	}
	conf.Phases[0].Test = true
	for _, row := range []struct {
		o    planOptions
		want string
	}{{full, "test?+! canary prod"}, {look, "test?! canary prod"}, {none, "test canary prod"}, {still, "test+! canary prod"}} {
		if got := shape(row.o); got != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
	}
	conf.Phases[1].Test = true
	if got, want := shape(full), "test? canary?+! prod"; got != want {
		t.Errorf("two: %q, want %q", got, want)
	}
	conf.Phases[1].Hosts = nil // all of them are deployed before
	if got, want := shape(full), "test?+! prod"; got != want {
		t.Errorf("one without hosts: %q, want %q", got, want)
	}
}

// What was composed goes out only to a fleet that still serves what it was compared with.
func TestABackportExpectsWhatItWasComposedFor(t *testing.T) {
	b := &backport{deploy: &deploy{}, from: release.ID{7}, title: "x"}
	if o := b.planOptions(); o.expect != b.from || !o.confirm || o.back {
		t.Errorf("%+v", o)
	}
	if p, err := (&fleet{conf: &config.Config{}}).plan("d", release.Release{}, planOptions{expect: b.from}); err != nil || p.Base != b.from {
		t.Errorf("%+v, %v", p.Base, err)
	}
}
