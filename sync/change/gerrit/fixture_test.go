package gerrit_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	fixture "scap/fixtures/gerrit"
	"scap/sync/change"
	"scap/sync/change/gerrit"
)

const (
	config = "operations/mediawiki-config"
	core   = "mediawiki/core"
	foo    = "mediawiki/extensions/Foo"
	wmf    = "wmf/1.46.0-wmf.5"
)

// serve starts a Gerrit over real repositories, and a client of it.
func serve(t *testing.T, o fixture.Options) (*fixture.Server, *gerrit.Client) {
	t.Helper()
	fixture.Need(t)
	o.Dir = t.TempDir()
	s, err := fixture.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.Project(config, "master", map[string]string{"a.php": "<?php\n1;\n", "b.php": "<?php\n2;\n"})
	for _, p := range []string{core, foo} {
		s.Project(p, "master", map[string]string{"a.php": "<?php\n1;\n", "b.php": "<?php\n2;\n"})
		s.Branch(p, "master", wmf)
	}
	return s, client(t, s, "deployer:secret")
}

func client(t *testing.T, s *fixture.Server, credentials string) *gerrit.Client {
	t.Helper()
	o := gerrit.Options{URL: s.URL()}
	if credentials != "" {
		o.CredentialsFile = filepath.Join(t.TempDir(), "credentials")
		if err := os.WriteFile(o.CredentialsFile, []byte(credentials), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := gerrit.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func get(t *testing.T, c *gerrit.Client, n int) change.Change {
	t.Helper()
	list, err := c.Changes(t.Context(), []int{n})
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

func posts(s *fixture.Server) (n int) {
	for _, r := range s.Writes() {
		if r.Method == "POST" {
			n++
		}
	}
	return n
}

func numbers(list []change.Change) (ns []int) {
	for _, x := range list {
		ns = append(ns, x.Number)
	}
	return ns
}

func TestServerSelf(t *testing.T) {
	s, c := serve(t, fixture.Options{})
	if name, err := c.Self(t.Context()); err != nil || name != "deployer" {
		t.Errorf("%q, %v", name, err)
	}
	if _, err := client(t, s, "deployer:wr0ng").Self(t.Context()); !errors.Is(err, gerrit.ErrUnauthorized) || strings.Contains(err.Error(), "wr0ng") {
		t.Error(err)
	}
	s.Change(fixture.ChangeSpec{Project: config, Branch: "master", Subject: "x", Files: map[string]string{"c": "c"}})
	if x := get(t, client(t, s, ""), 1001); x.Subject != "x" {
		t.Errorf("%+v", x)
	}
}

// TestServerChange compares a change with what the server made.
func TestServerChange(t *testing.T) {
	s, c := serve(t, fixture.Options{})
	n := s.Change(fixture.ChangeSpec{
		Project: core, Branch: wmf, Subject: "Mend it", Body: "Why.", Footers: []string{"Bug: T123"}, Topic: "mend", WIP: true,
		Tree: map[string]fixture.File{"a.php": {Data: "<?php\n3;\n"}, "b.php": {Gone: true}, "i18n/new.json": {Data: "{}\n"}},
	})
	s.NewPatchSet(n, map[string]string{"c.php": "<?php\n2;\n"})
	s.VoteAs("reviewer", n, "Code-Review", -1)
	s.VoteAs("jenkins-bot", n, "Verified", 2)
	x, want := get(t, c, n), s.Get(n)
	now := want.Current()
	if x.Number != n || x.ID != want.ID || x.Project != core || x.Branch != wmf || x.Subject != "Mend it" || x.Topic != "mend" || x.Status != change.New || !x.WIP ||
		x.PatchSet != 2 || x.Revision != now.Commit || x.Ref != now.Ref || !slices.Equal(x.Parents, now.Parents) || x.Message != now.Message || x.Mergeable != change.Yes ||
		x.Owner != "Dev <dev@example.org>" || x.URL != s.URL()+"/c/mediawiki/core/+/1001" || !x.Updated.Equal(want.Updated) {
		t.Errorf("%+v\nof %+v", x, want)
	}
	var files []string
	for _, f := range x.Files {
		files = append(files, string(max(f.Status, '.'))+f.Path)
	}
	if !slices.Equal(files, []string{".a.php", "Rc.php", "Ai18n/new.json"}) || x.Files[1].Old != "b.php" {
		t.Errorf("%q", files)
	}
	if len(x.Votes) != 2 || x.Votes[0].Value != -1 || x.Votes[0].By != "reviewer" || x.Votes[1].Label != "Verified" || x.Votes[1].Value != 2 || x.Votes[1].At.IsZero() {
		t.Errorf("%+v", x.Votes)
	}
	if x := get(t, c, s.Change(fixture.ChangeSpec{Project: core, Branch: wmf, Subject: "Nothing"})); len(x.Files) != 0 {
		t.Errorf("%+v", x.Files)
	}
	if _, err := c.Changes(t.Context(), []int{n, 4711}); !errors.Is(err, change.ErrNotFound) || !strings.Contains(err.Error(), "change 4711 ") {
		t.Error(err)
	}
}

// TestServerChain: the middle of three has moved on, the lowest is abandoned, and one has been merged below all.
func TestServerChain(t *testing.T) {
	s, c := serve(t, fixture.Options{})
	add := func(name string, parent int) int {
		return s.Change(fixture.ChangeSpec{Project: core, Branch: wmf, Subject: name, Files: map[string]string{name: name + "\n"}, Parent: parent})
	}
	base := add("base", 0)
	lowest := add("lowest", base)
	middle := add("middle", lowest)
	top := add("top", middle)
	above := add("above", top)
	before := s.Get(middle)
	was := before.Current()
	s.NewPatchSet(middle, map[string]string{"more": "more\n"})
	s.Abandon(lowest)
	if err := s.Merge(base); err != nil {
		t.Fatal(err)
	}
	list, err := c.Ancestors(t.Context(), get(t, c, top))
	if err != nil || !slices.Equal(numbers(list), []int{middle, lowest}) {
		t.Fatalf("%v, %v; want %v", numbers(list), err, []int{middle, lowest})
	}
	if x := list[0]; x.Revision != was.Commit || x.PatchSet != 1 || x.Ref != was.Ref || list[1].Status != change.Abandoned {
		t.Errorf("%+v, want %+v", x, was)
	}
	if list, err := c.Ancestors(t.Context(), get(t, c, base)); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", numbers(list), err)
	}
	if list, err := c.Ancestors(t.Context(), get(t, c, above)); err != nil || !slices.Equal(numbers(list), []int{top, middle, lowest}) {
		t.Errorf("%v, %v", numbers(list), err)
	}
	branches, err := c.Branches(t.Context(), get(t, c, base))
	if err != nil || !slices.Equal(branches, []string{wmf}) {
		t.Errorf("%v, %v", branches, err)
	}
}

// TestServerFind asks by Change-Id and by where changes are, page by page.
func TestServerFind(t *testing.T) {
	s, c := serve(t, fixture.Options{Page: 2})
	id := "I" + strings.Repeat("0123456789", 4)
	var all []int
	for _, p := range []string{core, foo} {
		for _, b := range []string{"master", wmf} {
			all = append(all, s.Change(fixture.ChangeSpec{Project: p, Branch: b, Subject: "x", ID: id, Files: map[string]string{"x": "x"}}))
		}
	}
	all = append(all, s.Change(fixture.ChangeSpec{Project: config, Branch: "master", Subject: "x", ID: id, Files: map[string]string{"x": "x"}}))
	wip := s.Change(fixture.ChangeSpec{Project: config, Branch: "master", Subject: "y", WIP: true, Files: map[string]string{"y": "y"}})
	by, err := c.WithIDs(t.Context(), []string{id, "I" + strings.Repeat("f", 40)})
	if err != nil || len(by) != 1 || !slices.Equal(numbers(by[id]), all) {
		t.Errorf("%v, %v", by, err)
	}
	if list, err := c.Changes(t.Context(), all); err != nil || !slices.Equal(numbers(list), all) {
		t.Errorf("%v, %v", numbers(list), err)
	}
	list := func(o gerrit.ListOptions, where ...gerrit.Where) []int {
		list, err := c.List(t.Context(), where, o)
		if err != nil {
			t.Error(err)
		}
		return slices.Sorted(slices.Values(numbers(list)))
	}
	if got := list(gerrit.ListOptions{}, gerrit.Where{Project: config, Branch: "master"}, gerrit.Where{Project: "mediawiki/*", Branch: "wmf/*"}); !slices.Equal(got, []int{all[1], all[3], all[4]}) {
		t.Errorf("%v without %d", got, wip)
	}
	if err := s.Merge(all[1]); err != nil {
		t.Fatal(err)
	}
	if got := list(gerrit.ListOptions{Merged: true}, gerrit.Where{Project: core, Branch: "wmf/*"}); !slices.Equal(got, []int{all[1]}) {
		t.Errorf("%v", got)
	}
}

// TestServerLost loses the answer to each write: it is done once, and known to be done.
func TestServerLost(t *testing.T) {
	s, c := serve(t, fixture.Options{Submit: fixture.CherryPick})
	n := s.Change(fixture.ChangeSpec{Project: core, Branch: wmf, Subject: "x", Files: map[string]string{"x": "x"}})
	s.SomebodyMerges(core, wmf, map[string]string{"y": "y"}, "y")
	s.LoseAnswer("POST", "", 5)
	x := get(t, c, n)
	if err := c.Vote(t.Context(), x, 2, "go", "autogenerated:scap"); err != nil {
		t.Error(err)
	}
	if r := s.Reviews(n); len(r) != 1 || r[0].Votes["Code-Review"] != 2 || r[0].By != "deployer" || r[0].PatchSet != 1 || r[0].Message != "go" || r[0].Tag != "autogenerated:scap" {
		t.Errorf("%+v", r)
	}
	if err := c.Comment(t.Context(), n, "on test servers", ""); err != nil || len(s.Reviews(n)) != 2 {
		t.Errorf("%v, %+v", err, s.Reviews(n))
	}
	if err := c.Submit(t.Context(), x); err != nil || s.Get(n).Status != fixture.StatusMerged {
		t.Errorf("%v, %+v", err, s.Get(n))
	}
	merged := get(t, c, n)
	if merged.Status != change.Merged || merged.Revision == x.Revision || merged.Revision != s.Head(core, wmf) {
		t.Errorf("%+v, want what is on the branch", merged)
	}
	if err := c.Submit(t.Context(), x); err != nil { // its answer is a refusal, and lost: the change is merged
		t.Error(err)
	}
	back, err := c.Revert(t.Context(), merged, "Revert \"x\"\n\nIt is bad.")
	if err != nil || back.RevertOf != n || back.Number == n || !strings.HasPrefix(back.Message, "Revert \"x\"\n\nIt is bad.") || !slices.Equal(back.Parents, []string{merged.Revision}) {
		t.Errorf("%+v, %v", back, err)
	}
	if all := s.Numbers(); !slices.Equal(all, []int{n, back.Number}) {
		t.Errorf("%v: not one revert", all)
	}
	if got := posts(s); got != 5 {
		t.Errorf("%d sent, want one a deed", got)
	}
}

// TestServerRefuses is what a change's state does not allow, in the server's words.
func TestServerRefuses(t *testing.T) {
	s, c := serve(t, fixture.Options{})
	n := s.Change(fixture.ChangeSpec{Project: core, Branch: wmf, Subject: "x", Files: map[string]string{"a.php": "<?php\nx;\n"}})
	old := get(t, c, n)
	if err := c.Submit(t.Context(), old); !errors.Is(err, gerrit.ErrConflict) || !strings.Contains(err.Error(), "Code-Review") {
		t.Errorf("without a vote: %v", err)
	}
	s.NewPatchSet(n, map[string]string{"b.php": "<?php\nx;\n"})
	s.VoteAs("reviewer", n, "Code-Review", 2)
	if err := c.Submit(t.Context(), old); !errors.Is(err, gerrit.ErrConflict) || s.Get(n).Status != fixture.StatusNew {
		t.Errorf("an older patch set: %v", err)
	}
	s.SomebodyMerges(core, wmf, map[string]string{"a.php": "<?php\ny;\n"}, "y")
	now := get(t, c, n)
	if now.Mergeable != change.No {
		t.Errorf("%+v conflicts", now)
	}
	if err := c.Submit(t.Context(), now); !errors.Is(err, gerrit.ErrConflict) {
		t.Errorf("a conflict: %v", err)
	}
	if _, err := c.Revert(t.Context(), now, ""); !errors.Is(err, gerrit.ErrConflict) {
		t.Errorf("not merged yet: %v", err)
	}
	s.LoseAnswer("POST", "/review", 1)
	if err := c.Vote(t.Context(), old, 2, "", ""); !errors.Is(err, gerrit.ErrOutdated) {
		t.Errorf("a vote on an older patch set, lost: %v", err)
	}
	s.Fail("GET", "/changes/", 2, 503, "Service Unavailable")
	if x := get(t, c, n); x.PatchSet != 2 {
		t.Errorf("after two 503: %+v", x)
	}
}
