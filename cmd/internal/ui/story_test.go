package ui

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"scap/phases/journal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	oldID = "1111111111112222222222222222222222222222222222222222222222222222"
	newID = "aaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// tale tells records to a view, with a clock that goes on by what each takes.
type tale struct {
	view View
	at   time.Time
	seq  uint64
}

func newTale(v View) *tale {
	return &tale{view: v, at: time.Date(2026, 11, 20, 7, 0, 0, 0, time.FixedZone("CET", 3600))}
}

func (k *tale) tell(after time.Duration, r journal.Record) {
	k.at = k.at.Add(after)
	k.seq++
	r.Seq, r.At, r.Deploy = k.seq, k.at, "20261120-060000-alice"
	k.view.Show(r)
}

func (k *tale) begin(message string, groups ...journal.Group) {
	data, _ := json.Marshal(journal.Outline{Message: message, User: "alice", Host: "deploy1001", Phases: groups})
	k.tell(0, journal.Record{Kind: journal.Begin, To: newID, Data: data})
	k.tell(0, journal.Record{Kind: journal.Intent, Act: journal.Preflight, To: newID})
	k.tell(1500*time.Millisecond, journal.Record{Kind: journal.Done, Act: journal.Preflight, From: oldID, To: newID})
}

// all does an act on all hosts at once.
func (k *tale) all(act string, names []string) {
	for _, n := range names {
		k.tell(0, journal.Record{Kind: journal.Intent, Act: act, Target: n, To: newID})
	}
	for _, n := range names {
		k.tell(100*time.Millisecond, journal.Record{Kind: journal.Done, Act: act, Target: n, To: newID})
	}
}

func (k *tale) host(kind journal.Kind, act, phase, name, text string, after time.Duration) {
	r := journal.Record{Kind: kind, Act: act, Phase: phase, Target: name, From: oldID, To: newID, Text: text}
	if act == journal.Rollback {
		r.From, r.To = newID, oldID
	}
	if kind == journal.Failed && strings.Contains(text, "went back") {
		r.Verdict = journal.Returned
	}
	k.tell(after, r)
}

func (k *tale) phase(name string, names []string) {
	k.tell(0, journal.Record{Kind: journal.Intent, Act: journal.PhaseAct, Phase: name})
	for _, n := range names {
		k.host(journal.Intent, journal.Activate, name, n, "", 0)
		k.host(journal.Done, journal.Activate, name, n, "", 3*time.Second)
	}
}

func (k *tale) ruled(phase, verdict, text string, after time.Duration) {
	k.tell(after, journal.Record{Kind: journal.Ruled, Phase: phase, Verdict: verdict, Text: text})
}

func (k *tale) phaseEnds(kind journal.Kind, name, text string) {
	k.tell(0, journal.Record{Kind: kind, Act: journal.PhaseAct, Phase: name, Text: text})
}

func (k *tale) end(how, text string) {
	k.tell(time.Second, journal.Record{Kind: journal.End, Verdict: how, From: oldID, To: newID, Text: text})
	k.view.Close()
}

func many(format string, from, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf(format, from+i)
	}
	return names
}

var (
	debugs   = many("mwdebug%d", 1001, 2)
	canaries = many("mw%d", 1001, 4)
	fleet    = many("mw%d", 1005, 194)
	evil     = "\x1b[2J\x1b[1;1H\x1b]0;owned\x07you are \u202egnp.exe\r\nPHP Fatal error:\tUncaught TypeError: Hook::__construct(): Argument #2 ($b) must be of type B, " +
		strings.Repeat("called in /srv/mediawiki/includes/ServiceWiring.php ", 8) + "\x9b31m\u009b32m\x00 end"
)

