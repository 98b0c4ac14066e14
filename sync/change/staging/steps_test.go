package staging

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"scap/sync/change"
	"scap/sync/release"
)

// sh is a step of one line of shell, with the places as $1, $2, …
func sh(name, script, outputs string, inputs ...string) Step {
	return Step{Name: name, Command: []string{"/bin/sh", "-ec", script, name, "{out}", "{tree}"}, Inputs: inputs, Outputs: outputs}
}

func TestStepsRunOnlyWhenInputsChanged(t *testing.T) {
	w := newWorld(t, t.TempDir())
	l10n := Step{
		Name: "l10n", PerVersion: true, Inputs: []string{"php-{version}/**/i18n/*.json"}, Outputs: "php-{version}/cache/l10n",
		Command: []string{"/bin/sh", "-ec", `cat "$1"/php-$3/*/i18n/* > "$2/all"`, "l10n", "{tree}", "{out}", "{version}"},
	}
	index := sh("index", `cat "$2"/php-*/cache/l10n/all > "$1/index"`, "made/index", "php-*/cache/l10n")
	index.After = []string{"l10n"}
	w.o.Steps = []Step{index, l10n}
	config := w.commit("", "config", repoFiles{"a": "1"})
	v1 := w.commit("php-1", "core", repoFiles{"x/i18n/en.json": "one", "b": "b"})
	v2 := w.commit("php-2", "core", repoFiles{"x/i18n/en.json": "two", "b": "b"})
	dry, err := w.stager().Build(context.Background(), nil, []change.Part{config, v1, v2}, BuildOptions{Dry: true})
	must(t, err)
	if got := names(dry.Pending); !slices.Equal(got, []string{"l10n 1", "l10n 2", "index "}) || !dry.Release.ID.IsZero() {
		t.Errorf("a dry build would run %q and names %s", got, dry.Release.ID.Short())
	}
	first := w.build(nil, config, v1, v2)
	if got := names(first.Ran); !slices.Equal(got, []string{"l10n 1", "l10n 2", "index "}) {
		t.Errorf("ran %q", got)
	}
	if got := w.read(first, "made/index/index"); got != "onetwo" {
		t.Errorf("made %q", got)
	}
	w.same(first, first.Record.Parts, repoFiles{"php-1/cache/l10n/all": "one", "php-2/cache/l10n/all": "two", "made/index/index": "onetwo"})
	if all, _ := w.store.Releases(); len(all) != 1 {
		t.Errorf("trees that stood for steps are left: %v", all)
	}

	next := w.build(first.Record, w.commit("", "config", repoFiles{"a": "2"}), w.commit("php-1", "core", repoFiles{"x/i18n/en.json": "one", "b": "c"}), v2)
	if len(next.Ran) > 0 || next.Cold {
		t.Errorf("ran %q, cold %v", names(next.Ran), next.Cold)
	}
	if got := w.read(next, "php-2/cache/l10n/all"); got != "two" {
		t.Errorf("took over %q", got)
	}
	last := w.build(next.Record, config, v1, w.commit("php-2", "core", repoFiles{"x/i18n/en.json": "TWO", "b": "b"}))
	if got := names(last.Ran); !slices.Equal(got, []string{"l10n 2", "index "}) {
		t.Errorf("ran %q", got)
	}
	if got := w.read(last, "made/index/index"); got != "oneTWO" {
		t.Errorf("made %q", got)
	}

	changed := w.o.Steps[1]
	changed.Command = append(slices.Clone(changed.Command), "one more argument")
	w.o.Steps = []Step{index, changed}
	if b := w.build(last.Record, last.Record.Parts...); !slices.Equal(names(b.Ran), []string{"l10n 1", "l10n 2"}) || b.Release.ID != last.Release.ID {
		t.Errorf("with another command it ran %q", names(b.Ran))
	}
	w.o.Steps = nil
	if b := w.build(last.Record, config, v1, v2); b.Cold || b.Release.ID != w.oracle([]change.Part{config, v1, v2}, nil).ID {
		t.Errorf("without steps something is left, or it was built from nothing (%v)", b.Cold)
	}
}

func names(steps []StepRecord) (out []string) {
	for _, s := range steps {
		out = append(out, s.Name+" "+s.Version)
	}
	return out
}

