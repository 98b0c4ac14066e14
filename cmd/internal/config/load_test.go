package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const example = "../../../scap.yaml"

// TestExample holds scap.yaml to be complete and right.
func TestExample(t *testing.T) {
	c, err := Load(example, nil)
	if err != nil {
		t.Fatalf("scap.yaml:\n%v", err)
	}
	for what, ok := range map[string]bool{
		"40 hosts of eqiad are listed":        len(c.Group("eqiad").Hosts) == 40,
		"a range keeps its shape":             c.Group("canaries").Hosts[3] == "mw1004.eqiad.wmnet",
		"canaries are deployed as canaries":   len(c.Phases[1].Hosts) == 4 && c.Phases[1].Hosts[0] == Host{"mw1001.eqiad.wmnet", "canaries"},
		"and not a second time":               len(c.Phases[2].Hosts) == 36+40,
		"a maintenance host has no php-fpm":   len(c.Group("maintenance").FPM) == 0 && c.Group("maintenance").Logs != nil,
		"a share is kept as a share":          c.Phases[2].Width == Width{Percent: 10} && c.Phases[2].Width.Of(76) == 7,
		"a gate may be none":                  c.Phases[3].Gate == nil,
		"times are times":                     c.Phases[1].Bake == 20*time.Second && c.Deploy.KeepFor == 24*time.Hour,
		"groups have what targets have":       c.Group("codfw").FPM[0].Control.Systemd == "php8.2-fpm.service",
		"the server's name is a template":     Fill(c.Balancer("edge").Server, "mw1001.eqiad.wmnet") == "mw1001",
		"a tree comes from one place":         c.Deploy.StageDir == "" && c.Staging.Core.Path == "php-{version}",
		"changes come from Gerrit":            c.Gerrit.GitURL == c.Gerrit.URL && c.Gerrit.Approve == 2,
		"every kind of announcer is shown":    len(c.Announcers) == 9,
		"test servers come first":             c.Phases[0].Test && !c.Phases[1].Test && c.Phases[0].Hint != "",
		"a step for each version":             c.Deploy.Finish[0].PerVersion() && c.Staging.Steps[0].PerVersion,
		"a placeholder inside of an argument": FillAll(c.Balancer("pool").Drain, "mw1001.eqiad.wmnet")[3] == "name=mw1001.eqiad.wmnet",
	} {
		if !ok {
			t.Errorf("not so: %s", what)
		}
	}
}

// TestExampleDefaults holds the comments of scap.yaml to the truth: the defaults it names are the ones in force.
func TestExampleDefaults(t *testing.T) {
	b, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	dropped := 0
	for line := range strings.Lines(string(b)) {
		if key, rest, ok := strings.Cut(line, ":"); ok && strings.Contains(rest, "Default: this") && !strings.HasPrefix(strings.TrimSpace(key), "#") {
			dropped++
			continue
		}
		// "key: VALUE  # …. Default: VALUE": leave the key out and see that nothing changes.
		value, comment, _ := strings.Cut(line, " # ")
		if _, def, ok := strings.Cut(comment, "Default: "); ok {
			_, v, _ := strings.Cut(value, ": ")
			if v = strings.Trim(strings.TrimSpace(v), `"`); v == strings.TrimSpace(def) {
				dropped++
				continue
			}
		}
		kept = append(kept, line)
	}
	if dropped < 30 {
		t.Fatalf("only %d lines name their own value as the default: the test has lost its grip", dropped)
	}
	whole, err := load("scap.yaml", b, nil)
	if err != nil {
		t.Fatal(err)
	}
	short, err := load("scap.yaml", []byte(strings.Join(kept, "")), nil)
	if err != nil {
		t.Fatalf("without the %d lines that name a default: %v", dropped, err)
	}
	if diff := cmp.Diff(whole, short); diff != "" {
		t.Errorf("a comment names a wrong default (-file +default):\n%s", diff)
	}
}

