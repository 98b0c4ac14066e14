package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	embedded "scap/fixtures/fleet"
	"scap/fixtures/tree"
	"scap/phases/journal"
	"scap/targets/lease"
)

// Each file of testdata/script is a story of what a deployer types and sees, in the format and with the words of
// go-internal's testscript, as far as they are needed here: a txtar archive whose comment is the script.
//
//	exits N scap ARG…      run scap; it must end with exit code N
//	start scap ARG…        run it beside the script; `ends N` waits for it
//	[!] stdout|stderr RE   what the last one printed matches (on lines of its own with (?m))
//	[!] exists FILE
//	fleet [plain] GROUP=N… start an embedded fleet; a group called test is behind no balancer; $CONF is its scap.yaml
//	stage NAME             a, b, broken or drift: the tree to deploy
//	serves MARK            every host serves it, in the pool, by the runtimes
//	gone HOST, back HOST   nobody can connect to it; one can again
//	swap HOST NAME         somebody moves its link by hand, to another release or nowhere
//	hold FILE WHO          another process holds a lock
//	recorded KIND ACT      wait for such a record in the newest journal
//
// $WORK is the script's directory, in its files too.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			newScript(t, file, string(b)).play()
		})
	}
}

// script is one story under way.
type script struct {
	t              *testing.T
	file, comment  string
	env            map[string]string
	site           *site
	stdout, stderr string
	behind         *exec.Cmd
}

func newScript(t *testing.T, file, archive string) *script {
	work := t.TempDir()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, file: file, env: map[string]string{"WORK": work, "ROOT": root}}
	// "-- NAME --" on a line of its own begins a file.
	mark := regexp.MustCompile(`(?m)^-- (\S+) --\n`)
	at := mark.FindAllStringSubmatchIndex(archive, -1)
	s.comment = archive
	for i, m := range at {
		if i == 0 {
			s.comment = archive[:m[0]]
		}
		end := len(archive)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		path := filepath.Join(work, archive[m[2]:m[3]])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(archive[m[1]:end], "$WORK", work)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *script) play() {
	for i, line := range strings.Split(s.comment, "\n") {
		words := s.words(line)
		if len(words) == 0 {
			continue
		}
		not := words[0] == "!"
		if not {
			words = words[1:]
		}
		if err := s.do(not, words[0], words[1:]); err != nil {
			s.t.Fatalf("%s:%d: %s: %v\nstdout:\n%s\nstderr:\n%s", s.file, i+1, line, err, s.stdout, s.stderr)
		}
	}
}

// words splits a line at blanks outside of single quotes and fills in $NAMEs; # begins a comment.
func (s *script) words(line string) (words []string) {
	for _, m := range regexp.MustCompile(`#.*|'[^']*'|[^\s']+`).FindAllString(line, -1) {
		if strings.HasPrefix(m, "#") {
			break
		}
		if quoted := strings.HasPrefix(m, "'"); quoted {
			m = strings.Trim(m, "'")
		}
		words = append(words, os.Expand(m, func(name string) string {
			if v, ok := s.env[name]; ok {
				return v
			}
			return "$" + name // the end of a line in a pattern
		}))
	}
	return words
}

func (s *script) do(not bool, verb string, args []string) error {
	switch verb {
	case "stdout", "stderr":
		text := s.stdout
		if verb == "stderr" {
			text = s.stderr
		}
		re, err := regexp.Compile(args[0])
		if err != nil {
			return err
		}
		if re.MatchString(text) == not {
			return fmt.Errorf("matches: %v", not)
		}
	case "exists":
		if _, err := os.Stat(filepath.Join(s.env["WORK"], args[0])); (err == nil) == not {
			return fmt.Errorf("exists: %v", err == nil)
		}
	case "exits":
		code, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		return s.exits(code, s.command(args[2:]))
	case "start":
		s.behind = s.command(args[1:])
		return s.behind.Start()
	case "ends":
		if err := s.behind.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
			return err
		}
		if got := s.behind.ProcessState.ExitCode(); strconv.Itoa(got) != args[0] {
			return fmt.Errorf("exit code %d", got)
		}
	case "hold":
		l, err := lease.TryAcquire(s.t.Context(), filepath.Join(s.env["WORK"], args[0]), lease.Holder{Who: args[1], Why: "another deploy"})
		if err != nil {
			return err
		}
		s.t.Cleanup(func() { _ = l.Release() })
	default:
		return s.onFleet(verb, args)
	}
	return nil
}

// command is a process of scap in the script's directory, without a terminal.
func (s *script) command(args []string) *exec.Cmd {
	cmd := (&site{}).command(args...)
	cmd.Args = slices.Delete(cmd.Args, 1, 3) // the scripts say -c themselves
	cmd.Dir = s.env["WORK"]
	return cmd
}

func (s *script) exits(code int, cmd *exec.Cmd) error {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	err := cmd.Run()
	s.stdout, s.stderr = stdout.String(), stderr.String()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		return err
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		return fmt.Errorf("exit code %d", got)
	}
	return nil
}

var apps = map[string]tree.AppOptions{"a": tree.GoodA(), "b": tree.GoodB(), "broken": tree.Broken(), "drift": tree.Drifting()}

// onFleet does what needs an embedded fleet.
func (s *script) onFleet(verb string, args []string) error {
	if verb == "fleet" {
		return s.start(args)
	}
	if s.site == nil {
		return errors.New("unknown word, or no fleet yet")
	}
	switch verb {
	case "stage":
		_, err := s.site.Stage(apps[args[0]])
		return err
	case "serves":
		if _, mark, err := s.site.One(s.t.Context()); err != nil || mark != args[0] {
			return fmt.Errorf("every host serves %q, %w", mark, err)
		}
	case "gone":
		s.site.Host(args[0]).Unreachable(errors.New("no route to host"))
	case "back":
		s.site.Host(args[0]).Unreachable(nil)
	case "swap":
		return s.swap(s.site.Host(args[0]), args[1])
	case "recorded":
		s.site.recorded(s.t, journal.Kind(args[0]), args[1], "")
	default:
		return errors.New("unknown word")
	}
	return nil
}

func (s *script) start(args []string) error {
	var o embedded.Options
	for _, a := range args {
		name, number, ok := strings.Cut(a, "=")
		n, err := strconv.Atoi(number)
		switch {
		case !ok && a == "plain":
			o.Plain = true
		case !ok || err != nil:
			return fmt.Errorf("%q is no group", a)
		default:
			o.Groups = append(o.Groups, embedded.Group{Name: name, Hosts: n, Unpooled: name == "test"})
		}
	}
	s.site = newSiteWith(s.t, o, embedded.YAMLOptions{QuietWindow: 100 * time.Millisecond, Tick: 100 * time.Millisecond, Width: "1"})
	s.site.users(s.t, 10)
	s.env["CONF"] = s.site.conf
	return nil
}

// swap moves the link of h to the release that has the mark of name's.
func (s *script) swap(h *embedded.Host, name string) error {
	to := "releases/nowhere"
	all, err := h.Store.Releases()
	for _, r := range all {
		if mark, err := os.ReadFile(filepath.Join(h.Store.Path(r.ID), "RELEASE")); err == nil && strings.Contains(string(mark), apps[name].Mark) && apps[name].Mark != "" {
			to = "releases/" + r.ID.String()
		}
	}
	link := filepath.Join(h.Root, "current")
	return errors.Join(err, os.Remove(link), os.Symlink(to, link))
}
