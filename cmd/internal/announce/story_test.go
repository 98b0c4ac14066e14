package announce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"scap/canary"
	"scap/phases"
	"scap/phases/journal"
	"scap/targets"
)

const (
	begun  = "jd@deploy1 Started scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]]"
	tested = "jd@deploy1 scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]] synced to the testservers (mwdebug1001, mwdebug1002)"
)

// TestTold deploys with the real Runner and wants each end told as it was.
func TestTold(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*scene)
		want   []string // behind Started
	}{
		{"deployed", func(*scene) {}, []string{tested, "jd@deploy1 Finished scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]] (duration: 00m 47s)"}},
		{"a sync without a message", func(s *scene) { s.plan.Verb, s.plan.Message, s.plan.Changes = "", "", nil }, []string{
			"jd@deploy1 scap sync synced to the testservers (mwdebug1001, mwdebug1002)", "jd@deploy1 Finished scap sync (duration: 00m 47s)",
		}},
		{"a gate fails", func(s *scene) { s.plan.Phases[1].Gate = fails }, []string{
			tested,
			"jd@deploy1 Rolling back scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]]: the gate of canaries failed the release: 34 of 1000 requests failing, 2 of 3000 elsewhere",
			"jd@deploy1 Rolled back scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]] (duration: 00m 17s): the gate of canaries failed the release: 34 of 1000 requests failing, 2 of 3000 elsewhere",
		}},
		{"a gate comes to no verdict", func(s *scene) {
			s.plan.Phases[2].Gate, s.plan.Attended = ruler{cause: canary.Late, reason: "behind " + secretText}, false
			s.plan.Phases[0].Confirm = false
		}, []string{
			tested,
			"jd@deploy1 Rolling back scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]]: the gate of all held (telemetry is late)",
			"jd@deploy1 Rolled back scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]] (duration: 10m 39s): the gate of all held (telemetry is late)",
		}},
		{"the deployer says no", func(s *scene) {
			s.ask = func(phases.Question) (phases.Answer, error) { return phases.Answer{Choice: phases.No}, nil }
		}, []string{
			tested,
			"jd@deploy1 Rolling back scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]]: the deployer said no",
			"jd@deploy1 Declined scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]]: every host is on the previous release (duration: 00m 05s)",
		}},
		{"it does not merge", func(s *scene) {
			s.plan.Phases[0].Confirm = false
			s.plan.Phases[0].After = &phases.After{Act: journal.Merge, Do: func(context.Context, func(string)) (string, error) {
				return "", errors.New("patch 01-" + secretText + ".patch does not apply")
			}}
		}, []string{
			tested,
			"jd@deploy1 Rolling back scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]]: the changes were not merged",
			"jd@deploy1 Rolled back scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]] (duration: 00m 05s): the changes were not merged",
		}},
		{"a host does not take it", func(s *scene) {
			s.host("canary1").bad["activate"] = fmt.Errorf("the unit says %s: %w", secretText, targets.ErrReturned)
		}, []string{
			tested,
			"jd@deploy1 Rolling back scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]]: not proven on the release: canary1",
			"jd@deploy1 Rolled back scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]] (duration: 00m 17s): not proven on the release: canary1",
		}},
		{"a host is broken", func(s *scene) { s.host("mw3").bad["activate"] = fmt.Errorf("it is dead: %w", targets.ErrOut) }, []string{
			tested,
			"jd@deploy1 Rolling back scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]]: not proven on the release: mw3",
			"jd@deploy1 NOT CONSISTENT after scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]]: mw3 not proven; run `scap resume` (duration: 00m 59s)",
		}},
		{"nothing was changed", func(s *scene) { s.host("mw1").bad["state"] = errors.New("no route to " + secretText) }, []string{
			"jd@deploy1 Gave up scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]]: nothing was changed: preflight failed",
		}},
		{"its end cannot be journaled", func(s *scene) { s.full = true }, []string{
			tested,
			"jd@deploy1 NOT CONSISTENT after scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]]: proven on every host, but its end could not be journaled: run `scap resume`",
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newScene()
			row.change(s)
			lines := deploy(t, s).lines()
			first := begun
			if s.plan.Message == "" {
				first = "jd@deploy1 Started scap sync"
			}
			wantLines(t, lines, append([]string{first}, row.want...)...)
			if all := strings.Join(lines, "\n"); strings.Contains(all, secretText) {
				t.Errorf("an error's text is told to everybody: %s", all)
			}
		})
	}
}

