package change

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The relevance table of scap (T365146), each cell: the deployer's change, what it needs, and where the same change is also.
func TestRelevance(t *testing.T) {
	l := wiki()
	for _, row := range []struct {
		name, change, needs string
		also                []string
		want                bool
	}{
		{"code needs what is neither", "core@5", "puppet", nil, false},
		{"config needs what is neither", "config", "puppet", nil, false},
		{"code needs what is neither, on a branch of that name", "core@5", "puppet@5", nil, false},
		{"neither needs what is neither", "puppet", "puppet", nil, false},
		{"config repository, but not the deployed branch", "core@5", "config@train-dev", nil, false},

		{"code needs config", "core@5", "config", nil, true},
		{"master needs config", "core", "config", nil, true},
		{"config needs config", "config", "config", nil, true},
		{"release branch needs config", "core@REL1_39", "config", nil, true},
		{"neither needs config", "puppet", "config", nil, true},

		{"code needs code on the same branch", "core@5", "foo@5", nil, true},
		{"code needs code of the same project and branch", "core@5", "core@5", nil, true},
		{"code needs code on the same branch that this version does not have", "core@5", "bar@5", nil, true},
		{"code needs code on the same branch, also elsewhere", "core@5", "foo@5", []string{"foo", "foo@6"}, true},

		{"code needs code on another branch", "core@5", "foo@6", nil, false},
		{"code needs code on another branch, also on the same", "core@5", "foo@6", []string{"foo@5"}, false},
		{"code needs code on a branch that is gone", "core@5", "foo@3", nil, false},
		{"code needs code on a release branch", "core@5", "foo@REL1_39", nil, false},

		{"code needs master, picked nowhere", "core@5", "foo", nil, true},
		{"code needs main, picked nowhere", "core@5", "foo@main", nil, true},
		{"code needs master, picked to another branch", "core@5", "foo", []string{"foo@6"}, true},
		{"code needs master, picked to a release branch", "core@5", "foo", []string{"foo@REL1_39"}, true},

		{"code needs master, picked to the same branch", "core@5", "foo", []string{"foo@5"}, false},
		{"code needs master, picked to both", "core@5", "foo", []string{"foo@6", "foo@5"}, false},

		{"config needs code of a live version", "config", "foo@5", nil, true},
		{"config needs code of the next version", "config", "foo@7", nil, true},
		{"master needs code of a version", "core", "foo@5", nil, true},

		{"config needs code on a release branch", "config", "foo@REL1_39", nil, false},
		{"config needs code on a branch that is gone", "config", "foo@3", nil, false},
		{"config needs code that this version does not have", "config", "bar@5", nil, false},
		{"master needs code on a release branch", "core", "foo@REL1_39", nil, false},

		{"config needs master, picked nowhere", "config", "foo", nil, true},
		{"config needs master, picked to a release branch", "config", "foo", []string{"foo@REL1_39"}, true},
		{"config needs master, picked to a branch that is gone", "config", "foo", []string{"foo@3"}, true},
		{"master needs master, picked nowhere", "core", "foo", nil, true},

		{"config needs master, picked to a version", "config", "foo", []string{"foo@5"}, false},
		{"config needs master, picked to a version that is not live", "config", "foo", []string{"foo@7"}, false},
		{"master needs master, picked to a version", "core", "foo", []string{"foo@REL1_39", "foo@6"}, false},

		{"neither needs code", "puppet", "foo@5", nil, false},
		{"neither needs master", "puppet", "foo", nil, false},
		{"config repository elsewhere needs code", "config@train-dev", "foo@5", nil, false},
		{"release branch needs code", "core@REL1_39", "foo@5", nil, false},
		{"release branch needs the same", "core@REL1_39", "foo@REL1_39", nil, false},
		{"release branch needs master", "core@REL1_39", "foo", nil, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			one := func(short string) *Change {
				c := &Change{Number: 1}
				c.Project, c.Branch = repo(t, short)
				return c
			}
			var siblings []*Change
			for _, short := range row.also {
				siblings = append(siblings, one(short))
			}
			if have := l.relevant(one(row.change), one(row.needs), siblings); have != row.want {
				t.Errorf("have %v, want %v", have, row.want)
			}
		})
	}
}

