package config

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestEveryMistakeAtOnce has one file with many mistakes: each is reported, with its place, in the order of the file.
func TestEveryMistakeAtOnce(t *testing.T) {
	const text = `deploy:
  stage_dir: srv/staging
  keep_release: 3
  keep_for: 90
ssh:
  user: root
  port: 70000
  port: 22
  allow_root: yes
  agent_socket: /` + "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789/01234567" + `
balancers:
  edge: {kind: haproxi, sockets: [x]}
  spare: {kind: haproxy, capacity: 3, sockets: [/run/a.sock, admin.sock], backend: "web; shutdown"}
targets:
  stratgy: reload
  php_fpm:
    - {name: www, listen: /run/w.sock, config: /c, control: {systemd: php8.2-fpm}}
    - {name: www, listen: /run/w.sock, config: /c, control: {pid_file: /p, systemd: a.service}}
  balancers: [edgy]
  limits: {quiet_timeout: 200ms, start: 2 s}
  warm_up: {requests: [{path: "wiki/Main", host: en, status: "200"}]}
groups:
  canaries: {hosts: [mw1001, "mw[1001:1003]", "-oProxyCommand=x", "mw[9:1]"]}
  Spare: {hosts: []}
  idle: {hosts: [mw9], dsh: /etc/dsh/group/idle}
phases:
  - {name: canaries, groups: [canary], width: 0, gate: {tick: 5}}
  - {name: canaries, groups: [], width: 10.5%, max_failures: -1, gate: none, bake: -1s}
fases: []
`
	_, err := load("/etc/scap.yaml", []byte(text), nil)
	got := ""
	if err != nil {
		got = strings.ReplaceAll(err.Error(), "/etc/scap.yaml:", "")
	}
	want, rerr := os.ReadFile("testdata/mistakes.txt")
	if os.Getenv("UPDATE") != "" {
		rerr = os.WriteFile("testdata/mistakes.txt", []byte(got+"\n"), 0o644)
		want = []byte(got + "\n")
	}
	if rerr != nil {
		t.Fatal(rerr)
	}
	if diff := cmp.Diff(string(want), got+"\n"); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
}

