package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// review has every key that changes under review need, none with its default.
const review = `
deploy:
  wait: 1m
  finish:
    - {name: purge, command: [/bin/purge, "{release}"], timeout: 10s}
    - {name: tell, command: [/bin/tell, "--of={version}", "{record}"]}
gerrit: {url: "http://127.0.0.1:8080/r", git_url: "https://git.x", netrc: /n, ca_file: /ca, timeout: 5s, label: Review, approve: 1, submit: scap, ci_users: [], merge_timeout: 1m, poll: 500ms}
staging:
  config: {project: conf, branch: main}
  core: {project: core, branch: "rel/{version}", path: "mw/{version}"}
  wikiversions: conf/w.json
  patches: /srv/patches
  private: /srv/private
  beta_only: [labs.php]
  lint: warn
  registration: off
  php: none
  merge_first: true
  steps:
    - {name: l10n, per_version: true, command: [/bin/l10n, "{tree}", "{out}", "{version}"], inputs: ["mw/{version}/i18n/**"], outputs: "mw/{version}/cache", after: [info], timeout: 1m}
    - {name: info, command: [/bin/info, "--to={out}"], inputs: ["*.json"], outputs: info}
    - {name: look, command: [/bin/look, "{tree}"], inputs: ["**/*.php"]}
announcers:
  i: {kind: irc, address: "irc.x:6667", plain: true, channel: "#o", nick: bot, user: account, timeout: 1s, on: [started, deployed]}
  j: {kind: irc, address: "irc.x:6697", channel: "#o", password_file: /p, ca_file: /c}
  b: {kind: tcpircbot, address: "bot.x:9200"}
  w: {kind: webhook, url: "https://hook.x/a"}
  s: {kind: statuspage, page: p, component: c, token_file: /t}
  g: {kind: gerrit}
  t: {kind: textfile, path: /var/lib/x.prom}
  p: {kind: pushgateway, url: "https://push.x", job: deploys, user: u, password_file: /p}
  o: {kind: otlp, url: "https://otel.x/v1/traces", token_file: /t}
  c: {kind: command, command: [/bin/tell, "#ops"]}
groups: {test: {hosts: [t], php_fpm: none, balancers: none}, all: {hosts: [a, b], php_fpm: none, balancers: none}}
phases:
  - {name: test, groups: [test], gate: none, test: true, hint: "X-Debug: t"}
  - {name: all, groups: [all], gate: none, confirm: true, hint: look}
`

