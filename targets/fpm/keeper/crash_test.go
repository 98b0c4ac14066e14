package keeper_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"scap/fixtures/real"
	"scap/targets/fpm/keeper"
)

// scenario is an operation that is killed after each of its steps, one after the other.
type scenario struct {
	name string
	// turns begins the names of those after which it is killed in every run; "" is for the step in its middle.
	turns   []string
	prepare func(*rig) keeper.Request
	served  bool // users are served by something all the time
	// again is what ends the matter after a crash: the next operation, whichever it is.
	again func(*rig, keeper.Request)
	// settled is what must hold then, besides what always must.
	settled func(*rig, keeper.PoolState)
}

// alone makes sure that some generation is published and no other lives, and returns it.
func (r *rig) alone() keeper.Generation {
	r.t.Helper()
	s := r.state()
	if !s.Adopted {
		r.adopt()
	}
	p := s.Pools[0]
	if p.Published == 0 {
		g := r.start(r.a)
		r.publish(g.Number, 0, time.Time{})
		p = r.pool0()
	}
	if p.Tried != 0 {
		r.do(keeper.Request{Op: keeper.OpTry, Pool: "www"})
	}
	var at keeper.Generation
	for _, g := range p.Generations {
		if g.Number == p.Published {
			at = g
			continue
		}
		r.do(keeper.Request{Op: keeper.OpEnd, Generation: g.Number})
	}
	return at
}

func scenarios() []scenario {
	cheap := func(r *rig, _ keeper.Request) { r.do(keeper.Request{Op: keeper.OpTry, Pool: "www"}) }
	repeat := func(r *rig, q keeper.Request) { r.do(q) }
	one := func(r *rig, p keeper.PoolState) {
		if p.Published == 0 {
			r.t.Errorf("nothing is published: %+v", p)
		}
	}
	both := func(r *rig, p keeper.PoolState) { // the way back, or forward, is warm whenever the keeper dies
		if one(r, p); len(p.Generations) != 2 {
			r.t.Errorf("one that is not published is not kept: %+v", p)
		}
	}
	other := func(r *rig) (keeper.Generation, keeper.Generation) {
		at := r.alone()
		return at, r.start(map[bool]keeper.Generation{true: {Release: r.b}, false: {Release: r.a}}[at.Release == r.a].Release)
	}
	publish := func(until func() time.Time) func(*rig) keeper.Request {
		return func(r *rig) keeper.Request {
			at, next := other(r)
			return keeper.Request{Op: keeper.OpPublish, Pool: "www", Generation: next.Number, From: at.Number, Until: until()}
		}
	}
	return []scenario{
		{"start", []string{"start: "}, func(r *rig) keeper.Request {
			r.alone()
			return keeper.Request{Op: keeper.OpStart, Pool: "www", Release: r.b, Until: soon()}
		}, true, cheap, one},
		{"publish, keep", []string{"publish: /", ""}, publish(soon), true, cheap, both},
		{"publish, end", []string{"publish: ", "end: nothing waits"}, publish(func() time.Time { return time.Time{} }), true, cheap, one},
		{"try", []string{"try: "}, func(r *rig) keeper.Request {
			_, next := other(r)
			return keeper.Request{Op: keeper.OpTry, Pool: "www", Generation: next.Number, Until: soon()}
		}, true, cheap, one},
		{"end", []string{"end: "}, func(r *rig) keeper.Request {
			_, next := other(r)
			return keeper.Request{Op: keeper.OpEnd, Generation: next.Number}
		}, true, cheap, func(r *rig, p keeper.PoolState) {
			if one(r, p); len(p.Generations) > 2 {
				r.t.Errorf("it has not ended: %+v", p)
			}
		}},
		{"halt", []string{"halt: ", ""}, func(r *rig) keeper.Request {
			other(r)
			return keeper.Request{Op: keeper.OpHalt}
		}, false, repeat, func(r *rig, p keeper.PoolState) {
			if len(p.Generations) != 0 {
				r.t.Errorf("halted: %+v", p)
			}
		}},
		{"giveup", []string{"giveup: ", ""}, func(r *rig) keeper.Request {
			r.alone()
			return keeper.Request{Op: keeper.OpGiveUp}
		}, false, repeat, func(r *rig, _ keeper.PoolState) {
			if got, err := r.ask(r.t.Context(), r.listen(), ""); err != nil || got != "AA2" {
				r.t.Errorf("given back: %q %v", got, err)
			}
		}},
		{"adopt", []string{"adopt: "}, func(r *rig) keeper.Request {
			if s := r.state(); s.Adopted {
				r.do(keeper.Request{Op: keeper.OpGiveUp})
			}
			return keeper.Request{Op: keeper.OpAdopt}
		}, false, repeat, func(r *rig, _ keeper.PoolState) {
			if s := r.state(); !s.Adopted || len(r.processes()) > 0 {
				r.t.Errorf("adopted: %+v, %+v", s, r.processes())
			}
		}},
	}
}

