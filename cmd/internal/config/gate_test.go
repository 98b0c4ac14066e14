package config

import (
	"strings"
	"testing"
)

// TestWhatJudges has one mistake a case in what judges traffic, and says where it is.
func TestWhatJudges(t *testing.T) {
	const fpm = "php_fpm: [{name: w, listen: /w, config: /c, control: {commands: {start: [/s], quit: [/q]}}}], balancers: none, logs: [{path: /a, format: access}]"
	file := func(gate, top string) string {
		return "groups: {all: {hosts: [a], " + fpm + "}}\nphases: [{name: all, groups: [all], gate: {" + gate + "}}]\n" + top
	}
	const p = `p: {kind: prometheus, url: "https://p:9090", requests: r, failing: f, release_label: v}`
	for name, c := range map[string]struct{ gate, top, want string }{
		"a threshold": {
			"error_threshold: 10", "", "f:2:44: phases[0].gate.error_threshold: gates have no threshold any more: a count of errors says nothing without " +
				"the requests it is of and the old release beside it; say sources: [logs]",
		},
		"scap's own":              {"canary_threshold: 10", "", "gates have no threshold any more"},
		"a threshold and sources": {"sources: [logs], error_threshold: 10", "", "f:2:61: phases[0].gate.error_threshold"},
		"an unknown source":       {"sources: [prm]", "sources: {" + p + "}\n", `f:2:54: phases[0].gate.sources: there is no "prm" under sources`},
		"no source":               {"sources: []", "", "want a list of names or the word none"},
		"none and no probes":      {"sources: none, dwell: 60s", "", "phases[0].gate.dwell goes with sources"},
		"a source twice":          {"sources: [logs, logs]", "", `"logs" is given twice`},
		"a source nobody asks":    {"sources: [logs]", "sources: {" + p + "}\n", "f:3:11: source p is named by no gate"},
		"a signal nobody asks":    {"sources: [logs]", "signals: {e: {from: logs, path: /}}\n", "f:3:11: signal e is named by no gate"},
		"a signal of nobody":      {"sources: [logs], signals: [e]", "signals: {e: {from: prom, query: x}}\n", `signals.e.from: "prom" is none of logs`},
		"a signal from elsewhere": {"sources: [logs], signals: [e]", "sources: {" + p + "}\nsignals: {e: {from: p, query: x}}\n", "f:2:70: phases[0].gate.signals: e is counted by p, which is not among the sources of this gate: add it"},
		"rules without sources":   {"probes: /p.yaml, min_requests: 5", "", "f:2:61: phases[0].gate.min_requests goes with sources: without them no traffic is judged"},
		"signals without sources": {"probes: /p.yaml, signals: [e]", "signals: {e: {from: logs, path: /}}\n", "phases[0].gate.signals goes with sources"},
		"a dwell beyond the wait": {"sources: [logs], max_wait: 30s", "", "f:2:37: phases[0].gate: dwell 1m is longer than max_wait 30s: it could never pass"},
		"no dwell":                {"sources: [logs], dwell: 0s", "", "phases[0].gate.dwell: 0s is out of range: 1s to 1d"},
		"a ratio of nothing":      {"sources: [logs], harm_ratio: 1", "", "phases[0].gate.harm_ratio: 1 is out of range: 1.5 to 100"},
		"a ratio that is a text":  {"sources: [logs], harm_ratio: \"3\"", "", `harm_ratio: want a number such as 3 or 2.5, have the text "3"`},
		"not a number":            {"sources: [logs], harm_ratio: .nan", "", "want a number such as 3 or 2.5"},
		"hexadecimal":             {"sources: [logs], harm_ratio: 0x3", "", "want a number such as 3 or 2.5"},
		"a rate above all":        {"sources: [logs], harm_rate: 60%", "", "phases[0].gate.harm_rate: 60% is out of range: 1e-07 to 0.5"},
		"a rate below none":       {"sources: [logs], harm_rate: -3e-4", "", "want a share of all requests such as 0.03% or 3e-4"},
		"a rate of a rate":        {"sources: [logs], harm_rate: 3e-4%", "", "want a share of all requests such as 0.03% or 3e-4"},
		"a list of rates":         {"sources: [logs], harm_rate: [1]", "", "harm_rate: want a share of all requests such as 0.03% or 3e-4, have a list"},

		"the name logs":         {"sources: [logs]", "sources: {logs: {}}\n", "f:3:11: sources.logs: the name is taken"},
		"another kind":          {"sources: [p]", "sources: {p: {kind: graphite}}\n", `f:3:21: sources.p.kind: "graphite" is none of prometheus, opensearch`},
		"no kind":               {"sources: [p]", "sources: {p: {}}\n", "sources.p.kind is missing: prometheus or opensearch"},
		"no query":              {"sources: [p]", `sources: {p: {kind: prometheus, url: "https://p:9090", failing: f}}`, "sources.p.requests is missing"},
		"keys of another kind":  {"sources: [p]", `sources: {p: {kind: prometheus, url: "https://p:9090", failing: f, requests: r, index: x}}`, `unknown key "index" in sources.p`},
		"a password in sight":   {"sources: [p]", `sources: {p: {kind: prometheus, url: "https://u:geheim@p:9090", failing: f, requests: r}}`, "sources.p.url: has credentials in it: put them into credentials_file"},
		"a password in the air": {"sources: [p]", `sources: {p: {kind: prometheus, url: "http://p:9090", failing: f, requests: r, credentials_file: /s}}`, "credentials would go to http://p:9090 unencrypted: use https"},
		"a query in the URL":    {"sources: [p]", `sources: {p: {kind: prometheus, url: "https://p:9090/?a", failing: f, requests: r}}`, "want nothing behind the path"},
		"another scheme":        {"sources: [p]", `sources: {p: {kind: prometheus, url: "file:///etc", failing: f, requests: r}}`, "is not http://host:port"},
		"an index with a path":  {"sources: [p]", `sources: {p: {kind: opensearch, url: "https://p", index: "a/../_all", failing: f}}`, "sources.p.index: \"a/../_all\" is no index"},
		"no time":               {"sources: [p]", `sources: {p: {kind: opensearch, url: "https://p", index: a, failing: f, fields: {time: 1}}}`, "sources.p.fields.time: want a text"},
		"nobody's runtime":      {"sources: [p]", `sources: {p: {kind: prometheus, url: "https://p", requests: r, failing: f}}`, "f:3:11: sources.p has neither release_label nor nonce"},
		"half a second":         {"sources: [p]", "sources: {" + strings.Replace(p, "}", ", step: 1500ms}", 1) + "}\n", "sources.p.step: want whole seconds"},
		"two labels in one":     {"sources: [p]", "sources: {" + strings.Replace(p, "v}", "instance}", 1) + "}\n", "sources.p.release_label: instance is the host's label"},
		"a field with a quote":  {"sources: [p]", `sources: {p: {kind: opensearch, url: "https://p", index: a, failing: f, fields: {host: "a\"b"}}}`, "is no field name"},
		"a control character":   {"sources: [p]", `sources: {p: {kind: prometheus, url: "https://p", requests: "a\nb", failing: f}}`, "sources.p.requests: has a control character"},
		"an odd label":          {"sources: [p]", `sources: {p: {kind: prometheus, url: "https://p", requests: r, failing: f, host_label: "a-b"}}`, `"a-b" is no label name`},

		"a signal of any path":      {"sources: [logs], signals: [e]", "signals: {e: {from: logs}}\n", "signals.e.path is missing"},
		"a path with its query":     {"sources: [logs], signals: [e]", "signals: {e: {from: logs, path: \"/w?a=b\"}}\n", "put what is behind the ? under query"},
		"a query that is no pair":   {"sources: [logs], signals: [e]", "signals: {e: {from: logs, path: /w, query: \"?a=b\"}}\n", "want what the query string holds, such as action=edit"},
		"a status out of this":      {"sources: [logs], signals: [e]", "signals: {e: {from: logs, path: /w, status: 2x0}}\n", "want a status such as 302, or 2xx for all of a hundred"},
		"a method of its own":       {"sources: [logs], signals: [e]", "signals: {e: {from: logs, path: /w, method: post}}\n", `signals.e.method: "post" is none of GET, POST`},
		"a source's signal by path": {"sources: [p], signals: [e]", "sources: {" + p + "}\nsignals: {e: {from: p, query: q, path: /w}}\n", `unknown key "path" in signals.e`},
		"never red":                 {"sources: [logs], signals: [e]", "signals: {e: {from: logs, path: /w, red_below: 0%}}\n", "signals.e.red_below: 0% is out of range: 1% to 100%"},
		"fewer than none":           {"sources: [logs], signals: [e]", "signals: {e: {from: logs, path: /w, at_least: -1}}\n", "signals.e.at_least: want a number such as 3 or 2.5"},

		"a watch without a unit": {"sources: [logs]", "deploy: {watch: 15}\n", "deploy.watch: 15 has no unit"},
		"a watch too long":       {"sources: [logs]", "deploy: {watch: 2d}\n", "deploy.watch: 2d is out of range: 0s to 1d"},
		"an old announcer":       {"sources: [logs]", "deploy: {announce: [/bin/tell]}\n", "deploy.announce: say it as one of announcers now"},
		"a heartbeat log":        {"sources: [logs]", "targets: {heartbeat_log: var/log/x}\n", "targets.heartbeat_log"},
		"one that is read too":   {"sources: [logs]", "targets: {heartbeat_log: /l, logs: [{path: /l, format: php}]}\n", "is read under logs too"},
		"a heartbeat with more":  {"sources: [logs]", "targets: {heartbeat: \"/healthz?x\"}\n", "targets.heartbeat"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := load("f", []byte(file(c.gate, c.top)), nil)
			if err == nil || got != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("have %v\nwant %s", err, c.want)
			}
		})
	}
	for _, gate := range []string{"sources: [logs]", "sources: [logs], harm_rate: 3e-4", "sources: [logs], harm_rate: 0.03%", "sources: [logs], harm_ratio: 3.0"} {
		c, err := load("f", []byte(file(gate, "")), nil)
		if err != nil {
			t.Errorf("%s: %v", gate, err)
			continue
		}
		if j := c.Phases[0].Gate.Judge; j.HarmRate != 3e-4 || j.HarmRatio != 3 || j.MinRequests != 1000 || j.Controls != 40 {
			t.Errorf("%s: have %+v", gate, j)
		}
	}
}

// TestLeaveOut: a source that is down is left out of one run without a change of the file.
func TestLeaveOut(t *testing.T) {
	for _, over := range [][]string{
		{"phases.one.gate.sources:[logs]", "phases.one.gate.signals:[e]"},
		{"phases.one.gate:none"},
	} {
		if _, err := load("f", []byte(rich), over); err != nil {
			t.Errorf("-D %v: %v", over, err)
		}
	}
	if _, err := load("f", []byte(rich), []string{"phases.one.gate.sources:[logs]"}); err == nil || !strings.Contains(err.Error(), "l is counted by p, which is not among the sources") {
		t.Errorf("a signal that nobody counts: %v", err)
	}
}
