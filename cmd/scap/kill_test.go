package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	embedded "scap/fixtures/fleet"
	"scap/fixtures/tree"
	"scap/phases/journal"
	"scap/sync/release"
)

// A deploy whose process is killed at any instant, and whose resumes are killed too, ends on one release everywhere: read
// from the runtimes and the balancer, not from the journal. No user notices.
//
// Each instant of the run has its turn: behind each record, in the place of each outcome, and in each step of each host's
// switch. SCAP_ACCEPT=1 adds every record of the resume to every instant of the run.
func TestAcceptKilledAnywhereAndResumed(t *testing.T) {
	const sites = 4
	kill := func(i int, d death) []killing { return []killing{sampled(i, d)} }
	if os.Getenv("SCAP_ACCEPT") == "1" {
		kill = exhaustive
	}
	all := make([]*site, sites)
	for i := range all {
		all[i] = newSite(t, []embedded.Group{{Name: "test", Hosts: 1, Unpooled: true}, {Name: "canary", Hosts: 1}, {Name: "prod", Hosts: 2}},
			embedded.YAMLOptions{Width: "1", QuietWindow: 100 * time.Millisecond, Tick: 100 * time.Millisecond})
		all[i].users(t, 20)
	}
	all[0].stage(t, tree.GoodB())
	all[0].want(t, exitOK, "sync", "undisturbed")
	instants := all[0].deaths(t)

	count := &tally{}
	work := make(chan killing)
	group, ctx := errgroup.WithContext(t.Context())
	group.Go(func() error {
		defer close(work)
		for i, d := range instants {
			for _, k := range kill(i, d) {
				select {
				case work <- k:
				case <-ctx.Done():
					return nil
				}
			}
		}
		return nil
	})
	for _, s := range all {
		group.Go(func() error {
			for k := range work {
				if err := s.kill(ctx, k, count); err != nil {
					return fmt.Errorf("%v: %w", k, err)
				}
			}
			return s.further(ctx)
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	count.judge(t, len(instants))
}

// killing is one deploy that dies, and what becomes of it.
type killing struct {
	run    death
	resume []death // of the resumes that die as well, one after the other
	lost   bool    // the journal is gone with the deploy host: another one has only the targets
}

// moments are what a switch goes through on a host, with nothing in the journal.
var moments = []string{"drained", "flagged", "stopped", "swapped", "started"}

// deaths returns every instant at which the deploy that s has just done could have died.
func (s *site) deaths(t *testing.T) (all []death) {
	t.Helper()
	last, ok, err := journal.Latest(filepath.Join(s.DeployDir(), "journal"))
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	past, err := journal.Load(last.Path)
	if err != nil {
		t.Fatal(err)
	}
	outcomes := 0
	for i, r := range past {
		if isOutcome(r) {
			outcomes++
			all = append(all, death{n: outcomes, outcome: true})
		}
		all = append(all, death{n: i + 1})
	}
	for n, h := range s.Hosts {
		for _, m := range moments {
			if m != "drained" || s.Balancer.State(h.Name) != "" {
				all = append(all, death{n: n, moment: m})
			}
		}
	}
	return all
}

// sampled is one killing at instant i of the run: with every third a resume dies too, every sixth loses its journal.
func sampled(i int, d death) killing {
	k := killing{run: d, lost: i%6 == 2}
	switch {
	case i%3 == 0:
		k.resume = []death{{n: 1 + i/3%16, outcome: i%2 == 0}}
	case i%7 == 3:
		k.resume = []death{{n: i, moment: moments[i/7%len(moments)]}}
	}
	return k
}

// exhaustive is every killing at an instant of the run. A resume has some 20 records; what is beyond its end never comes.
func exhaustive(i int, d death) []killing {
	all := []killing{{run: d}, {run: d, lost: true}}
	for n := 1; n <= 24; n++ {
		all = append(all, killing{run: d, resume: []death{{n: n, outcome: (i+n)%3 == 0}}, lost: (i+n)%6 == 2})
	}
	for n, m := range moments {
		all = append(all, killing{run: d, resume: []death{{n: i + n, moment: m}, {n: n + 1}}})
	}
	return all
}

// tally is what all killings came to.
type tally struct {
	mu                     sync.Mutex
	runs, resumes, lost    int // processes that died, and deploys that had to end without their journal
	mixed, out             int // fleets found on two releases, or with a host that is out, before any resume
	forward, back, nothing int // how the last resume ended
	beyond                 int // deaths that never came
}

func (c *tally) add(ns ...*int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range ns {
		*n++
	}
	return c.runs
}

// judge checks that the killings had the power to show a fault.
func (c *tally) judge(t *testing.T, instants int) {
	t.Helper()
	t.Logf("%d instants: %d runs and %d resumes killed, %d journals lost; left on two releases %d, with a host out %d; ended forward %d, back %d, with nothing to do %d; %d deaths never came",
		instants, c.runs, c.resumes, c.lost, c.mixed, c.out, c.forward, c.back, c.nothing, c.beyond)
	if c.runs < instants*9/10 {
		t.Errorf("%d runs were killed at %d instants", c.runs, instants)
	}
	if c.mixed == 0 || c.out == 0 {
		t.Errorf("without a resume %d fleets would be on two releases and %d short of a host: the check cannot fail", c.mixed, c.out)
	}
	if c.resumes == 0 || c.lost == 0 || c.forward == 0 || c.back == 0 {
		t.Error("a kind of end never happened")
	}
}

// kill plays k and judges the fleet.
func (s *site) kill(ctx context.Context, k killing, c *tally) error {
	from, old, err := s.One(ctx)
	if err != nil {
		return err
	}
	app := tree.GoodB()
	if old == app.Mark {
		app = tree.GoodA()
	}
	if _, err := s.Stage(app); err != nil {
		return err
	}
	r, err := s.dying(k.run, "sync", "to", app.Mark)
	if err != nil {
		return err
	}
	if r.code != killed {
		if c.add(&c.beyond); r.code != exitOK {
			return fmt.Errorf("a sync on a fleet that is on one release: %s", r)
		}
		return nil
	}
	s.found(ctx, c)
	args := []string{"resume"}
	if k.lost {
		c.add(&c.lost)
		args = append(args, "--from-targets")
		if err := os.RemoveAll(filepath.Join(s.DeployDir(), "journal")); err != nil {
			return err
		}
	}
	for _, d := range k.resume {
		if r, err = s.dying(d, args...); err != nil {
			return err
		}
		if r.code != killed {
			c.add(&c.beyond)
			break
		}
		c.add(&c.resumes)
	}
	if r, err = watched(s.command(args...), nil); err != nil {
		return err
	}
	return s.resumed(ctx, c, r, from, old, app.Mark)
}

// dying runs a process that dies at d, unless it ends before.
func (s *site) dying(d death, args ...string) (result, error) {
	cmd := s.command(args...)
	if d.moment == "" {
		cmd.Env = append(cmd.Env, hookEnv+"="+d.String())
		return watched(cmd, nil)
	}
	is := s.moment(d)
	return watched(cmd, func() {
		if is() {
			_ = cmd.Process.Kill()
		}
	})
}

// moment returns whether a host is in the middle of its switch, as d says.
func (s *site) moment(d death) func() bool {
	h := s.Hosts[d.n%len(s.Hosts)]
	from := h.Model.Disk()
	switch d.moment {
	case "drained":
		return func() bool { return s.Balancer.State(h.Name) == "drain" }
	case "flagged":
		return func() bool { _, err := os.Lstat(h.Flag); return err == nil }
	case "stopped":
		return func() bool { return !h.Model.Up() }
	case "swapped":
		return func() bool { return h.Model.Disk() != from }
	}
	return func() bool { return h.Model.Disk() != from && h.Model.Up() }
}

// found looks at the fleet as the dead process left it.
func (s *site) found(ctx context.Context, c *tally) {
	disks := map[release.ID]bool{}
	out := false
	for _, v := range s.Serving(ctx) {
		disks[v.Disk] = true
		out = out || v.Out
	}
	c.add(&c.runs)
	if len(disks) > 1 {
		c.add(&c.mixed)
	}
	if out {
		c.add(&c.out)
	}
}

// resumed judges the fleet after the last resume, which nobody killed.
func (s *site) resumed(ctx context.Context, c *tally, r result, from release.ID, old, next string) error {
	id, mark, err := s.One(ctx)
	if err != nil {
		return fmt.Errorf("after %s\n%w", r, err)
	}
	switch {
	case r.code == exitRolledBack && id == from && mark == old:
		c.add(&c.back)
	case r.code == exitOK && mark == next:
		c.add(&c.forward)
	case r.code == exitOK && id == from, r.code == exitError && id == from && strings.Contains(r.output, "NOTHING CHANGED"):
		c.add(&c.nothing)
	default:
		return fmt.Errorf("every host serves %s (it was %s, the new one is %s) after %s", mark, old, next, r)
	}
	if c.add()%3 > 0 {
		return nil
	}
	if r, err = watched(s.command("status"), nil); err == nil && r.code != exitOK {
		err = fmt.Errorf("status: %s", r)
	}
	return err
}

// further deploys once more, undisturbed.
func (s *site) further(ctx context.Context) error {
	if _, err := s.Stage(tree.AppOptions{Mark: "further"}); err != nil {
		return err
	}
	r, err := watched(s.command("sync", "further"), nil)
	if err != nil {
		return err
	}
	if _, mark, err := s.One(ctx); err != nil || r.code != exitOK || mark != "further" {
		return fmt.Errorf("every host serves %q, %w, after %s", mark, err, r)
	}
	return nil
}