// TestKilledAtEachStep kills the keeper after the steps of every operation. At no moment are users without a release that they
// had, and the next operation leaves exactly what the record says: no process, mount, link or file besides. With SCAP_ACCEPT=1 it
// is each step of each operation. Without, a step that operations share (they end generations in the same way) has its turn with
// one of them, and each operation has one turn at least; that no kind of step is left out is demanded.
func TestKilledAtEachStep(t *testing.T) {
	c := crashes{all: os.Getenv("SCAP_ACCEPT") == "1", kinds: map[string]bool{}}
	t.Run("killed in", func(t *testing.T) {
		for _, sc := range scenarios() {
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, options{workers: 1})
				r.distribution()
				c.play(r, sc)
			})
		}
	})
	for kind, died := range c.kinds {
		if !died {
			t.Errorf("no keeper was killed after %q", kind)
		}
	}
}

// crashes are the kinds of steps that there were, and whether a keeper was killed after one.
type crashes struct {
	all   bool
	mu    sync.Mutex
	kinds map[string]bool
}

// play lets a scenario's operation come to its end, which shows its steps, and kills it after those whose turn it is.
func (c *crashes) play(r *rig, sc scenario) {
	_, steps := r.killed(sc, 1000)
	r.t.Logf("%d steps: %s", len(steps), strings.Join(steps, "; "))
	if len(steps) < 2 {
		r.t.Fatal("an operation without steps")
	}
	for n, step := range steps {
		turn := c.all || slices.ContainsFunc(sc.turns, func(begin string) bool {
			return begin != "" && strings.HasPrefix(step, begin) || begin == "" && n == len(steps)/2
		})
		c.mu.Lock()
		c.kinds[kindOf(step)] = c.kinds[kindOf(step)] || turn
		c.mu.Unlock()
		if !turn {
			continue
		}
		whole, died := r.killed(sc, n+1)
		if whole || len(died) != n+1 || kindOf(died[n]) != kindOf(step) {
			r.t.Errorf("killed after %q, not after %q", died, step)
		}
		if r.t.Failed() {
			r.t.Fatalf("killed after step %q", step)
		}
	}
}

// kindOf is a step's name without paths and the numbers of generations.
func kindOf(step string) string { return regexp.MustCompile(`/\S+|\d+`).ReplaceAllString(step, "…") }

// killed kills a scenario's operation after its nth step and looks at the host. It reports whether the operation had fewer, and
// its steps.
func (r *rig) killed(sc scenario, n int) (whole bool, names []string) {
	r.t.Helper()
	q := sc.prepare(r)
	steps := filepath.Join(r.dir, "steps")
	if err := os.Remove(steps); err != nil && !errors.Is(err, os.ErrNotExist) {
		r.t.Fatal(err)
	}
	whole = r.dying(q, n, steps)
	b, err := os.ReadFile(steps)
	r.must(err)
	names = strings.Split(strings.TrimSpace(string(b)), "\n")
	r.after(sc, q, names[len(names)-1])
	return whole, names
}

