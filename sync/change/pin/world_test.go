package pin

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scap/sync/change"
	"scap/sync/change/git"
)

const (
	configRepo = "operations/mediawiki-config"
	coreRepo   = "mediawiki/core"
	fooRepo    = "mediawiki/extensions/Foo"
	barRepo    = "mediawiki/extensions/Bar"
	oddRepo    = "mediawiki/odd/thing"
	libRepo    = "mediawiki/lib"

	four, five = "wmf/1.41.0-wmf.4", "wmf/1.41.0-wmf.5"
	php4, php5 = "php-1.41.0-wmf.4", "php-1.41.0-wmf.5"
)

const gone = "\x00gone"

// world is a small wiki farm's repositories: the configuration, core on two live branches and one that is not, with three
// submodules, one of which has one of its own and one of which has a name, a path and a project that have nothing in common.
type world struct {
	t   *testing.T
	dir string
	m   *git.Mirrors
	p   *Pinner
	n   int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), n: 1000}
	if err := os.CopyFS(w.dir, os.DirFS(template)); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.m, err = git.Open(git.Options{Dir: filepath.Join(t.TempDir(), "mirrors"), URL: w.url(), Local: true, Timeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
	w.p = w.pinner(w.m)
	return w
}

// template is a world's repositories as they begin, made once.
var template string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "pin-test-")
	if err != nil {
		panic(err)
	}
	template = dir
	(&world{dir: dir}).begin()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { os.RemoveAll(dir); os.Exit(code) }))
}

func (w *world) begin() {
	w.commit(configRepo, "master", "Config", map[string]string{
		"wikiversions.json": `{"enwiki": "php-1.41.0-wmf.5", "dewiki": "php-1.41.0-wmf.4"}`,
		"wmf-config/a.php":  "a\n", "wmf-config/b.php": text,
	})
	lib := w.commit(libRepo, "master", "Lib", map[string]string{"lib.js": "lib\n"})
	for _, branch := range []string{four, five, "wmf/1.41.0-wmf.10", "wmf/1.30.0-wmf.1"} {
		foo := w.commit(fooRepo, branch, "Foo", map[string]string{
			"extension.json": "{}\n", "Foo.php": text,
			".gitmodules": "[submodule \"lib\"]\n\tpath = modules/lib\n\turl = ../../lib\n", "modules/lib": "\x00link " + lib,
		})
		bar := w.commit(barRepo, branch, "Bar", map[string]string{"Bar.php": text})
		odd := w.commit(oddRepo, branch, "Odd", map[string]string{"odd": "odd\n"})
		w.commit(coreRepo, branch, "Core", map[string]string{
			"index.php": text, "includes/Setup.php": text,
			".gitmodules": "[submodule \"extensions/Foo\"]\n\tpath = extensions/Foo\n\turl = ../extensions/Foo\n\tbranch = .\n" +
				"[submodule \"extensions/Bar\"]\n\tpath = extensions/Bar\n\turl = ../extensions/Bar.git\n" +
				"[submodule \"strange name\"]\n\tpath = skins/Strange\n\turl = ../odd/thing\n",
			"extensions/Foo": "\x00link " + foo, "extensions/Bar": "\x00link " + bar, "skins/Strange": "\x00link " + odd,
		})
	}
}

// fail ends the test, or the making of the template.
func (w *world) fail(format string, args ...any) {
	if w.t == nil {
		panic(fmt.Sprintf(format, args...))
	}
	w.t.Helper()
	w.t.Fatalf(format, args...)
}

func (w *world) helper() {
	if w.t != nil {
		w.t.Helper()
	}
}

const text = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\n"

// edited is text with its lines from n on replaced.
func edited(n int, with string) string {
	lines := strings.SplitAfter(text, "\n")
	lines[n-1] = with + "\n"
	return strings.Join(lines, "")
}

func (w *world) url() string { return "file://" + w.dir }

func (w *world) pinner(m *git.Mirrors) *Pinner {
	return New(Options{
		Mirrors: m, Config: change.Repo{Project: configRepo, Branch: "master"},
		Core: Core{Project: coreRepo, Branch: "wmf/{version}", Path: "php-{version}"},
	})
}

// git runs git on a project's repository at the server, which is made when it is missing.
func (w *world) git(project, stdin string, args ...string) string {
	w.helper()
	dir := filepath.Join(w.dir, project)
	if _, err := os.Stat(dir); err != nil {
		w.run(nil, "", "init", "--quiet", "--bare", "--initial-branch=master", dir)
	}
	return w.run([]string{"GIT_DIR=" + dir}, stdin, args...)
}

func (w *world) run(env []string, stdin string, args ...string) string {
	w.helper()
	cmd := exec.Command("git", args...)
	cmd.Env = append(env, "PATH="+os.Getenv("PATH"), "LC_ALL=C", "HOME="+w.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
	cmd.Stdin = strings.NewReader(stdin)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		w.fail("git %v: %v: %s", args, err, said.String())
	}
	return strings.TrimSpace(string(out))
}

