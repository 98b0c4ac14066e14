package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	embedded "scap/fixtures/fleet"
	"scap/fixtures/gerrit"
	"scap/fixtures/tree"
)

// The words of scripts about changes under review:
//
//	wiki [KEY=VALUE…]          start a Gerrit with the repositories of a wiki, and a fleet (test=1 canary=1 prod=2) that serves them;
//	                           scap has deployed them once. $DEPLOYDIR is the deploy host's directory, $GERRIT is its URL, $V the live version, $OLD the one before. ci=off
//	                           merges nothing, ci=1s a second after the approval; submit=cherry-pick; live=1 has one, the older, the older
//	pair N MARK [KEY=VALUE…]   change N: DiscussionTools of $V as in b, broken, swapped or drift
//	setting N MARK [KEY=VALUE…]  change N: a setting of the configuration
//	core N MARK [KEY=VALUE…]   change N: core of $V
//	change N PROJECT BRANCH SUBJECT [KEY=VALUE…]  with file:PATH=TEXT, depends=TEXT, parent=N, id=ID, wip=yes, owner=NAME
//	patchset N PATH=TEXT       a new patch set of it
//	abandon N, restore N, merge N, vote USER N LABEL VALUE
//	somebody PROJECT BRANCH PATH=TEXT  a commit past review
//	fail METHOD PATH TIMES STATUS, lose METHOD PATH TIMES  the next answers of Gerrit; lose does what was asked first
//	review N STATUS            what Gerrit has for it: NEW, MERGED or ABANDONED
//	said N TEXT                somebody has said that on it
//	unsaid N                   nobody has
//	reverts N COUNT            so many changes revert it
//	background scap ARG…       run another beside the script; told TEXT waits for words of it, finished N for its end
//	dies                       kill -9 of what start has begun
//	approved N                 wait for the deployer's vote on it
//	sits N ARG… -- TEXT=ANSWER…  run scap in a terminal, answer each question that has TEXT in it; it must end with exit code N.
//	                           What was shown is in the file screen. ^C is an answer too
func wikiWords() map[string]func(s *story, args []string) error {
	return map[string]func(s *story, args []string) error{
		"wiki": (*story).wiki, "pair": (*story).pair, "setting": (*story).setting, "core": (*story).core, "change": (*story).change,
		"patchset": (*story).patchset, "abandon": (*story).abandon, "restore": (*story).restore, "merge": (*story).merge, "vote": (*story).vote,
		"somebody": (*story).somebody, "fail": (*story).fail, "lose": (*story).lose, "review": (*story).review, "said": (*story).said,
		"unsaid": (*story).unsaid, "reverts": (*story).reverts, "approved": (*story).approved, "sits": (*story).sits, "background": (*story).background,
		"dies": (*story).dies, "told": (*story).told, "finished": (*story).finished,
	}
}

// pairs and settings cut KEY=VALUE apart.
func settings(args []string) (map[string]string, error) {
	out := map[string]string{}
	for _, a := range args {
		key, value, ok := strings.Cut(a, "=")
		if !ok {
			return nil, fmt.Errorf("%q: want KEY=VALUE", a)
		}
		out[key] = strings.NewReplacer(`\n`, "\n").Replace(value)
	}
	return out, nil
}

func (s *story) wiki(args []string) error {
	o, err := settings(args)
	if err != nil {
		return err
	}
	gerrit.Need(s.t)
	g := gerrit.Options{CI: gerrit.CIOptions{Auto: o["ci"] != "off"}, Submit: gerrit.Submit(o["submit"])}
	if d, err := time.ParseDuration(o["ci"]); err == nil {
		g.CI.Delay = d
	}
	if s.gerrit, err = gerrit.New(g); err != nil {
		return err
	}
	s.ts.Defer(func() { _ = s.gerrit.Close() })
	var spec gerrit.WikiSpec
	if o["live"] == "1" {
		spec.Live = []string{"1.41.0-wmf.4"}
	}
	s.repos = s.gerrit.Wiki(spec)
	s.ts.Setenv("GERRIT", s.gerrit.URL())
	s.ts.Setenv("V", s.repos.Newest())
	s.ts.Setenv("OLD", s.repos.Versions[0])
	for _, dir := range []string{filepath.Join("patches", s.repos.Newest(), "core"), "private"} {
		if err := os.MkdirAll(s.ts.MkAbs(dir), 0o755); err != nil {
			return err
		}
	}
	secret := s.ts.MkAbs(".gerrit")
	if err := os.WriteFile(secret, []byte("deployer:secret\n"), 0o600); err != nil {
		return err
	}
	y := embedded.YAMLOptions{
		QuietWindow: 100 * time.Millisecond, Tick: 100 * time.Millisecond, Width: "1", Git: gitYAML(s.gerrit.URL(), secret, s.ts.MkAbs("patches"), s.ts.MkAbs("private"), o),
		Announce: []string{"/usr/bin/tee", "-a", s.ts.MkAbs("announced")},
	}
	if d, err := time.ParseDuration(o["wait"]); err == nil {
		y.Wait = d
	}
	groups := []embedded.Group{{Name: "test", Hosts: 1, Unpooled: true}, {Name: "canary", Hosts: 1}, {Name: "prod", Hosts: 2}}
	s.site = newSiteWith(s.t, embedded.Options{Groups: groups, First: s.repos.Write}, y)
	s.site.users(s.t, 10)
	s.ts.Setenv("CONF", s.site.conf)
	s.ts.Setenv("DEPLOYDIR", s.site.DeployDir())
	if o["first"] == "no" {
		return nil
	}
	return s.exits([]string{"0", "scap", "-c", s.site.conf, "--yes", "sync", "the first from git"})
}

