package git

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNames(t *testing.T) {
	long := strings.Repeat("a", 500)
	for _, c := range []struct {
		what  string
		check func(string) error
		good  []string
		bad   []string
	}{
		{
			"project", CheckProject,
			[]string{"mediawiki/core", "a", "A-b_c.d+e/f", "operations/mediawiki-config"},
			[]string{"", "/a", "a/", "a//b", "..", "a/../b", "-a", "a/-b", ".a", "a/.git", "a.git", "a.git/b", "a.lock", "a b", "a\nb", "a\x00b", "a:b", "é", "a\\b", "a*", "~a", long},
		},
		{
			"branch", CheckBranch,
			[]string{"master", "wmf/1.41.0-wmf.5", "a@b", "é"},
			[]string{"", "@", "-a", "a..b", "a b", "a\nb", "/a", "a/", "a//b", "a.lock", "a.lock/b", ".a", "a/.b", "a.", "a~b", "a^b", "a:b", "a?b", "a*b", "a[b", `a\b`, "a@{b", "a\x7fb", long},
		},
		{
			"path", func(s string) error { return checkPath("path", s) },
			[]string{"a", "a b/c", "é/ü", ".gitmodules", "a/-b"},
			[]string{"", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "-a", ".git", "a/.GIT/b", "a\nb", "a\x00b", `a\b`, strings.Repeat(long, 10)},
		},
		{
			"id", func(s string) error { return checkID(s) },
			[]string{EmptyTree},
			[]string{"", "abc", strings.ToUpper(EmptyTree), EmptyTree + "0", EmptyTree[:39] + "\n", "--" + EmptyTree[2:]},
		},
	} {
		for _, name := range c.good {
			if err := c.check(name); err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
		}
		for _, name := range c.bad {
			if err := c.check(name); !errors.Is(err, ErrName) {
				t.Errorf("%s %.50q: %v", c.what, name, err)
			} else if len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("%s: the error repeats what is hostile: %v", c.what, err)
			}
		}
	}
}