// TestCancelled ends the deploy by its context, while the canaries are judged.
func TestCancelled(t *testing.T) {
	s := newScene()
	a := told(t, s, func(ctx context.Context, c *Crew) {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		_ = s.runner(c).Run(ctx, s.plan)
	})
	wantLines(t, a.lines(), begun, tested,
		"jd@deploy1 Rolling back scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]]: stopped in phase canaries",
		"jd@deploy1 Cancelled scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]]: every host is on the previous release (duration: 00m 22s)")
}

// TestPrivate tells of a change that is not public that there is one.
func TestPrivate(t *testing.T) {
	for _, row := range []struct {
		name    string
		changes []journal.Change
		about   string
	}{
		{"alone", []journal.Change{{Subject: secretText}}, "a private change"},
		{"two", []journal.Change{{Subject: secretText}, {Subject: secretText, Project: secretText}}, "2 private changes"},
		{"beside another", []journal.Change{{Number: 7, Subject: "Public"}, {Subject: secretText, Owner: secretText, URL: secretText}}, "[[gerrit:7|Public]], a private change"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newScene()
			s.plan.Changes, s.plan.Message, s.plan.Phases[1].Gate = row.changes, "Backport for "+secretText, fails
			a := deploy(t, s)
			if got := a.lines()[0]; got != "jd@deploy1 Started scap backport: "+row.about {
				t.Errorf("told %q", got)
			}
			if len(a.heard()) != 4 {
				t.Errorf("told %d events, want 4", len(a.heard()))
			}
			for _, e := range a.heard() {
				if e.facts = nil; strings.Contains(fmt.Sprintf("%+v", e), secretText) {
					t.Errorf("it is told: %+v", e)
				}
			}
		})
	}
	t.Run("an outline that cannot be read", func(t *testing.T) {
		s := &story{facts: newFacts("d1"), test: func(string) bool { return true }}
		s.tell(journal.Record{Seq: 1, Kind: journal.Begin, Deploy: "d1", Data: []byte(`{"message": 7}`)})
		for _, e := range s.tell(journal.Record{Seq: 2, Kind: journal.End, Verdict: journal.RolledBack, Text: secretText}) {
			if e.Full != "" {
				t.Errorf("the reason is told in full: %q", e.Full)
			}
		}
	})
}

// TestFull gives the whole reason to those who do not take it off the host.
func TestFull(t *testing.T) {
	s := newScene()
	s.plan.Phases[1].Gate = fails
	events := deploy(t, s).heard()
	if last := events[len(events)-1]; !strings.Contains(last.Full, "Exception "+secretText) {
		t.Errorf("the end's reason in full is %q", last.Full)
	}
}

// TestRollback tells of a rollback by its own name, and of its test servers nothing.
func TestRollback(t *testing.T) {
	s := newScene()
	s.plan.Verb, s.plan.Back, s.plan.Message, s.plan.Changes = "", true, "it is slow", nil
	s.plan.Phases[0].Confirm = false
	wantLines(t, deploy(t, s).lines(), "jd@deploy1 Started scap rollback: to release 0b0000000000 it is slow",
		"jd@deploy1 Finished scap rollback: to release 0b0000000000 it is slow (duration: 00m 37s)")
}

// TestResume takes up a deploy that died while the first canary was activated, with its past.
func TestResume(t *testing.T) {
	died := newScene()
	deploy(t, died)
	n := slices.IndexFunc(died.records, func(r journal.Record) bool {
		return r.Act == journal.Activate && r.Target == "canary1" && r.Kind == journal.Done
	})
	s := newScene()
	s.records = died.records[: n+1 : n+1]
	for _, h := range s.hosts[:3] {
		h.disk = relB
	}
	past := slices.Clone(s.records)
	a := told(t, s, func(ctx context.Context, c *Crew) {
		c.Recall(slices.Values(past))
		time.Sleep(time.Hour)
		_ = s.runner(c).Resume(ctx, s.plan, slices.Values(past))
		_ = s.runner(c).Resume(ctx, s.plan, slices.Values(s.records)) // there is nothing left, and nothing is told
	})
	wantLines(t, a.lines(), "jd@deploy1 Started scap resume: Backport for [[gerrit:1001|Fix the skin (T7)]]",
		"jd@deploy1 Rolled back by scap resume: Backport for [[gerrit:1001|Fix the skin (T7)]] (duration: 00m 02s)")
}