// gitYAML are the sections that say where trees come from.
func gitYAML(url, secret, patches, private string, o map[string]string) string {
	limit := o["limit"]
	if limit == "" {
		limit = "30s"
	}
	merges := ""
	if o["merge"] != "" {
		merges = "  submit: " + o["merge"] + "\n"
	}
	return fmt.Sprintf(`gerrit:
  url: %s
  credentials_file: %q
  merge_timeout: %s
  poll: 100ms
  timeout: 5s
%sstaging:
  patches: %q
  private: %q
`, url, secret, limit, merges, patches, private)
}

var versions = map[string]tree.AppOptions{"b": tree.GoodB(), "broken": tree.Broken(), "swapped": gerrit.Swapped(), "drift": tree.Drifting()}

// open makes change N of a spec.
func (s *story) open(number string, spec gerrit.ChangeSpec, more []string) error {
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	o, err := settings(more)
	if err != nil {
		return err
	}
	spec.Number = n
	for key, value := range o {
		path, isFile := strings.CutPrefix(key, "file:")
		switch {
		case isFile:
			if spec.Files == nil {
				spec.Files = map[string]string{}
			}
			spec.Files[path] = value
		case key == "depends":
			spec.DependsOn = strings.Split(value, ",")
			for i, d := range spec.DependsOn {
				if n, err := strconv.Atoi(d); err == nil {
					spec.DependsOn[i] = s.gerrit.Get(n).ID
				}
			}
		case key == "parent":
			if spec.Parent, err = strconv.Atoi(value); err != nil {
				return err
			}
		case key == "id":
			spec.ID = value
			if n, err := strconv.Atoi(value); err == nil {
				spec.ID = s.gerrit.Get(n).ID
			}
		case key == "wip":
			spec.WIP = true
		case key == "owner":
			spec.Owner = value
		case key == "subject":
			spec.Subject = value
		default:
			return fmt.Errorf("%q is nothing of a change", key)
		}
	}
	s.gerrit.Change(spec)
	return nil
}

func (s *story) pair(args []string) error {
	return s.open(args[0], s.repos.Pair(s.repos.Newest(), versions[args[1]]), args[2:])
}

func (s *story) setting(args []string) error {
	return s.open(args[0], s.repos.Settings(args[1]), args[2:])
}

func (s *story) core(args []string) error {
	return s.open(args[0], s.repos.Core(s.repos.Newest(), args[1]), args[2:])
}

func (s *story) change(args []string) error {
	return s.open(args[0], gerrit.ChangeSpec{Project: args[1], Branch: args[2], Subject: args[3]}, args[4:])
}

func (s *story) patchset(args []string) error {
	files, err := settings(args[1:])
	if err != nil {
		return err
	}
	return s.numbered(args, func(n int) error {
		s.gerrit.NewPatchSet(n, files)
		return nil
	})
}

// numbered does something with the change that args begin with.
func (s *story) numbered(args []string, do func(n int) error) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	return do(n)
}

func (s *story) abandon(args []string) error {
	return s.numbered(args, func(n int) error { s.gerrit.Abandon(n); return nil })
}

func (s *story) restore(args []string) error {
	return s.numbered(args, func(n int) error { s.gerrit.Restore(n); return nil })
}

func (s *story) merge(args []string) error { return s.numbered(args, s.gerrit.Merge) }

func (s *story) vote(args []string) error {
	value, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	return s.numbered(args[1:], func(n int) error { s.gerrit.VoteAs(args[0], n, args[2], value); return nil })
}

func (s *story) somebody(args []string) error {
	files, err := settings(args[2:])
	if err != nil {
		return err
	}
	s.gerrit.SomebodyMerges(args[0], args[1], files, "somebody else's commit")
	return nil
}

