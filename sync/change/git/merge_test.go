package git

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
)

// Where no renames are about, a pick comes out as git's own merge does: the same tree, or a conflict in both.
func TestMergeAsGit(t *testing.T) {
	o := newOrigin(t)
	paths := []string{"a", "b", "d", "d/a", "d/b", "d/e/f", "x.y", "x/y"}
	content := func(path, kind string) string {
		lines := make([]string, 12)
		for i := range lines {
			lines[i] = fmt.Sprintf("%s %d", strings.Repeat(path, 5), i*i)
		}
		switch kind {
		case "first":
			lines[0] = "first"
		case "last":
			lines[11] = "last"
		case "last differently":
			lines[11] = "LAST"
		case "both":
			lines[0], lines[11] = "first", "last"
		}
		text := strings.Join(lines, "\n") + "\n"
		switch kind {
		case "exec":
			return executable(text)
		case "link":
			return symlink(path)
		}
		return text
	}
	kinds := []string{"", "", "", "", "first", "last", "last differently", "both", "exec", "link", gone, gone}
	random := rand.New(rand.NewPCG(1, 2))
	tree := func() map[string]string {
		files := map[string]string{"keep": "keep\n"}
		for _, path := range paths {
			// A file and a directory of one name cannot be in one tree.
			kind := kinds[random.IntN(len(kinds))]
			taken := strings.HasPrefix(path, "d/") && files["d"] != ""
			if kind != gone && !taken && (path != "d" || random.IntN(4) == 0) {
				files[path] = content(path, kind)
			}
		}
		return files
	}
	const rounds = 50
	var refs []string
	var all [rounds][3]string
	for i := range all {
		base := o.commit("p", "refs/heads/base", "base", tree(), "none")
		for j, side := range []string{"ours", "theirs"} {
			ref := fmt.Sprintf("refs/heads/%s%d", side, i)
			files := map[string]string{}
			for range 1 + random.IntN(3) {
				path := paths[random.IntN(len(paths))]
				kind := kinds[random.IntN(len(kinds))]
				if files[path] = gone; kind != gone {
					files[path] = content(path, kind)
				}
			}
			if text := files["d"]; text != "" && text != gone { // a file takes a directory's place
				for _, path := range paths {
					if strings.HasPrefix(path, "d/") {
						files[path] = gone
					}
				}
			}
			all[i][j+1] = o.commit("p", ref, side, files, base)
			refs = append(refs, ref)
		}
		all[i][0] = base
	}
	r := o.repo("p", refs...)
	clean, conflicting := 0, 0
	for i, c := range all {
		cmd := exec.Command("git", "merge-tree", "--write-tree", "--no-messages", c[1], c[2])
		cmd.Env = r.m.environment(r.dir)
		out, err := cmd.Output()
		want := strings.TrimSpace(string(out))
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 1 {
			want = "conflict"
		} else if err != nil {
			t.Fatal(err)
		}
		got := "conflict"
		trees := must[[]string](t)(r.Trees(t.Context(), c[0], c[1], c[2]))
		id, paths, err := r.merge(t.Context(), trees[0], trees[1], trees[2])
		if err != nil {
			t.Fatal(err)
		}
		if paths == nil {
			got = id
			clean++
		} else {
			conflicting++
		}
		if got != want {
			t.Errorf("round %d: %s %v, git has %s\nbase %v\nours %v\ntheirs %v", i, got, paths, want, names(read(t, r, c[0])), names(read(t, r, c[1])), names(read(t, r, c[2])))
		}
	}
	if clean < 5 || conflicting < 5 {
		t.Errorf("%d clean, %d conflicting: that proves little", clean, conflicting)
	}
}

func names(files map[string]string) map[string]int {
	all := map[string]int{}
	for path, text := range files {
		all[path] = len(text)
	}
	return all
}