// dying runs a keeper that is killed after its nth step. It reports whether the operation had fewer.
func (r *rig) dying(q keeper.Request, n int, steps string) (whole bool) {
	r.t.Helper()
	line, err := json.Marshal(q)
	r.must(err)
	cmd := exec.CommandContext(r.t.Context(), r.client.Command[0], r.client.Command[1:]...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", dieEnv, n), stepsEnv+"="+steps)
	cmd.Stdin = bytes.NewReader(append(line, '\n'))
	out, err := cmd.CombinedOutput()
	if err == nil {
		if string(out) != "{}\n" && !bytes.HasPrefix(out, []byte(`{"generation":`)) {
			r.t.Errorf("%s: %s", q.Op, out)
		}
		return true
	}
	if st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || st.Signal() != syscall.SIGKILL {
		r.t.Fatalf("%s: %v: %s", q.Op, err, out)
	}
	return false
}

// after looks at a host whose keeper was killed.
func (r *rig) after(sc scenario, q keeper.Request, step string) {
	r.t.Helper()
	p := r.pool0() // it can be asked at once
	if sc.served {
		if got, err := r.ask(r.t.Context(), r.listen(), ""); err != nil || got != "AA1" && got != "BB1" {
			r.t.Errorf("after %q users get %q, %v", step, got, err)
		}
		if p.Published == 0 {
			r.t.Errorf("after %q: %+v", step, p)
		}
	}
	var number uint64
	_, named, _ := strings.Cut(step, "generation ")
	if _, err := fmt.Sscan(named, &number); err == nil && r.last() < number {
		r.t.Errorf("after %q the last number is %d", step, r.last())
	}
	if strings.HasPrefix(step, "start: the record has the process") && p.Generations[len(p.Generations)-1].PID == 0 {
		r.t.Errorf("after %q: %+v", step, p) // it may be php-fpm a moment later, when nobody looks for it any more
	}
	sc.again(r, q)
	sc.settled(r, r.consistent(step))
}

// consistent demands that what runs and lies about is what the state says, and nothing else. It returns the first pool's.
func (r *rig) consistent(step string) keeper.PoolState {
	r.t.Helper()
	s := r.state()
	p := s.Pools[0]
	if p.Problem != "" {
		r.t.Errorf("after %q: %s", step, p.Problem)
	}
	known, files := map[int]bool{}, []string{}
	for _, g := range p.Generations {
		if !g.Alive || g.Wrong != "" || len(g.Orphans) > 0 || (g.Number == p.Published) != g.Until.IsZero() {
			r.t.Errorf("after %q: published %d: %+v", step, p.Published, g)
		}
		known[g.PID] = true
		for _, w := range g.Workers {
			known[w] = true
		}
		files = append(files, filepath.Base(g.Socket), filepath.Base(g.ConfigFile), filepath.Base(g.Status),
			fmt.Sprintf("fpm-%d.pid", g.Number), fmt.Sprintf("fpm-%d.log", g.Number))
	}
	if s.Adopted {
		real.Await(r.t, "only known processes", 5*time.Second, func() error { // a held process ends when it sees that its keeper has
			for _, p := range r.processes() {
				if !known[p.PID] {
					return fmt.Errorf("after %q: unknown: %+v", step, p)
				}
			}
			return nil
		})
	}
	for _, dir := range []string{"run", "php"} {
		entries, err := os.ReadDir(filepath.Join(r.dir, dir))
		r.must(err)
		for _, e := range entries {
			allowed := dir == "run" && slices.Contains(files, e.Name()) || dir == "php" && slices.Contains([]string{"fpm.sock", "canary.sock", "fpm.pid"}, e.Name())
			if !allowed {
				r.t.Errorf("after %q: the file %s/%s", step, dir, e.Name())
			}
		}
	}
	return p
}

// last is the last number given, by the record.
func (r *rig) last() uint64 {
	r.t.Helper()
	var record struct{ Last uint64 }
	r.must(json.Unmarshal([]byte(r.record()), &record))
	return record.Last
}
