package keeper_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"scap/fixtures/real"
	"scap/targets/fpm/keeper"
	"scap/targets/fpm/proc"
)

// watching is a watch, as a process.
type watching struct {
	*exec.Cmd
	r    *rig
	said string // a file
	once sync.Once
}

func (r *rig) watch() *watching {
	r.t.Helper()
	w := &watching{Cmd: exec.Command(r.client.Command[0], append(r.client.Command[1:], "watch")...), r: r, said: filepath.Join(r.t.TempDir(), "said")}
	f, err := os.Create(w.said)
	r.must(err)
	defer f.Close()
	w.Stderr, w.Dir = f, "/"
	r.must(w.Start())
	r.t.Cleanup(func() {
		w.end(syscall.SIGKILL)
		if r.t.Failed() {
			r.t.Logf("the watch said: %s", w.text())
		}
	})
	r.await("a watch", func() bool { return r.state().Watched })
	return w
}

func (w *watching) end(s syscall.Signal) {
	w.once.Do(func() {
		_ = w.Process.Signal(s)
		_ = w.Wait()
	})
}

func (w *watching) text() string {
	b, _ := os.ReadFile(w.said)
	return string(b)
}

// await asks until ok.
func (r *rig) await(what string, ok func() bool) {
	r.t.Helper()
	err := real.Poll(time.Minute, func() error {
		if !ok() {
			return fmt.Errorf("no %s", what)
		}
		return nil
	})
	if err != nil {
		s, _ := json.Marshal(r.state())
		r.t.Fatalf("%v: %s", err, s)
	}
}

// published waits until one generation is, that is healthy, alone, and not the one before.
func (r *rig) published(not uint64) keeper.Generation {
	r.t.Helper()
	var g keeper.Generation
	r.await("new generation", func() bool {
		p := r.pool0()
		if p.Published == not || p.Published == 0 || len(p.Generations) != 1 {
			return false
		}
		g = p.Generations[0]
		return g.Number == p.Published && g.Alive && g.Wrong == "" && len(g.Workers) == 2
	})
	return g
}

// serving is an adopted host with release A published.
func serving(t testing.TB, o options) (*rig, keeper.Generation) {
	t.Helper()
	r := newRig(t, o)
	r.adopt()
	g := r.start(r.a)
	r.publish(g.Number, 0, time.Time{})
	return r, g
}

// alarmed waits for an alarm with all of these words.
func (r *rig) alarmed(words ...string) {
	r.t.Helper()
	r.await("alarm with "+strings.Join(words, ", "), func() bool {
		for _, a := range r.state().Alarms {
			all := true
			for _, w := range words {
				all = all && strings.Contains(a.Text, w)
			}
			if all {
				return true
			}
		}
		return false
	})
}

func (r *rig) kill(pids ...int) {
	r.t.Helper()
	for _, pid := range pids {
		p, err := proc.Read(pid)
		if err == nil {
			err = proc.Signal(p, syscall.SIGKILL)
		}
		r.must(err)
	}
}

// users ask all the time, until stop says how many right answers they had, what else they got, and how long nobody had one.
func (r *rig) users(n int, right ...string) (stop func() (answers int, failures []string, longest time.Duration)) {
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var wg sync.WaitGroup
	answers, last, longest := 0, time.Now(), time.Duration(0)
	var failures []string
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				got, err := r.ask(context.WithoutCancel(ctx), r.listen(), "ms=5")
				mu.Lock()
				if err != nil || !slices.Contains(right, got) {
					failures = append(failures, fmt.Sprintf("%q %v", got, err))
				} else {
					answers++
					longest, last = max(longest, time.Since(last)), time.Now()
				}
				mu.Unlock()
			}
		})
	}
	return func() (int, []string, time.Duration) {
		cancel()
		wg.Wait()
		return answers, failures, longest
	}
}

// TestWatchReplacesMaster kills the published master with users about: none of them sees it.
func TestWatchReplacesMaster(t *testing.T) {
	r, g := serving(t, options{})
	w := r.watch()
	for range 3 {
		stop := r.users(4, "AA1")
		killed := time.Now()
		r.kill(g.PID)
		next := r.published(g.Number)
		took := time.Since(killed)
		r.await("end of the orphans", func() bool { return len(r.processes()) == 1+1+len(next.Workers) }) // the watch, the master, workers
		answers, failures, longest := stop()
		t.Logf("%d answers, repaired in %v, nobody was answered for %v at most", answers, took, longest)
		if len(failures) > 0 || answers == 0 {
			t.Errorf("%d of %d requests were lost: %s", len(failures), answers+len(failures), failures[0])
		}
		if next.Release != r.a || took > 20*time.Second {
			t.Errorf("%+v after %v", next, took)
		}
		r.serves(r.listen(), "A")
		r.alarmed(fmt.Sprintf("generation %d", g.Number), "has died", fmt.Sprintf("generation %d took its place", next.Number))
		g = next
	}
	if s := r.state(); s.Pools[0].Problem != "" || !s.Watched {
		t.Errorf("%+v", s)
	}
	w.end(syscall.SIGTERM)
	if r.state().Watched {
		t.Error("a watch that has ended still watches")
	}
	r.serves(r.listen(), "A")
}

