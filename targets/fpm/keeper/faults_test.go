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

	"scap/fixtures/real"
	"scap/targets/fpm/keeper"
	"scap/targets/fpm/proc"
)

// gone waits until a process runs no more.
func (r *rig) gone(pid int) {
	r.t.Helper()
	real.Await(r.t, fmt.Sprintf("process %d is gone", pid), 10*time.Second, func() error {
		if _, err := proc.Read(pid); !errors.Is(err, proc.ErrGone) {
			return errors.Join(errors.New("it is there"), err)
		}
		return nil
	})
}

// rewrite edits the record on disk.
func (r *rig) rewrite(edit func(map[string]any)) {
	r.t.Helper()
	path := filepath.Join(r.conf.State, "record.json")
	b, err := os.ReadFile(path)
	r.must(err)
	var m map[string]any
	r.must(json.Unmarshal(b, &m))
	edit(m)
	b, err = json.Marshal(m)
	r.must(err)
	r.must(os.WriteFile(path, b, 0o600))
}

// TestDeadMasters: the workers of a dead master are seen, replaced and ended; a dead one that nobody is sent to just goes.
func TestDeadMasters(t *testing.T) {
	r, one := serving(t, options{})
	two := r.start(r.b)
	r.kill(one.PID)
	r.gone(one.PID)
	p := r.pool0()
	g := p.Generations[0]
	if g.Alive || !slices.Equal(g.Orphans, one.Workers) || p.Published != 1 || !strings.Contains(p.Problem, "dead") {
		t.Fatalf("%+v", p)
	}
	r.serves(r.listen(), "A")                           // they go on
	r.do(keeper.Request{Op: keeper.OpTry, Pool: "www"}) // and no operation ends them before others serve
	r.denied(keeper.Request{Op: keeper.OpPublish, Pool: "www", Generation: one.Number, From: 1}, keeper.Refused, "dead")
	r.publish(two.Number, one.Number, soon()) // there is no way back to it, so it is not kept
	r.serves(r.listen(), "B")
	r.consistent("the orphans' replacement")
	if p := r.pool0(); len(p.Generations) != 1 {
		t.Errorf("%+v", p)
	}
	three := r.start(r.a)
	r.kill(three.PID)
	r.gone(three.PID)
	r.do(keeper.Request{Op: keeper.OpTry, Pool: "www"})
	r.consistent("a dead one that was never shown")
	r.denied(keeper.Request{Op: keeper.OpPublish, Pool: "www", Generation: three.Number, From: two.Number}, keeper.Refused, "has ended")
	r.do(keeper.Request{Op: keeper.OpEnd, Generation: three.Number}) // to end what has ended is no error
}

// TestDeadlines: what is not published ends at its time, by the next operation, whichever that is.
func TestDeadlines(t *testing.T) {
	r, one := serving(t, options{workers: 1})
	two := r.start(r.b)
	r.do(keeper.Request{Op: keeper.OpTry, Pool: "www", Generation: two.Number, Until: soon()})
	past := func(m map[string]any) {
		for _, g := range m["generations"].([]any) {
			if g := g.(map[string]any); g["until"] != nil {
				g["until"] = time.Now().Add(-time.Second)
			}
		}
	}
	r.rewrite(past)
	r.do(keeper.Request{Op: keeper.OpTry, Pool: "www"})
	if p := r.pool0(); p.Tried != 0 || len(p.Generations) != 1 || p.Published != one.Number {
		t.Errorf("%+v", p)
	}
	r.consistent("a trial's deadline")
	three := r.start(r.b)
	r.publish(three.Number, one.Number, soon())
	r.rewrite(past)
	r.do(keeper.Request{Op: keeper.OpTry, Pool: "www"})
	r.consistent("a kept one's deadline")
	if p := r.pool0(); len(p.Generations) != 1 || p.Published != three.Number {
		t.Errorf("%+v", p)
	}
	// The next published one takes the place of one that is kept already.
	four := r.start(r.a)
	r.publish(four.Number, three.Number, soon())
	five := r.start(r.b)
	r.publish(five.Number, four.Number, soon())
	if p := r.pool0(); len(p.Generations) != 2 || p.Generations[0].Number != four.Number {
		t.Errorf("%+v", p)
	}
}

