package main

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"scap/canary"
	"scap/cmd/internal/config"
	embedded "scap/fixtures/fleet"
	"scap/phases"
	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

// wired is a plan of three phases, of which the first is judged by probes alone, as it is made from a configuration.
func wired(t *testing.T) (*fleet, *config.Config) {
	t.Helper()
	s := newSite(t, []embedded.Group{{Name: "test", Hosts: 1, Unpooled: true}, {Name: "canary", Hosts: 2}, {Name: "prod", Hosts: 3}}, embedded.YAMLOptions{
		QuietWindow: 100 * time.Millisecond, Tick: 100 * time.Millisecond, Width: "2", Logs: true, Dwell: 7 * time.Second, MinRequests: 10, HarmRate: "40%", Watch: time.Minute,
	})
	conf, err := config.Load(s.conf, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := openFleet(conf, nil, fleetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	return f, conf
}

// Each phase is judged against the hosts of later ones; nobody is judged whom no user asks.
func TestWhoIsJudgedAndAgainstWhom(t *testing.T) {
	t.Parallel()
	f, _ := wired(t)
	p, err := f.plan("d1", release.Release{ID: release.ID{1}}, planOptions{despite: "the cure"})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"canary01 canary02 prod01 prod02 prod03", "prod01 prod02 prod03", ""} {
		if got := strings.Join(targetNames(p.Phases[i].Control), " "); got != want {
			t.Errorf("phase %s is compared with %q, want %q", p.Phases[i].Name, got, want)
		}
	}
	if len(f.judges) != 2 {
		t.Fatalf("%d phases are judged by traffic", len(f.judges))
	}
	for i, want := range []struct{ phase, canaries, others string }{{"canary", "canary01 canary02", "prod01 prod02 prod03"}, {"prod", "prod01 prod02 prod03", ""}} {
		g := f.judges[i].gate
		if f.judges[i].phase != want.phase || strings.Join(g.Canaries, " ") != want.canaries || strings.Join(g.Others, " ") != want.others {
			t.Errorf("%s: %v against %v, want %+v", f.judges[i].phase, g.Canaries, g.Others, want)
		}
		if g.DespiteRed != "the cure" || g.Rule.Dwell != 7*time.Second || g.Rule.MinRequests != 10 || g.Rule.HarmRate != 0.4 || g.Rule.Tick != time.Second {
			t.Errorf("%s: despite %q, rule %+v", want.phase, g.DespiteRed, g.Rule)
		}
	}
	if p.Watch.Gate == nil || p.Watch.For != time.Minute || p.DespiteRed != "the cure" {
		t.Errorf("watch %+v, despite red %q", p.Watch, p.DespiteRed)
	}
	for name, o := range map[string]planOptions{"no watch": {noWatch: true}, "no gate": {noGate: "x"}, "back": {back: true, noGate: "x"}} {
		if p, err := f.plan("d1", release.Release{ID: release.ID{1}}, o); err != nil || p.Watch.Gate != nil {
			t.Errorf("%s: %+v, %v", name, p.Watch, err)
		}
	}
	if p, err := f.plan("d1", release.Release{}, planOptions{watch: true}); err != nil || p.Watch.Gate == nil || len(p.Targets()) != 6 {
		t.Errorf("watch of a deploy that has ended: %+v, %v", p.Watch, err)
	}
}

func targetNames(ts []targets.Target) (names []string) {
	for _, t := range ts {
		names = append(names, t.Name())
	}
	return names
}

// A window has every host of the fleet; a source is asked of those only whose traffic it can judge.
func TestAGateSeesWhomItsSourceJudges(t *testing.T) {
	t.Parallel()
	f, conf := wired(t)
	g, err := f.traffic(config.HostLogs, conf.Phases[1], conf.Phases[2:])
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	g.Source = canary.SourceFunc(func(_ context.Context, q canary.Query) (canary.Reading, error) {
		var r canary.Reading
		for _, h := range q.Hosts {
			asked = append(asked, h.Name)
			r.Hosts = append(r.Hosts, canary.HostReading{Host: h.Name, Through: q.Now})
		}
		return r, nil
	})
	at := time.Unix(1_700_000_000, 0)
	side := func(names ...string) (hosts []canary.Host) {
		for _, n := range names {
			hosts = append(hosts, canary.Host{Name: n, Since: at.Add(-time.Second), Nonce: "n"})
		}
		return hosts
	}
	w := canary.Window{
		Deploy: "d", Release: "r", Opened: at, Now: at.Add(20 * time.Second), Canary: side("canary01", "canary02"), Earlier: side("test01"),
		Control: side("prod01", "prod02", "elsewhere"),
	}
	if _, err := (among{g, f.judgedBy(config.HostLogs)}).Judge(t.Context(), w, nil); err != nil {
		t.Fatal(err)
	}
	slices.Sort(asked)
	if got := strings.Join(slices.Compact(asked), " "); got != "canary01 canary02 prod01 prod02" {
		t.Errorf("asked of %q", got)
	}
}

// Where a source of one phase is none of the next there is nothing to compare with, and the plan says so.
func TestASourceWithNobodyToCompareWith(t *testing.T) {
	phase := func(hosts int, sources ...string) config.Phase {
		return config.Phase{Hosts: make([]config.Host, hosts), Gate: &config.Gate{Sources: sources}}
	}
	none := config.Phase{Hosts: make([]config.Host, 1)}
	for name, tt := range map[string]struct {
		later []config.Phase
		want  bool
	}{
		"the last phase":         {nil, false},
		"judged later too":       {[]config.Phase{none, phase(3, "logs", "x")}, false},
		"much later":             {[]config.Phase{phase(3, "logs"), phase(3, "x")}, false},
		"judged by others":       {[]config.Phase{phase(3, "logs")}, true},
		"by a phase of nobody":   {[]config.Phase{phase(3, "logs"), phase(0, "x")}, true},
		"nobody asks the others": {[]config.Phase{none, phase(3)}, false},
	} {
		if got := alone("x", tt.later); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// A deploy that brought its release to users is watched, also when suspects stayed out; nothing else is.
func TestWhatIsWatchedBehind(t *testing.T) {
	suspects := &phases.Ended{How: journal.Inconsistent, Hosts: []string{"a"}, Suspects: []string{"a"}}
	for name, tt := range map[string]struct {
		err     error
		changed bool
		want    bool
	}{
		"deployed":             {nil, true, true},
		"nothing to do":        {nil, false, false},
		"a suspect is out":     {suspects, true, true},
		"and a host is broken": {&phases.Ended{How: journal.Inconsistent, Hosts: []string{"a", "b"}, Suspects: []string{"a"}}, true, false},
		"left half done":       {&phases.Ended{How: journal.Inconsistent, Hosts: []string{"a"}}, true, false},
		"rolled back":          {&phases.Ended{How: journal.RolledBack}, true, false},
		"cancelled":            {&phases.Ended{How: journal.Cancelled}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			j, err := journal.Create(filepath.Join(t.TempDir(), "journal"), "d1")
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			list := []journal.Record{{Kind: journal.Begin}}
			if tt.changed {
				list = append(list, journal.Record{Kind: journal.Intent, Act: journal.Activate, Target: "a"})
			}
			for _, r := range list {
				if _, err := j.Append(r); err != nil {
					t.Fatal(err)
				}
			}
			if got := (&deploy{journal: j}).serves(tt.err); got != tt.want {
				t.Errorf("watched: %t", got)
			}
		})
	}
}