// TestMistakes has one mistake a case, on top of a right file.
func TestMistakes(t *testing.T) {
	const head = "groups: {all: {hosts: [a, b], php_fpm: none, balancers: none}}\nphases: [{name: all, groups: [all], gate: none}]\n"
	const fpm = "php_fpm: [{name: w, listen: /w, config: /c, control: {commands: {start: [/s], quit: [/q]}}}]"
	for name, c := range map[string]struct{ text, want string }{
		"empty":                {"", "f:1:1: the file is empty"},
		"only a comment":       {"# nothing\n", "f:1:1: the file is empty"},
		"a list":               {"- a\n", "f:1:1: the configuration: want keys with values, have a list"},
		"no YAML":              {"a: b: c\n", "f:1:1: mapping values are not allowed in this context"},
		"a tab":                {head + "ssh:\n\tuser: x\n", "f:4:1: found character that cannot start any token"},
		"second document":      {head + "---\nssh: {}\n", "f:3:1: a second document"},
		"second, broken":       {head + "---\n{\n", "did not find"},
		"not UTF-8":            {head + "ssh: {user: \"\xff\"}\n", "invalid"},
		"alias":                {"x: &a {user: b}\nssh: *a\n" + head, "f:1:4: anchors and aliases are not read"},
		"merge":                {head + "ssh: {<<: {user: a}}\n", "f:3:7: ssh: a key must be a plain word"},
		"explicit type":        {head + "ssh: {port: !!str 22}\n", "f:3:13: explicit types (!!str) are not read"},
		"duplicate section":    {head + "groups: {}\n", "f:3:1: groups is given twice; first in line 1"},
		"key without value":    {head + "ssh:\n", "f:3:5: ssh has no value"},
		"nothing to deploy":    {"ssh: {port: 22}\n", "f:1:1: groups is missing"},
		"octal":                {head + "ssh: {port: 0o26}\n", "plain decimal digits"},
		"a number as a text":   {head + "ssh: {user: 1e3}\n", "if 1e3 is meant as a text, put it in quotes"},
		"dashes for low lines": {head + "ssh: {known-hosts: []}\n", `f:3:7: unknown key "known-hosts" in ssh; did you mean "known_hosts"?`},
		"nothing like it":      {head + "ssh: {colour: red}\n", "f:3:7: unknown key \"colour\" in ssh"},
		"no host keys":         {head + "ssh: {known_hosts: []}\n", "no host key could be checked"},
		"store in the tree":    {head + "deploy: {stage_dir: /srv/a/b, deploy_dir: /srv/a/b/c}\n", "lie in each other"},
		"a dirty path":         {head + "deploy: {stage_dir: /srv/a/../b}\n", "write it as /srv/b"},
		"top of the disk":      {head + "deploy: {stage_dir: /srv}\n", "at the top of the file system"},
		"a bad pattern":        {head + "deploy: {excludes: [\"[a\"]}\n", "a [ without its ]"},
		"jump with options":    {head + "ssh: {jump_host: \"-oX=y\"}\n", "is not [user@]host[:port]"},
		"control character":    {head + "ssh: {identity_files: [\"/a\\u001b[31m\"]}\n", `has a control character ('\x1b')`},
		"unused balancer":      {head + "balancers: {b: {kind: haproxy, sockets: [/s], backend: x}}\n", "f:3:13: balancer b is named by no group"},
		"unknown balancer": {
			"balancers: {edge: {kind: haproxy, sockets: [/s], backend: x}}\ngroups: {all: {hosts: [a, b], " + fpm + ", balancers: [edgr]}}\nphases: [{name: all, groups: [all], gate: none}]\n",
			`groups.all.balancers: there is no "edgr" under balancers; did you mean "edge"?`,
		},
		"group in no phase": {
			"groups: {all: {hosts: [a], php_fpm: none, balancers: none}, more: {hosts: [b], php_fpm: none, balancers: none}}\nphases: [{name: all, groups: [all], gate: none}]\n",
			"f:1:61: group more is in no phase",
		},
		"group twice": {
			"groups: {all: {hosts: [a], php_fpm: none, balancers: none}}\nphases: [{name: all, groups: [all], gate: none}, {name: b, groups: [all], gate: none}]\n",
			"f:2:68: phases[1].groups: group all is in phase all already",
		},
		"no hosts left": {
			"groups: {all: {hosts: [a], php_fpm: none, balancers: none}, b: {hosts: [a], php_fpm: none, balancers: none}}\nphases: [{name: all, groups: [all], gate: none}, {name: b, groups: [b], gate: none}]\n",
			"earlier phases have all hosts of its groups",
		},
		"no gate word": {"groups: {all: {hosts: [a], php_fpm: none, balancers: none}}\nphases: [{name: all, groups: [all]}]\n", "phases[0].gate is missing"},
		"a gate without eyes": {
			"groups: {all: {hosts: [a], php_fpm: none, balancers: none}}\nphases: [{name: all, groups: [all], gate: {tick: 1s}}]\n",
			"has neither probes nor sources: it could never pass",
		},
		"a gate without logs": {
			"groups: {all: {hosts: [a], balancers: none, " + fpm + "}}\nphases: [{name: all, groups: [all], gate: {sources: [logs]}}]\n",
			"the source logs reads the hosts' own logs, and group all has no logs",
		},
		"probes of another host": {
			"groups: {all: {hosts: [a], balancers: none, warm_up: {web: \"http://localhost:80\"}, " + fpm + "}}\nphases: [{name: all, groups: [all], gate: {probes: /p.yaml}}]\n",
			"f:2:43: phases[0].gate: every host asks probes of its own web server",
		},
		"no php-fpm word":  {"groups: {all: {hosts: [a], balancers: none}}\nphases: [{name: all, groups: [all], gate: none}]\n", "f:1:10: groups.all.php_fpm is missing"},
		"no balancer word": {"groups: {all: {hosts: [a], php_fpm: none}}\nphases: [{name: all, groups: [all], gate: none}]\n", "groups.all.balancers is missing"},
		"reload by links": {
			"groups: {all: {hosts: [a], strategy: reload, balancers: none, " + fpm + "}}\nphases: [{name: all, groups: [all], gate: none}]\n",
			"f:1:38: groups.all: strategy reload needs layout realpath",
		},
		"reload without a command": {
			"groups: {all: {hosts: [a], strategy: reload, layout: realpath, balancers: none, " + fpm + "}}\nphases: [{name: all, groups: [all], gate: none}]\n",
			"instance w has no reload",
		},
		"reload without pages": {
			"groups: {all: {hosts: [a], strategy: reload, layout: realpath, balancers: none, " + fpm + "}}\nphases: [{name: all, groups: [all], gate: none}]\n",
			"needs warm_up.requests",
		},
		"flag in a release": {
			"groups: {all: {hosts: [a], balancers: none, health_flag: /srv/mediawiki/out, " + fpm + "}}\nphases: [{name: all, groups: [all], gate: none}]\n",
			"a release is never edited",
		},
		"too wide for the pool": {
			"balancers: {edge: {kind: haproxy, capacity: 75%, sockets: [/s], backend: x}}\ngroups: {all: {hosts: [a, b, c, d], balancers: [edge], " + fpm + "}}\nphases: [{name: all, groups: [all], width: 50%, gate: none}]\n",
			"f:3:44: phases[0]: width 50% takes 2 of the 4 hosts behind edge out at a time, and its capacity 75% wants 3 to serve",
		},
		"a brace without quotes": {"balancers: {p: {kind: command, drain: [/d, {host}], ready: [/r], state: [/s]}}\n" + head, "put a text that begins with { in quotes"},
		"an unknown placeholder": {"balancers: {p: {kind: command, drain: [/d, \"{hots}\"], ready: [/r], state: [/s]}}\n" + head, "the placeholders are {host} and {short}"},
		"a relative command":     {"balancers: {p: {kind: command, drain: [confctl], ready: [/r], state: [/s]}}\n" + head, `"confctl" is relative`},
		"sudo that may ask":      {"balancers: {p: {kind: command, drain: [/usr/bin/sudo, /d], ready: [/r], state: [/s]}}\n" + head, "with sudo write [/usr/bin/sudo, -n,"},
		"sudo with a wildcard":   {"balancers: {p: {kind: command, drain: [/usr/bin/sudo, -n, /d, \"*\"], ready: [/r], state: [/s]}}\n" + head, "sudoers cannot grant exactly"},
		"a fleet too large":      {"groups: {all: {hosts: [\"a[1:9999]b[1:9999]\"], php_fpm: none, balancers: none}}\nphases: [{name: all, groups: [all], gate: none}]\n", "more than 10000 hosts"},
		"too deep":               {head + "x: " + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "\n", "nested deeper than"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := load("f", []byte(c.text), nil)
			if err == nil || got != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("have %v\nwant %s", err, c.want)
			}
		})
	}
}

