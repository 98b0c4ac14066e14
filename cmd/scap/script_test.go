package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	embedded "scap/fixtures/fleet"
	"scap/fixtures/gerrit"
	"scap/fixtures/tree"
	"scap/phases/journal"
	"scap/targets/lease"
)

// Each file of testdata/script is a story of what a deployer types and sees. Besides testscript's own words:
//
//	exits N scap ARG…      run scap; it must end with exit code N
//	start scap ARG…        run it beside the script; `ends N` waits for it
//	fleet [plain] [handover|handover-later] [judged] [tried] GROUP=N…
//	                       start an embedded fleet; a group called test is behind no balancer; $CONF is its scap.yaml
//	stage NAME             a, b, broken or drift: the tree to deploy
//	serves MARK            every host serves it, in the pool, by the runtimes
//	becomes MARK           the same, before long
//	says FILE TEXT         a file holds it, before long
//	gone HOST, back HOST   nobody can connect to it; one can again
//	swap HOST NAME         somebody moves its link by hand, to another release or nowhere
//	hold FILE WHO          another process holds a lock
//	locked WHO, unlocked   somebody else holds the lock of $CONF's deploy host; nobody does
//	recorded KIND ACT      wait for such a record in the newest journal
//	counts FILE            write a record of six hosts' counts from 18:00 to 18:20; from 18:15 two of them fail ten times as often
//	watched HOW            wait for the end of the last deploy's watch
//	rare PAGE              from now on users ask for it too
//	target                 $WORK/served of this machine leads to a release of A; $WORK/root has one of B too; $A and $B are their names
//
// wikiWords has those about changes under review. $WORK is the script's directory, in its files too; $ROOT is that of the source.
func TestScripts(t *testing.T) {
	const dir = "testdata/script"
	if files, err := filepath.Glob(filepath.Join(dir, "*.txtar")); err != nil || len(files) == 0 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	words := map[string]func(s *story, args []string) error{
		"exits": (*story).exits, "start": (*story).start, "ends": (*story).ends, "hold": (*story).hold, "fleet": (*story).fleet,
		"stage": (*story).stage, "serves": (*story).serves, "gone": (*story).gone, "back": (*story).back,
		"swap": (*story).swap, "recorded": (*story).recorded, "counts": (*story).counts, "watched": (*story).watched, "rare": (*story).rare,
		"target": (*story).target,
		"locked": (*story).locked, "unlocked": (*story).unlocked, "becomes": (*story).becomes, "says": (*story).says,
	}
	maps.Copy(words, wikiWords())
	cmds := map[string]func(ts *testscript.TestScript, neg bool, args []string){}
	for name, do := range words {
		cmds[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			s := ts.Value(storyKey{}).(*story)
			s.ts = ts
			if neg {
				ts.Fatalf("%s has no opposite", name)
			}
			ts.Check(do(s, args))
		}
	}
	testscript.Run(t, testscript.Params{Dir: dir, Cmds: cmds, Setup: setUp})
}

type storyKey struct{}

// story is one script under way.
type story struct {
	ts     *testscript.TestScript
	t      testing.TB
	site   *site
	behind *exec.Cmd
	second *exec.Cmd // another one, with its words in the file second
	lock   *lease.Lease
	gerrit *gerrit.Server
	repos  *gerrit.Wiki
}

// setUp makes the command and the words that scripts share.
func setUp(env *testscript.Env) error {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return err
	}
	env.Setenv("ROOT", root)
	env.Setenv("USER", "deployer")
	env.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector would wait a second at each end
	t, ok := env.T().(testing.TB)
	if !ok {
		return errors.New("the runner is no test")
	}
	env.Values[storyKey{}] = &story{t: t}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bin := filepath.Join(env.WorkDir, ".bin")
	if err := errors.Join(os.Mkdir(bin, 0o755), os.Symlink(self, filepath.Join(bin, "scap"))); err != nil {
		return err
	}
	env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
	return fillIn(env.WorkDir)
}

// fillIn puts the script's directory for $WORK in its files.
func fillIn(dir string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, []byte(strings.ReplaceAll(string(b), "$WORK", dir)), 0o644)
	})
}

func (s *story) exits(args []string) error {
	want, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	var exit *exec.ExitError
	code := 0
	if err := s.ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		return err
	}
	if code != want {
		return fmt.Errorf("exit code %d, want %d", code, want)
	}
	return nil
}

func (s *story) start(args []string) error {
	s.behind = (&site{}).command(args[1:]...)
	s.behind.Args = append(s.behind.Args[:1], args[1:]...) // scripts say -c themselves
	s.behind.Dir = s.ts.Getenv("WORK")
	return s.behind.Start()
}

func (s *story) ends(args []string) error {
	if err := s.behind.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		return err
	}
	if got := s.behind.ProcessState.ExitCode(); strconv.Itoa(got) != args[0] {
		return fmt.Errorf("exit code %d", got)
	}
	return nil
}

func (s *story) hold(args []string) error {
	l, err := lease.Acquire(s.t.Context(), s.ts.MkAbs(args[0]), lease.Holder{Who: args[1], Why: "another deploy"}, lease.WaitOptions{})
	if err != nil {
		return err
	}
	s.ts.Defer(func() { _ = l.Release() })
	return nil
}

