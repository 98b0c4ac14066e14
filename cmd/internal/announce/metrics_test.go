package announce

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"

	"scap/phases/journal"
)

// TestTextfile adds deploys of several processes up, and what they do at the same time.
func TestTextfile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scap.prom")
	good, bad := deploy(t, newScene()).heard(), func() []Event {
		s := newScene()
		s.plan.Phases[1].Gate = fails
		return deploy(t, s).heard()
	}()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			a := &textfile{path: path}
			for _, e := range append(append([]Event{}, good...), bad...) {
				if err := a.Tell(t.Context(), e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# TYPE scap_deploys_total counter\n", "# HELP scap_deploys_total Deploys that ended, by what was asked for and how they ended.\n",
		`scap_deploys_total{how="deployed",verb="backport"} 10` + "\n", `scap_deploys_total{how="rolled-back",verb="backport"} 10` + "\n",
		`scap_deploy_duration_seconds_bucket{how="rolled-back",verb="backport",le="15"} 0` + "\n", `scap_deploy_duration_seconds_count{how="deployed",verb="backport"} 10` + "\n",
		`scap_phase_duration_seconds_bucket{how="passed",phase="canaries",le="+Inf"} 10` + "\n", `scap_gate_duration_seconds_count{phase="canaries",verdict="fail"} 10` + "\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o644 {
		t.Errorf("its mode is %s: node_exporter cannot read it", info.Mode())
	}
	if files, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*.prom")); len(files) != 1 {
		t.Errorf("node_exporter would read %v", files)
	}
}

// TestTextfileKept leaves a file that is no good as it is.
func TestTextfileKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scap.prom")
	if err := os.WriteFile(path, []byte("scap_deploys_total{ 7\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := (&textfile{path: path}).Tell(t.Context(), deploy(t, newScene()).heard()[2])
	if err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("error %v", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "scap_deploys_total{ 7\n" {
		t.Errorf("it was overwritten: %q", text)
	}
}

// TestLedger takes up what is there as far as it fits.
func TestLedger(t *testing.T) {
	const text = `# TYPE scap_deploys_total gauge
scap_deploys_total{verb="sync",how="deployed"} 7
# TYPE scap_watches_total counter
scap_watches_total{how="over",job="scap",instance="deploy1"} 3
scap_watches_total{how="over",job="scap",instance="deploy2"} 5
scap_watches_total{how="over"} 11
# TYPE scap_merge_duration_seconds histogram
scap_merge_duration_seconds_bucket{how="passed",job="scap",instance="deploy1",le="7"} 2
scap_merge_duration_seconds_bucket{how="passed",job="scap",instance="deploy1",le="+Inf"} 2
scap_merge_duration_seconds_sum{how="passed",job="scap",instance="deploy1"} 9
scap_merge_duration_seconds_count{how="passed",job="scap",instance="deploy1"} 2
# TYPE go_goroutines gauge
go_goroutines{job="scap",instance="deploy1"} 7
`
	l, err := readLedger(strings.NewReader(text), map[string]string{"job": "scap", "instance": "deploy1"})
	if err != nil {
		t.Fatal(err)
	}
	l.count("scap_watches_total", "how", "over")
	l.count("scap_deploys_total", "verb", "sync", "how", "deployed")
	l.observe("scap_merge_duration_seconds", 4, "how", "passed")
	var out bytes.Buffer
	families, _ := l.Gather()
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&out, f); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{
		`scap_watches_total{how="over"} 4` + "\n", `scap_deploys_total{how="deployed",verb="sync"} 1` + "\n",
		`scap_merge_duration_seconds_count{how="passed"} 1` + "\n", `scap_merge_duration_seconds_sum{how="passed"} 4` + "\n", // the bounds were others
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, out.String())
		}
	}
	if n := strings.Count(out.String(), "\nscap_watches_total{"); n != 1 {
		t.Errorf("%d counters of watches, want 1:\n%s", n, out.String())
	}
	if strings.Contains(out.String(), "go_goroutines") || strings.Contains(out.String(), "deploy2") {
		t.Errorf("what is not ours is taken along:\n%s", out.String())
	}
}

// TestWatches counts how watches end.
func TestWatches(t *testing.T) {
	s := &story{facts: newFacts("d1"), test: func(string) bool { return false }}
	l := ledger{}
	for _, verdict := range []string{"pass", "hold", journal.VerdictOver, journal.VerdictSuperseded, journal.VerdictLeft, journal.VerdictFail, journal.VerdictOver} {
		for _, e := range s.tell(journal.Record{Seq: 1, Kind: journal.Watched, Verdict: verdict}) {
			if counts(e) {
				l.record(e)
			}
		}
	}
	for how, want := range map[string]float64{"over": 2, "superseded": 1, "fail": 1} {
		if got := l.metric("scap_watches_total", 0, "how", how).GetCounter().GetValue(); got != want {
			t.Errorf("%s is counted %v times, want %v", how, got, want)
		}
	}
}

