package git

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// diffOf is a plain diff that changes a line of file.
func diffOf(path, from, to string) string {
	lines := strings.Split(strings.TrimSuffix(file, "\n"), "\n")
	var b strings.Builder
	fmt.Fprintf(&b, "diff --git a/%s b/%s\n--- a/%s\n+++ b/%s\n@@ -1,%d +1,%d @@\n", path, path, path, path, len(lines), len(lines))
	for _, line := range lines {
		if line == from {
			fmt.Fprintf(&b, "-%s\n+%s\n", from, to)
		} else {
			fmt.Fprintf(&b, " %s\n", line)
		}
	}
	return b.String()
}

func TestApply(t *testing.T) {
	o := newOrigin(t)
	root := o.commit("p", "refs/heads/master", "root", map[string]string{"f": file, "d/g": file, "bin": "\x00\x01", "l": symlink("/etc")})
	fixed := o.commit("p", "refs/heads/fixed", "Fix T1: über\n\nSecond paragraph.", map[string]string{
		"f": strings.Replace(file, "two", "TWO", 1), "d/g": gone, "d/new": executable("#!/bin/sh\n"), "bin": "\x00\x02", "ü": "ü\n",
	}, root)
	o.commit("p", "refs/heads/fixed", "Another", map[string]string{"f": strings.Replace(file, "two", "ZWEI", 1)})
	clash := o.commit("p", "refs/heads/clash", "clash", map[string]string{"f": strings.Replace(file, "two", "deux", 1)}, root)
	moved := o.commit("p", "refs/heads/moved", "moved", map[string]string{"f": "zero\nzero\n" + file}, root)
	series := o.git("p", "", "format-patch", "--stdout", "--binary", root+".."+o.git("p", "", "rev-parse", "refs/heads/fixed"))
	single := o.git("p", "", "format-patch", "--stdout", "--binary", "-1", fixed)
	r := o.repo("p", "refs/heads/master", "refs/heads/clash", "refs/heads/moved")
	tree := must[[]string](t)(r.Trees(t.Context(), root))[0]

	want := map[string]string{"f": strings.Replace(file, "two", "TWO", 1), "d/new": "x #!/bin/sh\n", "bin": "\x00\x02", "ü": "ü\n", "l": "-> /etc"}
	for name, patch := range map[string]string{
		"mail":           single + "\n",
		"base64":         encoded(single),
		"without a mail": single[strings.Index(single, "diff --git"):] + "\n",
	} {
		got := must[string](t)(r.Apply(t.Context(), root, []byte(patch), name))
		if diff := cmp.Diff(want, read(t, r, got)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if again := must[string](t)(r.Apply(t.Context(), tree, []byte(patch), name)); again != got {
			t.Errorf("%s: on the tree it comes to %s, on the commit to %s", name, again, got)
		}
		if third := must[string](t)(r.Apply(t.Context(), got, []byte(patch), name)); third != got {
			t.Errorf("%s: where it is already, it comes to %s, was %s", name, third, got)
		}
	}
	want["f"] = strings.Replace(file, "two", "ZWEI", 1)
	if diff := cmp.Diff(want, read(t, r, must[string](t)(r.Apply(t.Context(), root, []byte(series+"\n"), "series")))); diff != "" {
		t.Errorf("two mails: %s", diff)
	}
	rename := "diff --git a/f b/d/f2\nsimilarity index 100%\nrename from f\nrename to d/f2\n"
	if got := read(t, r, must[string](t)(r.Apply(t.Context(), root, []byte(rename), "rename"))); got["f"] != "" || got["d/f2"] != file || got["d/g"] != file || len(got) != 4 {
		t.Errorf("renamed: %q", got)
	}
	middle := "--- a/f\n+++ b/f\n@@ -3,7 +3,7 @@\n three\n four\n five\n-six\n+SIX\n seven\n eight\n nine\n"
	if got := read(t, r, must[string](t)(r.Apply(t.Context(), moved, []byte(middle), "offset"))); got["f"] != "zero\nzero\n"+strings.Replace(file, "six", "SIX", 1) {
		t.Errorf("at another line: %q", got["f"])
	}

	for name, c := range map[string]struct {
		onto, patch string
		paths       []string
	}{
		"conflict":            {clash, single + "\n", []string{"f"}},
		"conflict, no blobs":  {clash, diffOf("f", "two", "TWO"), []string{"f"}},
		"no such file":        {root, diffOf("no/such", "two", "TWO"), []string{"no/such"}},
		"garbage":             {root, "hello\n", nil},
		"mail without a diff": {root, "From: a <a@b>\nSubject: x\n\nhello\n", nil},
		"empty":               {root, "", nil},
		"out of the tree":     {root, diffOf("../../f", "two", "TWO"), nil},
		"through a link":      {root, "diff --git a/l/x b/l/x\nnew file mode 100644\n--- /dev/null\n+++ b/l/x\n@@ -0,0 +1 @@\n+x\n", nil},
		"a directory there":   {root, "diff --git a/d b/d\nnew file mode 100644\n--- /dev/null\n+++ b/d\n@@ -0,0 +1 @@\n+x\n", nil},
		"a file there":        {root, "diff --git a/f b/f\nnew file mode 100644\n--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+x\n", []string{"f"}},
		"into .git":           {root, "diff --git a/.git/x b/.git/x\nnew file mode 100644\n--- /dev/null\n+++ b/.git/x\n@@ -0,0 +1 @@\n+x\n", nil},
	} {
		var pe *PatchError
		_, err := r.Apply(t.Context(), c.onto, []byte(c.patch), "1.41/core/"+name)
		if !errors.As(err, &pe) || pe.Name != "1.41/core/"+name || c.paths != nil && !cmp.Equal(pe.Paths, c.paths) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// encoded is a mail whose text is in base64, as some mailers make them.
func encoded(mail string) string {
	head, body, _ := strings.Cut(mail, "\n\n")
	var b strings.Builder
	for line := range strings.Lines(head) {
		if !strings.HasPrefix(line, "Content-") && !strings.HasPrefix(line, "MIME-") {
			b.WriteString(line)
		}
	}
	text := base64Lines(body + "\n")
	return strings.TrimRight(b.String(), "\n") + "\nMIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: base64\n\n" + text
}