// TestStepsThatFail wants no release, nothing left behind and the reason told.
func TestStepsThatFail(t *testing.T) {
	config := repoFiles{"a": "1", "d/b": "2"}
	for _, c := range []struct{ name, script, outputs, want string }{
		{"exit status", "echo it is broken >&2; exit 7", "made", "it is broken"},
		{"nothing made", "true", "made", "not one file"},
		{"no place for it", `touch "$1/x"`, "", "no place"},
		{"a link out", `ln -s ../../../etc "$1/x"`, "made", "leads out"},
		{"a fifo", `touch "$1/y"; mkfifo "$1/x"`, "made", "fifo"},
		{"an unreadable file", `touch "$1/x"; chmod 0 "$1/x"`, "made", "may not read"},
		{"writes to the tree", `echo x > "$2/d/new"`, "made", "new"},
		{"changes the tree", `echo x >> "$2/a"`, "made", "/a"},
		{"removes from the tree", `rm "$2/a"`, "made", "/a"},
		{"writes elsewhere", `echo x > "$2/../../../elsewhere"`, "made", "elsewhere"},
		{"too slow", "echo begun; sleep 60 & wait", "made", "longer than"},
		{"where a repository is", `touch "$1/x"`, "d", "something else is there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if slices.Contains([]string{"changes the tree", "writes elsewhere"}, c.name) {
				needLandlock(t)
			}
			w := newWorld(t, t.TempDir())
			part := w.commit("", "config", config)
			before := w.build(nil, part)
			step := sh(c.name, c.script, c.outputs, "a")
			if c.name == "too slow" {
				step.Timeout = 300 * time.Millisecond
			}
			w.o.Steps = []Step{step}
			for _, base := range []*Record{before.Record, nil} {
				if _, err := w.try(base, part); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("base %v: %v", base != nil, err)
				}
			}
			if all, _ := w.store.Releases(); len(all) != 1 || all[0].ID != before.Release.ID {
				t.Errorf("left releases %v", all)
			}
			must(t, w.store.Verify(context.Background(), before.Release.ID))
			left, _ := filepath.Glob(filepath.Join(w.o.Dir, "*", "*"))
			if _, err := os.Stat(filepath.Join(w.dir, "elsewhere")); err == nil || len(left) != 1 {
				t.Errorf("left %q, elsewhere: %v", left, err)
			}
		})
	}
}

// needLandlock skips where the kernel cannot hold a step to what it may write; CI's can.
func needLandlock(t *testing.T) {
	t.Helper()
	if _, err := landlock(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// TestUnconfinedStep wants a step that writes to its tree to be found out where the kernel does not stop it.
func TestUnconfinedStep(t *testing.T) {
	w := newWorld(t, t.TempDir())
	for _, c := range []struct {
		script string
		ok     bool
	}{{`touch "$1/x"; rm "$2/d/b"`, false}, {`touch "$1/x"; touch "$2/new"`, false}, {`touch "$1/x"`, true}} {
		w.o.Steps = []Step{sh("s", c.script, "made", "a")}
		s := w.stager()
		s.start = func(*exec.Cmd, []string) error { return errUnconfined }
		b, err := s.Build(context.Background(), nil, []change.Part{w.commit("", "config", repoFiles{"a": c.script, "d/b": "2"})}, BuildOptions{})
		if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "a step wrote to the tree") {
			t.Errorf("%s: %v", c.script, err)
		}
		if err == nil { // nothing of what was spoiled before is in it
			must(t, w.store.Verify(context.Background(), b.Release.ID))
		}
	}
}

// TestStepLeavesNothingRunning wants what a step started to end with it.
func TestStepLeavesNothingRunning(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.o.Steps = []Step{sh("fork", `sleep 600 >/dev/null 2>&1 & echo $! > "$1/pid"`, "made", "a")}
	b := w.build(nil, w.commit("", "config", repoFiles{"a": ""}))
	pid, err := strconv.Atoi(strings.TrimSpace(w.read(b, "made/pid")))
	must(t, err)
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	must(t, err)
	defer unix.Close(fd)
	// It was killed; its parent, whoever that is now, has only to notice.
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); err != nil || n == 0 {
		t.Errorf("process %d is still there (%v)", pid, err)
	}
}

func TestCancelledStep(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.o.Steps = []Step{sh("slow", `sleep 600`, "made", "a")}
	ctx, cancel := context.WithCancel(context.Background())
	_, err := w.stager().Build(ctx, nil, []change.Part{w.commit("", "config", repoFiles{"a": ""})}, BuildOptions{Tell: func(string) { cancel() }})
	if err == nil || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Error(err)
	}
	if all, _ := w.store.Releases(); len(all) != 0 {
		t.Errorf("left %v", all)
	}
}