// TestOverrides: overrides are held to the same rules, and their mistakes name the override.
func TestOverrides(t *testing.T) {
	for over, want := range map[string]string{
		"ssh.user:root":                  "-D ssh.user: ssh.user: root is refused",
		"ssh.usr:x":                      `-D ssh.usr: unknown key "usr" in ssh; did you mean "user"?`,
		"shs.user:x":                     `-D shs.user: unknown key "shs" in the configuration; did you mean "ssh"?`,
		"ssh.port:0":                     "-D ssh.port: ssh.port: 0 is out of range: 1 to 65535",
		"ssh.port":                       "-D ssh.port: want key:value",
		"ssh.port:":                      "-D ssh.port: has no value",
		"ssh.port: # nothing":            "-D ssh.port: has no value",
		":x":                             "want key:value",
		"ssh..port:1":                    "an empty word between dots",
		"ssh.user.name:x":                "has no parts",
		"phases.twoo.width:1":            `no element of the list is named so, and it has 2; did you mean "two"?`,
		"phases.7.width:1":               "-D phases.7.width: phases.7: no element of the list is named so",
		"phases.0.groups:[one, thre]":    `-D phases.0.groups: phases[0].groups: there is no group "thre"`,
		"groups.one.hosts:[a, a]":        "-D groups.one.hosts: groups.one.hosts: host a is given twice",
		"balancers.h.server:{short}-web": "put a text with special characters in quotes",
		"deploy.excludes:[":              "the value is not YAML on its own",
		"deploy.excludes:&a b":           "-D deploy.excludes: anchors and aliases are not read",
		"ssh.user:a\n---\nb":             "the value is not YAML on its own: a second document",
		"balancers.h.sockets.1:adm.sock": "neither an absolute socket path nor host:port",
	} {
		c, err := load("f", []byte(rich), []string{over})
		if err == nil || c != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("-D %q: have %v\nwant %s", over, err, want)
		}
	}
	if _, err := load("f", []byte(rich), []string{"balancers.h.capacity:90%", "phases.one.width:100%"}); err != nil {
		t.Errorf("a group that reloads takes no host out of the pool: %v", err)
	}
	c, err := load("f", []byte(rich), []string{
		"ssh.user:deploy", "groups.one.hosts:[x1, x2]", "phases.1.max_failures: 20%", "phases.one.gate:none", "targets.root:/srv/q",
		`balancers.h.server:"{short}-web"`, "ssh.user:last", "deploy.keep_for:7d", `balancers.h.server:"{host}"`,
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.SSH.User != "last" || len(c.Group("one").Hosts) != 2 || c.Phases[1].MaxFailures.Percent != 20 || c.Phases[0].Gate != nil ||
		c.Group("two").Root != "/srv/q" || c.Group("two").HealthFlag != "/srv/q/out" || c.Deploy.KeepFor != 7*24*time.Hour || c.Balancer("h").Server != "{host}" {
		t.Errorf("not all overrides are in force: %+v", c)
	}
}

func TestUnits(t *testing.T) {
	for text, want := range map[string]string{
		"90s": "1m30s", "1h30m": "1h30m", "7d": "7d", "1d12h": "36h", "500ms": "500ms", "0s": "0s", "24h": "1d", "1.5s": "1.5s", "60m": "1h",
		"": "!", "10": "!", "-1s": "!", "1s ": "!", "s": "!", "1d1d": "!", "99999d": "!", "9999999h": "!", "+5s": "!", "1us": "!",
	} {
		d, err := ParseDuration(text)
		if got := FormatDuration(d); (want == "!") != (err != nil) || err == nil && got != want {
			t.Errorf("%q: have %s, %v, want %s", text, got, err, want)
		}
		if again, rerr := ParseDuration(FormatDuration(d)); err == nil && (rerr != nil || again != d) {
			t.Errorf("%q: written as %s, read as %v, %v", text, FormatDuration(d), again, rerr)
		}
	}
	for _, c := range []struct {
		w       Width
		n, want int
	}{{Width{Percent: 10}, 76, 7}, {Width{Percent: 10}, 5, 1}, {Width{Percent: 100}, 5, 5}, {Width{Count: 9}, 5, 5}, {Width{}, 5, 1}, {Width{Percent: 50}, 0, 1}, {Width{Count: 3}, 40, 3}} {
		if got := c.w.Of(c.n); got != c.want {
			t.Errorf("%v of %d: have %d, want %d", c.w, c.n, got, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"user", "port", "known_hosts", "keepalive_interval", "max_connects"}
	for typed, want := range map[string]string{
		"usr": "user", "prot": "port", "Port": "port", "known-hosts": "known_hosts", "hosts": "known_hosts", "keepalive": "keepalive_interval",
		"maxconnects": "max_connects", "zzz": "", "x": "", strings.Repeat("user", 40): "",
	} {
		if got := nearest(typed, known); got != want {
			t.Errorf("%q: have %q, want %q", typed, got, want)
		}
	}
}

func TestSudoers(t *testing.T) {
	c, err := load("f", []byte(rich), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := c.Sudoers()
	if !strings.Contains(got, "\ndep app01 = (root) NOPASSWD: /bin/s app01.x\n") || strings.Count(got, "NOPASSWD") != 10 {
		t.Errorf("a command on targets with {host} wants one line a host:\n%s", got)
	}
	c, err = Load(example, nil)
	if err != nil {
		t.Fatal(err)
	}
	got = c.Sudoers()
	for _, f := range c.Groups[0].FPM {
		k := f.Commands()
		for _, argv := range [][]string{k.Start, k.Quit, k.Reload, k.Kill} {
			if !strings.Contains(got, "mwdeploy ALL = (root) NOPASSWD: "+strings.Join(argv[2:], " ")+"\n") {
				t.Errorf("%v is run and not granted:\n%s", argv, got)
			}
		}
	}
	if strings.Count(got, "NOPASSWD") != 4 || strings.ContainsAny(got, "*?[]!") {
		t.Errorf("want four lines without wildcards:\n%s", got)
	}
	c, _ = load("f", []byte(strings.Replace(minimal, "php_fpm: none", `php_fpm: [{name: w, listen: /w, config: /c, control: {commands: {start: [/usr/bin/sudo, -n, /sbin/start], quit: [/usr/bin/sudo, -n, /sbin/q, "a=b:c,d"]}}}]`, 1)), nil)
	if got := c.Sudoers(); !strings.Contains(got, "/sbin/start \"\"\n") || !strings.Contains(got, `/sbin/q a\=b\:c\,d`+"\n") {
		t.Errorf("a command without arguments must be granted without any, and signs be escaped:\n%s", got)
	}
}

// FuzzLoad: whatever the file and the override say, Load answers with a configuration or with mistakes, each with a place.
func FuzzLoad(f *testing.F) {
	ok := 0
	for _, seed := range []struct{ text, over string }{{minimal, "ssh.port:1"}, {rich, "phases.one.width:2"}, {review, "staging.lint:off"}, {handover, "phases.all.share:5%"}, {"a: &b [*b]", "x.y:z"}, {"[[", "a"}, {"? {a: b}\n: c", "a.b:c"}, {"a: 1\n---\nb", ""}} {
		f.Add(seed.text, seed.over)
		if _, err := load("f", []byte(seed.text), []string{seed.over}); err == nil {
			ok++
		}
	}
	if ok != 4 {
		f.Fatalf("%d seeds are right, want 4", ok)
	}
	f.Fuzz(func(t *testing.T, text, over string) {
		c, err := load("f", []byte(text), []string{over})
		var ms Mistakes
		switch {
		case err == nil:
			var shown strings.Builder
			if err := c.Show(&shown); err != nil {
				t.Fatal(err)
			}
			again, err := load("f", []byte(shown.String()), nil)
			if err != nil || !cmp.Equal(c, again) {
				t.Fatalf("what was shown does not load as the same: %v\n%s", err, shown.String())
			}
			_ = c.Sudoers()
		case c != nil || !errors.As(err, &ms) || len(ms) == 0:
			t.Fatalf("have %v and %v", c, err)
		}
		for _, m := range ms {
			if m.What == "" || m.File == "" || m.File == "f" && (m.Line < 1 || m.Column < 1) {
				t.Fatalf("a mistake without its place: %+v", m)
			}
		}
	})
}