// TestMemory: a second master that does not fit is refused with nothing changed, unless the end of an old one that is only kept
// makes room for it.
func TestMemory(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(memoryEnv, dir)
	free := func(bytes uint64) {
		if err := os.WriteFile(filepath.Join(dir, "meminfo"), fmt.Appendf(nil, "MemAvailable: %d kB\n", bytes>>10), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	free(1 << 40)
	r, one := serving(t, options{workers: 1})
	two := r.start(r.b)
	r.publish(two.Number, one.Number, soon())
	q := keeper.Request{Op: keeper.OpStart, Pool: "www", Release: r.b, Until: soon()}
	free(1 << 20) // far less than the reserve: what the kept one has is not enough
	was := r.snapshot()
	r.denied(q, keeper.NoMemory, "MB")
	if now := r.snapshot(); now != was {
		t.Errorf("something changed:\n%s\nbefore:\n%s", now, was)
	}
	if p := r.pool0(); p.Free != 0 || p.Need < 1<<20 {
		t.Errorf("%+v", p)
	}
	free(r.conf.Reserve + r.pool0().Need/2)
	back := q
	back.Release = r.a // the kept one has it: it is not ended for another one of its kind
	r.denied(back, keeper.NoMemory, "MB")
	r.do(q)
	p := r.pool0()
	if slices.ContainsFunc(p.Generations, func(g keeper.Generation) bool { return g.Number == one.Number }) || p.Published != two.Number {
		t.Errorf("%+v", p)
	}
	r.denied(back, keeper.NoMemory, "MB") // the new one is not kept, it is to be shown
	r.consistent("no memory")
	free(1 << 20)
	g := p.Generations[0]
	r.kill(append([]int{g.PID}, g.Workers...)...)
	r.gone(g.PID)
	r.start(r.b) // nobody is served: there is no first one beside which it would be the second
}

// TestReboot: after one, every number and inode in the record means another process, and the links are gone.
func TestReboot(t *testing.T) {
	r, _ := serving(t, options{workers: 1})
	two := r.start(r.b)
	r.sweep()
	r.must(os.RemoveAll(r.conf.Run))
	r.must(os.Remove(r.listen()))
	// The pids are those of living processes that are nothing of ours.
	other := exec.CommandContext(t.Context(), "sleep", "1000")
	other.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNS}
	r.must(other.Start())
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	p, err := proc.Read(other.Process.Pid)
	r.must(err)
	ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", p.PID))
	r.must(err)
	var inode uint64
	_, err = fmt.Sscanf(ns, "mnt:[%d]", &inode)
	r.must(err)
	r.rewrite(func(m map[string]any) {
		for _, g := range m["generations"].([]any) {
			g := g.(map[string]any)
			g["boot"], g["pid"], g["tick"], g["namespace"] = "another", p.PID, p.Tick, inode
		}
	})
	if s := r.pool0(); s.Published != 0 || len(s.Generations) != 2 || s.Generations[0].Alive || s.Generations[0].PID != 0 || !strings.Contains(s.Problem, "does not lead to generation 1") {
		t.Errorf("%+v", s)
	}
	three := r.start(r.a)
	if three.Number <= two.Number {
		t.Errorf("number %d is used again", three.Number)
	}
	r.publish(three.Number, 0, time.Time{})
	r.consistent("a reboot")
	if _, err := proc.Read(p.PID); err != nil {
		t.Errorf("another's process was ended: %v", err)
	}
}

// TestInodeOfAnother: the inode of a namespace that is gone is given to others, who must not be ended for it.
func TestInodeOfAnother(t *testing.T) {
	r := newRig(t, options{workers: 1})
	r.adopt()
	one := r.start(r.a)
	other := exec.CommandContext(t.Context(), "sleep", "1000")
	other.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNS}
	r.must(other.Start())
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	r.kill(one.PID)
	for _, pid := range one.Workers {
		if _, err := proc.Read(pid); err == nil {
			r.kill(pid)
		}
		r.gone(pid)
	}
	r.gone(one.PID)
	ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", other.Process.Pid))
	r.must(err)
	var inode uint64
	_, err = fmt.Sscanf(ns, "mnt:[%d]", &inode)
	r.must(err)
	r.rewrite(func(m map[string]any) { m["generations"].([]any)[0].(map[string]any)["namespace"] = inode })
	if g := r.pool0().Generations[0]; len(g.Orphans) > 0 {
		t.Errorf("%+v", g)
	}
	r.do(keeper.Request{Op: keeper.OpEnd, Generation: one.Number})
	if _, err := proc.Read(other.Process.Pid); err != nil {
		t.Errorf("another's process was ended: %v", err)
	}
	r.consistent("an inode of another's")
}