// TestStandingTreeOfAKilledBuildGoes wants a tree that was made for steps only not to outlive the build that made it.
func TestStandingTreeOfAKilledBuildGoes(t *testing.T) {
	w := newWorld(t, t.TempDir())
	lost := w.build(nil, w.commit("", "config", repoFiles{"a": "next", "b": "b", "d/c": "c"}))
	kept := w.build(nil, w.commit("", "config", repoFiles{"a": "served", "b": "b", "d/c": "c"}))
	must(t, w.store.Swap(context.Background(), release.ID{}, kept.Release.ID))
	writeFiles(t, filepath.Join(w.o.Dir, "standing"), repoFiles{lost.Release.ID.String(): "", kept.Release.ID.String(): ""})
	writeFiles(t, w.o.Dir, repoFiles{"work-1/step-1/out/x": ""})
	must(t, os.Remove(filepath.Join(w.store.Path(lost.Release.ID), "d/c"))) // a step did that
	b := w.build(kept.Record, w.commit("", "config", repoFiles{"a": "next!", "b": "b", "d/c": "c"}))
	for id, want := range map[release.ID]bool{lost.Release.ID: false, kept.Release.ID: true, b.Release.ID: true} {
		if w.store.Has(id) != want {
			t.Errorf("release %s is there: %v", id.Short(), !want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(w.o.Dir, "*-*")); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

func TestStepMistakes(t *testing.T) {
	good := Step{Name: "a", Command: []string{"true"}, Inputs: []string{"a"}, Outputs: "made/a"}
	with := func(change func(*Step)) Step { s := good; change(&s); return s }
	for name, steps := range map[string][]Step{
		"no name":          {with(func(s *Step) { s.Name = "" })},
		"no command":       {with(func(s *Step) { s.Command = nil })},
		"no inputs":        {with(func(s *Step) { s.Inputs = nil })},
		"bad pattern":      {with(func(s *Step) { s.Inputs = []string{"a/["} })},
		"climbing pattern": {with(func(s *Step) { s.Inputs = []string{"../a"} })},
		"absolute outputs": {with(func(s *Step) { s.Outputs = "/made" })},
		"climbing outputs": {with(func(s *Step) { s.Outputs = "a/../b" })},
		"one place":        {with(func(s *Step) { s.PerVersion = true })},
		"version nowhere":  {with(func(s *Step) { s.Command = []string{"{version}"} })},
		"twice":            {good, with(func(s *Step) { s.Outputs = "made/b" })},
		"same place":       {good, with(func(s *Step) { s.Name = "b" })},
		"place inside":     {good, with(func(s *Step) { s.Name, s.Outputs = "b", "made" })},
		"place of version": {with(func(s *Step) { s.Outputs = "php-1/x" }), with(func(s *Step) { s.Name, s.Outputs, s.PerVersion = "b", "php-{version}/x/y", true })},
		"after nothing":    {with(func(s *Step) { s.After = []string{"z"} })},
		"circle":           {with(func(s *Step) { s.After = []string{"b"} }), with(func(s *Step) { s.Name, s.Outputs, s.After = "b", "", []string{"a"} })},
		"itself":           {with(func(s *Step) { s.After = []string{"a"} })},
	} {
		if _, err := orderSteps(steps); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, steps := range map[string][]Step{
		"beside":            {good, with(func(s *Step) { s.Name, s.Outputs = "b", "made/b" })},
		"beside of version": {with(func(s *Step) { s.Outputs = "php-1.x/b" }), with(func(s *Step) { s.Name, s.Outputs, s.PerVersion = "b", "php-{version}/y", true })},
		"only looking":      {with(func(s *Step) { s.Outputs = "" }), with(func(s *Step) { s.Name, s.Outputs = "b", "" })},
	} {
		if _, err := orderSteps(steps); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestInputs wants a step's name for its inputs to change with what it reads, and with nothing else.
func TestInputs(t *testing.T) {
	w := newWorld(t, t.TempDir())
	tree := func(f repoFiles) release.ID { return w.build(nil, w.commit("", "config", f)).Release.ID }
	base := repoFiles{"a/b/c.json": "1", "a/d.json": "2", "a/x.php": "3", "z": "4"}
	for _, c := range []struct {
		pattern string
		path    string
		matters bool
	}{
		{"**", "z", true},
		{"a", "a/b/c.json", true},
		{"a", "z", false},
		{"a/**", "a/x.php", true},
		{"a/*.json", "a/d.json", true},
		{"a/*.json", "a/b/c.json", false},
		{"a/*.json", "a/x.php", false},
		{"**/*.json", "a/b/c.json", true},
		{"**/*.json", "a/d.json", true},
		{"**/*.json", "z", false},
		{"**/b/**", "a/b/c.json", true},
		{"**/b/**", "a/d.json", false},
		{"a/*/*.json", "a/b/c.json", true},
		{"a/**/c.json", "a/b/c.json", true},
		{"[xz]", "z", true},
		{"**/**/z", "z", true},
		{"a/*", "a/b/c.json", true},
	} {
		sum := func(f repoFiles) release.Sum {
			s, err := inputsOf(w.store, tree(f), &job{step: Step{Name: "s", Command: []string{"x"}, Inputs: []string{c.pattern}}})
			must(t, err)
			return s
		}
		next := repoFiles{}
		for p, text := range base {
			next[p] = text
		}
		next[c.path] = "another"
		if (sum(base) != sum(next)) != c.matters {
			t.Errorf("%s with another %s: matters %v", c.pattern, c.path, !c.matters)
		}
	}
	if _, err := inputsOf(w.store, tree(base), &job{step: Step{Name: "s", Inputs: []string{"nothing/*"}}}); err == nil {
		t.Error("inputs that match nothing are accepted")
	}
}
