package staging

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// needPHP skips where there is no php; CI has it.
func needPHP(t *testing.T) []string {
	t.Helper()
	path, err := exec.LookPath("php")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("php is needed")
		}
		t.Skip("no php here")
	}
	return []string{path}
}

func TestLint(t *testing.T) {
	php := needPHP(t)
	good := repoFiles{"a.php": "<?php\n", "old.php": "<?php if (", "old.json": "{", "b.json": "{}"}
	for _, c := range []struct {
		name string
		next repoFiles
		want []string
	}{
		{"nothing wrong", repoFiles{"a.php": "<?php\nfunction f() {}\n", "b.json": `{"a": {"b": 1}, "c": {"b": 2}}`, "x.txt": "<?php if (", "l.php": "-> x.txt", "l.json": "-> gone"}, nil},
		{"syntax", repoFiles{"a.php": "<?php\n\nif ("}, []string{"php: a.php: Unclosed '(' on line 3"}},
		{"compile time", repoFiles{"d/new.inc": "<?php\nfunction a() {}\nfunction a() {}"}, []string{"php: d/new.inc: Cannot redeclare a() (previously declared"}},
		{"JSON", repoFiles{"b.json": "{\n\"a\": 1,\n}"}, []string{"json: b.json: line 3: invalid character"}},
		{"a key twice", repoFiles{"b.json": "{\"x\": [\n{\"a\": 1, \"b\": 2,\n\"a\": 3}]}"}, []string{`json: b.json: line 3: key "a" stands twice`}},
		{"byte order mark", repoFiles{"b.json": "\xef\xbb\xbf{}"}, []string{"json: b.json: line 1: it begins with a byte order mark"}},
		{"all at once", repoFiles{"a.php": "<?php if (", "b.json": "", "c.php": "<?php )"}, []string{"json: b.json", "php: a.php", "php: c.php"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, t.TempDir())
			before := w.build(nil, w.commit("", "config", good))
			w.o.Lint, w.o.PHP = Block, php
			for path, text := range good {
				if _, ok := c.next[path]; !ok {
					c.next[path] = text
				}
			}
			part := w.commit("", "config", c.next)
			for _, dry := range []bool{true, false} {
				_, err := w.stager().Build(context.Background(), before.Record, sortedParts(append(before.Record.Parts[:0:0], part)), BuildOptions{Dry: dry})
				var refused *RefusedError
				if len(c.want) == 0 {
					must(t, err)
					continue
				}
				if !errors.As(err, &refused) || len(refused.Findings) != len(c.want) {
					t.Fatalf("dry %v: %v", dry, err)
				}
				for i, f := range refused.Findings {
					if !strings.HasPrefix(f.String(), c.want[i]) {
						t.Errorf("%q does not begin with %q", f, c.want[i])
					}
				}
			}
			if len(c.want) > 0 {
				if all, _ := w.store.Releases(); len(all) != 1 {
					t.Error("a release was made")
				}
			}
			w.o.Lint = Warn
			if b := w.build(before.Record, part); len(b.Findings) != len(c.want) {
				t.Errorf("as warnings: %v", b.Findings)
			}
			must(t, w.store.Remove(context.Background(), before.Release.ID))
			if b := w.build(before.Record, part); len(b.Findings) != len(c.want) || !b.Cold {
				t.Errorf("from nothing, with the record: %v", b.Findings)
			}
		})
	}
}

// TestLintOfPrivateFilesKeepsThemBack wants no word of a private file in what is told of it.
func TestLintOfPrivateFilesKeepsThemBack(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.o.Private = filepath.Join(w.dir, "private")
	writeFiles(t, w.o.Private, repoFiles{"private/a.php": "<?php\n"})
	config := w.commit("", "config", repoFiles{"a": ""})
	before := w.build(nil, config)
	writeFiles(t, w.o.Private, repoFiles{"private/a.php": "<?php $password 'hunter2';"})
	w.o.Lint, w.o.PHP = Block, needPHP(t)
	_, err := w.try(before.Record, config)
	if err == nil || !strings.Contains(err.Error(), "private/a.php") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("told %v", err)
	}
	var refused *RefusedError
	if !errors.As(err, &refused) || !refused.Findings[0].Private || !strings.Contains(refused.Findings[0].Text, "hunter2") {
		t.Errorf("found %v", refused)
	}
}

func TestLintSaysWhatItDidNotLookAt(t *testing.T) {
	w := newWorld(t, t.TempDir())
	before := w.build(nil, w.commit("", "config", repoFiles{"a": ""}))
	w.o.Lint = Block
	if b := w.build(before.Record, w.commit("", "config", repoFiles{"a.php": "<?php if ("})); len(b.Findings) != 1 || b.Findings[0].Level != Warn {
		t.Errorf("without php: %v", b.Findings)
	}
	w.o.PHP = []string{"/nowhere/php"}
	if _, err := w.try(before.Record, w.commit("", "config", repoFiles{"a.php": "<?php "})); err == nil {
		t.Error("a php that cannot be run says that all is well")
	}
	w.o.PHP = []string{"/bin/sh", "-c", "exit 3"}
	var refused *RefusedError
	if _, err := w.try(before.Record, w.commit("", "config", repoFiles{"a.php": "<?php "})); err == nil || errors.As(err, &refused) {
		t.Errorf("a php that fails says that the file does: %v", err)
	}
	if b := w.build(nil, w.commit("", "config", repoFiles{"a.php": "<?php if ("})); len(b.Findings) != 1 || b.Findings[0].Level != Warn {
		t.Errorf("without a release before: %v", b.Findings)
	}
}

func TestTail(t *testing.T) {
	out := &tail{max: 10}
	for _, s := range []string{"first\n", "second\n", "third\n"} {
		n, err := out.Write([]byte(s))
		must(t, err)
		if n != len(s) {
			t.Errorf("wrote %d of %q", n, s)
		}
	}
	if got := out.String(); got != "third" {
		t.Errorf("kept %q", got)
	}
}

// FuzzCheckJSON wants the check to agree with the decoder about what is JSON, and never to fail otherwise.
func FuzzCheckJSON(f *testing.F) {
	seeds := map[string]bool{
		`{}`: true, `[]`: true, `{"a":1,"a":2}`: false, `{"a":{"b":1},"b":{"b":1}}`: true, `[{"a":1},{"a":1}]`: true, `{"a":1,}`: false, ``: false, `{} {}`: false,
		"\xef\xbb\xbf{}": false, `{"a"`: false, `1e999`: true, `"\ud800"`: true, `nul`: false, `{"a":1,"\u0061":2}`: false,
		strings.Repeat("[", 600) + strings.Repeat("]", 600): false, strings.Repeat("[", 20000): false,
	}
	for text, ok := range seeds {
		if err := checkJSON([]byte(text)); (err == nil) != ok {
			f.Fatalf("%.40q: %v", text, err)
		}
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := checkJSON(text); err != nil && !strings.HasPrefix(err.Error(), "line ") {
			t.Errorf("no line in %v", err)
		}
	})
}