// story is a backport of changes that are in a book.
type story struct {
	name    string
	changes []string // number repository words...
	live    []string // nil: 5 and 6
	asked   []int
	want    []string
}

func (s story) gather(t *testing.T) *Graph {
	b := newBook(t)
	for _, line := range s.changes {
		fields := strings.Fields(line)
		n := 0
		fmt.Sscan(fields[0], &n)
		b.has(n, fields[1], fields[2:]...)
	}
	return b.gather(s.asked...)
}

func (s story) judge(t *testing.T) []Finding { return Judge(s.gather(t), wiki(s.live...)) }

func tell(t *testing.T, stories []story) {
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			findings := s.judge(t)
			want := slices.Sorted(slices.Values(s.want))
			if have := short(findings); !slices.Equal(have, want) {
				t.Errorf("have %q, want %q", have, want)
			}
			for _, f := range findings {
				t.Log(f.Level, f.Rule, f.Text)
				if f.Text == "" || f.Change == 0 || strings.Contains(f.Text, "%!") || strings.Contains(f.Text, "unknown") {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

// The verdict table of scap (T362987), each cell.
func TestVerdicts(t *testing.T) {
	tell(t, []story{
		// 1a: code needs code of a version's branch
		{"code needs code, merged", []string{"1 core@5 on=A", "2 foo@5 id=A merged"}, nil, []int{1}, nil},
		{"code needs code, asked for", []string{"1 core@5 on=A", "2 foo@5 id=A"}, nil, []int{1, 2}, nil},
		{"code needs code, neither", []string{"1 core@5 on=A", "2 foo@5 id=A"}, nil, []int{1}, []string{"e depends-code 2"}},
		{"code needs code, work in progress", []string{"1 core@5 on=A", "2 foo@5 id=A wip"}, nil, []int{1}, []string{"e depends-code 2"}},
		{"code needs code, by its address", []string{"1 core@5 on=2", "2 foo@5"}, nil, []int{1}, []string{"e depends-code 2"}},
		{"code needs its parent, neither", []string{"2 core@5", "1 core@5 parent=2"}, nil, []int{1}, []string{"e depends-code 2"}},
		{"code needs its parent, asked for", []string{"2 core@5", "1 core@5 parent=2"}, nil, []int{1, 2}, nil},
		{"code needs its parent, merged", []string{"2 core@5 merged", "1 core@5 parent=2"}, nil, []int{1}, nil},
		{"code needs master, picked to the same branch and merged", []string{"1 core@5 on=A", "2 foo id=A", "3 foo@5 id=A merged"}, nil, []int{1}, nil},
		{"code needs master, picked to the same branch and asked for", []string{"1 core@5 on=A", "2 foo id=A merged", "3 foo@5 id=A"}, nil, []int{1, 3}, nil},
		{"code needs master, picked to the same branch and neither", []string{"1 core@5 on=A", "2 foo id=A merged", "3 foo@5 id=A"}, nil, []int{1}, []string{"e depends-code 3"}},
		{"the same by master's address", []string{"1 core@5 on=2", "2 foo id=A merged", "3 foo@5 id=A"}, nil, []int{1}, []string{"e depends-code 3"}},

		// 1b: code needs master
		{"code needs master, in the branch", []string{"1 core@5 on=A", "2 foo id=A merged in=5,6"}, nil, []int{1}, nil},
		{"code needs master, not in the branch", []string{"1 core@5 on=A", "2 foo id=A merged in=6"}, nil, []int{1}, []string{"e depends-branch 2"}},
		{"code needs master, not merged", []string{"1 core@5 on=A", "2 foo id=A"}, nil, []int{1}, []string{"e depends-branch 2"}},
		{"code needs master, asked for", []string{"1 core@5 on=A", "2 foo id=A"}, nil, []int{1, 2}, []string{"e depends-branch 2", "e not-deployable 2"}},
		{
			"code of two branches needs master, in one of them",
			[]string{"1 core@5 on=A", "3 core@6 on=A", "2 foo id=A merged in=6"},
			nil,
			[]int{1, 3},
			[]string{"e depends-branch 2"},
		},
		{
			"code of two branches needs master, in none",
			[]string{"1 core@5 on=A", "3 core@6 on=A", "2 foo id=A merged"},
			nil,
			[]int{1, 3},
			[]string{"e depends-branch 2", "e depends-branch 2"},
		},

		{"master needs master, not merged", []string{"1 core@5 on=A", "2 foo id=A on=B", "3 ve id=B"}, nil, []int{1}, []string{"e depends-branch 2", "e depends-branch 3"}},
		{"master needs master, merged", []string{"1 core@5 on=A", "2 foo id=A on=B", "3 ve id=B merged"}, nil, []int{1}, []string{"e depends-branch 2"}},
		{"master needs code of a version, neither", []string{"1 core@5 on=A", "2 foo id=A on=B", "3 ve@6 id=B"}, nil, []int{1}, []string{"e depends-branch 2", "e depends-code 3"}},

		// 2: anything needs config
		{"code needs config, merged", []string{"1 core@5 on=A", "2 config id=A merged"}, nil, []int{1}, nil},
		{"code needs config, asked for", []string{"1 core@5 on=A", "2 config id=A"}, nil, []int{1, 2}, nil},
		{"code needs config, neither", []string{"1 core@5 on=A", "2 config id=A"}, nil, []int{1}, []string{"e depends-config 2"}},
		{"config needs its parent, neither", []string{"2 config", "1 config parent=2"}, nil, []int{1}, []string{"e depends-config 2"}},
		{"config needs config, asked for", []string{"1 config on=A", "2 config id=A"}, nil, []int{1, 2}, nil},
		{"config needs config, merged", []string{"1 config on=A", "2 config id=A merged"}, nil, []int{1}, nil},

		// 3a: config needs code of a version's branch
		{"config needs code, merged", []string{"1 config on=A", "2 foo@5 id=A merged"}, nil, []int{1}, nil},
		{"config needs code, asked for", []string{"1 config on=A", "2 foo@5 id=A"}, nil, []int{1, 2}, nil},
		{"config needs code, neither", []string{"1 config on=A", "2 foo@5 id=A"}, nil, []int{1}, []string{"e depends-code 2"}},
		{
			"config needs code of two versions, one asked for",
			[]string{"1 config on=A", "2 foo@5 id=A", "3 foo@6 id=A"},
			nil,
			[]int{1, 2},
			[]string{"e depends-code 3"},
		},
		{"config needs code of the next version, neither", []string{"1 config on=A", "2 foo@7 id=A"}, nil, []int{1}, []string{"e depends-code 2"}},

		// 3b: config needs master
		{"config needs master, everywhere", []string{"1 config on=A", "2 foo id=A merged in=4,5,6,7"}, nil, []int{1}, nil},
		{"config needs master, in all that counts", []string{"1 config on=A", "2 foo id=A merged in=5,6,7"}, nil, []int{1}, nil},
		{"config needs master, missing from a live version", []string{"1 config on=A", "2 foo id=A merged in=6,7"}, nil, []int{1}, []string{"e depends-live 2"}},
		{"config needs master, missing from all live versions", []string{"1 config on=A", "2 foo id=A merged in=4,7"}, nil, []int{1}, []string{"e depends-live 2"}},
		{"config needs master, missing from the upcoming version", []string{"1 config on=A", "2 foo id=A merged in=5,6"}, nil, []int{1}, []string{"e depends-upcoming 2"}},
		{
			"config needs master, missing from live and upcoming",
			[]string{"1 config on=A", "2 foo id=A merged"},
			nil,
			[]int{1},
			[]string{"e depends-live 2", "e depends-upcoming 2"},
		},
		{"config needs master, not merged", []string{"1 config on=A", "2 foo id=A"}, nil, []int{1}, []string{"e depends-live 2", "e depends-upcoming 2"}},
		{
			"one live version, missing from the one before it",
			[]string{"1 config on=A", "2 foo id=A merged in=6,7"},
			[]string{"6"},
			[]int{1},
			[]string{"a depends-rollback 2"},
		},
		{"one live version, in it and the one before it", []string{"1 config on=A", "2 foo id=A merged in=5,6,7"}, []string{"6"}, []int{1}, nil},
		{"one live version that is the oldest", []string{"1 config on=A", "2 foo id=A merged in=4,5,6,7"}, []string{"4"}, []int{1}, nil},
		{
			"live versions with one between them that is not",
			[]string{"1 config on=A", "2 foo id=A merged in=4,6,7"},
			[]string{"4", "6"},
			[]int{1},
			nil,
		},
		{"config needs a project that a live version does not have", []string{"1 config on=A", "2 bar id=A merged in=6,7"}, nil, []int{1}, []string{"e depends-live 2"}},
		{
			"config needs master that was picked to one live version and is not in the other",
			[]string{"1 config on=A", "2 foo id=A merged in=7", "3 foo@6 id=A merged"},
			nil,
			[]int{1},
			[]string{"a depends-some-live 2"},
		},
		{
			"config needs master that was picked to one live version and is in the other",
			[]string{"1 config on=A", "2 foo id=A merged in=6,7", "3 foo@5 id=A merged"},
			nil,
			[]int{1},
			nil,
		},
		{
			"config needs master that was picked to all live versions",
			[]string{"1 config on=A", "2 foo id=A merged", "3 foo@5 id=A merged", "4 foo@6 id=A"},
			nil,
			[]int{1, 4},
			nil,
		},
		{
			"config needs master that was picked to the live version that has its project",
			[]string{"1 config on=A", "2 bar id=A merged in=7", "3 bar@6 id=A merged"},
			nil,
			[]int{1},
			nil,
		},
	})
}

func TestDependencies(t *testing.T) {
	tell(t, []story{
		{"chain of three, the far end neither", []string{"1 core@5 on=B", "2 foo@5 id=B on=C", "3 core@5 id=C"}, nil, []int{1, 2}, []string{"e depends-code 3"}},
		{"chain of three, all but the first neither", []string{"1 core@5 on=B", "2 foo@5 id=B on=C", "3 core@5 id=C"}, nil, []int{1}, []string{"e depends-code 2", "e depends-code 3"}},
		{"two need the same: found once", []string{"1 core@5 on=C", "2 foo@5 on=C", "3 core@5 id=C"}, nil, []int{1, 2}, []string{"e depends-code 3"}},
		{"of a relation chain the middle was left out", []string{"3 core@5", "2 core@5 parent=3", "1 core@5 parent=2"}, nil, []int{1, 3}, []string{"e depends-code 2"}},
		{"what merged changes need is not asked", []string{"1 core@5 on=B", "2 foo@5 id=B merged on=C", "3 foo@5 id=C"}, nil, []int{1}, nil},
		{"what an asked merged change needs is", []string{"2 foo@5 merged on=C", "3 foo@5 id=C"}, nil, []int{2}, []string{"w merged 2", "e depends-code 3"}},
		{
			"the same series on two branches: the other branch's is not this deploy's",
			[]string{"1 core@5 on=B", "2 foo@5 id=B on=C merged", "3 foo@6 id=B on=C", "4 core@6 id=C"},
			nil,
			[]int{1},
			nil,
		},
		{
			"an open master is not followed where its pick counts",
			[]string{"1 core@5 on=B", "2 foo id=B on=C", "3 foo@5 id=B merged", "4 core id=C"},
			nil,
			[]int{1},
			nil,
		},
		{"through what is neither to config", []string{"1 core@5 on=2", "2 puppet on=C", "3 config id=C"}, nil, []int{1}, []string{"a depends-none 1", "e depends-config 3"}},
		{"through what is neither and merged to nothing", []string{"1 core@5 on=2 on=4", "2 puppet on=C merged", "3 config id=C", "4 config merged"}, nil, []int{1}, nil},
		{"the same Change-Id in another project is not a pick", []string{"1 core@5 on=2", "2 foo id=A merged in=5", "3 core@5 id=A"}, nil, []int{1}, nil},

		{
			"the same Change-Id in another project, named by it, is not a pick either",
			[]string{"1 core@5 on=A", "2 foo id=A merged in=6", "3 core@5 id=A merged"},
			nil,
			[]int{1},
			[]string{"e depends-branch 2"},
		},
		{"a pick that names what it was picked from", []string{"1 core@5 id=A on=2", "2 core id=A merged"}, nil, []int{1}, []string{"a depends-none 1"}},

		{"abandoned", []string{"1 core@5 on=B", "2 foo@5 id=B abandoned"}, nil, []int{1}, []string{"e abandoned 2"}},
		{"abandoned at the far end", []string{"1 core@5 on=B", "2 foo@5 id=B on=C", "3 foo@5 id=C abandoned"}, nil, []int{1, 2}, []string{"e abandoned 3"}},
		{"abandoned parent", []string{"2 core@5 abandoned", "1 core@5 parent=2"}, nil, []int{1}, []string{"e abandoned 2"}},
		{"abandoned, and does not matter", []string{"1 core@5 on=2 on=3", "2 foo@6 abandoned", "3 foo@5 merged"}, nil, []int{1}, nil},
		{"abandoned and asked for: found once", []string{"1 core@5 on=B", "2 foo@5 id=B abandoned"}, nil, []int{1, 2}, []string{"e abandoned 2"}},
		{"abandoned pick of what is in the branch", []string{"1 core@5 on=B", "2 foo id=B merged in=5", "3 foo@5 id=B abandoned"}, nil, []int{1}, nil},
		{
			"abandoned pick of what is not in the branch",
			[]string{"1 core@5 on=B", "2 foo id=B merged in=6", "3 foo@5 id=B abandoned"},
			nil,
			[]int{1},
			[]string{"e abandoned 3", "e depends-branch 2"},
		},
		{"abandoned pick, picked again", []string{"1 core@5 on=B", "2 foo@5 id=B abandoned", "3 foo@5 id=B"}, nil, []int{1, 3}, nil},
		{"abandoned pick, picked again and not asked for", []string{"1 core@5 on=B", "2 foo@5 id=B abandoned", "3 foo@5 id=B"}, nil, []int{1}, []string{"e abandoned 2", "e depends-code 3"}},
		{"an abandoned pick stands for nothing", []string{"1 config on=B", "2 foo id=B merged in=5,6,7", "3 foo@6 id=B abandoned"}, nil, []int{1}, nil},

		{"Depends-On that leads nowhere", []string{"1 core@5 on=Z"}, nil, []int{1}, []string{"a depends-lost 1"}},
		{"Depends-On a number that leads nowhere", []string{"1 core@5 on=99"}, nil, []int{1}, []string{"a depends-lost 1"}},
		{"Depends-On another site", []string{"1 core@5 raw=https://github.com/wikimedia/foo/pull/12"}, nil, []int{1}, []string{"a depends-lost 1"}},
		{"Depends-On that leads nowhere beside one that matters", []string{"1 core@5 on=Z on=2", "2 foo@5 merged"}, nil, []int{1}, []string{"a depends-lost 1"}},
		{"Depends-On of a dependency that leads nowhere", []string{"1 core@5 on=2", "2 foo@5 on=Z"}, nil, []int{1, 2}, []string{"a depends-lost 2"}},
		{"no Depends-On matters", []string{"1 core@5 on=2", "2 puppet"}, nil, []int{1}, []string{"a depends-none 1"}},
		{"no Depends-On matters, though the parent does", []string{"3 core@5", "2 puppet", "1 core@5 on=2 parent=3"}, nil, []int{1, 3}, []string{"a depends-none 1"}},
		{"one Depends-On of two matters", []string{"1 core@5 on=2 on=3", "2 puppet", "3 foo@5 merged"}, nil, []int{1}, nil},

		{"stands on an old patch set", []string{"2 core@5", "1 core@5 parent=2/1"}, nil, []int{1, 2}, []string{"a outdated 1"}},
		{"stands on an old patch set of what is not asked for", []string{"2 core@5", "1 core@5 parent=2/1"}, nil, []int{1}, []string{"a outdated 1", "e depends-code 2"}},
		{"stands on an old patch set of what is abandoned", []string{"2 core@5 abandoned", "1 core@5 parent=2/1"}, nil, []int{1}, []string{"e abandoned 2"}},
		{"stands on an old patch set and on what was below that", []string{"3 core@5", "2 core@5 parent=3", "1 core@5 parent=2/1"}, nil, []int{1, 2}, []string{"a outdated 1", "e depends-code 3"}},

		{"depends on itself", []string{"1 core@5 id=A on=A"}, nil, []int{1}, []string{"e cyclic 1"}},
		{"two in a circle", []string{"1 core@5 id=A on=B", "2 foo@5 id=B on=A"}, nil, []int{1, 2}, []string{"e cyclic 1"}},
		{"two in a circle, one asked for", []string{"1 core@5 id=A on=B", "2 foo@5 id=B on=A"}, nil, []int{2}, []string{"e cyclic 2", "e depends-code 1"}},
		{"three in a circle, by parent and Depends-On", []string{"3 core@5 id=C on=A", "2 core@5 id=B parent=3", "1 foo@5 id=A on=B"}, nil, []int{1, 2, 3}, []string{"e cyclic 1"}},
		{"a circle behind what was asked for", []string{"1 core@5 on=B", "2 foo@5 id=B on=C", "3 foo@5 id=C on=B"}, nil, []int{1, 2, 3}, []string{"e cyclic 2"}},
		{"two circles", []string{"1 core@5 id=A on=B on=C", "2 foo@5 id=B on=A", "3 ve@5 id=C on=A"}, nil, []int{1, 2, 3}, []string{"e cyclic 1", "e cyclic 1"}},
		{
			"the same circle on several branches is one",
			[]string{"1 core@5 id=A on=B", "2 foo@5 id=B on=A", "3 core@6 id=A on=B", "4 foo@6 id=B on=A", "5 core id=A on=B", "6 foo id=B on=A"},
			nil,
			[]int{1, 2},
			[]string{"e cyclic 1"},
		},
		{"a diamond is no circle", []string{"1 core@5 on=B on=C", "2 foo@5 id=B on=D", "3 ve@5 id=C on=D", "4 vendor@5 id=D"}, nil, []int{1, 2, 3, 4}, nil},
	})
}

// What deployers read, whole.
func TestTexts(t *testing.T) {
	for _, row := range []struct {
		story
		text string
	}{
		{
			story{"depends-code", []string{"1003 core@5 on=B", "1002 foo@5 id=B on=C", "1001 core@5 id=C"}, nil, []int{1003, 1002}, nil},
			`1001 "Change of core@5" (mediawiki/core, wmf/1.41.0-wmf.5) is neither merged nor among the changes to deploy, and ` +
				`1002 "Change of foo@5" (mediawiki/extensions/Foo, wmf/1.41.0-wmf.5) needs it. Name 1001 too, or have it merged first. Needed by: 1002 -> 1001 (Depends-On)`,
		},
		{
			story{"depends-code of several", []string{"1004 core@5", "1003 core@5 parent=1004", "1002 foo@5 raw=1003", "1001 ve@5 on=1004"}, nil, []int{1002, 1001}, nil},
			`1004 "Change of core@5" (mediawiki/core, wmf/1.41.0-wmf.5) is neither merged nor among the changes to deploy, and ` +
				`1001 "Change of ve@5" (VisualEditor/VisualEditor, wmf/1.41.0-wmf.5) needs it. Name 1004 too, or have it merged first. ` +
				`Needed by: 1001 -> 1004 (Depends-On); also 1002 -> 1003 -> 1004 (Depends-On, parent)`,
		},
		{
			story{"abandoned", []string{"1001 core@5 abandoned", "1002 core@5 parent=1001", "1003 foo@5 on=1002"}, nil, []int{1003, 1002}, nil},
			`1001 "Change of core@5" (mediawiki/core, wmf/1.41.0-wmf.5) is abandoned, and 1002 "Change of core@5" (mediawiki/core, wmf/1.41.0-wmf.5) needs it. ` +
				`Restore it, or free 1002 from it (rebase it). Needed by: 1002 -> 1001 (parent)`,
		},
		{
			story{"abandoned and asked for", []string{"1001 core@5 abandoned", "1002 foo@5 on=1001"}, nil, []int{1001, 1002}, nil},
			`1001 "Change of core@5" (mediawiki/core, wmf/1.41.0-wmf.5) is abandoned: restore it in Gerrit, or leave it out. Needed by: 1002 -> 1001 (Depends-On)`,
		},
		{
			story{"cyclic", []string{"1001 core@5 id=A on=B", "1002 foo@5 id=B on=C", "1003 ve@5 id=C on=A"}, nil, []int{1001, 1002, 1003}, nil},
			`1001 "Change of core@5" (mediawiki/core, wmf/1.41.0-wmf.5), 1002 "Change of foo@5" (mediawiki/extensions/Foo, wmf/1.41.0-wmf.5) and ` +
				`1003 "Change of ve@5" (VisualEditor/VisualEditor, wmf/1.41.0-wmf.5) need each other in a circle: 1001 -> 1002 -> 1003 -> 1001 (Depends-On). ` +
				`Nothing can merge them: take a Depends-On out of the message of one`,
		},
		{
			story{"depends-branch", []string{"1001 core@5 on=B", "1002 foo id=B merged in=6"}, nil, []int{1001}, nil},
			`1002 "Change of foo" (mediawiki/extensions/Foo, master) is merged, but not in wmf/1.41.0-wmf.5, and 1001 "Change of core@5" (mediawiki/core, wmf/1.41.0-wmf.5) needs it. ` +
				`Cherry-pick 1002 to wmf/1.41.0-wmf.5, and name the cherry-pick too. Needed by: 1001 -> 1002 (Depends-On)`,
		},
		{
			story{"depends-live without the project", []string{"1001 config on=B", "1002 bar id=B merged in=6,7"}, nil, []int{1001}, nil},
			`1002 "Change of bar" (mediawiki/extensions/Bar, master) is merged, but not in wmf/1.41.0-wmf.5, which wikis run, and 1001 "Change of config" (operations/mediawiki-config, master) needs it. ` +
				`There is no mediawiki/extensions/Bar in wmf/1.41.0-wmf.5: wait until no such version is left, or let 1001 do without it there. Needed by: 1001 -> 1002 (Depends-On)`,
		},
		{
			story{"not-deployable", []string{"1001 foo"}, nil, []int{1001}, nil},
			`1001 "Change of foo" (mediawiki/extensions/Foo, master) cannot be deployed: mediawiki/extensions/Foo is deployed from ` +
				`wmf/1.41.0-wmf.4, wmf/1.41.0-wmf.5, wmf/1.41.0-wmf.6 and wmf/1.41.0-wmf.7; cherry-pick it there, and name the cherry-pick`,
		},
		{
			story{"outdated", []string{"1001 core@5", "1002 core@5 parent=1001/2"}, nil, []int{1001, 1002}, nil},
			`1002 "Change of core@5" (mediawiki/core, wmf/1.41.0-wmf.5) stands on patch set 2 of 1001 "Change of core@5" (mediawiki/core, wmf/1.41.0-wmf.5), ` +
				`which is at patch set 3 now: rebase it, or Gerrit may not merge it`,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			findings := row.judge(t)
			if !slices.ContainsFunc(findings, func(f Finding) bool { return f.Text == row.text }) {
				for _, f := range findings {
					t.Errorf("%s", f.Text)
				}
				t.Errorf("want:\n%s", row.text)
			}
		})
	}
}

func TestChains(t *testing.T) {
	s := story{changes: []string{"1003 core@5 on=B", "1002 puppet id=B on=C", "1001 config id=C"}, asked: []int{1003}}
	for _, f := range s.judge(t) {
		if f.Rule == RuleDependsConfig && slices.Equal(f.Chain, []int{1003, 1002, 1001}) && strings.HasSuffix(f.Text, "1003 -> 1002 -> 1001 (Depends-On)") {
			return
		}
	}
	t.Errorf("no finding with the whole chain: %+v", s.judge(t))
}