// TestWatchStartsAnew has nobody left: all processes killed at once, or the machine started anew, with the run directory
// and the links gone, or that of a host that was halted when it went down.
func TestWatchStartsAnew(t *testing.T) {
	for name, c := range map[string]struct {
		boot, halted, watched bool
		says                  []string
	}{
		"all killed":            {false, false, true, []string{"has died", "took its place"}},
		"all killed, unwatched": {false, false, false, []string{"has died", "took its place"}},
		"booted":                {true, false, false, []string{"started anew", "took its place"}},
		"booted when halted":    {true, true, false, []string{"started anew", "which is current"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, g := serving(t, options{})
			w := r.watch()
			r.await("first round", func() bool { return strings.Contains(r.record(), `"booted"`) })
			if !c.watched {
				w.end(syscall.SIGKILL)
			}
			if c.halted {
				r.do(keeper.Request{Op: keeper.OpHalt})
			} else {
				r.kill(append(g.Workers, g.PID)...)
			}
			if c.boot {
				r.reboot()
			}
			began := time.Now()
			if !c.watched {
				r.watch()
			}
			next := r.published(g.Number)
			t.Logf("served again after %v", time.Since(began))
			if next.Release != r.a || next.Number != g.Number+1 {
				t.Errorf("%+v", next)
			}
			r.serves(r.listen(), "A")
			r.alarmed(c.says...)
		})
	}
}

// TestWatchLeavesAHaltedHost does not start what somebody has halted, who works on it.
func TestWatchLeavesAHaltedHost(t *testing.T) {
	r, _ := serving(t, options{})
	w := r.watch()
	r.do(keeper.Request{Op: keeper.OpHalt})
	w.end(syscall.SIGKILL)
	r.watch()
	two := r.start(r.b)
	r.publish(two.Number, 0, time.Time{})
	r.do(keeper.Request{Op: keeper.OpHalt})
	r.kill(r.start(r.a).PID)
	r.alarmed("not published", "has died")
	r.await("end of the dead one", func() bool { return len(r.pool0().Generations) == 0 })
	if p := r.pool0(); p.Published != 0 {
		t.Errorf("%+v", p)
	}
}

// record is the text of the keeper's record.
func (r *rig) record() string {
	b, err := os.ReadFile(filepath.Join(r.conf.State, "record.json"))
	r.must(err)
	return string(b)
}

// reboot makes the host one that was started anew: another boot, nothing in the directories that are in memory.
func (r *rig) reboot() {
	r.t.Helper()
	r.await("end of all", func() bool { return len(r.processes()) == 0 })
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	r.must(err)
	now := strings.TrimSpace(string(boot))
	r.must(os.WriteFile(filepath.Join(r.conf.State, "record.json"), []byte(strings.ReplaceAll(r.record(), now, "0"+now[1:]+"-before")), 0o600))
	r.must(os.RemoveAll(r.conf.Run))
	_ = os.Remove(r.listen())
	_ = os.Remove(r.conf.Pools[0].Trial)
}

// TestWatchKilled kills the watch, and a master while there is none.
func TestWatchKilled(t *testing.T) {
	r, g := serving(t, options{})
	w := r.watch()
	stop := r.users(2, "AA1")
	w.end(syscall.SIGKILL)
	if r.state().Watched {
		t.Error("a dead watch watches")
	}
	r.serves(r.listen(), "A")
	r.kill(g.PID)
	r.watch()
	next := r.published(g.Number)
	if answers, failures, _ := stop(); len(failures) > 0 || answers == 0 {
		t.Errorf("of %d requests %d were lost: %v", answers, len(failures), failures[:1])
	}
	if next.Release != r.a {
		t.Errorf("%+v", next)
	}
}