// TestRequestsInFlightEnd: a generation that ends answers what it has, what waits in its socket too.
func TestRequestsInFlightEnd(t *testing.T) {
	r, one := serving(t, options{workers: 1})
	two := r.start(r.b)
	var answers sync.WaitGroup
	said := make([]string, 4)
	for i := range said {
		answers.Go(func() {
			got, err := r.ask(t.Context(), one.Socket, "ms=300")
			said[i] = fmt.Sprint(got, err)
		})
	}
	real.Await(t, "requests wait", 5*time.Second, func() error {
		if n, err := keeper.Waiting(one.Socket); err != nil || n < len(said)-1 {
			return errors.Join(fmt.Errorf("%d wait", n), err)
		}
		return nil
	})
	r.publish(two.Number, one.Number, time.Time{})
	answers.Wait()
	for _, got := range said {
		if got != "AA1<nil>" {
			t.Errorf("a request in flight: %s", got)
		}
	}
	r.consistent("requests in flight")
}

// TestStragglersAreKilled: what does not end in time is killed, also what a request has started and left behind.
func TestStragglersAreKilled(t *testing.T) {
	r := newRig(t, options{workers: 1, control: "1s", edit: func(c *keeper.Config) { c.Pools[0].Stop = 2 * time.Second }})
	script := filepath.Join(r.conf.Root, "releases", r.a.String(), "index.php")
	r.must(os.WriteFile(script, []byte(`<?php if (isset($_GET['ms'])) { exec('trap "" TERM QUIT; sleep 1000 >/dev/null 2>&1 & echo $!', $out); echo $out[0]; }`), 0o644))
	r.adopt()
	one := r.start(r.a)
	text, err := r.ask(t.Context(), one.Socket, "ms=1")
	r.must(err)
	var child int
	_, err = fmt.Sscan(text, &child)
	r.must(err)
	p, err := proc.Read(child)
	r.must(err)
	began := time.Now()
	r.do(keeper.Request{Op: keeper.OpEnd, Generation: one.Number})
	if left := proc.Left([]proc.Process{p}); len(left) > 0 {
		t.Errorf("%+v is left", left)
	}
	t.Logf("ended after %v", time.Since(began))
	r.consistent("a straggler")
}

// TestStartFails: nothing is left of a generation that cannot be started, and users see nothing of it.
func TestStartFails(t *testing.T) {
	r, _ := serving(t, options{workers: 1})
	good, err := os.ReadFile(r.conf.Pools[0].ConfigFile)
	r.must(err)
	start := keeper.Request{Op: keeper.OpStart, Pool: "www", Release: r.b, Until: soon()}
	late := keeper.Refused // by php-fpm's own test; and where that does not look, by the start that fails
	if real.PHP7() {
		late = ""
	}
	for name, c := range map[string]struct {
		from, to string
		code     keeper.Code
		says     string
	}{
		"a broken configuration":       {"pm = static", "pm = broken", keeper.Refused, "pm"},
		"another socket":               {r.listen(), r.listen() + "2", keeper.Refused, "no pool listens"},
		"two pools":                    {"[global]", "[more]\nlisten=" + r.dir + "/x.sock\nuser=www-data\npm=static\npm.max_children=1\n[global]", keeper.Refused, "more pools"},
		"requests would be cut off":    {"process_control_timeout = 5s", "process_control_timeout = 0", keeper.Refused, "process_control_timeout"},
		"longer than it may take":      {"process_control_timeout = 5s", "process_control_timeout = 7s", keeper.Refused, "longer"},
		"no ping":                      {"ping.path = /fpm-ping", "ping.path = /other", keeper.Refused, "ping.path"},
		"a user whom nobody knows":     {"user = www-data", "user = nosuchuser", late, "nosuchuser"},
		"a master that ends by itself": {"pm.max_children = 1", "pm.max_children = 1\nchroot = /nonexistent", keeper.Refused, "chroot"},
	} {
		text := strings.Replace(string(good), c.from, c.to, 1)
		if text == string(good) {
			t.Fatalf("%s: nothing is replaced", name)
		}
		r.must(os.WriteFile(r.conf.Pools[0].ConfigFile, []byte(text), 0o644))
		r.denied(start, c.code, c.says)
		r.must(os.WriteFile(r.conf.Pools[0].ConfigFile, good, 0o644))
		r.consistent(name)
		r.serves(r.listen(), "A")
	}
	if p := r.pool0(); len(p.Generations) != 1 {
		t.Errorf("%+v", p)
	}
}

