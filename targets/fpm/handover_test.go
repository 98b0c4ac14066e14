package fpm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"scap/sync/release"
	"scap/targets/fpm/fcgi"
	"scap/targets/fpm/keeper"
	"scap/targets/fpm/proc"
)

// fakeKeeper answers with a state, and remembers what else it was asked for, which it refuses.
type fakeKeeper struct {
	state keeper.State
	err   error
	asked []keeper.Op
}

func (f *fakeKeeper) Do(_ context.Context, q keeper.Request) (keeper.Reply, error) {
	if f.err != nil {
		return keeper.Reply{}, f.err
	}
	if q.Op == keeper.OpState {
		return keeper.Reply{State: &f.state}, nil
	}
	f.asked = append(f.asked, q.Op)
	return keeper.Reply{}, &keeper.Error{Code: keeper.Refused, Text: "a fake does nothing"}
}

func idOf(text string) release.ID { return release.ID(release.SumOf([]byte(text))) }

// handing is a runtime with a fake keeper on whose host A is published, as generation 1.
func handing(t *testing.T, edit ...func(*Config)) (*Runtime, *fakeKeeper) {
	t.Helper()
	dir := t.TempDir()
	c := exampleConfig()
	c.Strategy, c.Work, c.Keeper = Handover, filepath.Join(dir, "work"), Keeper{Command: []string{"keeper"}, DocumentRoot: "docroot"}
	c.Instances[0].Listen = filepath.Join(dir, "www.sock")
	c.Warm.Pages[0].Script = "/w/index.php"
	c.Limits.Answer = Duration(100 * time.Millisecond)
	for _, e := range edit {
		e(&c)
	}
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeKeeper{state: keeper.State{Adopted: true, Watched: true, Pools: []keeper.PoolState{{
		Name: "www", Listen: c.Instances[0].Listen, Trial: "/run/trial.sock", Published: 1, Need: 50 << 20, Free: 100 << 20,
		Generations: []keeper.Generation{{Number: 1, Release: idOf("A"), Alive: true, Socket: filepath.Join(dir, "1.sock")}},
	}}}}
	r.root = f
	return r, f
}

func beside(f *fakeKeeper, g keeper.Generation) {
	f.state.Pools[0].Generations = append(f.state.Pools[0].Generations, g)
}

func TestRoadOfAHost(t *testing.T) {
	kept := keeper.Generation{Number: 2, Release: idOf("B"), Alive: true}
	for _, c := range []struct {
		name     string
		edit     func(*fakeKeeper)
		config   func(*Config)
		strategy string
		why      string
		warm     []release.ID
	}{
		{"nothing in its way", func(*fakeKeeper) {}, nil, release.ByHandover, "", nil},
		{"one is kept", func(f *fakeKeeper) { beside(f, kept) }, nil, release.ByHandover, "", []release.ID{idOf("B")}},
		{"a kept one is dead", func(f *fakeKeeper) { beside(f, keeper.Generation{Number: 2, Release: idOf("B")}) }, nil, release.ByHandover, "", nil},
		{"a kept one is wrong", func(f *fakeKeeper) {
			beside(f, keeper.Generation{Number: 2, Release: idOf("B"), Alive: true, Wrong: "its release is gone"})
		}, nil, release.ByHandover, "", nil},
		{"not adopted", func(f *fakeKeeper) { f.state.Adopted = false }, nil, release.ByDrain, "not adopted", nil},
		{"no memory", func(f *fakeKeeper) { f.state.Pools[0].Free = 20 << 20 }, nil, release.ByDrain, "needs 50 MB of memory and there is room for 20 MB", nil},
		{"no memory but a kept one's", func(f *fakeKeeper) { f.state.Pools[0].Free = 20 << 20; beside(f, kept) }, nil, release.ByHandover, "", []release.ID{idOf("B")}},
		{"no memory, and one is tried", func(f *fakeKeeper) {
			f.state.Pools[0].Free, f.state.Pools[0].Tried = 0, 2
			beside(f, kept)
		}, nil, release.ByDrain, "needs 50 MB", []release.ID{idOf("B")}},
		{"TCP", func(f *fakeKeeper) { f.state.Adopted = false }, func(c *Config) { c.Instances[0].Listen = "127.0.0.1:9000" }, release.ByDrain, "listens on TCP", nil},
		{"no right to ask", func(f *fakeKeeper) { f.err = errors.New("sudo: a password is required") }, nil, release.ByDrain, "a password is required", nil},
		{"another pool", func(f *fakeKeeper) { f.state.Pools[0].Name = "api" }, nil, release.ByDrain, "the keeper has no pool www", nil},
		{"one pool more", func(f *fakeKeeper) { f.state.Pools = append(f.state.Pools, keeper.PoolState{Name: "jobs"}) }, nil, release.ByDrain, "a pool jobs", nil},
		{"another socket", func(f *fakeKeeper) { f.state.Pools[0].Listen = "/run/other.sock" }, nil, release.ByDrain, "listens on /run/other.sock", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, f := handing(t, func(conf *Config) {
				if c.config != nil {
					c.config(conf)
				}
			})
			c.edit(f)
			road := r.road(r.stand(t.Context()), took{})
			if road.Strategy != c.strategy || !strings.Contains(road.Why, c.why) || (road.Why == "") != (c.why == "") || !slices.Equal(road.Warm, c.warm) {
				t.Errorf("road %+v", road)
			}
			if (road.Wanted == release.ByHandover) != (road.Strategy != release.ByHandover) {
				t.Errorf("wanted %q", road.Wanted)
			}
			// A host in service is switched by a handover or not at all: whatever else hinders, nobody is stopped.
			_, err := r.Switch(t.Context(), release.Switch{From: idOf("A"), To: idOf("C"), Serving: true}, func(context.Context) error {
				t.Error("the link was made")
				return nil
			})
			if err == nil || slices.Contains(f.asked, keeper.OpHalt) || slices.Contains(f.asked, keeper.OpGiveUp) || c.strategy == release.ByDrain && len(f.asked) > 0 {
				t.Errorf("switch in service: %v; the keeper was asked for %v", err, f.asked)
			}
		})
	}
}