// TestWatchExcludes wants a second watch to say that there is one.
func TestWatchExcludes(t *testing.T) {
	r, _ := serving(t, options{})
	w := r.watch()
	out, err := exec.Command(w.Path, w.Args[1:]...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), keeper.ErrWatched.Error()) {
		t.Errorf("%v: %s", err, out)
	}
	if !r.state().Watched {
		t.Error("the first one is gone")
	}
}

// TestWatchAndARemovedRelease has somebody remove the directory of the release that runs.
func TestWatchAndARemovedRelease(t *testing.T) {
	r, g := serving(t, options{})
	dir := filepath.Join(r.conf.Root, "releases", r.a.String())
	r.must(os.Rename(dir, dir+".gone"))
	r.watch()
	r.alarmed("serves on, but", "release")
	if got, err := r.ask(t.Context(), r.listen(), ""); err != nil || got != "AA1" {
		t.Errorf("%q %v", got, err)
	}
	if p := r.pool0(); p.Published != g.Number || len(p.Generations) != 1 || !p.Generations[0].Alive {
		t.Errorf("%+v", p)
	}
	n := len(r.state().Alarms)
	// Dead as well: it cannot be replaced, its workers serve on, and the tries are few.
	r.kill(g.PID)
	r.alarmed("has died", "cannot be started")
	if got, err := r.ask(t.Context(), r.listen(), ""); err != nil || got != "AA1" {
		t.Errorf("%q %v", got, err)
	}
	r.must(os.Rename(dir+".gone", dir))
	if next := r.published(g.Number); next.Release != r.a || next.Number != g.Number+1 {
		t.Errorf("%+v", next)
	}
	if now := r.state().Alarms; len(now) > n+3 {
		t.Errorf("alarms: %+v", now)
	}
}

// TestWatchMendsALink has somebody remove the link to the published socket.
func TestWatchMendsALink(t *testing.T) {
	r, g := serving(t, options{})
	r.must(os.Remove(r.listen()))
	r.watch()
	r.alarmed("led no more", "mended")
	r.serves(r.listen(), "A")
	if p := r.pool0(); p.Published != g.Number || p.Problem != "" {
		t.Errorf("%+v", p)
	}
}

// TestWatchKeepsDeadlines has generations that are kept, tried and unproven, and a trial that dies.
func TestWatchKeepsDeadlines(t *testing.T) {
	r, g := serving(t, options{})
	r.watch()
	in := func(d time.Duration) time.Time { return time.Now().Add(d) }
	r.do(keeper.Request{Op: keeper.OpStart, Pool: "www", Release: r.b, Until: in(2 * time.Second)}) // unproven
	r.await("end of the unproven one", func() bool { return len(r.pool0().Generations) == 1 })
	tried := r.start(r.b)
	r.do(keeper.Request{Op: keeper.OpTry, Pool: "www", Generation: tried.Number, Until: in(2 * time.Second)})
	r.await("end of the tried one", func() bool { p := r.pool0(); return len(p.Generations) == 1 && p.Tried == 0 })
	if _, err := os.Lstat(r.conf.Pools[0].Trial); err == nil {
		t.Error("the link for trials is left")
	}
	tried = r.start(r.b)
	r.do(keeper.Request{Op: keeper.OpTry, Pool: "www", Generation: tried.Number, Until: soon()})
	r.kill(tried.PID)
	r.alarmed("while it was tried")
	r.await("end of the dead trial", func() bool { p := r.pool0(); return len(p.Generations) == 1 && p.Tried == 0 })
	next := r.start(r.b)
	r.publish(next.Number, g.Number, in(2*time.Second)) // kept
	r.await("end of the kept one", func() bool { p := r.pool0(); return len(p.Generations) == 1 && p.Published == next.Number })
	r.serves(r.listen(), "B")
}

// TestMasterPins wants the release of a generation to be pinned by its master, by workers without one, and by nobody after.
func TestMasterPins(t *testing.T) {
	r, g := serving(t, options{})
	dir, err := os.Open(filepath.Join(r.conf.Root, "releases", r.a.String()))
	r.must(err)
	defer dir.Close()
	pinned := func() bool {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			r.must(unix.Flock(int(dir.Fd()), unix.LOCK_UN))
		}
		return errors.Is(err, unix.EWOULDBLOCK)
	}
	if !pinned() {
		t.Error("not by the master")
	}
	r.kill(g.PID)
	r.await("orphans", func() bool { return len(r.pool0().Generations[0].Orphans) == 2 })
	if !pinned() {
		t.Error("not by workers without a master")
	}
	r.do(keeper.Request{Op: keeper.OpHalt})
	if pinned() {
		t.Error("by nobody")
	}
}