func TestOptions(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		o    Options
		ok   bool
	}{
		{"http", Options{Dir: dir, URL: "http://h/r/"}, true},
		{"https", Options{Dir: dir, URL: "https://h:8443/r/a"}, true},
		{"file in tests", Options{Dir: dir, URL: "file:///x", Local: true}, true},
		{"file", Options{Dir: dir, URL: "file:///x"}, false},
		{"ssh", Options{Dir: dir, URL: "ssh://h/x"}, false},
		{"ext", Options{Dir: dir, URL: "ext::sh -c id", Local: true}, false},
		{"a path", Options{Dir: dir, URL: "/x", Local: true}, false},
		{"a password in it", Options{Dir: dir, URL: "https://u:secret@h/r"}, false},
		{"a dash", Options{Dir: dir, URL: "--upload-pack=id"}, false},
		{"a relative directory", Options{Dir: "x", URL: "http://h"}, false},
	} {
		_, err := Open(c.o)
		if (err == nil) != c.ok || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// git's own configuration, wherever it stands, does not reach ours.
func TestEnvironment(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{".gitconfig", "config"} {
		if err := os.WriteFile(filepath.Join(home, name), []byte("[core]\n\tbroken"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for key, value := range map[string]string{
		"HOME": home, "XDG_CONFIG_HOME": home, "GIT_DIR": "/nowhere", "GIT_CONFIG_GLOBAL": filepath.Join(home, "config"),
		"GIT_INDEX_FILE": "/nowhere", "GIT_CONFIG_COUNT": "x", "GIT_SSH_COMMAND": "touch /tmp/x", "SECRET": "s",
	} {
		t.Setenv(key, value)
	}
	o := newOrigin(t)
	root := o.commit("p", "refs/heads/master", "root", map[string]string{"f": file})
	m := o.mirrors()
	if _, err := m.must(t, "p").Fetch(t.Context(), "refs/heads/master", root); err != nil {
		t.Error(err)
	}
	out, _, err := m.run(t.Context(), "", command{verb: "config", args: []string{"--list", "--show-scope"}})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "command\t") {
			t.Errorf("git is told %q", line)
		}
	}
	if slices.Contains(m.environment(""), "SECRET=s") {
		t.Error("our environment is git's")
	}
}

// Open refuses such URLs; should one get past it, git has no transport for it.
func TestTransports(t *testing.T) {
	o := newOrigin(t)
	o.commit("p", "refs/heads/master", "root", map[string]string{"f": file})
	touched := filepath.Join(t.TempDir(), "touched")
	for _, url := range []string{o.url(), o.dir, "ext::touch " + touched + " ", "ssh://127.0.0.1", "git://127.0.0.1"} {
		m := o.mirrors()
		m.o.URL, m.o.Local = url, false
		if _, err := m.must(t, "p").Fetch(t.Context(), "refs/heads/master"); err == nil || !strings.Contains(err.Error(), "not allowed") {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := os.Stat(touched); err == nil {
		t.Error("a command was run")
	}
}

func TestProject(t *testing.T) {
	const base, own = "https://gerrit.example.org/r/a", "mediawiki/core"
	for _, c := range []struct{ link, want string }{
		{"../extensions/Foo", "mediawiki/extensions/Foo"},
		{"../../other/thing.git", "other/thing"},
		{"./sub", "mediawiki/core/sub"},
		{"https://gerrit.example.org/r/mediawiki/vendor", "mediawiki/vendor"},
		{"https://gerrit.example.org/r/a/mediawiki/vendor.git", "mediawiki/vendor"},
		{"https://gerrit.example.org/r/p/mediawiki/vendor.git/", "mediawiki/vendor"},
		{"http://user:secret@GERRIT.example.org/r/mediawiki/vendor", "mediawiki/vendor"},
		{"ssh://user@gerrit.example.org:29418/mediawiki/vendor", "mediawiki/vendor"},
		{"git@gerrit.example.org:mediawiki/vendor.git", "mediawiki/vendor"},
		{"../../../out", ""},
		{"../../../mediawiki/core", ""},
		{"https://elsewhere.example.org/mediawiki/vendor", ""},
		{"https://user:secret@elsewhere.example.org/x", ""},
		{"git@elsewhere.example.org:x", ""},
		{"https://gerrit.example.org/r/../../etc/passwd", ""},
		{"https://gerrit.example.org/", ""},
		{"file:///etc", ""},
		{"/etc", ""},
		{"", ""},
		{"-x", ""},
		{"--upload-pack=touch x", ""},
		{"../a\nb", ""},
		{"ext::sh -c id", ""},
	} {
		got, err := Project(base, own, c.link)
		if got != c.want || (err == nil) != (c.want != "") || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %q, %v; want %q", c.link, got, err, c.want)
		}
	}
}

func TestSubmodules(t *testing.T) {
	o := newOrigin(t)
	one, two := strings.Repeat("12", 20), strings.Repeat("34", 20)
	section := func(name, path, url string) string {
		return fmt.Sprintf("[submodule \"%s\"]\n\tpath = %s\n\turl = %s\n", name, path, url)
	}
	root := o.commit("p", "refs/heads/master", "root", map[string]string{
		".gitmodules": section("extensions/Foo", "extensions/Foo", "../foo") + "\tbranch = .\n" + section("Strange Näme.x", "skins/Odd/", "https://h/x") +
			section("stale", "gone", "../gone") + section("file", "README", "../readme") + "[submodule \"half\"]\n\turl = x\n[other]\n\tpath = /etc\n",
		"extensions/Foo": gitlink(one), "skins/Odd": gitlink(two), "README": "text", "unnamed": gitlink(two),
	})
	o.commit("p", "refs/heads/none", "none", map[string]string{"a": "a"}, root)
	r := o.repo("p", "refs/heads/master", "refs/heads/none")
	want := []Submodule{
		{Name: "extensions/Foo", Path: "extensions/Foo", URL: "../foo", Branch: ".", Commit: one},
		{Name: "Strange Näme.x", Path: "skins/Odd", URL: "https://h/x", Commit: two},
	}
	if diff := cmp.Diff(want, must[[]Submodule](t)(r.Submodules(t.Context(), root))); diff != "" {
		t.Error(diff)
	}
	tree := must[[]string](t)(r.Trees(t.Context(), root))[0]
	if diff := cmp.Diff(want, must[[]Submodule](t)(r.Submodules(t.Context(), tree))); diff != "" {
		t.Errorf("of the tree: %s", diff)
	}
	bare := o.commit("p", "refs/heads/none", "none", map[string]string{"a": "a"}, "none")
	must[map[string]string](t)(r.Fetch(t.Context(), bare))
	if got := must[[]Submodule](t)(r.Submodules(t.Context(), bare)); got != nil {
		t.Errorf("without .gitmodules: %v", got)
	}
	for name, text := range map[string]string{
		"no configuration": "[submodule",
		"a path outside":   section("a", "../../etc", "../a"),
		"into .git":        section("a", "x/.git/hooks", "../a"),
		"an option":        section("a", "-x", "../a"),
		"a name outside":   section("../../hooks", "x", "../a"),
		"a URL as option":  section("a", "x", "--upload-pack=id"),
		"a newline":        section("a", `"x\ny"`, "../a"),
		"two at one path":  section("a", "x", "../a") + section("b", "x", "../b"),
		"a hostile branch": section("a", "x", "../a") + "\tbranch = -x\n",
	} {
		// Written past the checks of transfer, which stop most of these earlier.
		in := r.must(t, text)
		if got, err := r.Submodules(t.Context(), in); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// must writes a tree with this .gitmodules into the mirror.
func (r *Repo) must(t *testing.T, gitmodules string) string {
	t.Helper()
	blob, _, err := r.run(t.Context(), command{verb: "hash-object", args: []string{"-w", "--stdin"}, stdin: strings.NewReader(gitmodules)})
	if err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprintf("100644 blob %s\t.gitmodules\n160000 commit %s\tx\n", strings.TrimSpace(string(blob)), strings.Repeat("12", 20))
	tree, _, err := r.run(t.Context(), command{verb: "mktree", args: []string{"--missing"}, stdin: strings.NewReader(line)})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(tree))
}

// A repository whose objects git itself would refuse is not let in.
func TestHostileObjects(t *testing.T) {
	for name, entry := range map[string]string{
		".git":                               "100644 blob %s\t.git\n",
		".. ":                                "100644 blob %s\t..\n",
		"a .gitmodules that names an option": "100644 blob %s\t.gitmodules\n",
	} {
		o := newOrigin(t)
		blob := o.git("p", "[submodule \"a\"]\n\tpath = -x\n\turl = -u\n", "hash-object", "-w", "--stdin")
		tree := o.git("p", fmt.Sprintf(entry, blob), "mktree")
		commit := o.git("p", "tree "+tree+"\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n", "hash-object", "-t", "commit", "-w", "--stdin")
		o.git("p", "", "update-ref", "refs/heads/master", commit)
		r := o.mirrors().must(t, "p")
		if _, err := r.Fetch(t.Context(), "refs/heads/master"); err == nil {
			t.Errorf("%s: fetched", name)
		}
	}
}

func FuzzProject(f *testing.F) {
	for _, link := range []string{"../a/b", "https://h/r/x.git", "git@h:x", "ssh://h:29418/x", "..", "https://h/r/%2e%2e/x", "./-x", "h:/x"} {
		f.Add("https://h/r", "mediawiki/core", link)
	}
	f.Fuzz(func(t *testing.T, base, own, link string) {
		name, err := Project(base, own, link)
		if err == nil && CheckProject(name) != nil {
			t.Errorf("%q gives %q", link, name)
		}
	})
}

func FuzzModules(f *testing.F) {
	for _, list := range []string{
		"submodule.a.path\nx\x00submodule.a.url\n../a\x00", "submodule.a.b.c.path\nx", "submodule..path\n-", "submodule.a.path\nx\x00submodule.b.path\nx", "x", "",
	} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		all, err := parseModules(list)
		if err != nil {
			return
		}
		for i, s := range all {
			if checkPath("", s.Path) != nil || checkPath("", s.Name) != nil || strings.HasPrefix(s.URL, "-") || i > 0 && all[i-1].Path >= s.Path {
				t.Errorf("%q gives %+v", list, all)
			}
		}
	})
}

func FuzzRaw(f *testing.F) {
	zero, one := strings.Repeat("0", 40), strings.Repeat("1", 40)
	for _, out := range []string{
		":100644 000000 " + one + " " + zero + " D\x00path\x00", one + "\x00:000000 160000 " + zero + " " + one + " A\x00a\nb\x00", ":", "\x00", ":100644 100644 x y M\x00p\x00", one,
	} {
		f.Add(out)
	}
	f.Fuzz(func(t *testing.T, out string) {
		_ = readRaw(bufio.NewReader(strings.NewReader(out)), func(commit string, d Diff) error {
			if commit != "" && !IsID(commit) || commit == "" && (d.Path == "" || d.Old.Kind > Gitlink || d.New.Kind > Gitlink) {
				t.Errorf("%q gives %q %+v", out, commit, d)
			}
			return nil
		})
	})
}

func FuzzCommit(f *testing.F) {
	f.Add([]byte("tree " + EmptyTree + "\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\ngpgsig x\n y\n\nSubject\n\nChange-Id: I" + EmptyTree))
	f.Add([]byte("tree " + EmptyTree + "\nauthor > 99999999999999999999 x\n\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := parseCommit(raw)
		if err != nil {
			return
		}
		if !IsID(c.Tree) || strings.ContainsAny(c.Subject, "\n\r") || c.ChangeID != "" && len(c.ChangeID) != 41 {
			t.Errorf("%q gives %+v", raw, c)
		}
		again, err := parseCommit(rewrite(raw, c.Tree, EmptyTree))
		if err != nil || again.Tree != c.Tree || !slices.Equal(again.Parents, []string{EmptyTree}) || again.Message != c.Message {
			t.Errorf("%q is rewritten as %+v, %v", raw, again, err)
		}
	})
}

func FuzzRemote(f *testing.F) {
	f.Add(EmptyTree+"\trefs/heads/wmf/1\n", "wmf/")
	f.Add("x\ty\n", "")
	f.Fuzz(func(t *testing.T, text, prefix string) {
		heads, _ := parseRemote(text, prefix)
		for name, id := range heads {
			if CheckBranch(name) != nil || !IsID(id) || !strings.HasPrefix(name, prefix) {
				t.Errorf("%q gives %q %q", text, name, id)
			}
		}
	})
}
