package git

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
)

// origin is a server's repositories on disk, made with git itself.
type origin struct {
	t   *testing.T
	dir string
}

func newOrigin(t *testing.T) *origin {
	t.Helper()
	return &origin{t: t, dir: t.TempDir()}
}

func (o *origin) url() string { return "file://" + o.dir }

// git runs git on a project's repository, which is made when it is missing.
func (o *origin) git(project, stdin string, args ...string) string {
	o.t.Helper()
	dir := filepath.Join(o.dir, project)
	if _, err := os.Stat(dir); err != nil {
		o.run("", "", "init", "--quiet", "--bare", "--initial-branch=master", dir)
	}
	return o.run(dir, stdin, args...)
}

func (o *origin) run(dir, stdin string, args ...string) string {
	o.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=" + o.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"}
	if dir != "" {
		cmd.Env = append(cmd.Env, "GIT_DIR="+dir)
	}
	cmd.Stdin = strings.NewReader(stdin)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		o.t.Fatalf("git %v: %v: %s", args, err, said.String())
	}
	return strings.TrimSpace(string(out))
}

// gone, as a file's content, removes the file.
const gone = "\x00gone"

// link makes a file's content a submodule's commit.
func gitlink(commit string) string { return "\x00link " + commit }

func symlink(to string) string { return "\x00symlink " + to }

func executable(text string) string { return "\x00exec " + text }

// commit puts files onto parents (none: onto what ref is; "none": a root) and returns the commit, at which ref then is.
func (o *origin) commit(project, ref, message string, files map[string]string, parents ...string) string {
	o.t.Helper()
	if len(parents) == 0 {
		if was := o.git(project, "", "for-each-ref", "--format=%(objectname)", ref); was != "" {
			parents = []string{was}
		}
	}
	if len(parents) == 1 && parents[0] == "none" {
		parents = nil
	}
	var b strings.Builder
	b.WriteString("feature done\ncommit refs/heads/tmp-import\nmark :1\n")
	fmt.Fprintf(&b, "author Ann <ann@example.org> 1700000000 +0100\ncommitter Ann <ann@example.org> 1700000000 +0100\ndata %d\n%s\n", len(message), message)
	for i, p := range parents {
		verb := "merge"
		if i == 0 {
			verb = "from"
		}
		fmt.Fprintf(&b, "%s %s\n", verb, p)
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		text := files[path]
		mode := "100644"
		if rest, ok := strings.CutPrefix(text, "\x00exec "); ok {
			mode, text = "100755", rest
		}
		if rest, ok := strings.CutPrefix(text, "\x00symlink "); ok {
			mode, text = "120000", rest
		}
		if text == gone {
			fmt.Fprintf(&b, "D %s\n", path)
		} else if id, ok := strings.CutPrefix(text, "\x00link "); ok {
			fmt.Fprintf(&b, "M 160000 %s %s\n", id, path)
		} else {
			fmt.Fprintf(&b, "M %s inline %s\ndata %d\n%s\n", mode, path, len(text), text)
		}
	}
	b.WriteString("get-mark :1\ndone\n")
	id := o.git(project, b.String(), "fast-import", "--quiet", "--force")
	o.git(project, "", "update-ref", ref, id)
	o.git(project, "", "update-ref", "-d", "refs/heads/tmp-import")
	return id
}

func (o *origin) mirrors() *Mirrors {
	o.t.Helper()
	m, err := Open(Options{Dir: filepath.Join(o.t.TempDir(), "mirrors"), URL: o.url(), Local: true, Timeout: time.Minute})
	if err != nil {
		o.t.Fatal(err)
	}
	m.pause = func(int) time.Duration { return 0 }
	return m
}

func (o *origin) repo(project string, refs ...string) *Repo {
	o.t.Helper()
	r, err := o.mirrors().Repo(project)
	if err != nil {
		o.t.Fatal(err)
	}
	if len(refs) > 0 {
		if _, err := r.Fetch(o.t.Context(), refs...); err != nil {
			o.t.Fatal(err)
		}
	}
	return r
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

// read returns the files of a commit or tree, links as "-> x" and submodules as "@ id".
func read(t *testing.T, r *Repo, treeish string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, d := range must[[]Diff](t)(r.Diff(t.Context(), "", treeish)) {
		switch d.New.Kind {
		case Gitlink:
			all[d.Path] = "@ " + d.New.OID
		default:
			text := must[[]byte](t)(r.File(t.Context(), treeish, d.Path))
			all[d.Path] = map[Kind]string{Symlink: "-> ", Executable: "x "}[d.New.Kind] + string(text)
		}
	}
	return all
}
