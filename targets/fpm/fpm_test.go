package fpm

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scap/sync/release"
	"scap/targets/fpm/fcgi"
)

func exampleConfig() Config {
	return Config{
		Served: "/srv/mediawiki", Releases: "/srv/scap/releases", Work: "/srv/scap/agent",
		Instances: []Instance{{
			Name: "www", Listen: "/run/php/www.sock", StatusPath: "/status", PingPath: "/ping", Binary: "/usr/sbin/php-fpm8.2",
			ConfigFile: "/etc/php/8.2/fpm/php-fpm.conf", Control: Control{
				Unit:  "php8.2-fpm.service",
				Start: []string{"/usr/bin/sudo", "-n", "/usr/bin/systemctl", "start", "php8.2-fpm.service"},
				Quit:  []string{"/usr/bin/sudo", "-n", "/usr/bin/systemctl", "kill", "-s", "SIGQUIT", "php8.2-fpm.service"},
			},
		}},
		Warm:   Warm{Base: "http://127.0.0.1", Pages: []Page{{Path: "/wiki/Main_Page", Host: "en.wikipedia.org"}}},
		Limits: Limits{Answer: Duration(2 * time.Second)},
	}
}

func TestConfigurationSurvivesJSON(t *testing.T) {
	c := exampleConfig()
	b, err := json.Marshal(c)
	if err != nil || !strings.Contains(string(b), `"answer":"2s"`) {
		t.Fatalf("%s, %v", b, err)
	}
	var again Config
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	if err := again.Validate(); err != nil || again.Limits != c.Limits || again.Instances[0].Control.Unit != c.Instances[0].Control.Unit {
		t.Errorf("%+v, %v", again, err)
	}
	var d Duration
	for _, bad := range []string{`"-1s"`, `"x"`, `5`} {
		if err := json.Unmarshal([]byte(bad), &d); err == nil {
			t.Errorf("duration %s is accepted", bad)
		}
	}
}

func TestEveryMistakeIsNamed(t *testing.T) {
	for want, edit := range map[string]func(*Config){
		"served":           func(c *Config) { c.Served = "srv" },
		"in a release":     func(c *Config) { c.Work = c.Releases + "/work" },
		"strategy":         func(c *Config) { c.Strategy = "hope" },
		"needs pages":      func(c *Config) { c.Strategy, c.Warm = Reload, Warm{} },
		"0 instances":      func(c *Config) { c.Instances = nil },
		"used twice":       func(c *Config) { c.Instances = append(c.Instances, c.Instances[0]) },
		"would cut it":     func(c *Config) { c.Instances[0].Listen = "/" + strings.Repeat("x", 107) },
		"host:port":        func(c *Config) { c.Instances[0].Listen = "9000" },
		"status path":      func(c *Config) { c.Instances[0].StatusPath = "" },
		"ping path":        func(c *Config) { c.Instances[0].PingPath = "/ping?x" },
		"binary":           func(c *Config) { c.Instances[0].Binary = "php-fpm" },
		"unit":             func(c *Config) { c.Instances[0].Control.Unit = "--now" },
		"SIGQUIT":          func(c *Config) { c.Instances[0].Control.Quit = nil },
		"an empty command": func(c *Config) { c.Instances[0].Control.Start = []string{""} },
		"warm base":        func(c *Config) { c.Warm.Base = "127.0.0.1" },
		"no good answer":   func(c *Config) { c.Warm.Pages[0].Status = 500 },
		"URI path":         func(c *Config) { c.Warm.Pages[0].Path = "wiki" },
		"name":             func(c *Config) { c.Instances[0].Name = "../x" },
	} {
		c := exampleConfig()
		edit(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want a word of %q: %v", want, err)
		}
	}
	c := exampleConfig()
	c.Served, c.Work, c.Instances[0].Binary = "", "", ""
	if err := c.Validate(); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("three mistakes: %v", err)
	}
}

