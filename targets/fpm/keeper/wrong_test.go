package keeper_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"scap/targets/fpm/keeper"
)

// TestWrong: a generation of which something does not hold any more is never shown to users, by a share either.
func TestWrong(t *testing.T) {
	r, one := serving(t, options{workers: 1})
	dir := filepath.Join(r.conf.Root, "releases", r.b.String())
	aside := filepath.Join(r.dir, "aside")
	for name, c := range map[string]struct {
		spoil func()
		says  string
	}{
		"its release was removed": {func() {}, "no such file"},
		"its release is another directory": {func() {
			out, err := exec.CommandContext(t.Context(), "cp", "-a", aside, dir).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}, "another directory"},
		"its release is a link":    {func() { r.must(os.Symlink(r.a.String(), dir)) }, "link"},
		"its release is another's": {func() { r.must(os.Mkdir(dir, 0o755)) }, "belongs to"},
	} {
		g := r.start(r.b)
		r.must(os.Rename(dir, aside))
		c.spoil()
		r.denied(keeper.Request{Op: keeper.OpPublish, Pool: "www", Generation: g.Number, From: one.Number, Until: soon()}, keeper.Refused, c.says)
		r.denied(keeper.Request{Op: keeper.OpTry, Pool: "www", Generation: g.Number, Until: soon()}, keeper.Refused, c.says)
		p := r.pool0()
		if now := p.Generations[len(p.Generations)-1]; now.Number != g.Number || !strings.Contains(now.Wrong, c.says) || p.Published != one.Number || p.Tried != 0 {
			t.Errorf("%s: %+v", name, p)
		}
		r.do(keeper.Request{Op: keeper.OpEnd, Generation: g.Number})
		r.must(os.RemoveAll(dir))
		r.must(os.Rename(aside, dir))
		r.consistent(name)
		r.serves(r.listen(), "A")
	}
}
