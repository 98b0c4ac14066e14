package git

import (
	"os"
	"path/filepath"
	"testing"
)

// With Scratch nothing is made in Dir, which need not be there; what is in it is seen.
func TestScratchWritesNowhereElse(t *testing.T) {
	o := newOrigin(t)
	head := o.commit("p", "refs/heads/master", "one", map[string]string{"a": "1"})
	dir := filepath.Join(t.TempDir(), "mirrors")
	open := func(scratch string) *Repo {
		m := must[*Mirrors](t)(Open(Options{Dir: dir, URL: o.url(), Local: true, Scratch: scratch}))
		return must[*Repo](t)(m.Repo("p"))
	}
	r := open(t.TempDir())
	if _, err := r.Fetch(t.Context(), "refs/heads/master"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Error("the mirrors' directory was made")
	}
	if _, err := open("").Fetch(t.Context(), "refs/heads/master"); err != nil {
		t.Fatal(err)
	}
	if has, err := open(t.TempDir()).Has(t.Context(), head); err != nil || !has[0] {
		t.Errorf("what the mirrors have is not seen: %v, %v", has, err)
	}
}
