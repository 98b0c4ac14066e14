package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDsh reads groups from dsh files, and places mistakes in them.
func TestDsh(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	conf := func(path string) []byte {
		return []byte("groups:\n  all: {dsh: " + path + ", php_fpm: none, balancers: none}\nphases: [{name: all, groups: [all], gate: none}]\n")
	}
	good := write("good", "# generated\n\nmw1001.x # first\n  mw[1008:1010].x\r\n\tdb[a:b]\n")
	c, err := load("f", conf(good), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"mw1001.x", "mw1008.x", "mw1009.x", "mw1010.x", "dba", "dbb"}, c.Groups[0].Hosts); diff != "" {
		t.Error(diff)
	}
	bad := write("bad", "mw1\nmw2 mw3\n  MW4\nmw1\n@other\nmw[3:1]\n\xff\n")
	empty := write("empty", "# none\n")
	for path, want := range map[string][]string{
		bad: {
			bad + `:2:5: "mw3" after the host`, bad + `:3:3: "MW4" has capital letters`, bad + ":4:1: host mw1 is given twice; first in line 1",
			bad + `:5:1: "@other" is no host name`, bad + ":6:1: range [3:1]: runs backwards", bad + ":7:1: not UTF-8",
		},
		empty:               {"f:2:14: groups.all.dsh: " + empty + " names no host"},
		dir + "/missing":    {"f:2:14: groups.all.dsh: open", "no such file"},
		"group/relative":    {"neither an absolute path nor the name of a file in /etc/dsh/group"},
		"..":                {"neither an absolute path"},
		"no-such-dsh-group": {"/etc/dsh/group/no-such-dsh-group"},
	} {
		_, err := load("f", conf(path), nil)
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: have %v\nwant %s", path, err, w)
			}
		}
		if err != nil && strings.Contains(err.Error(), "given twice") != (path == bad) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestExpand(t *testing.T) {
	for pattern, want := range map[string]string{
		"mw1.x":                  "mw1.x",
		"mw[1001:1003].x":        "mw1001.x mw1002.x mw1003.x",
		"mw[08:11]":              "mw08 mw09 mw10 mw11",
		"mw[8:11]":               "mw8 mw9 mw10 mw11",
		"r[a:b]n[1:2]":           "ran1 ran2 rbn1 rbn2",
		"mw[1:1]":                "mw1",
		"mw[10:9]":               "! range [10:9]: runs backwards",
		"mw[01:100]":             "! range [01:100]: the two ends are padded differently",
		"mw[a:2]":                "! range [a:2]: from a letter to a number",
		"mw[1:20000]":            "! range [1:20000]: more than 10000 hosts",
		"mw[1:2":                 "! no host name",
		"mw[1-3]":                "! no host name",
		"mw[1:9999999999]":       "! more than 9 digits",
		"":                       "! no host name",
		"-o":                     "! no host name",
		"a b":                    "! no host name",
		"a..b":                   "! no host name",
		"a/b":                    "! no host name",
		"m\x1b[1m":               "! no host name",
		"[1:999][1:999]":         "! more than 10000 hosts",
		strings.Repeat("a", 300): "! longer than 253",
	} {
		hosts, err := Expand(pattern)
		if text, bad := strings.CutPrefix(want, "! "); bad {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%q: have %v, %v, want %s", pattern, hosts, err, text)
			}
		} else if got := strings.Join(hosts, " "); err != nil || got != want {
			t.Errorf("%q: have %s, %v, want %s", pattern, got, err, want)
		}
	}
}

// FuzzDsh: what is read as a host is a host, and no line is passed over in silence.
func FuzzDsh(f *testing.F) {
	for seed, hosts := range map[string]int{"a\n# b\n\nc # d\n": 2, "w[08:10].x\r\n": 3, "a b\n-o\n": 0, "[": 0} {
		f.Add([]byte(seed))
		if got, _ := ParseDsh("f", []byte(seed)); len(got) != hosts {
			f.Fatalf("seed %q: have %d hosts, want %d", seed, len(got), hosts)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		hosts, mistakes := ParseDsh("f", b)
		said := map[int]bool{}
		for _, h := range hosts {
			if what := isHost(h.Name); what != "" {
				t.Fatal(what)
			}
			said[h.Line] = true
		}
		for _, m := range mistakes {
			said[m.Line] = true
		}
		for i, line := range strings.Split(string(b), "\n") {
			text, _, _ := strings.Cut(line, "#")
			if len(hosts) < maxHosts && strings.TrimSpace(text) != "" && !said[i+1] {
				t.Fatalf("line %d (%q) was passed over", i+1, line)
			}
		}
	})
}
