package trust

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheck looks at a file of root's below directories that are one after the other not only root's.
func TestCheck(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has something to lose")
	}
	const he = 65533
	for name, c := range map[string]struct {
		spoil func(dir, file string) error
		path  string // below the directory
		want  string // in the error; "" for none
	}{
		"root's":                   {path: "d/f"},
		"by a link of root's":      {path: "link"},
		"by a link and back":       {path: "link/../f", want: "not a directory"},
		"through a link to there":  {path: "there/../d/f"},
		"nothing":                  {path: "d/none", want: "no such file"},
		"a loop":                   {path: "loop", want: "too many levels"},
		"of his":                   {func(_, f string) error { return os.Chown(f, he, 0) }, "d/f", "d/f (user 65533"},
		"a group's to write":       {func(_, f string) error { return os.Chmod(f, 0o664) }, "d/f", "d/f (user 0, mode 0664)"},
		"sticky and all's, a file": {func(_, f string) error { return os.Chmod(f, 0o666|os.ModeSticky) }, "d/f", "others than root can change"},
		"below what is his":        {func(d, _ string) error { return os.Chown(d, he, 0) }, "d/f", "/d (user 65533"},
		"below what all write":     {func(d, _ string) error { return os.Chmod(d, 0o777) }, "d/f", "/d (user 0, mode 0777)"},
		"below a sticky directory": {func(d, _ string) error { return os.Chmod(d, 0o777|os.ModeSticky) }, "d/f", ""},
		"by his link in one": {func(d, _ string) error {
			l := filepath.Join(d, "l")
			return errors.Join(os.Symlink("f", l), os.Lchown(l, he, he), os.Chmod(d, 0o777|os.ModeSticky))
		}, "d/l", "the link "},
	} {
		dir, err := os.MkdirTemp("/run", "s") // where root alone writes
		if err != nil {
			t.Fatal(err)
		}
		d, f := filepath.Join(dir, "d"), filepath.Join(dir, "d", "f")
		err = errors.Join(os.Chmod(dir, 0o755), os.Mkdir(d, 0o755), os.WriteFile(f, nil, 0o644), os.Symlink("d/f", filepath.Join(dir, "link")),
			os.Symlink(d, filepath.Join(dir, "there")), os.Symlink("loop", filepath.Join(dir, "loop")))
		if c.spoil != nil {
			err = errors.Join(err, c.spoil(d, f))
		}
		if err != nil {
			t.Fatal(err)
		}
		if err = Check(dir + "/" + c.path); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
	if err := Check("run/x"); err == nil {
		t.Error("a path from nowhere")
	}
	if _, err := Open("/nowhere/at/all", false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
}