func (s *story) locked(args []string) (err error) {
	until(s.t, "the lock", func() bool {
		s.lock, err = lease.Acquire(s.t.Context(), filepath.Join(s.site.DeployDir(), "lock"), lease.Holder{Who: args[0], Why: "a repair"}, lease.WaitOptions{})
		return !errors.Is(err, lease.ErrHeld)
	})
	return err
}

func (s *story) unlocked([]string) error { return s.lock.Release() }

var apps = map[string]tree.AppOptions{"a": tree.GoodA(), "b": tree.GoodB(), "broken": tree.Broken(), "drift": tree.Drifting()}

func (s *story) fleet(args []string) error {
	var o embedded.Options
	y := embedded.YAMLOptions{QuietWindow: 100 * time.Millisecond, Tick: 100 * time.Millisecond, Width: "1"}
	for _, a := range args {
		name, number, ok := strings.Cut(a, "=")
		n, err := strconv.Atoi(number)
		switch {
		case !ok && a == "plain":
			o.Plain = true
		case !ok && (a == "handover" || a == "handover-later"): // later: the distribution still has every php-fpm
			o.Model.Handover = &embedded.Handover{Adopted: a == "handover", Share: 0.2}
		case !ok && a == "tried": // on the share of the requests
			y.Try = true
		case !ok && a == "judged": // by what users see, and watched
			y.Logs, y.Dwell, y.MinRequests, y.HarmRate, y.Width = true, time.Second, 10, "40%", "2"
			y.Watch = time.Minute
			y.Announce = []string{"/usr/bin/tee", "-a", s.ts.MkAbs("announced")}
		case !ok || err != nil:
			return fmt.Errorf("%q is no group", a)
		default:
			o.Groups = append(o.Groups, embedded.Group{Name: name, Hosts: n, Unpooled: name == "test"})
		}
	}
	s.site = newSiteWith(s.t, o, y)
	rate := 10.0
	if y.Logs {
		rate = 60
	}
	s.site.users(s.t, rate)
	if y.Logs { // a gate that has not seen users refuses to begin
		until(s.t, "users", func() bool { return s.site.load.Since(time.Time{}).Requests > 5*int(rate) })
	}
	s.ts.Setenv("CONF", s.site.conf)
	return nil
}

func (s *story) stage(args []string) error {
	_, err := s.site.Stage(apps[args[0]])
	return err
}

func (s *story) serves(args []string) error {
	_, mark, err := s.site.One(s.t.Context())
	if err == nil && mark != args[0] {
		err = fmt.Errorf("every host serves %q", mark)
	}
	return err
}

func (s *story) becomes(args []string) error {
	until(s.t, args[0]+" on every host", func() bool { return s.serves(args) == nil })
	return nil
}

func (s *story) says(args []string) error {
	until(s.t, args[1], func() bool {
		b, err := os.ReadFile(s.ts.MkAbs(args[0]))
		return err == nil && strings.Contains(string(b), args[1])
	})
	return nil
}

func (s *story) gone(args []string) error {
	s.site.Host(args[0]).Unreachable(errors.New("no route to host"))
	return nil
}

func (s *story) back(args []string) error {
	s.site.Host(args[0]).Unreachable(nil)
	return nil
}

// counts writes a LOG as scap gate record does.
func (s *story) counts(args []string) error {
	var b strings.Builder
	b.WriteString("time,host,requests,failing\n")
	began := time.Date(2023, 1, 17, 18, 0, 0, 0, time.UTC)
	for k := range 240 {
		for h := range 6 {
			failing := 0
			switch {
			case h < 2 && k >= 180:
				failing = 1 + k%2
			case (k+7*h)%20 == 0:
				failing = 1
			}
			fmt.Fprintf(&b, "%s,mw%d,%d,%d\n", began.Add(time.Duration(k)*5*time.Second).Format(time.RFC3339), h+1, 200+k%3, failing)
		}
	}
	return os.WriteFile(s.ts.MkAbs(args[0]), []byte(b.String()), 0o644)
}

func (s *story) watched(args []string) error {
	until(s.t, "a watch that is "+args[0], func() bool {
		all, err := journal.List(filepath.Join(s.site.DeployDir(), "journal"))
		return err == nil && slices.ContainsFunc(all, func(d journal.Deploy) bool { return string(d.Watched) == args[0] })
	})
	return nil
}

// rare are users who come later and ask for a page that others do not ask for; they may see it fail.
func (s *story) rare(args []string) error {
	load := &embedded.Load{Do: s.site.Balancer.Serve, Rate: 40, LongRate: -1, Rare: args[0]}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { load.Run(ctx) })
	s.ts.Defer(func() {
		cancel()
		wg.Wait()
	})
	return nil
}

func (s *story) recorded(args []string) error {
	s.site.recorded(s.t, journal.Kind(args[0]), args[1], "")
	return nil
}

// swap moves the link of a host to the release that has the mark of a tree's, or to nowhere.
func (s *story) swap(args []string) error {
	h, mark, to := s.site.Host(args[0]), apps[args[1]].Mark, "releases/nowhere"
	all, err := h.Store.Releases()
	for _, r := range all {
		if b, err := os.ReadFile(filepath.Join(h.Store.Path(r.ID), "RELEASE")); err == nil && mark != "" && strings.Contains(string(b), mark) {
			to = "releases/" + r.ID.String()
		}
	}
	link := filepath.Join(h.Root, "current")
	return errors.Join(err, os.Remove(link), os.Symlink(to, link))
}