// commit puts files on a branch of the server, past review. "\x00link id" makes a submodule's entry.
func (w *world) commit(project, branch, message string, files map[string]string) string {
	w.helper()
	return w.commitAt(project, "refs/heads/"+branch, w.git(project, "", "for-each-ref", "--format=%(objectname)", "refs/heads/"+branch), message, files)
}

func (w *world) commitAt(project, ref, parent, message string, files map[string]string) string {
	w.helper()
	w.n++
	var b strings.Builder
	fmt.Fprintf(&b, "feature done\ncommit refs/heads/tmp-import\nmark :1\nauthor Ann <a@example.org> %d +0000\ncommitter Ann <a@example.org> %d +0000\ndata %d\n%s\n",
		1700000000+w.n, 1700000000+w.n, len(message), message)
	for i, p := range strings.Fields(parent) {
		fmt.Fprintf(&b, "%s %s\n", []string{"from", "merge"}[min(i, 1)], p)
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if id, ok := strings.CutPrefix(files[path], "\x00link "); ok {
			fmt.Fprintf(&b, "M 160000 %s %s\n", id, path)
		} else if files[path] == gone {
			fmt.Fprintf(&b, "D %s\n", path)
		} else {
			fmt.Fprintf(&b, "M 100644 inline %s\ndata %d\n%s\n", path, len(files[path]), files[path])
		}
	}
	b.WriteString("get-mark :1\ndone\n")
	id := w.git(project, b.String(), "fast-import", "--quiet", "--force")
	w.git(project, fmt.Sprintf("update %s %s\ndelete refs/heads/tmp-import\n", ref, id), "update-ref", "--stdin")
	return id
}

// head is where the server's branch is.
func (w *world) head(project, branch string) string {
	w.t.Helper()
	return w.git(project, "", "rev-parse", "refs/heads/"+branch)
}

// change puts a change up for review, on the branch's head or on another change.
func (w *world) change(number int, project, branch string, files map[string]string, on ...change.Change) change.Change {
	w.t.Helper()
	parent := w.head(project, branch)
	if len(on) > 0 {
		parent = on[0].Revision
	}
	c := change.Change{
		Number: number, ID: fmt.Sprintf("I%040x", number), Project: project, Branch: branch, Subject: fmt.Sprintf("Change %d", number),
		Status: change.New, PatchSet: 1, Parents: []string{parent},
	}
	return w.patchSet(c, files)
}

// patchSet uploads the change with these files, on the same parent.
func (w *world) patchSet(c change.Change, files map[string]string) change.Change {
	w.t.Helper()
	c.Ref = fmt.Sprintf("refs/changes/%02d/%d/%d", c.Number%100, c.Number, c.PatchSet)
	c.Message = c.Subject + "\n\nChange-Id: " + c.ID + "\n"
	c.Revision = w.commitAt(c.Project, c.Ref, c.Parents[0], c.Message, files)
	return c
}

// merge merges a change as Gerrit's cherry-picking does: another commit with the same Change-Id, whose files are given.
func (w *world) merge(c change.Change, files map[string]string) change.Change {
	w.t.Helper()
	c.Revision, c.Status = w.commit(c.Project, c.Branch, c.Message, files), change.Merged
	return c
}

// bump makes core's branch name the head of a submodule's branch.
func (w *world) bump(path, project, branch string) string {
	w.t.Helper()
	return w.commit(coreRepo, branch, "Update git submodules", map[string]string{path: "\x00link " + w.head(project, branch)})
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (w *world) heads() *Heads { w.t.Helper(); return must[*Heads](w.t)(w.p.Fetch(w.t.Context())) }

func (w *world) pin(base []change.Part, picks ...change.Change) *Pinned {
	w.t.Helper()
	return must[*Pinned](w.t)(w.p.Pin(w.t.Context(), w.heads(), base, picks, nil))
}

// part finds a part by its path.
func part(t *testing.T, parts []change.Part, path string) change.Part {
	t.Helper()
	for _, p := range parts {
		if p.Path == path {
			return p
		}
	}
	t.Fatalf("no part at %q", path)
	return change.Part{}
}

// file reads a file of a part's tree.
func (w *world) file(parts []change.Part, at, path string) string {
	w.t.Helper()
	p := part(w.t, parts, at)
	r := must[*git.Repo](w.t)(w.m.Repo(p.Project))
	return string(must[[]byte](w.t)(r.File(w.t.Context(), p.Tree, path)))
}

func subjects(commits []git.Commit) string {
	var all []string
	for _, c := range commits {
		all = append(all, c.Subject)
	}
	return strings.Join(all, ", ")
}

// extras writes what would ship in a line each.
func extras(all []Extra) []string {
	var lines []string
	for _, e := range all {
		line := e.Path + ":"
		if len(e.Commits) > 0 {
			line += " +" + subjects(e.Commits)
		}
		if len(e.Gone) > 0 {
			line += " -" + subjects(e.Gone)
		}
		for flag, on := range map[string]bool{" new": e.New, " removed": e.Removed, " unknown": e.Unknown} {
			if on {
				line += flag
			}
		}
		lines = append(lines, line)
	}
	return lines
}