// TestShowIsTheConfiguration loads what Show wrote.
func TestShowIsTheConfiguration(t *testing.T) {
	for name, text := range map[string]string{"example": "", "minimal": minimal, "rich": rich, "review": review} {
		t.Run(name, func(t *testing.T) {
			b := []byte(text)
			if text == "" {
				var err error
				if b, err = os.ReadFile(example); err != nil {
					t.Fatal(err)
				}
			}
			c, err := load("f.yaml", b, nil)
			if err != nil {
				t.Fatal(err)
			}
			var shown bytes.Buffer
			if err := c.Show(&shown); err != nil {
				t.Fatal(err)
			}
			again, err := load("f.yaml", shown.Bytes(), nil)
			if err != nil {
				t.Fatalf("%v\n%s", err, shown.String())
			}
			if diff := cmp.Diff(c, again); diff != "" {
				t.Errorf("loading what was shown differs:\n%s", diff)
			}
		})
	}
}

const minimal = `
groups: {all: {hosts: [a, b], php_fpm: none, balancers: none}}
phases: [{name: all, groups: [all], gate: none}]
`

const rich = `
deploy: {watch: 0s, hold_limit: 5m}
ssh: {user: dep, port: 2222, identity_files: [/k], jump_host: me@j:2200, known_hosts: [/kh], addresses: {app01.x: "127.0.0.1:2201"}}
balancers:
  h: {kind: haproxy, sockets: ["127.0.0.1:9999", /run/h.sock], backend: b, server: "srv-{short}"}
  c: {kind: command, drain: [/bin/d, "{host}"], ready: [/bin/r], state: [/usr/bin/sudo, -n, /bin/s, "{host}"], where: target, capacity: 0%}
sources:
  p: {kind: prometheus, url: "https://p.x:9090/ops", requests: 'r{a="b"}', failing: 'f{a="b"}', release_label: rel, heartbeat: up, ca_file: /etc/ca.pem}
  o: {kind: opensearch, url: "http://127.0.0.1:9200", index: "a-*,b", failing: "level:ERROR", fields: {release: rel, file: none, request: none}, credentials_file: /etc/o}
signals:
  e: {from: logs, path: /w/api.php}
  l: {from: p, query: "logins_total", at_least: 2.5, red_below: 25%}
targets:
  root: /srv/r
  layout: realpath
  strategy: reload
  warm_up: {requests: [{path: /, host: en.x}], same_headers: [X-Mark-Json], rounds: 1}
  health_paths: [/ping-me]
  heartbeat_log: /var/log/scap/heartbeat.json
  balancers: [h, c]
  php_fpm:
    - {name: a, listen: "127.0.0.1:9000", config: /etc/a.conf, max_request: 20s, control: {pid_file: /run/a.pid, start: [/usr/sbin/php-fpm8.2, -D]}}
    - {name: b, listen: /run/b.sock, config: /etc/b.conf, ini: /etc/b.ini, control: {commands: {start: [/x], quit: [/y], reload: [/z]}}}
groups:
  one: {hosts: ["app[01:04].x"], limits: {quiet_window: 250ms}, logs: [{path: /var/log/e, format: access-json}]}
  two: {hosts: ["app[03:10].x"], strategy: drain, heartbeat: none, heartbeat_log: none, data_center: west}
phases:
  - {name: one, groups: [one], width: 50%, gate: {sources: [logs, p, o], signals: [e, l], harm_rate: 0.1%, dwell: 90s}, max_failures: 10%}
  - {name: two, groups: [two], gate: {probes: /etc/p.yaml, tick: 500ms, max_wait: 90s}, confirm: true}
`