// TestReview looks at what is in force, with every key and with none.
func TestReview(t *testing.T) {
	c, err := load("f", []byte(review), nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, ok := range map[string]bool{
		"the tree is made by staging":     c.Deploy.StageDir == "",
		"anybody may end the wait":        c.Gerrit.CIUsers != nil && len(c.Gerrit.CIUsers) == 0,
		"repositories come from git_url":  c.Gerrit.GitURL == "https://git.x",
		"there is no php":                 c.Staging.PHP == nil,
		"only one step has versions":      c.Staging.Steps[0].PerVersion && !c.Staging.Steps[1].PerVersion,
		"nor has the first finish one":    !c.Deploy.Finish[0].PerVersion() && c.Deploy.Finish[1].PerVersion() && c.Deploy.Finish[1].Timeout == 5*time.Minute,
		"an account beside the nick":      c.Announcers[0].User == "account" && c.Announcers[1].User == "scap" && !c.Announcers[1].Plain,
		"everything is told":              c.Announcers[1].On == nil && len(c.Announcers[0].On) == 2,
		"Statuspage is where it is":       c.Announcers[4].URL == "https://api.statuspage.io/v1",
		"a phase of test servers":         c.Phases[0].Test && c.Phases[0].Hint == "X-Debug: t" && !c.Phases[1].Test,
		"a step waits for one further on": cmp.Equal(c.Staging.Steps[0].After, []string{"info"}),
	} {
		if !ok {
			t.Errorf("not so: %s", what)
		}
	}
	c, err = load("f", []byte(minimal), nil)
	if err != nil || c.Gerrit != nil || c.Staging != nil || len(c.Announcers) != 0 || c.Deploy.StageDir == "" || c.Deploy.Wait != 10*time.Minute || len(c.Deploy.Finish) != 0 {
		t.Errorf("a file that says nothing of it: %+v, %v", c, err)
	}
	c, err = load("f", []byte(minimal+"gerrit: {url: \"https://g.x\"}\nstaging: {}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&Gerrit{
		URL: "https://g.x", GitURL: "https://g.x", Timeout: 30 * time.Second, Label: "Code-Review", Approve: 2, Submit: SubmitByCI,
		CIUsers: []string{"jenkins-bot", "PipelineBot"}, MergeTimeout: 30 * time.Minute, Poll: 5 * time.Second,
	}, c.Gerrit); diff != "" {
		t.Errorf("gerrit by default (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&Staging{
		Config: Repo{"operations/mediawiki-config", "master"}, Core: Core{"mediawiki/core", "wmf/{version}", "php-{version}"},
		Wikiversions: "wikiversions.json", BetaOnly: []string{}, Lint: Block, Registration: Block, PHP: []string{"/usr/bin/php"}, Steps: []Step{},
	}, c.Staging); diff != "" {
		t.Errorf("staging by default (-want +got):\n%s", diff)
	}
}

// TestReviewMistakes has one mistake a case, and says where it is.
func TestReviewMistakes(t *testing.T) {
	const g = `gerrit: {url: "https://g.x"}` + "\n"
	step := func(keys string) string {
		return g + `staging: {steps: [{name: s, command: [/bin/s, "{out}"], inputs: [a], outputs: o` + keys + "}]}\n"
	}
	steps := func(list string) string { return g + "staging: {steps: [" + list + "]}\n" }
	a := func(keys string) string { return "announcers: {a: {" + keys + "}}\n" }
	for name, c := range map[string]struct{ text, want string }{
		"gerrit without a URL":    {"gerrit: {}\n", "f:4:1: gerrit.url is missing: where it answers"},
		"gerrit that is a text":   {"gerrit: https://g.x\n", "f:4:9: gerrit: want keys with values"},
		"a password in the URL":   {"gerrit: {url: \"https://u:p@g.x\"}\n", "f:4:15: gerrit.url: has credentials in it: put them into credentials_file"},
		"a password in the air":   {"gerrit: {url: \"http://g.x\", credentials_file: /c}\n", "f:4:10: gerrit.url: credentials would go to http://g.x unencrypted: use https"},
		"the same for git":        {"gerrit: {url: \"https://g.x\", git_url: \"http://g.x\", netrc: /c}\n", "gerrit.git_url: credentials would go to http://g.x unencrypted"},
		"two passwords":           {"gerrit: {url: \"https://g.x\", netrc: /n, credentials_file: /c}\n", "gerrit has both credentials_file and netrc"},
		"a vote that refuses":     {"gerrit: {url: \"https://g.x\", approve: -2}\n", "gerrit.approve: -2 is out of range: 1 to 10"},
		"somebody else submits":   {"gerrit: {url: \"https://g.x\", submit: zuul}\n", `gerrit.submit: "zuul" is none of ci, scap`},
		"a look too late":         {"gerrit: {url: \"https://g.x\", poll: 2m, merge_timeout: 1m}\n", "gerrit: poll 2m is longer than merge_timeout 1m: no merge would be seen"},
		"an unknown key":          {"gerrit: {url: \"https://g.x\", lable: x}\n", `unknown key "lable" in gerrit; did you mean "label"?`},
		"a version in the middle": {g + "staging: {core: {path: \"php/{version}/core\"}}\n", `staging.core.path: "php/{version}/core": want {version} once, at its end`},
		"a version by itself":     {g + "staging: {core: {path: \"{version}\"}}\n", "with something before it, such as php-{version}"},
		"staging alone":           {"staging: {}\n", "f:4:1: staging needs gerrit"},
		"two trees":               {"deploy: {stage_dir: /srv/t}\n" + g + "staging: {}\n", "f:4:10: deploy.stage_dir and staging: a tree comes from one place; remove one of them"},
		"a project that leaves":   {g + "staging: {config: {project: ../etc}}\n", `f:5:29: staging.config.project: "../etc" is no project`},
		"a project as a flag":     {g + "staging: {core: {project: --upload-pack=x}}\n", "staging.core.project"},
		"a branch as a flag":      {g + "staging: {config: {branch: -x}}\n", `staging.config.branch: "-x" is no branch`},
		"a branch with refs":      {g + "staging: {config: {branch: refs/heads/master}}\n", "write it without refs/heads/"},
		"one branch for all":      {g + "staging: {core: {branch: master}}\n", `staging.core.branch: "master" has no {version}: all versions would be one`},
		"one path for all":        {g + "staging: {core: {path: php}}\n", `staging.core.path: "php" has no {version}`},
		"a core outside":          {g + "staging: {core: {path: \"../{version}\"}}\n", "leads out of the tree"},
		"another placeholder":     {g + "staging: {core: {path: \"php-{version}-{v}\"}}\n", "the placeholders are {version}"},
		"wikiversions elsewhere":  {g + "staging: {wikiversions: /etc/w.json}\n", "staging.wikiversions: \"/etc/w.json\" leads out of the tree"},
		"a dirty path":            {g + "staging: {wikiversions: a//b}\n", `"a//b": write it as a/b`},
		"patches relative":        {g + "staging: {patches: patches}\n", `staging.patches: "patches" is relative`},
		"lint: yes":               {g + "staging: {lint: yes}\n", `staging.lint: "yes" is none of block, warn, off`},
		"nothing to look with":    {g + "staging: {php: none}\n", "staging.registration: php is none, and without it nothing can be looked up in PHP files: say registration: off"},
		"a step without a name":   {steps("{command: [/s, \"{out}\"], inputs: [a], outputs: o}"), "f:5:19: staging.steps[0].name is missing"},
		"two of one name":         {steps("{name: s, command: [/s, \"{out}\"], inputs: [a], outputs: o}, {name: s, command: [/s, \"{out}\"], inputs: [a], outputs: p}"), "staging.steps[1]: another step has the name s"},
		"two into one place":      {steps("{name: s, command: [/s, \"{out}\"], inputs: [a], outputs: o/a}, {name: t, command: [/s, \"{out}\"], inputs: [a], outputs: o}"), "staging.steps[1].outputs: o and the outputs of step s lie in each other"},
		"an absolute pattern":     {g + "staging: {beta_only: [/a.php]}\n", `staging.beta_only[0]: "/a.php" leads out of the tree`},
		"a broken pattern":        {steps("{name: s, command: [/s, \"{out}\"], inputs: [\"a/[b\"], outputs: o}"), `staging.steps[0].inputs[0]: "a/[b" is no pattern`},
		"too long a name":         {step("/" + strings.Repeat("x", 256)), "has a name longer than 255 bytes"},
		"what comes is lost":      {steps("{name: s, command: [/s, \"{out}\"], inputs: [a]}"), "staging.steps[0] has no outputs: what is in {out} would be lost"},
		"a step with rights":      {steps("{name: s, command: [/usr/bin/sudo, -n, /s, \"{out}\"], inputs: [a], outputs: o}"), "sudo does not work there"},
		"nothing comes of it":     {steps("{name: s, command: [/s], inputs: [a], outputs: o}"), "staging.steps[0].command has no {out}: nothing would come of it"},
		"no inputs":               {steps("{name: s, command: [/s, \"{out}\"], inputs: [], outputs: o}"), "staging.steps[0].inputs is empty"},
		"a version of no version": {steps("{name: s, command: [/s, \"{out}\", \"{version}\"], inputs: [a], outputs: o}"), "the placeholders are {tree}, {out} (and {version} with per_version: true)"},
		"an input of no version":  {steps("{name: s, command: [/s, \"{out}\"], inputs: [\"php-{version}\"], outputs: o}"), "there are no placeholders here (and {version} with per_version: true)"},
		"all versions in one":     {step(", per_version: true"), `staging.steps[0].outputs: "o" has no {version}: all versions would be one`},
		"a whole version":         {steps("{name: s, per_version: true, command: [/s, \"{out}\"], inputs: [a], outputs: \"php-{version}\"}"), "staging.steps[0].outputs: php-{version} would replace a whole version"},
		"outputs at the root":     {steps("{name: s, command: [/s, \"{out}\"], inputs: [a], outputs: .}"), "staging.steps[0].outputs: is empty"},
		"after nobody":            {step(", after: [t]"), `f:5:89: staging.steps[0].after: there is no step "t"`},
		"after itself":            {step(", after: [s]"), "staging.steps[0].after: s would wait for itself"},
		"after one another": {
			steps("{name: s, command: [/s, \"{out}\"], inputs: [a], outputs: o, after: [t]}, {name: t, command: [/s, \"{out}\"], inputs: [a], outputs: p, after: [u]}, {name: u, command: [/s, \"{out}\"], inputs: [a], outputs: q, after: [s]}"),
			"staging.steps[2].after: u would wait for itself",
		},
		"a relative finish":       {"deploy: {finish: [{name: f, command: [purge]}]}\n", `deploy.finish[0].command[0]: "purge" is relative`},
		"a record of nothing":     {"deploy: {finish: [{name: f, command: [/p, \"{record}\"]}]}\n", "the placeholders are {release} (and {record} and {version} with staging)"},
		"two finishes":            {"deploy: {finish: [{name: f, command: [/p]}, {name: f, command: [/p]}]}\n", "deploy.finish[1]: another step has the name f"},
		"to wait for ever":        {"deploy: {wait: 2d}\n", "deploy.wait: 2d is out of range: 0s to 1d"},
		"an announcer of no kind": {a("on: [started]"), "f:4:14: announcers.a.kind is missing: one of irc, tcpircbot"},
		"an unknown kind":         {a("kind: slack"), `f:4:24: announcers.a.kind: "slack" is none of irc`},
		"a key of another kind":   {a(`kind: tcpircbot, address: "a:1", channel: "#c"`), `unknown key "channel" in announcers.a`},
		"an unknown event":        {a(`kind: tcpircbot, address: "a:1", on: [start]`), `announcers.a.on: "start" is none of started, tested`},
		"no event":                {a(`kind: tcpircbot, address: "a:1", on: []`), "announcers.a.on is empty: leave the key out for everything"},
		"metrics of some":         {a(`kind: textfile, path: /a.prom, on: [deployed]`), `unknown key "on" in announcers.a`},
		"a channel unquoted":      {a("kind: irc, address: \"a:1\", channel: c"), `announcers.a.channel: "c" is no channel; want for example "#operations", in quotes`},
		"a line break for IRC":    {a(`kind: irc, address: "a:1", channel: "#c\nQUIT"`), "is no channel"},
		"a nick of two words":     {a(`kind: irc, address: "a:1", channel: "#c", nick: a b`), "is no nick"},
		"an IRC password in air":  {a(`kind: irc, address: "a:1", channel: "#c", plain: true, password_file: /p`), "announcers.a.plain: the password would go to a:1 unencrypted"},
		"neither URL nor file":    {a("kind: webhook"), "announcers.a: want one of url and url_file"},
		"both URL and file":       {a(`kind: webhook, url: "https://x", url_file: /u`), "announcers.a: want one of url and url_file"},
		"no token":                {a("kind: statuspage, page: p"), "announcers.a.token_file is missing"},
		"a page with a path":      {a("kind: statuspage, page: ../x, token_file: /t"), `announcers.a.page: "../x": want letters`},
		"comments on nothing":     {a("kind: gerrit"), "announcers.a.kind: there is no section gerrit"},
		"metrics unread":          {a("kind: textfile, path: /a.txt"), "node_exporter reads only files that end in .prom"},
		"a user alone":            {a(`kind: pushgateway, url: "https://p", user: u`), "announcers.a: user and password_file go together"},
		"pushed in the air":       {a(`kind: pushgateway, url: "http://p", user: u, password_file: /p`), "announcers.a.url: credentials would go to http://p unencrypted"},
		"a token in the air":      {a(`kind: otlp, url: "http://p", token_file: /p`), "announcers.a.url: credentials would go to http://p unencrypted"},
		"a name in capitals":      {"announcers: {A: {kind: gerrit}}\n", `announcers: "A": want small letters`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := load("f", []byte(minimal+c.text), nil)
			if err == nil || got != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("have %v\nwant %s", err, c.want)
			}
		})
	}
	for name, c := range map[string]struct{ phases, want string }{
		"tests come first": {"[{name: a, groups: [a], gate: none}, {name: t, groups: [t], gate: none, test: true}]", "f:2:81: phases[1].test: phase a comes before it and is no test"},
		"nobody reads it":  {"[{name: a, groups: [a], gate: none, hint: x}, {name: t, groups: [t], gate: none}]", "f:2:45: phases[0].hint goes with test or confirm"},
		"too long a hint":  {"[{name: a, groups: [a], gate: none, test: true, hint: " + strings.Repeat("x", 501) + "}, {name: t, groups: [t], gate: none}]", "phases[0].hint: is longer than 500 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			const groups = "groups: {a: {hosts: [a], php_fpm: none, balancers: none}, t: {hosts: [t], php_fpm: none, balancers: none}}\n"
			if _, err := load("f", []byte(groups+"phases: "+c.phases+"\n"), nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("have %v\nwant %s", err, c.want)
			}
		})
	}
}