// TestCommandsMustBeGranted: what sudo would refuse in the middle of a switch is known before one.
func TestCommandsMustBeGranted(t *testing.T) {
	sudo := filepath.Join(t.TempDir(), "sudo")
	script := "#!/bin/sh\ntest \"$*\" = '-n -l /usr/bin/systemctl start a.service'\n"
	if err := os.WriteFile(sudo, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for want, argv := range map[string][]string{
		"":                   {sudo, "-n", "/usr/bin/systemctl", "start", "a.service"},
		"does not grant":     {sudo, "-n", "/usr/bin/systemctl", "start", "b.service"},
		"no such file":       {sudo + "er", "-n", "/usr/bin/systemctl", "start", "a.service"},
		"nowhere\": not fou": {"nowhere"},
	} {
		err := checkCommand(t.Context(), argv)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", argv, err)
		}
	}
}

func TestWarmUpRefusesAnythingButTheWantedAnswer(t *testing.T) {
	id := release.ID(release.SumOf([]byte("x")))
	page := Page{Path: "/", Want: map[string]string{"X-Release": "{release}"}}
	same := []string{"X-Mark-A", "X-Mark-B"}
	for _, c := range []struct {
		name    string
		status  int
		headers map[string]string
		want    string
	}{
		{"good", 200, map[string]string{"X-Release": id.String(), "X-Mark-A": "1", "X-Mark-B": "1"}, ""},
		{"error", 500, nil, "answered 500"},
		{"redirect", 302, nil, "answered 302"},
		{"another release", 200, map[string]string{"X-Release": "y", "X-Mark-A": "1", "X-Mark-B": "1"}, "X-Release"},
		{"mixed", 200, map[string]string{"X-Release": id.String(), "X-Mark-A": "1", "X-Mark-B": "2"}, "mixed"},
		{"unmarked", 200, map[string]string{"X-Release": id.String(), "X-Mark-A": "1"}, "missing"},
	} {
		v := view{status: c.status, header: http.Header{}}
		for name, value := range c.headers {
			v.header.Set(name, value)
		}
		err := page.check(v, same, id)
		if (c.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want a word of %q", c.name, err, c.want)
		}
	}
}

func TestQuietCountsWhatItCannotName(t *testing.T) {
	i := exampleConfig().Instances[0]
	r, err := New(exampleConfig())
	if err != nil {
		t.Fatal(err)
	}
	r.conf.Quiet.Ignore = []string{"/healthz"}
	worker := func(pid int, requests int64, uri string) statusWorker {
		return statusWorker{PID: pid, Requests: requests, URI: uri, State: "Idle"}
	}
	before := status{Pool: "www", Start: 1, Accepted: 10, Processes: []statusWorker{worker(1, 5, "/old"), worker(2, 5, "/old")}}
	const own = "scap=ab"
	mine := "/status?json&full&" + own
	for _, c := range []struct {
		name    string
		after   status
		outside int64
		uri     string
	}{
		{"nothing but the look", status{Pool: "www", Start: 1, Accepted: 11, own: own, Processes: []statusWorker{worker(1, 6, mine), worker(2, 5, "/old")}}, 0, ""},
		{"a user", status{Pool: "www", Start: 1, Accepted: 12, own: own, Processes: []statusWorker{worker(1, 6, mine), worker(2, 6, "/wiki/X")}}, 1, "/wiki/X"},
		{"a health check", status{Pool: "www", Start: 1, Accepted: 12, own: own, Processes: []statusWorker{worker(1, 6, mine), worker(2, 6, "/healthz?x")}}, 0, ""},
		{"another agent", status{Pool: "www", Start: 1, Accepted: 12, own: own, Processes: []statusWorker{worker(1, 6, mine), worker(2, 6, "/status?json&full&scap=cd")}}, 0, ""},
		{"one that nobody saw", status{Pool: "www", Start: 1, Accepted: 13, own: own, Processes: []statusWorker{worker(1, 7, mine), worker(2, 6, "/ping")}}, 1, ""},
		{"a restart in between", status{Pool: "www", Start: 2, Accepted: 3, own: own, Processes: []statusWorker{worker(3, 1, mine), worker(4, 2, "/wiki/Y")}}, 2, "/wiki/Y"},
	} {
		if outside, uri := r.came(i, before, c.after); outside != c.outside || uri != c.uri {
			t.Errorf("%s: %d from outside, last %q; want %d, %q", c.name, outside, uri, c.outside, c.uri)
		}
	}
}

