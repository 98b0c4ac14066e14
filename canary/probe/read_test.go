package probe

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReadExample(t *testing.T) {
	// A checkout does not keep modes, so the credentials are copied to where theirs is known.
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"probes.yaml": 0o644, "credentials.yaml": 0o600} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := Read(filepath.Join(dir, "probes.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Login) != 2 || len(s.Probes) != 5 {
		t.Fatalf("%d steps and %d probes", len(s.Login), len(s.Probes))
	}
	if p := s.Login[1]; p.Method != "POST" || !p.Session || p.Host != "wiki.example.org" || p.Timeout != 5*time.Second {
		t.Errorf("login %+v", p)
	}
	if p := s.Probes[1]; !p.Session || p.Timeout != 10*time.Second || p.Expect.Status[0] != 200 || p.UserAgent != "scap/probe" {
		t.Errorf("probe %+v", p)
	}
	b, err := json.Marshal(s)
	if err != nil || strings.Contains(string(b), "correct horse") {
		t.Errorf("the password is in the marshalled set: %s, %v", b, err)
	}
	if q := s.Question("http://127.0.0.1"); q.Credentials["password"] != "correct horse" {
		t.Errorf("credentials %v", q.Credentials)
	}
	if err := os.Chmod(filepath.Join(dir, "credentials.yaml"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(filepath.Join(dir, "probes.yaml")); err == nil || !strings.Contains(err.Error(), "probes.yaml:5:14: credentials: ") {
		t.Errorf("credentials that everybody reads: %v", err)
	}
}

// parse reads text as the file p.
func parse(text string) (*Set, error) {
	doc, err := document("p", strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	return read("p", doc, func(string) (map[string]string, error) { return map[string]string{"user": "u", "password": "pw"}, nil })
}

func TestReadMistakes(t *testing.T) {
	tests := map[string]struct {
		file string
		want []string
	}{
		"empty":           {"", []string{"p: the file is empty"}},
		"null":            {"---\n", []string{"p:2:1: the file: want keys and values"}},
		"no yaml":         {"a: [", []string{"p: line 1"}},
		"no probes":       {"host: a\n", []string{"p:1:1: probes: there are none"}},
		"empty probes":    {"probes: []\n", []string{"p:1:9: probes: the list is empty"}},
		"two documents":   {"probes: [{name: a, path: /}]\n---\nb: 1\n", []string{"p:2:1: a second document"}},
		"unknown keys":    {"prob: 1\nprobes:\n- {name: a, pth: /, zzzzzzzz: 1}\n", []string{`p:1:1: the file has no "prob"`, `p:3:13: a probe has no "pth": is it "path"?`, `p:3:3: a probe has no path`, `"zzzzzzzz": it has capture, expect`}},
		"twice":           {"probes: [{name: a, path: /, name: b}]\n", []string{`p:1:29: a probe: "name" is there twice`}},
		"same name":       {"probes: [{name: a, path: /}, {name: a, path: /}]\n", []string{`p:1:30: two are named "a"`}},
		"alias":           {"probes: [{name: &x a, path: /}, {name: *x, path: /}]\n", []string{"p:1:40: name: want a text"}},
		"merge":           {"probes: [{<<: {name: a}, path: /}]\n", []string{"p:1:11: a probe: want a plain key"}},
		"null name":       {"probes: [{name: , path: /}]\n", []string{"name: want a text"}},
		"not a mapping":   {"probes: [7]\n", []string{"p:1:10: a probe: want keys and values"}},
		"paths":           {"probes: [{name: a, path: x}, {name: b, path: //h/x}, {name: c, path: '/a b'}, {name: d, path: '/#x'}]\n", []string{"p:1:26: path", "p:1:46: path", "p:1:70: path"}},
		"timeouts":        {"timeout: 5\nprobes: [{name: a, path: /, timeout: 1h}]\n", []string{"p:1:10: timeout: want a time from 1ms to 5m0s, like 5s", "p:2:38: timeout"}},
		"user agent":      {"user_agent: Mozilla\nprobes: [{name: a, path: /}]\n", []string{"p:1:13: user_agent: want one that begins with scap/"}},
		"host":            {"host: 'a b'\nprobes: [{name: a, path: /, host: 'a/b'}]\n", []string{"p:1:7: host", "p:2:35: host"}},
		"methods":         {"probes: [{name: a, path: /, method: PUT}, {name: b, path: /, method: GET, form: {a: b}}]\n", []string{`p:1:10: method "PUT"`, "p:1:43: a form is sent by POST, not GET"}},
		"booleans":        {"probes: [{name: a, path: /, follow: maybe}]\n", []string{"p:1:37: follow: want true or false"}},
		"headers":         {"probes: [{name: a, path: /, headers: {Host: x, 'a b': y, X: \"a\\nb\"}}]\n", []string{"header Host: cannot be set here", `header "a b"`, `header "X"`}},
		"status":          {"probes: [{name: a, path: /, expect: {status: [200, 99, x]}}]\n", []string{"p:1:52: status", "p:1:56: status"}},
		"patterns":        {"probes: [{name: a, path: /, expect: {matches: '('}, capture: {v: {regexp: 'x'}}}]\n", []string{"p:1:47: matches: error parsing regexp", "regexp: want exactly one group"}},
		"empty texts":     {"probes: [{name: a, path: /, expect: {contains: ['']}}]\n", []string{"an empty text says nothing"}},
		"json":            {"probes: [{name: a, path: /, expect: {json: {a..b: 1, c: [1]}}}]\n", []string{`"a..b" is no path`, "p:1:57: json c: want a text"}},
		"captures":        {"probes: [{name: a, path: /, capture: {'x y': {json: a}, z: {}, w: {json: a, header: b}}}]\n", []string{`"x y" is no name`, "capture z: want one of", "capture w: want one of"}},
		"variables":       {"credentials: c\nprobes: [{name: a, path: '/${nope}', form: {p: '${credentials.nope}'}}, {name: b, path: '/${credentials.user}'}]\n", []string{"${nope}: no earlier step captures it", `the credentials file has no "nope"`, "would be written to access logs"}},
		"captured later":  {"probes: [{name: a, path: '/${t}'}, {name: b, path: /, capture: {t: {header: X}}}]\n", []string{"p:1:26: ${t}: no earlier step"}},
		"session":         {"probes: [{name: a, path: /, session: true}]\n", []string{`p:1:10: probe "a" wants a session, and there is no login`}},
		"session in step": {"login: [{name: l, path: /, session: true}]\nprobes: [{name: a, path: /}]\n", []string{`a step of login has no "session"`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parse(tt.file)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("mistakes:\n%v\nwant %q", err, want)
				}
			}
		})
	}
}

func TestReadAllMistakesInOrder(t *testing.T) {
	_, err := parse("zz: 1\nprobes:\n- {name: a, path: x}\n- {nam: b, path: /}\nhost: ''\n")
	lines := strings.Split(err.Error(), "\n")
	last := 0
	for _, l := range lines {
		n := int(l[2] - '0')
		if n < last {
			t.Errorf("out of order:\n%v", err)
		}
		last = n
	}
	if len(lines) != 5 {
		t.Errorf("%d mistakes:\n%v", len(lines), err)
	}
}

func FuzzRead(f *testing.F) {
	example, err := os.ReadFile("testdata/probes.yaml")
	if err != nil {
		f.Fatal(err)
	}
	seeds := []string{
		string(example), "", "a: &a [*a]", "probes: [{name: a, path: /}]", "probes: {name: a, path: /}", "? [a]\n: b", "probes: [{name: a, path: '/${'}]",
		"probes: !!binary aGk=", "probes: [{name: 2001-01-01, path: /, expect: {json: {a: .nan}}}]", strings.Repeat("[", 500), "<<: {probes: 1}",
		"timeout: 1s\nprobes: [{name: a, path: /, expect: {status: 0x1ff}}]",
	}
	if len(seeds) < 12 || len(example) < 1000 {
		f.Fatalf("%d seeds", len(seeds))
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parse(text)
		if err != nil {
			return
		}
		// What is accepted can be asked, and survives the wire.
		if len(s.Probes) == 0 {
			t.Fatalf("no probes in %q", text)
		}
		b, err := json.Marshal(s.Question("http://127.0.0.1"))
		if err != nil {
			t.Fatalf("%v of %q", err, text)
		}
		var q Question
		if err := json.Unmarshal(b, &q); err != nil || len(q.Set.Probes) != len(s.Probes) {
			t.Fatalf("%v of %q", err, text)
		}
	})
}
