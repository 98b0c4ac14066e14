package keeper_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scap/fixtures/real"
	"scap/sync/release"
	"scap/targets/fpm/fcgi"
	"scap/targets/fpm/keeper"
	"scap/targets/fpm/proc"
)

// What tells the test program, when it is the keeper, to die after its nth step, and where to write what each was.
const (
	dieEnv   = "SCAP_KEEPER_TEST_DIE"
	stepsEnv = "SCAP_KEEPER_TEST_STEPS"
	// memoryEnv names a directory with a meminfo in the place of /proc's.
	memoryEnv = "SCAP_KEEPER_TEST_MEMORY"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "keeper" {
		if err := beKeeper(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0") // each question is a process, which would sleep for a second at its end
	}
	goleak.VerifyTestMain(m)
}

// beKeeper is what scap-agent does with these arguments.
func beKeeper(args []string) error {
	flags := flag.NewFlagSet("keeper", flag.ContinueOnError)
	file := flags.String("conf", keeper.DefaultFile, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	conf, err := keeper.Load(*file)
	if err != nil {
		return err
	}
	if flags.Arg(0) == "enter" {
		return keeper.Enter(conf, flags.Args()[1:])
	}
	if flags.Arg(0) == "units" {
		text, err := keeper.Units(conf)
		fmt.Print(text)
		return err
	}
	if flags.Arg(0) == "watch" {
		return keeper.Watch(context.Background(), conf, os.Stderr)
	}
	if dir := os.Getenv(memoryEnv); dir != "" {
		keeper.SetMemory(dir)
	}
	die, _ := strconv.Atoi(os.Getenv(dieEnv))
	n := 0
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return keeper.ServeStepping(ctx, conf, os.Stdin, os.Stdout, func(name string) {
		n++
		if path := os.Getenv(stepsEnv); path != "" {
			if f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
				fmt.Fprintln(f, name)
				f.Close()
			}
		}
		if n == die {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	})
}

const pingPath = "/fpm-ping"

// rig is a host with a distribution's php-fpm, two releases and a keeper, below a directory that only root can change.
type rig struct {
	t      testing.TB
	dir    string
	conf   keeper.Config
	file   string
	client keeper.Client
	a, b   release.ID
	pool   string // a name that no other php-fpm has
	crew   int    // workers of the distribution's configuration
	quiet  bool   // does not log how long operations took
}

// options of a rig.
type options struct {
	workers int
	edit    func(*keeper.Config)
	base    string // more lines of the distribution's pool
	control string // process_control_timeout; default 5s
}

func newRig(t testing.TB, o options) *rig {
	t.Helper()
	real.Need(t, real.FPMProgram())
	dir := real.RootDir(t)
	r := &rig{t: t, dir: dir, file: filepath.Join(dir, "keeper.json"), pool: filepath.Base(dir)}
	t.Cleanup(r.sweep)
	deploy, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"srv/root/releases", "php", "etc"} {
		r.must(os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	owner := real.TheOwner(t)
	owner.Own(t, filepath.Join(dir, "php")) // as Debian's /run/php
	program, err := real.Program(real.FPMProgram())
	r.must(err)
	agent := filepath.Join(dir, "scap-agent")
	self, err := os.Executable()
	r.must(err)
	b, err := os.ReadFile(self)
	r.must(err)
	r.must(os.WriteFile(agent, b, 0o755))
	r.conf = keeper.Config{
		User: deploy.Username, Root: filepath.Join(dir, "srv/root"), Served: filepath.Join(dir, "mediawiki"),
		State: filepath.Join(dir, "state"), Run: filepath.Join(dir, "run"), Reserve: 16 << 20,
		Pools: []keeper.Pool{{
			Name: "www", Listen: filepath.Join(dir, "php/fpm.sock"), Trial: filepath.Join(dir, "php/canary.sock"), Binary: program,
			ConfigFile: filepath.Join(dir, "etc/fpm.conf"), INI: filepath.Join(dir, "etc/php.ini"), PingPath: pingPath, Stop: 6 * time.Second,
			PIDFile: filepath.Join(dir, "php/fpm.pid"), Start: []string{program, "-y", filepath.Join(dir, "etc/fpm.conf"), "-c", filepath.Join(dir, "etc/php.ini")},
		}},
	}
	if o.workers == 0 {
		o.workers = 2
	}
	r.crew = o.workers
	if o.control == "" {
		o.control = "5s"
	}
	r.write("etc/php.ini", "opcache.enable=1\nopcache.validate_timestamps=0\nopcache.memory_consumption=16\n")
	r.write("etc/fpm.conf", fmt.Sprintf("[global]\npid = %s\nerror_log = %s/fpm.log\nprocess_control_timeout = %s\n[%s]\nuser = www-data\nlisten = %s\nlisten.mode = 0666\n"+
		"pm = static\npm.max_children = %d\nping.path = %s\npm.status_path = /fpm-status\n%s\n",
		r.conf.Pools[0].PIDFile, dir, o.control, r.pool, r.conf.Pools[0].Listen, o.workers, pingPath, o.base))
	r.must(os.Symlink(filepath.Join(r.conf.Root, "current"), r.conf.Served))
	r.a, r.b = r.release("A"), r.release("B")
	r.must(os.Symlink("releases/"+r.a.String(), filepath.Join(r.conf.Root, "current")))
	uid, err := strconv.Atoi(deploy.Uid)
	r.must(err)
	r.must(filepath.WalkDir(r.conf.Root, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, uid))
	}))
	if o.edit != nil {
		o.edit(&r.conf)
	}
	text, err := json.Marshal(r.conf)
	r.must(err)
	r.write("keeper.json", string(text))
	r.client = keeper.Client{Command: []string{agent, "keeper", "--conf", r.file}}
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) write(name, text string) {
	r.t.Helper()
	r.must(os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o644))
}