// TestServingIsNeverStopped holds for every strategy and hand.
func TestServingIsNeverStopped(t *testing.T) {
	for _, s := range []Strategy{Drain, Reload, Handover} {
		for _, hand := range []release.Hand{"", release.Adopt, release.GiveUp} {
			r, f := handing(t, func(c *Config) { c.Strategy = s })
			f.state.Pools[0].Free = 0
			_, err := r.Switch(t.Context(), release.Switch{From: idOf("A"), To: idOf("B"), Serving: true, Hand: hand}, nil)
			if !errors.Is(err, errServing) || len(f.asked) > 0 {
				t.Errorf("%s %s: %v, asked for %v", s, hand, err, f.asked)
			}
		}
	}
}

// TestAdoptedHostWithoutItsKeeper: the link that a keeper made tells that the distribution's php-fpm must not be started.
func TestAdoptedHostWithoutItsKeeper(t *testing.T) {
	r, f := handing(t)
	f.err = errors.New("no such file")
	if err := os.Symlink("1.sock", r.conf.Instances[0].Listen); err != nil {
		t.Fatal(err)
	}
	if proof, err := r.State(t.Context()); err != nil || !proof.Release.IsZero() || !proof.Road.Adopted || !strings.Contains(proof.Reason, "no such file") {
		t.Errorf("%+v, %v", proof, err)
	}
	_, err := r.Switch(t.Context(), release.Switch{To: idOf("B")}, func(context.Context) error {
		t.Error("the link was made")
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("switch: %v", err)
	}
}

// TestAdoptionWantsAWatch: after a reboot of an adopted host nobody but the watch starts a php-fpm.
func TestAdoptionWantsAWatch(t *testing.T) {
	r, f := handing(t)
	f.state.Adopted, f.state.Watched = false, false
	_, err := r.Switch(t.Context(), release.Switch{From: idOf("A"), To: idOf("A"), Hand: release.Adopt}, func(context.Context) error {
		t.Error("the link was made")
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "nothing was changed: no watch") || len(f.asked) > 0 {
		t.Errorf("%v; asked for %v", err, f.asked)
	}
}

func TestWebServerThatNoHandoverSurvives(t *testing.T) {
	r, _ := handing(t)
	worker := func(script string) status {
		return status{Processes: []statusWorker{{PID: 1, State: "Idle", Script: script}}}
	}
	for script, want := range map[string]string{
		"/srv/mediawiki/docroot/w/index.php": "",
		r.probe:                              "",
		r.conf.Releases + "/" + idOf("A").String() + "/docroot/index.php": "$document_root",
	} {
		var g ground
		r.heed(t.Context(), &g, r.conf.Instances[0], worker(script))
		if got := strings.Join(g.unfit, ";"); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q", script, got)
		}
	}
}

func TestTrialIsRefusedBeforeAnythingStarts(t *testing.T) {
	for want, c := range map[string]struct {
		from, to string
		edit     func(*fakeKeeper)
	}{
		"no second socket":            {"A", "B", func(f *fakeKeeper) { f.state.Pools[0].Trial = "" }},
		"serves " + idOf("A").Short(): {"C", "B", func(*fakeKeeper) {}},
		"to everybody":                {"A", "A", func(*fakeKeeper) {}},
		"needs 50 MB":                 {"A", "B", func(f *fakeKeeper) { f.state.Pools[0].Free = 0 }},
		"not adopted":                 {"A", "B", func(f *fakeKeeper) { f.state.Adopted = false }},
		"does not serve soundly":      {"A", "B", func(f *fakeKeeper) { f.state.Pools[0].Generations[0].Alive = false }},
	} {
		r, f := handing(t)
		c.edit(f)
		_, err := r.Try(t.Context(), release.Switch{From: idOf(c.from), To: idOf(c.to)}, time.Now().Add(time.Hour))
		if err == nil || !strings.Contains(err.Error(), want) || len(f.asked) > 0 {
			t.Errorf("want a word of %q: %v; asked for %v", want, err, f.asked)
		}
	}
	r, _ := handing(t)
	if _, err := r.Try(t.Context(), release.Switch{From: idOf("A"), To: idOf("B")}, time.Now().Add(-time.Second)); err == nil {
		t.Error("a trial that has ended is begun")
	}
	r, _ = handing(t, func(c *Config) { c.Strategy = Drain })
	if _, err := r.Try(t.Context(), release.Switch{To: idOf("B")}, time.Now().Add(time.Hour)); err == nil {
		t.Error("a drained host tries a release")
	}
}

// TestGenerationsCrewIsTheKeepersWord: titles are cut, pids are given again.
func TestGenerationsCrewIsTheKeepersWord(t *testing.T) {
	i := exampleConfig().Instances[0].of(keeper.Generation{Number: 3, PID: 10, Tick: 100, ConfigFile: "/run/scap/www-3.conf", Workers: []int{11, 12}, Orphans: []int{31}})
	const cut = "php-fpm: master process (/run/scap/www-"
	all := map[int]proc.Process{
		10: {PID: 10, Parent: 1, Tick: 100, Title: cut}, 11: {PID: 11, Parent: 10, Title: "php-fpm: pool www"},
		20: {PID: 20, Parent: 1, Tick: 200, Title: cut}, 21: {PID: 21, Parent: 20, Title: "php-fpm: pool www"},
		31: {PID: 31, Parent: 1, Title: "php-fpm: pool www"}, 32: {PID: 32, Parent: 1, Title: "php-fpm: pool www"},
	}
	if c := i.crew(all, "www"); !slices.Equal(proc.PIDs(c.Masters), []int{10}) || !slices.Equal(proc.PIDs(c.Workers), []int{11}) || len(c.Strays) > 0 {
		t.Errorf("%+v", c)
	}
	again := maps.Clone(all)
	again[10] = proc.Process{PID: 10, Parent: 1, Tick: 999, Title: cut} // somebody else's by now
	c := i.crew(again, "www")
	strays := proc.PIDs(c.Strays)
	slices.Sort(strays)
	if len(c.Masters) > 0 || len(c.Workers) > 0 || !slices.Equal(strays, []int{11, 31}) {
		t.Errorf("%+v", c)
	}
}

func TestSettingsThatDiffer(t *testing.T) {
	old := facts{INI: "/i", Extensions: []string{"apcu", "intl"}, Settings: map[string]string{"opcache.memory_consumption": "192", "apc.enabled": "1"}}
	for want, edit := range map[string]func(*facts){
		"":                             func(*facts) {},
		"extension intl is not loaded": func(f *facts) { f.Extensions = []string{"apcu"} },
		"extension xdebug is loaded":   func(f *facts) { f.Extensions = []string{"apcu", "intl", "xdebug"} },
		`memory_consumption is "128"`:  func(f *facts) { f.Settings["opcache.memory_consumption"] = "128" },
		`apc.enabled is "", now "1"`:   func(f *facts) { delete(f.Settings, "apc.enabled") },
		`it has read "", now "/i"`:     func(f *facts) { f.INI = "" },
	} {
		next := old
		next.Settings = maps.Clone(old.Settings)
		edit(&next)
		if got := strings.Join(differences(old, next), "; "); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("want %q: %q", want, got)
		}
	}
}

