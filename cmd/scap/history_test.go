package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"scap/phases/journal"
)

// written writes a deploy's journal: a hold that somebody overruled, a refusal, and a name that is no good for a terminal.
func written(t *testing.T, dir string) journal.Deploy {
	t.Helper()
	began := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	w, err := journal.Create(dir, journal.NewDeploy(began, "jd"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	outline, err := json.Marshal(journal.Outline{
		Message: "Backport for [[gerrit:1001|a\x1b[2Jfix]]", User: "jd", Host: "deploy1", Verb: "backport",
		Changes: []journal.Change{{Number: 1001, PatchSet: 2, Project: "mediawiki/core", Branch: "wmf/1", Subject: "a fix", Owner: "ab", URL: "https://g/1001"}, {Subject: "secret"}},
		Phases:  []journal.Group{{Name: "test", Targets: []string{"t1"}, GateOff: "an emergency"}, {Name: "canaries", Targets: []string{"c1", "c2"}}, {Name: "all", Targets: []string{"a1"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	from, to := strings.Repeat("a", 64), strings.Repeat("b", 64)
	for i, r := range []journal.Record{
		{Kind: journal.Begin, From: from, To: to, Data: outline},
		{Kind: journal.Intent, Act: journal.PhaseAct, Phase: "test"},
		{Kind: journal.Intent, Act: journal.Confirm, Phase: "test"},
		{Kind: journal.Done, Act: journal.Confirm, Phase: "test", Verdict: "yes", Text: "jd"},
		{Kind: journal.Done, Act: journal.PhaseAct, Phase: "test"},
		{Kind: journal.Intent, Act: journal.PhaseAct, Phase: "canaries"},
		{Kind: journal.Intent, Act: journal.Activate, Phase: "canaries", Target: "c1", From: from, To: to},
		{Kind: journal.Ruled, Phase: "canaries", Verdict: "hold", Text: "too few requests"},
		{Kind: journal.Done, Act: journal.Confirm, Phase: "canaries", Verdict: "pass", Text: "jd: it is night"},
		{Kind: journal.Ruled, Phase: "canaries", Verdict: "word", Text: "jd: it is night"},
		{Kind: journal.Intent, Act: journal.Confirm, Phase: "canaries"},
		{Kind: journal.Failed, Act: journal.Confirm, Phase: "canaries", Verdict: "no", Text: "declined by the deployer"},
		{Kind: journal.Failed, Act: journal.PhaseAct, Phase: "canaries", Text: "declined"},
		{Kind: journal.Done, Act: journal.Confirm, Phase: "canaries", Text: "nobody"},
		{Kind: journal.End, Verdict: journal.Declined, Text: "declined by the deployer"},
	} {
		r.At = began.Add(time.Duration(i) * time.Second)
		if _, err := w.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	return journal.Summary(w.Path())
}

func TestPast(t *testing.T) {
	d := written(t, t.TempDir())
	got := pastOf(d, journal.Read(d.Path))
	at := func(s int) time.Time { return time.Date(2026, 10, 1, 12, 0, s, 0, time.UTC) }
	if diff := cmp.Diff([]pastPhase{
		{Name: "test", Hosts: 1, Began: at(1), Seconds: 3, How: "passed", Gate: "off", Reason: "an emergency"},
		{Name: "canaries", Hosts: 2, Began: at(5), Seconds: 7, How: "failed", Gate: "word", Looks: 2, Reason: "jd: it is night"},
		{Name: "all", Hosts: 1},
	}, got.Phases); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]pastAnswer{
		{At: at(3), Phase: "test", Asked: "go on after phase test", Answer: "yes", Text: "jd"},
		{At: at(8), Phase: "canaries", Asked: "the gate of phase canaries held: too few requests", Answer: "pass", Text: "jd: it is night"},
		{At: at(11), Phase: "canaries", Asked: "go on after phase canaries", Answer: "no", Text: "declined by the deployer"},
		{At: at(13), Phase: "canaries", Asked: "what to do in phase canaries", Answer: "none", Text: "nobody"},
	}, got.Answers); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if got.Verb != "backport" || got.How != journal.Declined || got.Seconds != 14 || got.gates() != "test off, canaries word" || got.numbers() != "1001,private" {
		t.Errorf("have %+v", got)
	}
}

// TestHistory shows the same to people.
func TestHistory(t *testing.T) {
	dir := t.TempDir()
	d := written(t, dir)
	p := pastOf(d, journal.Read(d.Path))
	var table, whole bytes.Buffer
	if err := historyTable(&table, []pastDeploy{p}); err != nil {
		t.Fatal(err)
	}
	want := `(?m)^20261001T120000\.000Z-jd  backport  1001,private  b{12}  declined  14s   test off, canaries word  Backport for \[\[gerrit:1001\|a\\x1b\[2Jfix\]\]$`
	if !regexp.MustCompile(want).Match(table.Bytes()) {
		t.Errorf("have\n%swant %s", table.String(), want)
	}
	if err := p.tell(&whole, d.Path); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"verb     backport by jd on deploy1: Backport for ",
		"change   1001/2 mediawiki/core wmf/1: a fix (ab) https://g/1001\n",
		"change   a private one: secret\n",
		"release  aaaaaaaaaaaa -> bbbbbbbbbbbb\n",
		"ended    declined: declined by the deployer\n",
		"took     14s, until 2026-10-01 12:00:14 UTC\n",
		"phase    test, 1 host: passed, 3.0s; gate off: an emergency\n",
		"phase    canaries, 2 hosts: failed, 7.0s; gate: word after 2 looks: jd: it is night\n",
		"phase    all, 1 host: not reached\n",
		"asked    12:00:08 UTC: the gate of phase canaries held: too few requests\n",
		"answer   pass: jd: it is night\n",
		"2026-10-01T12:00:03Z test: the deployer says yes: jd\n",
	} {
		if !strings.Contains(whole.String(), line) {
			t.Errorf("nothing says %q:\n%s", line, whole.String())
		}
	}
	if strings.Contains(table.String()+whole.String(), "\x1b") {
		t.Error("a control character reaches the terminal")
	}

	broken := filepath.Join(dir, filepath.Base(d.Path))
	f, err := os.OpenFile(broken, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("{\n{\n"); err != nil {
		t.Fatal(err)
	}
	p = pastOf(journal.Summary(broken), journal.Read(broken))
	if p.ending() != "unreadable" || p.Error == "" || len(p.Answers) != 4 {
		t.Errorf("a journal that ends in garbage: %q, %+v", p.ending(), p)
	}
	if err := p.tell(&whole, broken); err == nil {
		t.Error("it is told as if it were whole")
	}
}

func TestVerbIn(t *testing.T) {
	for want, o := range map[string]journal.Outline{"sync": {}, "rollback": {Back: true}, "backport": {Verb: "backport", Back: true}} {
		if got := verbIn(o); got != want {
			t.Errorf("have %q, want %q", got, want)
		}
	}
}