// release makes one whose script says its mark twice: from its own path and by the served path. It may sleep.
func (r *rig) release(mark string) release.ID {
	r.t.Helper()
	id := release.ID(sha256.Sum256([]byte(mark)))
	dir := "srv/root/releases/" + id.String()
	r.must(os.MkdirAll(filepath.Join(r.dir, dir), 0o755))
	r.write(dir+"/mark", mark)
	r.write(dir+"/index.php", fmt.Sprintf(
		`<?php for ($end = microtime(true) + ($_GET['ms'] ?? 0) / 1000; microtime(true) < $end;) usleep(1000); echo trim(file_get_contents(__DIR__.'/mark')), trim(file_get_contents(%q)), count(glob(%q));`,
		r.conf.Served+"/mark", r.conf.Root+"/releases/*"))
	return id
}

// do asks for one thing, which must succeed.
func (r *rig) do(q keeper.Request) keeper.Reply {
	r.t.Helper()
	began := time.Now()
	reply, err := r.client.Do(r.t.Context(), q)
	if err != nil {
		r.t.Fatalf("%s: %v", q.Op, err)
	}
	if !r.quiet {
		r.t.Logf("%s: %d ms", q.Op, time.Since(began).Milliseconds())
	}
	return reply
}

// denied asks for one thing, which must be refused with code.
func (r *rig) denied(q keeper.Request, code keeper.Code, says string) {
	r.t.Helper()
	_, err := r.client.Do(r.t.Context(), q)
	var e *keeper.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Text, says) {
		r.t.Errorf("%+v: %v; want %s with %q", q, err, code, says)
	}
}

func (r *rig) adopt() { r.t.Helper(); r.do(keeper.Request{Op: keeper.OpAdopt}) }

func soon() time.Time { return time.Now().Add(time.Hour) }

