package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scap/cmd/internal/config"
	"scap/sync/change"
	"scap/sync/change/git"
	"scap/sync/change/pin"
	"scap/sync/change/staging"
)

// What differs without a commit that could be listed is confirmed like one: a branch that was set back, a repository that
// comes or goes, a history that is nowhere to be had.
func TestWhatHasNoCommitToShowIsConfirmedToo(t *testing.T) {
	one := []git.Commit{{ID: strings.Repeat("a", 40), Subject: "one"}}
	for _, row := range []struct {
		name  string
		extra pin.Extra
		says  string
	}{
		{"a commit", pin.Extra{Commits: one}, "1 commit"},
		{"set back", pin.Extra{Gone: one}, "aaaaaaaaaaaa"},
		{"comes", pin.Extra{New: true}, "comes"},
		{"goes", pin.Extra{Removed: true}, "goes"},
		{"unknown", pin.Extra{Unknown: true}, "cannot be listed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.extra.Path, row.extra.Project, row.extra.Branch = "php-1/extensions/Foo", "mediawiki/extensions/Foo", "wmf/1"
			var out bytes.Buffer
			b := &backport{
				deploy: &deploy{app: &app{stdout: &out, stderr: &out, yes: true}, conf: &config.Config{Staging: &config.Staging{Wikiversions: "wikiversions.json"}}},
				base:   &staging.Record{}, pinned: &pin.Pinned{Extra: []pin.Extra{row.extra}},
			}
			if b.nothing() {
				t.Error("taken for nothing")
			}
			b.asked, b.named = []int{1}, []change.Change{{Number: 1, Project: "p", Branch: "b"}}
			b.pinned.Paths = map[int][]string{1: {"wmf-config/x.php"}}
			err := b.agree(t.Context())
			if err == nil || exitCode(err) != exitError || !strings.Contains(err.Error(), "--yes does not confirm") {
				t.Errorf("%v", err)
			}
			if !strings.Contains(out.String(), row.says) || !strings.Contains(out.String(), "mediawiki/extensions/Foo") {
				t.Errorf("shown %q, want %q in it", out.String(), row.says)
			}
		})
	}
}

// Files that differ are never nothing, whatever the histories say.
func TestFilesThatDifferAreNotNothing(t *testing.T) {
	b := &backport{base: &staging.Record{}, pinned: &pin.Pinned{Files: []string{"a.php"}}}
	if b.nothing() {
		t.Error("taken for nothing")
	}
	if b.pinned.Files = nil; !b.nothing() {
		t.Error("nothing differs")
	}
}

// A change that adds a submodule, or moves wikis to another version, has said so: what comes with it is confirmed with it.
func TestARepositoryThatAChangeBringsIsNamed(t *testing.T) {
	b := &backport{
		deploy: &deploy{conf: &config.Config{Staging: &config.Staging{Wikiversions: "wikiversions.json", Core: config.Core{Project: "mediawiki/core"}}}},
		pinned: &pin.Pinned{
			Paths: map[int][]string{1: {"php-1/extensions/Foo"}},
			Extra: []pin.Extra{{Path: "php-1/extensions/Foo", Project: "mediawiki/extensions/Foo", New: true}},
		},
	}
	if len(b.unnamed()) != 0 {
		t.Error("the submodule is not taken for the change's")
	}
	b.pinned.Extra = append(b.pinned.Extra, pin.Extra{Path: "php-2", Project: "mediawiki/core", New: true}, pin.Extra{Path: "php-0", Project: "mediawiki/core", Removed: true})
	if len(b.unnamed()) != 2 {
		t.Error("versions nobody moved wikis to")
	}
	b.pinned.Paths[2] = []string{"wikiversions.json"}
	if len(b.unnamed()) != 0 {
		t.Error("the versions are not taken for the change's")
	}
}

// What was named with --private ships as it was when that was confirmed, or not at all.
func TestAPrivateFileThatChangesAfterTheConfirmationDoesNotShip(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "1.41.0-wmf.5", "core", "01.patch")
	name := "1.41.0-wmf.5/core/01.patch"
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("one"), 0o600)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	b := &backport{
		deploy: &deploy{app: &app{stdout: &out, stderr: &out, yes: true}, conf: &config.Config{Staging: &config.Staging{Patches: dir}}},
		o:      backportOptions{private: []string{path}}, base: &staging.Record{}, pinned: &pin.Pinned{},
	}
	if err := b.agree(t.Context()); err != nil {
		t.Fatal(err)
	}
	for text, says := range map[string]string{"one": "", "two": "has changed since it was confirmed"} {
		sum := sha256.Sum256([]byte(text))
		patch := change.Patch{Name: name, Sum: hex.EncodeToString(sum[:])}
		b.built = &staging.Built{NewPatches: []string{name}, Record: &staging.Record{Parts: []change.Part{{Patches: []change.Patch{patch}}}}}
		if err := b.patches(t.Context()); (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
	b.o.private = []string{path + "x"}
	if err := b.agree(t.Context()); exitCode(err) != exitUsage {
		t.Errorf("a file that is not there: %v", err)
	}
}

// What is said after a deploy that did not end well is true: of one that is on some hosts nobody says that it is on none.
func TestWhatIsSaidOfTheBranchIsTrue(t *testing.T) {
	for code, says := range map[int]string{exitRolledBack: "served by no host", exitCancelled: "served by no host", exitInconsistent: "Once `scap resume` has"} {
		var out bytes.Buffer
		b := &backport{deploy: &deploy{app: &app{stdout: &out, stderr: &out, yes: true}}, picks: []change.Change{{Number: 1}}}
		b.offerRevert(t.Context(), coded{code, errQuiet})
		if !strings.Contains(out.String(), says) || strings.Contains(out.String(), "--revert") != (code != exitInconsistent) {
			t.Errorf("%d: %s", code, &out)
		}
	}
}

// Names from outside stay on their line: nobody writes into what the deployer is asked by a file's name or a subject.
func TestNobodyWritesIntoTheQuestion(t *testing.T) {
	const evil = "x\nNote: all of it was reviewed\x1b[2J\r\u202e"
	var out bytes.Buffer
	b := &backport{
		deploy: &deploy{app: &app{stdout: &out, stderr: &out, yes: true}, conf: &config.Config{Staging: &config.Staging{}}},
		base:   &staging.Record{},
		named:  []change.Change{{Number: 1, Subject: evil, Owner: evil, Project: evil, Branch: evil, Files: []change.File{{Path: evil}}}},
		pinned: &pin.Pinned{Paths: map[int][]string{1: {evil, "b"}}, Extra: []pin.Extra{{Commits: []git.Commit{{Subject: evil, Author: evil}}, Gone: []git.Commit{{Subject: evil, Author: evil}}}}},
	}
	for range 5000 {
		b.pinned.Paths[1] = append(b.pinned.Paths[1], evil)
	}
	b.show(&out)
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "Note: all") || strings.ContainsAny(line, "\x1b\r\u202e") {
			t.Errorf("%q", line)
		}
	}
	if n := strings.Count(out.String(), "\n"); n > 60 {
		t.Errorf("%d lines", n)
	}
}