func (s *story) fail(args []string) error {
	times, err := strconv.Atoi(args[2])
	status, err2 := strconv.Atoi(args[3])
	s.gerrit.Fail(args[0], args[1], times, status, "ordered by the test")
	return errors.Join(err, err2)
}

func (s *story) lose(args []string) error {
	times, err := strconv.Atoi(args[2])
	s.gerrit.LoseAnswer(args[0], args[1], times)
	return err
}

func (s *story) review(args []string) error {
	return s.numbered(args, func(n int) error {
		if got := s.gerrit.Get(n).Status; got != args[1] {
			return fmt.Errorf("change %d is %s", n, got)
		}
		return nil
	})
}

// said waits for words on a change.
func (s *story) said(args []string) error {
	text, err := regexp.Compile(args[1])
	if err != nil {
		return err
	}
	return s.numbered(args, func(n int) error {
		until(s.t, "words on "+args[0]+": "+args[1], func() bool {
			for _, r := range s.gerrit.Reviews(n) {
				if text.MatchString(r.Message) {
					return true
				}
			}
			return false
		})
		return nil
	})
}

// approved waits for the deployer's vote on a change.
func (s *story) approved(args []string) error {
	return s.numbered(args, func(n int) error {
		until(s.t, "the approval of "+args[0], func() bool {
			for _, r := range s.gerrit.Reviews(n) {
				if r.By == "deployer" && r.Votes["Code-Review"] > 0 {
					return true
				}
			}
			return false
		})
		return nil
	})
}

func (s *story) dies([]string) error {
	err := s.behind.Process.Kill()
	_ = s.behind.Wait() // it was killed
	return err
}

func (s *story) sits(args []string) error {
	want, err := strconv.Atoi(args[0])
	at := slices.Index(args, "--")
	if err != nil || at < 0 {
		return errors.New("want sits N ARG… -- TEXT=ANSWER…")
	}
	c := s.site.console(s.t, "", args[1:at]...)
	seen := 0
	for _, pair := range args[at+1:] {
		text, answer, _ := strings.Cut(pair, "=")
		until(s.t, "the question "+text, func() bool {
			if shown := c.String(); strings.Contains(shown[seen:], text) {
				seen += strings.Index(shown[seen:], text) + len(text)
				return true
			}
			return c.over()
		})
		if c.over() {
			c.read.Wait()
			return fmt.Errorf("it ended with %d before it asked %q:\n%s", c.wait(), text, c)
		}
		if answer == "^C" {
			c.press(ctrlC)
			continue
		}
		for _, key := range []byte(answer + "\n") {
			c.press(key)
		}
	}
	code := c.wait()
	c.read.Wait()
	if err := os.WriteFile(s.ts.MkAbs("screen"), []byte(c.String()), 0o644); err != nil {
		return err
	}
	if code != want {
		return fmt.Errorf("exit code %d:\n%s", code, c)
	}
	return nil
}

func (s *story) background(args []string) error {
	s.second = (&site{}).command()
	s.second.Args = append(s.second.Args[:1], args[1:]...)
	s.second.Dir = s.ts.Getenv("WORK")
	out, err := os.Create(s.ts.MkAbs("second"))
	if err != nil {
		return err
	}
	defer out.Close()
	s.second.Stdout, s.second.Stderr = out, out
	return s.second.Start()
}

func (s *story) told(args []string) error {
	text, err := regexp.Compile(args[0])
	if err != nil {
		return err
	}
	until(s.t, args[0], func() bool {
		b, err := os.ReadFile(s.ts.MkAbs("second"))
		return err == nil && text.Match(b)
	})
	return nil
}

func (s *story) finished(args []string) error {
	_ = s.second.Wait() // the code is in ProcessState
	if got := s.second.ProcessState.ExitCode(); strconv.Itoa(got) != args[0] {
		b, err := os.ReadFile(s.ts.MkAbs("second"))
		return errors.Join(fmt.Errorf("exit code %d\n%s", got, b), err)
	}
	return nil
}

func (s *story) unsaid(args []string) error {
	return s.numbered(args, func(n int) error {
		if r := s.gerrit.Reviews(n); len(r) > 0 {
			return fmt.Errorf("change %d: %+v", n, r)
		}
		return nil
	})
}

func (s *story) reverts(args []string) error {
	want, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	return s.numbered(args, func(n int) error {
		got := 0
		for _, m := range s.gerrit.Numbers() {
			if s.gerrit.Get(m).RevertOf == n {
				got++
			}
		}
		if got != want {
			return fmt.Errorf("%d changes revert %d", got, n)
		}
		return nil
	})
}