func TestBusyIsWhoServesAUser(t *testing.T) {
	r, err := New(exampleConfig())
	if err != nil {
		t.Fatal(err)
	}
	s := status{own: "scap=ab", Processes: []statusWorker{
		{PID: 1, State: "Running", URI: "/status?json&full&scap=ab"},   // this look
		{PID: 2, State: "Finishing", URI: "/status?json&full&scap=cd"}, // the one before
		{PID: 3, State: "Idle", URI: "/wiki/X"},
		{PID: 4, State: "Running", URI: "/wiki/Y"},
		{PID: 5, State: "Reading headers", URI: "-"}, // nobody knows yet whose
	}}
	if got := r.busy(r.conf.Instances[0], s); got != 2 {
		t.Errorf("%d busy, want 2", got)
	}
}

func TestLedgerIsSharedAndBegunAnew(t *testing.T) {
	c := exampleConfig()
	c.Work = t.TempDir()
	open := func() *Runtime {
		r, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	settle := func(generation string, pending, want int64) {
		t.Helper()
		r := open()
		r.pending.Store(pending)
		if got, err := r.settle(generation); err != nil || got != want {
			t.Errorf("generation %s: %d, %v; want %d", generation, got, err, want)
		}
	}
	settle("1", 5, 5)
	settle("1", 3, 8)
	settle("2", 2, 2)
	if err := os.WriteFile(filepath.Join(c.Work, "own.json"), []byte(`{"generation":"2","ow`), 0o644); err != nil {
		t.Fatal(err)
	}
	settle("2", 4, 4)
}

func FuzzParseFacts(f *testing.F) {
	const good = `{"pid":7,"token":"t","path":"/srv/r","through":2,"believed":{"x":1},"opcache":{"start":9,"resets":0,"scripts":{"x":3},"foreign":[]},"settings":{"opcache.enable":"1"},"ini":"/i","version":"8.2"}`
	a, err := parseFacts(fcgi.Answer{Status: 200, Body: []byte(good)})
	if err != nil || a.PID != 7 || a.Opcache == nil || a.Opcache.Scripts["x"] != 3 || a.Believed["x"] != 1 || a.Settings["opcache.enable"] != "1" {
		f.Fatalf("seed: %+v %v", a, err)
	}
	f.Add(200, []byte(good))
	f.Add(500, []byte(""))
	f.Add(200, []byte("<br>Fatal error"))
	f.Fuzz(func(t *testing.T, code int, b []byte) {
		if a, err := parseFacts(fcgi.Answer{Status: code, Body: b}); err == nil && (code != 200 || a.PID <= 0) {
			t.Errorf("%q became %+v", b, a)
		}
	})
}

func TestLinkIsFollowedByTheKernelsWord(t *testing.T) {
	root := t.TempDir()
	id := release.ID(release.SumOf([]byte("x")))
	dir := filepath.Join(root, "releases", id.String())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	served, current := filepath.Join(root, "mediawiki"), filepath.Join(root, "current")
	for path, to := range map[string]string{served: current, current: "releases/" + id.String()} {
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
	}
	l := newLink(served, filepath.Join(root, "releases"))
	if got, err := l.place(dir); err != nil || got != id {
		t.Errorf("place: %s, %v", got, err)
	}
	for _, bad := range []string{served, root, filepath.Join(root, "releases", "v1"), filepath.Join(root, id.String()), "/"} {
		if got, err := l.place(bad); err == nil {
			t.Errorf("%s is taken for %s", bad, got)
		}
	}
	if age := time.Since(l.swapped()); age < 0 || age > time.Minute {
		t.Errorf("the link was swapped %v ago", age)
	}
}

// TestTimeoutThatCutsRequestsOff: a process_control_timeout shorter than the longest request is a problem before a deploy.
func TestTimeoutThatCutsRequestsOff(t *testing.T) {
	for have, want := range map[time.Duration]string{
		0: "is 0", 9 * time.Second: "is 9s, and requests may take 10s", 10 * time.Second: "", time.Minute: "",
	} {
		err := Instance{Longest: Duration(10 * time.Second)}.checkTimeout(have)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", have, err)
		}
	}
}
