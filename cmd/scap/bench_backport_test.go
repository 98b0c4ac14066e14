package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	embedded "scap/fixtures/fleet"
	"scap/fixtures/gerrit"
	"scap/fixtures/tree"
	"scap/phases/journal"
)

const (
	benchFiles  = 100_000
	benchMore   = 193 // with the usual seven, 200 submodules of each of two live versions, and one inside of another
	benchRounds = 7
)

// benchStages are what a backport consists of until the first test server serves it, in their order.
var benchStages = []string{"to the prompt", "compose", "preflight", "claim, verify", "stage", "activate", "between them", "yes to served"}

// TestBenchBackport measures how long a change of an extension with a change of the configuration takes from the
// deployer's yes to the first test server proven on it, and how long the deployer waits for the question: of 100,000
// files in 400 submodules that are staged and deployed already. The times are those of the deploy's journal. TMPDIR says on
// which file system. The deploy host, Gerrit, a test server and one other host share this machine's processors: the other
// one stages at the same time.
func TestBenchBackport(t *testing.T) {
	if os.Getenv("SCAP_BENCH") != "1" {
		t.Skip("SCAP_BENCH=1 measures a backport")
	}
	gerrit.Need(t)
	s, g, repos := benchSite(t)
	s.timed(t, "--yes", "sync", "the first from git")
	took := map[string][]time.Duration{}
	var cpu []time.Duration
	for i := range benchRounds {
		app := tree.GoodA()
		if i%2 == 0 {
			app = tree.GoodB()
		}
		app.Mark = "round" + strconv.Itoa(i)
		pair, setting := g.Change(repos.Pair(repos.Newest(), app)), g.Change(repos.Settings(app.Mark))
		r := s.timed(t, "--yes", "backport", strconv.Itoa(pair), strconv.Itoa(setting))
		if _, mark := s.one(t); mark != app.Mark {
			t.Fatalf("the fleet serves %s, not %s", mark, app.Mark)
		}
		for name, d := range benchTimes(t, r) {
			took[name] = append(took[name], d)
		}
		cpu = append(cpu, r.cpu)
	}
	benchTable(t, took, cpu)
}

// benchSite is a large wiki, and a fleet of two hosts that serves it.
func benchSite(t *testing.T) (*site, *gerrit.Server, *gerrit.Wiki) {
	t.Helper()
	g, err := gerrit.New(gerrit.Options{CI: gerrit.CIOptions{Auto: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	repos := g.Wiki(gerrit.WikiSpec{Files: benchFiles, More: benchMore})
	dir := t.TempDir()
	secret := filepath.Join(dir, "gerrit")
	if err := os.WriteFile(secret, []byte("deployer:secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"patches", "private"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	groups := []embedded.Group{{Name: "test", Hosts: 1, Unpooled: true}, {Name: "prod", Hosts: 1}}
	s := newSiteWith(t, embedded.Options{Groups: groups, First: repos.Write}, embedded.YAMLOptions{
		QuietWindow: 100 * time.Millisecond, Tick: 100 * time.Millisecond, Width: "1",
		Git: gitYAML(g.URL(), secret, filepath.Join(dir, "patches"), filepath.Join(dir, "private"), map[string]string{}),
	})
	return s, g, repos
}

// benchRun is a deploy that has ended well.
type benchRun struct {
	began time.Time
	cpu   time.Duration // of the process of scap and of its git
	past  []journal.Record
}

// timed runs a process of scap to its good end.
func (s *site) timed(t *testing.T, args ...string) benchRun {
	t.Helper()
	cmd := s.command(args...)
	r := benchRun{began: time.Now()}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("scap %v: %v\n%s", args, err, out)
	}
	r.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	last, _, err := journal.Latest(filepath.Join(s.DeployDir(), "journal"))
	if err == nil {
		r.past, err = journal.Load(last.Path)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("scap %s: %.1f s, of them %.1f s of processors", strings.Join(args, " "), time.Since(r.began).Seconds(), r.cpu.Seconds())
	return r
}

// benchTimes takes a run apart.
func benchTimes(t *testing.T, r benchRun) map[string]time.Duration {
	t.Helper()
	begun, ended := map[string]time.Time{}, map[string]time.Time{}
	var asked time.Time
	for _, x := range r.past {
		switch {
		case x.Kind == journal.Note && asked.IsZero() && strings.HasPrefix(x.Text, "Backport "):
			asked = x.At
		case x.Phase != "" && x.Phase != "test":
		case x.Kind == journal.Intent && begun[x.Act].IsZero():
			begun[x.Act] = x.At
		case x.Kind == journal.Done:
			ended[x.Act] = x.At
		}
	}
	part := func(from, to string) time.Duration {
		if begun[from].IsZero() || ended[to].IsZero() {
			t.Fatalf("the journal has no %s or no %s", from, to)
		}
		return ended[to].Sub(begun[from])
	}
	out := map[string]time.Duration{
		"to the prompt": asked.Sub(r.began),
		"compose":       part(journal.Compose, journal.Compose),
		"preflight":     part(journal.Preflight, journal.Preflight),
		"claim, verify": part(journal.Claim, journal.Verify),
		"stage":         part(journal.Stage, journal.Stage),
		"activate":      part(journal.Activate, journal.Activate),
		"yes to served": ended[journal.Activate].Sub(asked),
	}
	rest := out["yes to served"]
	for _, name := range []string{"compose", "preflight", "claim, verify", "stage", "activate"} {
		rest -= out[name]
	}
	out["between them"] = rest
	return out
}

// benchTable says what it came to.
func benchTable(t *testing.T, took map[string][]time.Duration, cpu []time.Duration) {
	t.Helper()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	whole, most := middle(took["yes to served"]), ""
	fmt.Fprintf(w, "\t%d rounds\tmedian\tmin\tmax\tof the whole\t\n", len(cpu))
	for _, name := range benchStages {
		list, share := took[name], ""
		if m := middle(list); name != "to the prompt" {
			share = fmt.Sprintf("%.0f %%", 100*m.Seconds()/whole.Seconds())
			if name != "yes to served" && (most == "" || m > middle(took[most])) {
				most = name
			}
		}
		fmt.Fprintf(w, "\t%s\t%.2f s\t%.2f s\t%.2f s\t%s\t\n", name, middle(list).Seconds(), slices.Min(list).Seconds(), slices.Max(list).Seconds(), share)
	}
	fmt.Fprintf(w, "\tprocessors, whole deploy\t%.2f s\t%.2f s\t%.2f s\t\t\n", middle(cpu).Seconds(), slices.Min(cpu).Seconds(), slices.Max(cpu).Seconds())
	_ = w.Flush() // into memory
	t.Logf("%d files, %d submodules a version\n%s%q dominates", benchFiles, benchMore+7, b.String(), most)
}

func middle(list []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}
