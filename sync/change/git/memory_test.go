package git

import (
	"context"
	"errors"
	"testing"
)

// What was found is not asked about again; what was not is, since it may have been fetched; names that move are.
func TestFoundObjectsAreRemembered(t *testing.T) {
	o := newOrigin(t)
	one := o.commit("p", "refs/heads/master", "one", map[string]string{"f": "1"})
	r := o.repo("p", "refs/heads/master")
	ctx := context.Background()
	two := o.commit("p", "refs/heads/master", "two", map[string]string{"f": "2"}, one)
	if has := must[[]bool](t)(r.Has(ctx, one, two)); !has[0] || has[1] {
		t.Fatalf("before the fetch: %v", has)
	}
	must[map[string]string](t)(r.Fetch(ctx, "refs/heads/master"))
	if has := must[[]bool](t)(r.Has(ctx, two, one, two)); !has[0] || !has[1] || !has[2] {
		t.Errorf("after the fetch: %v", has)
	}
	if head := must[string](t)(r.Head(ctx, "master")); head != two {
		t.Errorf("master is %s", head)
	}
	trees := must[[]string](t)(r.Trees(ctx, one, two))
	must[[]Submodule](t)(r.Submodules(ctx, two))

	r.m.git = "/nonexistent" // from here on git cannot be asked
	if again := must[[]string](t)(r.Trees(ctx, two, one)); again[0] != trees[1] || again[1] != trees[0] {
		t.Errorf("trees %v, then %v", trees, again)
	}
	must[[]Submodule](t)(r.Submodules(ctx, two))
	var failed *Error
	if _, err := r.Head(ctx, "master"); !errors.As(err, &failed) {
		t.Errorf("a branch's head was remembered: %v", err)
	}
	if _, err := r.Has(ctx, one, "1234567890123456789012345678901234567890"); !errors.As(err, &failed) {
		t.Errorf("git was not asked about an unknown object: %v", err)
	}
}

// A list that was handed out is its receiver's.
func TestRememberedSubmodulesAreCopies(t *testing.T) {
	var m memory
	m.mount("c", []Submodule{{Path: "a"}})
	first, _ := m.mounted("c")
	first[0].Path = "b"
	if again, ok := m.mounted("c"); !ok || again[0].Path != "a" {
		t.Errorf("%v", again)
	}
	for range mostModules {
		m.mount(string(rune('A'+len(m.modules))), nil)
	}
	if len(m.modules) > mostModules {
		t.Errorf("%d are remembered", len(m.modules))
	}
}