func (r *rig) start(id release.ID) keeper.Generation {
	r.t.Helper()
	reply := r.do(keeper.Request{Op: keeper.OpStart, Pool: "www", Release: id, Until: soon()})
	if reply.Generation == nil || !reply.Generation.Alive {
		r.t.Fatalf("start: %+v", reply)
	}
	// It answers as soon as its first worker does, which is before the master has made the others.
	g := *reply.Generation
	r.await("all its workers", func() bool {
		for _, p := range r.state().Pools {
			for _, now := range p.Generations {
				if now.Number == g.Number {
					g = now
				}
			}
		}
		return len(g.Workers) == r.crew
	})
	return g
}

func (r *rig) publish(number, from uint64, until time.Time) {
	r.t.Helper()
	r.do(keeper.Request{Op: keeper.OpPublish, Pool: "www", Generation: number, From: from, Until: until})
}

func (r *rig) state() keeper.State {
	r.t.Helper()
	reply := r.do(keeper.Request{Op: keeper.OpState})
	if reply.State == nil || len(reply.State.Pools) != len(r.conf.Pools) {
		r.t.Fatalf("state: %+v", reply)
	}
	return *reply.State
}

// pool0 is the state of the first pool.
func (r *rig) pool0() keeper.PoolState { r.t.Helper(); return r.state().Pools[0] }

// ask runs the script over a socket and returns what it says.
func (r *rig) ask(ctx context.Context, socket, query string) (string, error) {
	script := filepath.Join(r.conf.Served, "index.php")
	a, err := fcgi.Call(ctx, socket, map[string]string{
		"REQUEST_METHOD": "GET", "SCRIPT_FILENAME": script, "SCRIPT_NAME": "/index.php", "REQUEST_URI": "/index.php?" + query, "QUERY_STRING": query,
		"DOCUMENT_ROOT": r.conf.Served,
	})
	if err == nil && a.Status != 200 {
		err = fmt.Errorf("status %d", a.Status)
	}
	return string(a.Body), err
}

// serves demands that a socket answers with one release's mark, and sees no other.
func (r *rig) serves(socket, mark string) {
	r.t.Helper()
	got, err := r.ask(r.t.Context(), socket, "")
	if err != nil || got != mark+mark+"1" {
		r.t.Errorf("%s answers %q, %v; want %q", socket, got, err, mark+mark+"1")
	}
}

func (r *rig) listen() string { return r.conf.Pools[0].Listen }

// processes are all of the rig: masters by where their configuration lies, workers by the pool's name, and whoever is in a
// mount namespace that has the rig's releases mounted.
func (r *rig) processes() []proc.Process {
	r.t.Helper()
	entries, err := os.ReadDir("/proc")
	r.must(err)
	var out []proc.Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		line, _ := proc.ReadSome(fmt.Sprintf("/proc/%d/cmdline", pid), 4096)
		mounts, _ := proc.ReadSome(fmt.Sprintf("/proc/%d/mountinfo", pid), 1<<20)
		if !bytes.Contains(line, []byte(r.dir+"/")) && !bytes.Contains(line, []byte("php-fpm: pool "+r.pool)) && !bytes.Contains(mounts, []byte(r.dir+"/")) {
			continue
		}
		if p, err := proc.Read(pid); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// sweep kills what is left of the rig.
func (r *rig) sweep() {
	err := real.Poll(10*time.Second, func() error {
		ps := r.processes()
		for _, p := range ps {
			_ = proc.Signal(p, syscall.SIGKILL)
		}
		if len(ps) > 0 {
			return fmt.Errorf("%d processes are left", len(ps))
		}
		return nil
	})
	if err != nil {
		r.t.Error(err)
	}
}

// distribution starts the distribution's php-fpm.
func (r *rig) distribution() {
	r.t.Helper()
	argv := r.conf.Pools[0].Start
	if out, err := exec.CommandContext(r.t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
		r.t.Fatalf("php-fpm: %v: %s", err, out)
	}
}
