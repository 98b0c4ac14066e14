package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// handover has every key that a handover needs, none with its default.
const handover = `
groups:
  all:
    hosts: [a, b]
    strategy: handover
    balancers: none
    handover: {keeper: [/usr/bin/sudo, -n, /opt/scap, keeper, --conf, /etc/k.json], keep_previous: 1h, document_root: w/docs, params: {HTTPS: "on", HTTP_X_A: ""}, state_dir: /var/k, run_dir: /run/k, reserve: 1GB, web_config: [/etc/nginx.conf]}
    php_fpm: [{name: www, listen: /run/www.sock, trial: /run/trial.sock, config: /etc/fpm.conf, control: {systemd: fpm.service}}]
    warm_up: {requests: [{path: /wiki/Main, script: /w/index.php, host: en.x}, {path: "/w/api.php?x=/y", host: en.x}]}
    logs: [{path: /l, format: access-json}]
phases: [{name: all, groups: [all], share: 2.5%, gate: {sources: [logs]}}]
`

func TestHandover(t *testing.T) {
	c, err := load("f", []byte(handover), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Handover{
		Keeper:       []string{"/usr/bin/sudo", "-n", "/opt/scap", "keeper", "--conf", "/etc/k.json"},
		KeepPrevious: time.Hour, DocumentRoot: "w/docs", Params: []Param{{"HTTPS", "on"}, {"HTTP_X_A", ""}},
		StateDir: "/var/k", RunDir: "/run/k", Reserve: 1 << 30, WebConfig: []string{"/etc/nginx.conf"},
	}
	g := c.Group("all")
	if diff := cmp.Diff(want, g.Handover); diff != "" {
		t.Errorf("handover (-want +have):\n%s", diff)
	}
	if g.Strategy != ByHandover || g.FPM[0].Trial != "/run/trial.sock" || g.WarmUp.Requests[0].Script != "/w/index.php" || c.Phases[0].Share != 0.025 {
		t.Errorf("strategy %s, %+v, %+v, share %s", g.Strategy, g.FPM, g.WarmUp, c.Phases[0].Share)
	}
	var shown strings.Builder
	if err := c.Show(&shown); err != nil {
		t.Fatal(err)
	}
	if again, err := load("f", []byte(shown.String()), nil); err != nil || !cmp.Equal(c, again) {
		t.Errorf("what was shown does not load as the same: %v\n%s", err, shown.String())
	}
	if got := c.Sudoers(); !strings.Contains(got, "NOPASSWD: /opt/scap keeper --conf /etc/k.json\n") {
		t.Errorf("the keeper is not granted:\n%s", got)
	}
}

func TestHandoverMistakes(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"no such parameter":     {"HTTPS:", "https:", `"https" is no FastCGI parameter`},
		"a size without unit":   {"1GB", "1000", "reserve: want a size such as 512MB"},
		"a size too large":      {"1GB", "2000GB", "reserve: 2000GB is out of range"},
		"a root above":          {"w/docs", "../etc", "want a path inside of a release"},
		"one directory":         {"/var/k", "/run/k", "state_dir and run_dir are one directory"},
		"no room for sockets":   {"run_dir: /run/k", "run_dir: /run/" + strings.Repeat("k", 70), "for the paths of the sockets in it"},
		"one socket for two":    {"/run/trial.sock", "/run/www.sock", "is the socket of something else already"},
		"a path of no script":   {"script: /w/index.php, ", "", "name its script, as in {path: /wiki/Main, script: /w/index.php}"},
		"no script":             {"/w/index.php", "/w/index.html", "is no script"},
		"nothing to warm":       {"warm_up: {requests: [{path: /wiki/Main, script: /w/index.php, host: en.x}, {path: \"/w/api.php?x=/y\", host: en.x}]}", "", "strategy handover needs warm_up.requests"},
		"commands":              {"systemd: fpm.service", "commands: {start: [/s], quit: [/q]}", "must know the unit or the pid file"},
		"a status for one":      {"trial:", "status_listen: \"127.0.0.1:9\", trial:", "two masters cannot both listen there"},
		"a trial by drain":      {"strategy: handover", "strategy: drain", "has a trial socket, which is for strategy handover"},
		"a share by drain":      {"strategy: handover", "strategy: drain", "share: a release is tried beside the old one, and group all has strategy drain"},
		"a share without trial": {"trial: /run/trial.sock, ", "", "group all has no trial socket in php_fpm www"},
		"a share unjudged":      {"gate: {sources: [logs]}", "gate: {probes: /p}", "wants a gate with sources"},
		"more than half":        {"2.5%", "60%", "share: 60% is out of range"},
		"sudo that may ask":     {"/usr/bin/sudo, -n", "/usr/bin/sudo", "with sudo write"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(handover, c.from, c.to, 1)
			if text == handover {
				t.Fatal("nothing was replaced")
			}
			if _, err := load("f", []byte(text), nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("have %v\nwant %s", err, c.want)
			}
		})
	}
}