// rolledBack is a deploy that a canary's gate takes back, with everything a host could say to spoil a screen.
func rolledBack(v View) {
	k := newTale(v)
	k.begin("Fix T12345: \x1b[31mred\x1b[0m \"quotes\"", journal.Group{Name: "testservers", Targets: debugs}, journal.Group{Name: "canaries", Targets: canaries}, journal.Group{Name: "production", Targets: fleet})
	everybody := append(append(append([]string{}, debugs...), canaries...), fleet...)
	k.all(journal.Claim, everybody)
	k.all(journal.Stage, everybody)
	k.phase("testservers", debugs)
	k.ruled("testservers", "pass", "12 of 12 probes as wanted on 2 hosts", time.Second)
	k.tell(0, journal.Record{Kind: journal.Intent, Act: journal.Confirm, Phase: "testservers"})
	k.tell(9*time.Second, journal.Record{Kind: journal.Done, Act: journal.Confirm, Phase: "testservers", Verdict: "yes", Text: "alice: looks good"})
	k.phaseEnds(journal.Done, "testservers", "")
	k.phase("canaries", canaries[:3])
	k.host(journal.Intent, journal.Activate, "canaries", canaries[3], "", 0)
	k.host(journal.Failed, journal.Activate, "canaries", canaries[3], "warm up: GET /wiki/Main_Page: 500: "+evil+": the host went back to its previous release, proven", 8*time.Second)
	for i := range 5 {
		k.ruled("canaries", "hold", fmt.Sprintf("%d of 1000 requests served", 150*i), 5*time.Second)
	}
	k.ruled("canaries", "fail", "23 distinct failing requests of 812 on 3 hosts, threshold 10; first: "+evil, 5*time.Second)
	k.phaseEnds(journal.Failed, "canaries", "the gate failed the release: 23 distinct failing requests")
	k.tell(0, journal.Record{Kind: journal.Intent, Act: journal.Rollback, From: newID, To: oldID, Text: "phase canaries: the gate failed the release: 23 distinct failing requests"})
	for _, n := range append(append([]string{}, canaries[:3]...), debugs...) {
		phase := "canaries"
		if strings.HasPrefix(n, "mwdebug") {
			phase = "testservers"
		}
		k.host(journal.Intent, journal.Rollback, phase, n, "", 0)
		k.host(journal.Undone, journal.Rollback, phase, n, "", 2500*time.Millisecond)
	}
	k.end(journal.RolledBack, "rolled back, every target is proven on the previous release: phase canaries: the gate failed the release: 23 distinct failing requests")
}

// inconsistent is a deploy that leaves hosts behind.
func inconsistent(v View) {
	k := newTale(v)
	k.begin("Bump", journal.Group{Name: "production", Targets: fleet[:6], GateOff: "gate: none"})
	k.all(journal.Stage, fleet[:6])
	k.phase("production", fleet[:2])
	k.tell(0, journal.Record{Kind: journal.Note, Act: journal.Prune, Text: "something to see"})
	k.host(journal.Intent, journal.Activate, "production", fleet[2], "", 0)
	k.host(journal.Failed, journal.Activate, "production", fleet[2], "no answer for 5m0s", 300*time.Second)
	k.phaseEnds(journal.Failed, "production", "activate: 1 of 6 hosts failed")
	k.tell(0, journal.Record{Kind: journal.Intent, Act: journal.Rollback, From: newID, To: oldID, Text: "activate: 1 of 6 hosts failed"})
	for _, n := range fleet[:3] {
		k.host(journal.Intent, journal.Rollback, "production", n, "", 0)
	}
	k.host(journal.Undone, journal.Rollback, "production", fleet[0], "", time.Second)
	k.host(journal.Failed, journal.Rollback, "production", fleet[2], "connection refused: the host stays out of the pool", time.Second)
	k.end(journal.Inconsistent, "not consistent: mw1006, mw1007: run `scap resume`: left at once")
}

// deployed is a deploy that ends well.
func deployed(v View) {
	k := newTale(v)
	k.begin("Bump", journal.Group{Name: "testservers", Targets: debugs}, journal.Group{Name: "canaries", Targets: canaries})
	k.all(journal.Stage, append(append([]string{}, debugs...), canaries...))
	for name, hosts := range map[string][]string{"testservers": debugs} {
		k.phase(name, hosts)
		k.ruled(name, "off", "gate: none", 0)
		k.phaseEnds(journal.Done, name, "")
	}
	k.phase("canaries", canaries)
	k.ruled("canaries", "hold", "no requests yet", time.Second)
	k.ruled("canaries", "word", "alice: traffic is in the other data centre", time.Minute)
	k.phaseEnds(journal.Done, "canaries", "")
	k.end(journal.Deployed, "")
}