// TestPushgatewayFaults counts a deploy once, whatever becomes of the answers.
func TestPushgatewayFaults(t *testing.T) {
	end := deploy(t, newScene()).heard()[2]
	for _, row := range []struct {
		name   string
		answer func(n int, w http.ResponseWriter)
		asked  int
		ok     bool
	}{
		{"well", func(int, http.ResponseWriter) {}, 2, true},
		{"the answer to the push is lost", func(n int, w http.ResponseWriter) {
			if n == 2 {
				cutOff(w)
			}
		}, 3, true},
		{"down at first", func(n int, w http.ResponseWriter) {
			if n == 1 {
				w.WriteHeader(http.StatusBadGateway)
			}
		}, 3, true},
		{"a login page", func(_ int, w http.ResponseWriter) { fmt.Fprint(w, "<html>Log in "+secretText+"</html>") }, 1, false},
		{"not allowed", func(_ int, w http.ResponseWriter) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, "no "+secretText)
		}, 1, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			var bodies []string
			s := serve(t, func(n int, w http.ResponseWriter, r *http.Request, body string) {
				if user, password, _ := r.BasicAuth(); user != "scap" || password != secretText {
					t.Errorf("asked as %q, %q", user, password)
				}
				if r.Method == http.MethodPost {
					bodies = append(bodies, body)
				}
				row.answer(n, w)
			})
			p := &pushgateway{Options: Options{URL: s.URL, Job: "scap", User: "scap", PasswordFile: secretFile(t, secretText)}, web: newWeb(""), site: "deploy1"}
			defer p.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := p.Tell(ctx, end)
			if (err == nil) != row.ok || err != nil && strings.Contains(err.Error(), secretText) {
				t.Errorf("error %v", err)
			}
			if len(s.heard()) != row.asked {
				t.Errorf("asked %d times, want %d", len(s.heard()), row.asked)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, b := range bodies {
				if b != bodies[0] {
					t.Error("another push says something else")
				}
			}
		})
	}
}

// FuzzLedger reads anything, and adds to what it read.
func FuzzLedger(f *testing.F) {
	for _, text := range []string{
		"", "scap_deploys_total 7\n", "# TYPE scap_deploy_duration_seconds histogram\nscap_deploy_duration_seconds_count{verb=\"backport\",how=\"deployed\"} 3\n",
		"# TYPE scap_deploys_total summary\nscap_deploys_total{quantile=\"0.5\"} NaN\n", "scap_deploys_total{verb=\"\xff\"} 1\n", "<html>",
		"# TYPE scap_deploys_total counter\nscap_deploys_total{how=\"deployed\",verb=\"backport\",verb=\"x\"} 1e400\n",
	} {
		f.Add([]byte(text))
	}
	fact := newFacts("d1")
	fact.end = &journal.Record{}
	fact.gates = []gate{{phase: "a", verdict: "pass"}}
	fact.acts = []act{{act: journal.PhaseAct, phase: "a", ended: time.Unix(1, 0)}, {act: journal.Merge, ended: time.Unix(1, 0)}}
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := readLedger(bytes.NewReader(text), nil)
		if err != nil {
			return
		}
		l.record(Event{What: Deployed, facts: fact})
		families, _ := l.Gather()
		for _, family := range families {
			if _, err := expfmt.MetricFamilyToText(&bytes.Buffer{}, family); err != nil {
				t.Errorf("%q: %v", text, err)
			}
		}
		if got := l.metric("scap_deploys_total", 0, "verb", "sync", "how", "deployed"); got.GetCounter().GetValue() < 1 && len(l["scap_deploys_total"].Metric) == 0 {
			t.Errorf("%q: nothing is counted", text)
		}
	})
}

// TestBot sends one line a connection.
func TestBot(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		var b bytes.Buffer
		_, _ = b.ReadFrom(conn)
		got <- b.String()
	})
	if err := (&bot{address: l.Addr().String()}).Tell(t.Context(), Event{Did: "jd@deploy1 Started scap sync"}); err != nil {
		t.Fatal(err)
	}
	if text := <-got; text != "!log jd@deploy1 Started scap sync\n" {
		t.Errorf("sent %q", text)
	}
	wg.Wait()
	l.Close()
	if err := (&bot{address: l.Addr().String()}).Tell(t.Context(), Event{}); err == nil {
		t.Error("nobody listens, and it is told")
	}
}

// TestComments says on each public change what becomes of it.
func TestComments(t *testing.T) {
	for _, what := range []What{Started, Cancelled, Declined, RolledBack, Unchanged} {
		if text := (Event{What: what, facts: newFacts("d1")}).comment(); text != "" {
			t.Errorf("of a change that nobody was served %s says %q", what, text)
		}
	}
	merge := func(s *scene) { s.plan.Phases[0].After = mergeAct() }
	for _, row := range []struct {
		name   string
		change func(*scene)
		want   []string
	}{
		{"deployed", merge, []string{
			"1001 On the test servers by jd@deploy1 (mwdebug1001, mwdebug1002): it can be looked at there.",
			"1001 Deployed by jd@deploy1 (duration: 00m 47s): proven on every host.",
		}},
		{"rolled back after the merge", func(s *scene) {
			merge(s)
			s.plan.Phases[1].Gate = fails
		}, []string{
			"1001 On the test servers by jd@deploy1 (mwdebug1001, mwdebug1002): it can be looked at there.",
			"1001 Rolled back by jd@deploy1 (duration: 00m 17s): the gate of canaries failed the release: 34 of 1000 requests failing, 2 of 3000 elsewhere\n\nIt is merged, and not deployed: a revert keeps it from the next deploy.",
		}},
		{"never served", func(s *scene) { s.host("mw1").bad["stage"], s.host("mwdebug1001").bad["stage"] = errFull, errFull }, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got []string
			a := &comments{comment: func(_ context.Context, n int, text string) error {
				got = append(got, fmt.Sprint(n, " ", text))
				return nil
			}}
			s := newScene()
			s.plan.Changes = append(s.plan.Changes, journal.Change{Subject: secretText})
			row.change(s)
			for _, e := range deploy(t, s).heard() {
				if err := a.Tell(t.Context(), e); err != nil {
					t.Error(err)
				}
			}
			wantLines(t, got, row.want...)
		})
	}
}