// TestRecord: one that cannot be read stops everything, and is never taken for that of a host without generations.
func TestRecord(t *testing.T) {
	r, _ := serving(t, options{workers: 1})
	path := filepath.Join(r.conf.State, "record.json")
	good, err := os.ReadFile(path)
	r.must(err)
	fails := func(what, says string) {
		t.Helper()
		for _, op := range []keeper.Op{keeper.OpState, keeper.OpHalt, keeper.OpAdopt} {
			_, err := r.client.Do(t.Context(), keeper.Request{Op: op})
			var e *keeper.Error
			if !errors.As(err, &e) || e.Code != "" || !strings.Contains(e.Text, says) {
				t.Errorf("%s: %s: %v", what, op, err)
			}
		}
		r.serves(r.listen(), "A")
	}
	for name, text := range map[string]string{
		"torn": string(good[:len(good)/2]), "empty": "", "null": "null", "another version": `{"version":2}`, "an empty object": "{}",
		"a number above the last": strings.Replace(string(good), `"last": 1`, `"last": 0`, 1),
		"an unknown phase":        strings.Replace(string(good), `"running"`, `"walking"`, 1),
		"a key that is not known": strings.Replace(string(good), `"version"`, `"later": 1, "version"`, 1),
		"twice in one":            string(good) + string(good),
		"zeros, as after a crash": string(make([]byte, len(good))),
	} {
		if text == string(good) {
			t.Fatalf("%s: nothing is replaced", name)
		}
		r.must(os.WriteFile(path, []byte(text), 0o600))
		fails(name, "cannot be read")
	}
	r.must(os.Remove(path))
	fails("lost", "not there")
	r.must(os.WriteFile(path, good, 0o600))
	r.consistent("the record is back")
	r.do(keeper.Request{Op: keeper.OpHalt})
}

// TestOneAtATime: operations of several keepers wait for each other; of two that publish at once, one is refused.
func TestOneAtATime(t *testing.T) {
	r, one := serving(t, options{workers: 1})
	var asked sync.WaitGroup
	numbers, errs := make([]uint64, 4), make([]error, 4)
	for i := range numbers {
		asked.Go(func() {
			reply, err := r.client.Do(t.Context(), keeper.Request{Op: keeper.OpStart, Pool: "www", Release: r.b, Until: soon()})
			if errs[i] = err; err == nil {
				numbers[i] = reply.Generation.Number
			}
		})
	}
	asked.Wait()
	slices.Sort(numbers)
	if err := errors.Join(errs...); err != nil || !slices.Equal(numbers, []uint64{2, 3, 4, 5}) {
		t.Fatalf("%v %v", numbers, err)
	}
	for i, n := range numbers {
		asked.Go(func() {
			_, errs[i] = r.client.Do(t.Context(), keeper.Request{Op: keeper.OpPublish, Pool: "www", Generation: n, From: one.Number, Until: soon()})
		})
	}
	asked.Wait()
	refused := 0
	for _, err := range errs {
		var e *keeper.Error
		if errors.As(err, &e) && e.Code == keeper.Refused {
			refused++
		}
	}
	if refused != 3 {
		t.Errorf("%v", errs)
	}
	r.consistent("two at once")
}

// TestCancelled: a client whose context ends while an operation waits for requests leaves it to be ended by the next one.
func TestCancelled(t *testing.T) {
	r, one := serving(t, options{workers: 1})
	r.publish(r.start(r.b).Number, one.Number, soon())
	var answers sync.WaitGroup
	for range 2 {
		answers.Go(func() {
			if got, err := r.ask(t.Context(), one.Socket, "ms=1000"); got != "AA1" {
				t.Errorf("a request: %q %v", got, err)
			}
		})
	}
	real.Await(t, "one request waits for the other", 5*time.Second, func() error {
		if n, err := keeper.Waiting(one.Socket); err != nil || n < 1 {
			return errors.Join(fmt.Errorf("%d wait", n), err)
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := r.client.Do(ctx, keeper.Request{Op: keeper.OpEnd, Generation: one.Number}); err == nil {
		t.Error("it was not cancelled")
	}
	r.do(keeper.Request{Op: keeper.OpTry, Pool: "www"})
	answers.Wait()
	r.consistent("a cancelled end")
}
