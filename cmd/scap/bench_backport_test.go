package main

import (
	"fmt"
	"os"
	"os/exec"
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
	benchRounds = 6
	benchReads  = 5 * time.Second // for so long a deployer looks at what will ship
	benchPause  = 4 * time.Second // nobody deploys in the second in which the last deploy has ended
)

// benchFlags keep few releases: each link takes an inode of a file system in memory.
var benchFlags = []string{"-D", "deploy.keep_for:0s", "-D", "deploy.keep_releases:2"}

// benchStages are what a backport consists of until the first test server serves it, in their order.
var benchStages = []string{"to the prompt", "compose", "hashing begun early", "preflight", "claim, verify", "stage", "activate", "between them", "yes to served"}

// TestBenchBackport measures how long a change of an extension with a change of the configuration takes from the
// deployer's yes to the first test server proven on it, and how long the deployer waits for the question: of 100,000
// files in 400 submodules that are staged and deployed already. The times are those of the deploy's journal. TMPDIR says on
// which file system. In turns a deployer reads what will ship before the yes, as people do, and it is said in advance
// (--yes). The deploy host, Gerrit, a test server and one other host share this machine's processors: the other one does
// at the same time what the test server does.
func TestBenchBackport(t *testing.T) {
	if os.Getenv("SCAP_BENCH") != "1" {
		t.Skip("SCAP_BENCH=1 measures a backport")
	}
	gerrit.Need(t)
	s, g, repos := benchSite(t)
	s.said(t, "sync", "the first from git")
	ways := []*benchWay{{name: fmt.Sprintf("y after %.0f s", benchReads.Seconds()), deploy: s.read}, {name: "--yes", deploy: s.said}}
	for i := range benchRounds * len(ways) {
		app := tree.GoodA()
		if i%2 == 0 {
			app = tree.GoodB()
		}
		app.Mark = "round" + strconv.Itoa(i)
		pair, setting := g.Change(repos.Pair(repos.Newest(), app)), g.Change(repos.Settings(app.Mark))
		time.Sleep(benchPause)
		way := ways[i%len(ways)]
		r := way.deploy(t, "backport", strconv.Itoa(pair), strconv.Itoa(setting))
		if _, mark := s.one(t); mark != app.Mark {
			t.Fatalf("the fleet serves %s, not %s", mark, app.Mark)
		}
		way.add(t, r)
	}
	for _, way := range ways {
		way.report(t)
	}
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
	asked time.Duration // from the command to the question
	cpu   time.Duration // of the process of scap and of its git
	past  []journal.Record
}

// said runs a process of scap that needs not ask.
func (s *site) said(t *testing.T, args ...string) benchRun {
	t.Helper()
	cmd := s.command(slices.Concat(benchFlags, []string{"--yes"}, args)...)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("scap %v: %v\n%s", args, err, out)
	}
	r := s.ran(t, cmd)
	for _, x := range r.past {
		if x.Kind == journal.Note && r.asked == 0 {
			r.asked = x.At.Sub(began)
		}
	}
	return r
}

// read runs a process of scap in a terminal, before a deployer who thinks first.
func (s *site) read(t *testing.T, args ...string) benchRun {
	t.Helper()
	began := time.Now()
	c := s.console(t, "", slices.Concat(benchFlags, args)...)
	question := func(text string) {
		until(t, text, func() bool { return c.over() || strings.Contains(c.String(), text) })
	}
	question("Backport 2 changes? [y/N]")
	asked := time.Since(began)
	time.Sleep(benchReads)
	c.press('y')
	c.press('\n')
	question("Go on?")
	c.press('y')
	c.press('\n')
	if code := c.wait(); code != 0 {
		t.Fatalf("scap %v: exit code %d\n%s", args, code, c)
	}
	r := s.ran(t, c.cmd)
	r.asked = asked
	return r
}

func (s *site) ran(t *testing.T, cmd *exec.Cmd) (r benchRun) {
	t.Helper()
	r.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	last, _, err := journal.Latest(filepath.Join(s.DeployDir(), "journal"))
	if err == nil {
		r.past, err = journal.Load(last.Path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// benchWay is a way to say yes, and what it came to.
type benchWay struct {
	name   string
	deploy func(t *testing.T, args ...string) benchRun
	took   map[string][]time.Duration
	cpu    []time.Duration
}

func (w *benchWay) add(t *testing.T, r benchRun) {
	t.Helper()
	if w.took == nil {
		w.took = map[string][]time.Duration{}
	}
	for name, d := range benchTimes(t, r) {
		w.took[name] = append(w.took[name], d)
	}
	w.cpu = append(w.cpu, r.cpu)
}

// benchTimes takes a run apart.
func benchTimes(t *testing.T, r benchRun) map[string]time.Duration {
	t.Helper()
	begun, ended := map[string]time.Time{}, map[string]time.Time{}
	var asked, began time.Time
	for _, x := range r.past {
		switch {
		case x.Kind == journal.Begin:
			began = x.At
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
		"to the prompt":       r.asked,
		"compose":             part(journal.Compose, journal.Compose),
		"hashing begun early": began.Sub(ended[journal.Compose]),
		"preflight":           part(journal.Preflight, journal.Preflight),
		"claim, verify":       part(journal.Claim, journal.Verify),
		"stage":               part(journal.Stage, journal.Stage),
		"activate":            part(journal.Activate, journal.Activate),
		"yes to served":       ended[journal.Activate].Sub(asked),
	}
	rest := out["yes to served"]
	for _, name := range benchStages[1 : len(benchStages)-2] {
		rest -= out[name]
	}
	out["between them"] = rest
	return out
}

// report says what it came to.
func (w *benchWay) report(t *testing.T) {
	t.Helper()
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	whole, most := middle(w.took["yes to served"]), ""
	fmt.Fprintf(table, "\t%s, %d rounds\tmedian\tmin\tmax\tof the whole\t\n", w.name, len(w.cpu))
	row := func(name string, list []time.Duration, share string) {
		fmt.Fprintf(table, "\t%s\t%.2f s\t%.2f s\t%.2f s\t%s\t\n", name, middle(list).Seconds(), slices.Min(list).Seconds(), slices.Max(list).Seconds(), share)
	}
	for _, name := range benchStages {
		list, share := w.took[name], ""
		if m := middle(list); name != "to the prompt" {
			share = fmt.Sprintf("%.0f %%", 100*m.Seconds()/whole.Seconds())
			if name != "yes to served" && (most == "" || m > middle(w.took[most])) {
				most = name
			}
		}
		row(name, list, share)
	}
	row("processors, whole deploy", w.cpu, "")
	_ = table.Flush() // into memory
	t.Logf("%d files, %d submodules a version\n%s%q dominates", benchFiles, benchMore+7, b.String(), most)
}

func middle(list []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}