// TestWatch tells that a release failed after the end, by a process that recalls it.
func TestWatch(t *testing.T) {
	for _, row := range []struct {
		name string
		gate ruler
		want []string
	}{
		{"it fails", fails, []string{"jd@deploy1 FAILED: scap backport: Backport for [[gerrit:1001|Fix the skin (T7)]]: the gate failed the release 12m 00s after its end: 34 of 1000 requests failing, 2 of 3000 elsewhere"}},
		{"it goes well", passes, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newScene()
			s.plan.Watch = phases.Watch{For: 15 * time.Minute, Gate: row.gate}
			told(t, s, func(ctx context.Context, c *Crew) {
				_ = s.runner(c).Run(ctx, s.plan)
				time.Sleep(12 * time.Minute)
				b := &ear{}
				next := crewOf(b)
				past := slices.Clone(s.records)
				next.Recall(slices.Values(past))
				if err := s.runner(next).Watch(ctx, s.plan, slices.Values(past)); (err != nil) != (row.want != nil) {
					t.Errorf("the watch ends with %v", err)
				}
				_ = next.Close(ctx)
				wantLines(t, b.lines(), row.want...)
			})
		})
	}
}

// TestHalf is told of a deploy of which nothing is known but what happens.
func TestHalf(t *testing.T) {
	s := &story{facts: newFacts("d1"), test: func(string) bool { return true }}
	var lines []string
	for i, r := range []journal.Record{
		{Kind: journal.Intent, Act: journal.Rollback},
		{Kind: journal.Ruled, Phase: "x", Data: []byte(`{"cause": {}}`)},
		{Kind: journal.Done, Act: journal.PhaseAct, Phase: "x"},
		{Kind: journal.Failed, Act: journal.Stage, Target: "mw1"},
		{Kind: journal.End, Verdict: "exploded"},
		{Kind: journal.Watched, Verdict: journal.VerdictFail, Data: []byte(`{`)},
	} {
		r.Seq, r.At = uint64(i+1), time.Unix(int64(i), 0)
		for _, e := range s.tell(r) {
			lines = append(lines, e.Text("", lineMost))
		}
	}
	wantLines(t, lines, "Rolling back scap sync", "NOT CONSISTENT after scap sync: run `scap status`, then `scap resume` (duration: 00m 04s)",
		"FAILED: scap sync: the gate failed the release 00m 01s after its end")
}

// TestCounted takes numbers out of a ruling, of the gates that failed, and nothing else.
func TestCounted(t *testing.T) {
	const numbers = `{"canary":{"n":10,"x":3},"control":{"n":20,"x":0}}`
	for _, row := range []struct{ name, data, cause, counts string }{
		{"one gate", `{"numbers":` + numbers + `}`, "", "3 of 10 requests failing, 0 of 20 elsewhere"},
		{"no control", `{"cause":"late","numbers":{"canary":{"n":10,"x":3}}}`, "late", "3 of 10 requests failing"},
		{"several", `{"numbers":[{"verdict":"pass","numbers":` + numbers + `},{"verdict":"fail","numbers":{"canary":{"n":7,"x":7}}},{"verdict":"fail"}]}`, "", "7 of 7 requests failing"},
		{"other numbers", `{"numbers":{"canary":{"n":"` + secretText + `"}}}`, "", ""},
		{"none", `{}`, "", ""},
		{"no JSON", `<`, "", ""},
	} {
		if cause, counts := counted([]byte(row.data)); cause != row.cause || counts != row.counts {
			t.Errorf("%s: %q, %q; want %q, %q", row.name, cause, counts, row.cause, row.counts)
		}
	}
}