// suspected is a deploy of which one host is bad and the release is not, with every kind of hold on the way.
func suspected(v View) {
	k := newTale(v)
	k.begin("Bump", journal.Group{Name: "canaries", Targets: canaries}, journal.Group{Name: "production", Targets: fleet[:30]})
	k.phase("canaries", canaries)
	k.held("canaries", "gathering", "canary 0 of 412 failing (0 %), control 3 of 8,204 (0.037 %): e-value 1 of 200; evidence of no harm 0.4 of 3.7\nneeds about 3 min more at this traffic")
	k.held("canaries", "gathering", "canary 0 of 800 failing")
	k.held("canaries", "late", "logs of mw1003 have arrived up to 06:02:11 only, 74 s ago: the clock of the gate stands still until they catch up")
	k.held("canaries", "late", "logs of mw1003 have arrived up to 06:02:11 only, 79 s ago: the clock of the gate stands still until they catch up")
	k.held("canaries", "not-this-release", "canary 40 of 2,000 failing (2 %), control 610 of 30,000 (2 %): both are above 10 times the usual 0.01 %")
	k.held("canaries", "\x1b[31m", "a cause of tomorrow")
	data := json.RawMessage(`{"verdict":"suspect","suspects":["mw1003","\u001b[2Jmw1004"],"reason":"x"}`)
	k.tell(5*time.Second, journal.Record{
		Kind: journal.Ruled, Phase: "canaries", Verdict: "suspect", Data: data,
		Text: "canary 31 of 4,120 failing (0.75 %), control 6 of 84,100 (0.007 %): e-value 4.1e5 >= 200\nwithout mw1003 it is 0.8 < 20: 31 of 31 failing requests are its own",
	})
	k.host(journal.Intent, journal.Isolate, "canaries", canaries[2], "", 0)
	k.host(journal.Done, journal.Isolate, "canaries", canaries[2], "the gate suspects the host, not the release", 3*time.Second)
	k.held("canaries", "low-traffic", "at this traffic (4/s on the canaries) the gate needs about 57 min to pass, and max_wait is 10m")
	k.ruled("canaries", "pass", "canary 0 of 14,020 failing (0 %), control 20 of 280,110 (0.007 %): evidence of no harm 3.8 >= 3.7\n98 s of closed ticks since the last host was proven", time.Minute)
	k.phaseEnds(journal.Done, "canaries", "")
	k.host(journal.Intent, journal.Isolate, "canaries", canaries[1], "", 0)
	k.host(journal.Failed, journal.Isolate, "canaries", canaries[1], "edge: connection refused", 3*time.Second)
	k.end(journal.Inconsistent, "not consistent: mw1003 (isolated)")
}

// afterwards is a deploy and its watch, which fails.
func afterwards(v View) {
	k := newTale(v)
	data, _ := json.Marshal(journal.Outline{Message: "Bump", Watch: 15 * time.Minute, Phases: []journal.Group{{Name: "canaries", Targets: canaries}}})
	k.tell(0, journal.Record{Kind: journal.Begin, From: oldID, To: newID, Data: data})
	k.phase("canaries", canaries)
	k.phaseEnds(journal.Done, "canaries", "")
	k.tell(time.Second, journal.Record{Kind: journal.End, Verdict: journal.Deployed, From: oldID, To: newID})
	until := k.at.Add(15 * time.Minute)
	look := func(after time.Duration, verdict, cause, text string) {
		data, _ := json.Marshal(map[string]any{"verdict": verdict, "cause": cause, "until": until})
		k.tell(after, journal.Record{Kind: journal.Watched, Verdict: verdict, Text: text, To: newID, Data: data})
	}
	look(10*time.Second, "hold", "gathering", "30 s of 1m of closed ticks")
	look(time.Minute, "pass", "", "canary 3 of 40,000 failing (0.008 %) without control: harm refuted")
	look(5*time.Minute, "pass", "", "canary 14 of 240,000 failing (0.006 %) without control: harm refuted")
	look(10*time.Second, "pass", "", "not told: nothing new within half a minute")
	k.tell(time.Second, journal.Record{Kind: journal.Note, Text: "scap.yaml has changed since"})
	look(5*time.Minute, "hold", "late", "logs of mw1003 are 74 s behind")
	look(time.Minute, "left", "", "interrupted")
	look(time.Minute, "fail", "", "no control left: 84 failing since 06:12:20 where the frozen rate of 0.006 % makes 9.1, beginning with an activation\ntop new error: TypeError in Foo.php:88, in this change")
	k.view.Close()
}

func (k *tale) held(phase, cause, text string) {
	data, _ := json.Marshal(map[string]any{"verdict": "hold", "cause": cause, "reason": text})
	k.tell(5*time.Second, journal.Record{Kind: journal.Ruled, Phase: phase, Verdict: "hold", Text: text, Data: data})
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

var errGone = errors.New("broken pipe")

// gone takes a few writes and then is a closed pipe.
type gone struct{ left, tried int }

func (g *gone) Write(b []byte) (int, error) {
	g.tried++
	if g.left == 0 {
		return 0, errGone
	}
	g.left--
	return len(b), nil
}

func TestWordOfAnActUnderWayDoesNotEndIt(t *testing.T) {
	s := &story{}
	s.intents = map[string]time.Time{}
	at := time.Unix(1000, 0)
	s.took(journal.Record{Kind: journal.Intent, Act: journal.Merge, Phase: "test", At: at})
	s.took(journal.Record{Kind: journal.Note, Act: journal.Merge, Phase: "test", At: at.Add(time.Second), Text: "1001 is merged"})
	if took := s.took(journal.Record{Kind: journal.Done, Act: journal.Merge, Phase: "test", At: at.Add(3 * time.Second)}); took != 3*time.Second {
		t.Errorf("the merge took %v, want 3s", took)
	}
}