// TestResolved looks at what depends on other keys.
func TestResolved(t *testing.T) {
	c, err := load("f.yaml", []byte(rich), []string{"ssh.addresses.app01.x:127.0.0.1:2299", "phases.two.width:3"})
	if err != nil {
		t.Fatal(err)
	}
	one := c.Group("one")
	for what, ok := range map[string]bool{
		"health flag below root":       one.HealthFlag == "/srv/r/out",
		"capacity is rounded up":       one.Limits.Quit == 5*time.Second && c.Balancer("h").Capacity.Of(7) == 4 && c.Balancer("c").Capacity.Of(7) == 0 && Percent(90).Of(1) == 0 && Percent(100).Of(4) == 3 && len(c.Pool("h")) == 10,
		"limits are merged key by key": one.Limits.QuietWindow == 250*time.Millisecond && one.Limits.Start == 20*time.Second,
		"a group replaces a key":       c.Group("two").Strategy == Drain && one.Strategy == Reload,
		"first phase wins":             len(c.Phases[0].Hosts) == 4 && len(c.Phases[1].Hosts) == 6 && c.Phases[1].Hosts[0].Name == "app05.x",
		"an address of its own":        c.SSH.Of("app01.x") == "127.0.0.1:2299" && c.SSH.Of("app02.x") == "app02.x:2222",
		"a phase by its name":          c.Phases[1].Width == Width{Count: 3},
		"budget rounds down":           c.Phases[0].MaxFailures.Of(9) == 0 && c.Phases[0].MaxFailures.Of(20) == 2,
		"test by default":              cmp.Equal(one.FPM[1].Commands().Test, []string{"/usr/sbin/php-fpm8.2", "-tt", "-y", "/etc/b.conf", "-c", "/etc/b.ini"}),
		"signals by pid file":          one.FPM[0].Commands().Quit == nil && one.FPM[0].Control.PidFile == "/run/a.pid",
		"the rule has defaults": cmp.Equal(c.Phases[0].Gate.Judge, Judge{
			Signals: []string{"e", "l"}, MinRequests: 1000, Dwell: 90 * time.Second, HarmRatio: 3, HarmRate: 1e-3, Controls: 40,
		}),
		"no traffic judged, no rule":     cmp.Equal(c.Phases[1].Gate.Judge, Judge{}) && !c.Phases[1].Gate.Judges(HostLogs) && (*Gate)(nil).Judges(HostLogs) == false,
		"a source by its name":           c.Source("p").Host == "{host}" && c.Source("o").Fields.Host == "host" && c.Source("logs") == nil,
		"a signal by its name":           c.Signal("e").Status == "2xx" && c.Signal("l").RedBelow == 25 && c.Signal("x") == nil,
		"a group may have no heartbeat":  c.Group("two").Heartbeat == "" && one.Heartbeat == "/scap-heartbeat",
		"nor a log of them":              c.Group("two").HeartbeatLog == "" && one.HeartbeatLog == "/var/log/scap/heartbeat.json",
		"where the commands run":         c.Balancer("c").Where == OnTarget,
		"the way to HAProxy is in order": cmp.Equal(c.Balancer("h").Sockets, []string{"127.0.0.1:9999", "/run/h.sock"}),
	} {
		if !ok {
			t.Errorf("not so: %s", what)
		}
	}
}

// TestWorkingDirectory puts every file that an older scap would have read into the working directory.
func TestWorkingDirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "named.yaml")
	for name, text := range map[string]string{"named.yaml": minimal, "scap.yaml": rich, "scap.cfg": "[global]\nssh_user: evil", "scap/scap.cfg": "[global]\nssh_user: evil"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	c, err := Load(file, nil)
	if err != nil || c.SSH.User != "mwdeploy" || len(c.Groups) != 1 {
		t.Fatalf("the working directory has changed the configuration: %+v, %v", c, err)
	}
}

// TestUnreadable: each refusal names the file.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open.yaml")
	if err := os.WriteFile(open, []byte(minimal), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o666); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(dir, "long.yaml")
	if err := os.WriteFile(long, bytes.Repeat([]byte("# x\n"), maxFile/4+1), 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing"): "no such file",
		dir:                           "not a regular file",
		open:                          "everybody on this host can write",
		long:                          "longer than",
		"/dev/zero":                   "not a regular file",
	} {
		c, err := Load(path, nil)
		var m Mistakes
		if c != nil || !errors.As(err, &m) || !strings.Contains(err.Error(), want) || m[0].File != path {
			t.Errorf("Load(%s) = %v, want %q", path, err, want)
		}
	}
}