func TestPageIsAskedForAsTheWebServerWould(t *testing.T) {
	r, _ := handing(t, func(c *Config) {
		c.Keeper.Params = map[string]string{"SERVERGROUP": "appserver"}
		c.Warm.Base = "https://127.0.0.1:8443"
	})
	p := Page{Path: "/wiki/Main_Page?a=b", Script: "/w/index.php", Host: "en.wikipedia.org", Headers: map[string]string{"X-Forwarded-Proto": "https"}}
	got := r.pageParams(p)
	for name, want := range map[string]string{
		"SCRIPT_FILENAME": "/srv/mediawiki/docroot/w/index.php", "SCRIPT_NAME": "/w/index.php", "DOCUMENT_ROOT": "/srv/mediawiki/docroot",
		"REQUEST_URI": "/wiki/Main_Page?a=b", "QUERY_STRING": "a=b", "HTTP_HOST": "en.wikipedia.org", "SERVER_NAME": "en.wikipedia.org", "SERVER_PORT": "8443",
		"HTTPS": "on", "HTTP_X_FORWARDED_PROTO": "https", "SERVERGROUP": "appserver", "PATH_INFO": "",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if got := r.pageParams(Page{Path: "/w/index.php/Main?x", Script: "/w/index.php"}); got["PATH_INFO"] != "/Main" || got["HTTP_HOST"] != "127.0.0.1:8443" || got["SERVER_NAME"] != "127.0.0.1" {
		t.Errorf("%q", got)
	}
}

// TestTermsAreRememberedApart: another agent reads what one wrote, a number that is given again begins anew, and the file
// does not grow for ever.
func TestTermsAreRememberedApart(t *testing.T) {
	r, _ := handing(t)
	if err := os.MkdirAll(r.conf.Work, 0o755); err != nil {
		t.Fatal(err)
	}
	gen := func(number, tick uint64) Instance {
		return r.conf.Instances[0].of(keeper.Generation{Number: number, Tick: tick})
	}
	entered := func(n int64) evidence {
		var e evidence
		f, err := parseFacts(fcgi.Answer{Status: 200, Body: []byte(fmt.Sprintf(`{"pid":1,"opcache":{"entered":%d}}`, n))})
		if err != nil {
			t.Fatal(err)
		}
		e.opcache = f
		return e
	}
	e := entered(7)
	e.of = gen(3, 30)
	if err := r.begin([]raised{{inst: e.of, evidence: entered(4)}}); err != nil {
		t.Fatal(err)
	}
	if got := r.countTerms([]evidence{e}, true); got != 3 {
		t.Errorf("%d requests in this term, want 3", got)
	}
	r.pending.Store(2)
	if got := r.countTerms([]evidence{e}, false); got != 3 {
		t.Errorf("a trial's count is %d with pages of what serves", got)
	}
	if got := r.countTerms([]evidence{e}, true); got != 1 {
		t.Errorf("%d requests of others, want 1", got)
	}
	known := r.recall()
	if known.of(gen(3, 30)).Since.IsZero() || known.of(gen(3, 31)).Proven {
		t.Errorf("%+v", known)
	}
	for n := range uint64(3 * maxTerms) {
		if err := r.begin([]raised{{inst: gen(n+4, n)}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(r.recall().Terms); n > maxTerms+1 {
		t.Errorf("%d terms are remembered", n)
	}
	if err := os.WriteFile(filepath.Join(r.conf.Work, "handover.json"), []byte(`{"terms":{"`), 0o644); err != nil {
		t.Fatal(err)
	}
	if rename, start := r.noteTime("start", time.Second); rename != 0 || start != time.Second {
		t.Errorf("%v, %v", rename, start)
	}
}

func TestMistakesOfAHandoverAreNamed(t *testing.T) {
	for want, edit := range map[string]func(*Config){
		"the keeper's command": func(c *Config) { c.Keeper.Command = nil },
		"sees one release":     func(c *Config) { c.Work = "/srv/scap/agent" },
		"name the script":      func(c *Config) { c.Warm.Pages[0].Script = "" },
		"document root":        func(c *Config) { c.Keeper.DocumentRoot = "../x" },
	} {
		c := exampleConfig()
		c.Strategy, c.Work, c.Keeper.Command, c.Warm.Pages[0].Script = Handover, "/var/lib/scap", []string{"keeper"}, "/w/index.php"
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		edit(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want a word of %q: %v", want, err)
		}
	}
}
