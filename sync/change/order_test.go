package change

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestOrder(t *testing.T) {
	for _, row := range []struct {
		name    string
		changes []string
		asked   []int
		want    []int
	}{
		{"as asked", []string{"1 core@5", "2 core@5", "3 core@5"}, []int{2, 3, 1}, []int{2, 3, 1}},
		{"already in order", []string{"1 core@5", "2 core@5 parent=1", "3 foo@5 on=1"}, []int{1, 3, 2}, []int{1, 3, 2}},
		{"child named first", []string{"1 core@5", "2 core@5 parent=1", "3 core@5 parent=2"}, []int{3, 2, 1}, []int{1, 2, 3}},
		{"Depends-On named last", []string{"1 core@5 on=2", "2 foo@5", "3 config"}, []int{1, 3, 2}, []int{3, 2, 1}},
		{"across projects", []string{"1 config on=2", "2 foo@5 on=3", "3 core@5"}, []int{1, 2, 3}, []int{3, 2, 1}},
		{"through one that was not asked for", []string{"1 core@5 on=2", "2 puppet on=3", "3 config"}, []int{1, 3}, []int{3, 1}},
		{"through one that is merged", []string{"1 core@5 on=2", "2 foo@5 merged on=3", "3 config"}, []int{1, 3}, []int{1, 3}},
		{"merged ones, too", []string{"1 core@5 merged on=2", "2 foo@5 merged"}, []int{1, 2}, []int{2, 1}},
		{"a picked master by its address", []string{"1 core@5 on=2", "2 foo id=A merged", "3 foo@5 id=A"}, []int{1, 3}, []int{3, 1}},
		{"none", nil, nil, []int{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			have, err := Order(story{changes: row.changes, asked: row.asked}.gather(t))
			if err != nil || !slices.Equal(have, row.want) {
				t.Errorf("have %v, %v; want %v", have, err, row.want)
			}
		})
	}
	t.Run("circle", func(t *testing.T) {
		g := story{changes: []string{"1 core@5 on=B", "2 foo@5 id=B on=C", "3 foo@5 id=C on=B"}, asked: []int{1}}.gather(t)
		order, err := Order(g)
		if want := "no order of changes that need each other in a circle: 2 -> 3 -> 2 (Depends-On)"; order != nil || err == nil || err.Error() != want {
			t.Error(order, err)
		}
	})
	t.Run("two that were turned round", func(t *testing.T) {
		b := newBook(t)
		b.has(1, "core@5").has(2, "core@5", "parent=1")
		b.parent(1, "2/1")
		b.stand[1] = b.stand[1][:1]
		findings := Judge(b.gather(1, 2), wiki())
		if findings[0].Rule != RuleCyclic || !strings.HasSuffix(findings[0].Text, "Nothing can merge them: rebase 1, which stands on an old patch set of 2") {
			t.Error(findings)
		}
	})
}

// graphs draws any graph of up to nine changes: circles, lone ones, several ways.
func graphs(t *rapid.T) *Graph {
	n := rapid.IntRange(1, 9).Draw(t, "changes")
	g := &Graph{Changes: map[int]*Change{}, Needs: map[int][]Need{}, Siblings: map[string][]int{}, In: map[int][]string{}, Lost: map[int][]string{}}
	dense := rapid.IntRange(0, 4).Draw(t, "dense")
	acyclic := rapid.Bool().Draw(t, "acyclic")
	rank := rapid.Permutation(numbersTo(n)).Draw(t, "rank")
	for i := 1; i <= n; i++ {
		g.Changes[i] = &Change{Number: i, ID: id(fmt.Sprint(i)), Project: "mediawiki/core", Branch: wmf("5"), Status: New}
		for k := 1; k <= n; k++ {
			if (acyclic && rank[i-1] <= rank[k-1]) || rapid.IntRange(0, 9).Draw(t, "edge") > dense {
				continue
			}
			g.Needs[i] = append(g.Needs[i], Need{On: k, Why: rapid.SampledFrom([]string{DependsOn, Parent}).Draw(t, "why")})
		}
	}
	g.Asked = rapid.Permutation(numbersTo(n)).Draw(t, "asked")[:rapid.IntRange(1, n).Draw(t, "how many")]
	seen := map[int]bool{}
	for _, n := range g.reached() {
		seen[n] = true
	}
	maps.DeleteFunc(g.Changes, func(n int, _ *Change) bool { return !seen[n] })
	maps.DeleteFunc(g.Needs, func(n int, _ []Need) bool { return !seen[n] })
	return g
}

func numbersTo(n int) []int {
	var out []int
	for i := 1; i <= n; i++ {
		out = append(out, i)
	}
	return out
}

// reach is by whom whom is needed, the slow and plain way.
func reach(g *Graph) map[[2]int]bool {
	r := map[[2]int]bool{}
	for from, needs := range g.Needs {
		for _, need := range needs {
			r[[2]int{from, need.On}] = true
		}
	}
	for k := range g.Changes {
		for i := range g.Changes {
			for j := range g.Changes {
				r[[2]int{i, j}] = r[[2]int{i, j}] || r[[2]int{i, k}] && r[[2]int{k, j}]
			}
		}
	}
	return r
}

func TestOrderOfAnyGraph(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := graphs(t)
		needs := reach(g)
		circle := slices.ContainsFunc(slices.Collect(maps.Keys(g.Changes)), func(n int) bool { return needs[[2]int{n, n}] })
		order, err := Order(g)
		if (err != nil) != circle {
			t.Fatalf("circle %v, and order %v, %v", circle, order, err)
		}
		if err != nil {
			return
		}
		if !slices.Equal(slices.Sorted(slices.Values(order)), slices.Sorted(slices.Values(g.Asked))) {
			t.Fatalf("%v is not all of %v", order, g.Asked)
		}
		for at, n := range order {
			// What n needs is before it, and whoever was asked for before n and stands behind it could not stand here.
			for _, m := range order[at+1:] {
				if needs[[2]int{n, m}] {
					t.Fatalf("%v: %d needs %d", order, n, m)
				}
				waits := slices.ContainsFunc(order[at:], func(k int) bool { return k != m && needs[[2]int{m, k}] })
				if !waits && slices.Index(g.Asked, m) < slices.Index(g.Asked, n) {
					t.Fatalf("asked %v, order %v: %d could stand before %d", g.Asked, order, m, n)
				}
			}
		}
	})
}

func TestCirclesOfAnyGraph(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := graphs(t)
		needs := reach(g)
		named := map[[2]int]bool{}
		found := 0
		for _, f := range Judge(g, wiki()) {
			if f.Rule != RuleCyclic {
				continue
			}
			found++
			inner := slices.Sorted(slices.Values(f.Chain[1:]))
			if f.Chain[0] != f.Chain[len(f.Chain)-1] || f.Chain[0] != f.Change || len(slices.Compact(inner)) != len(f.Chain)-1 {
				t.Fatalf("%v is no circle, or not one", f.Chain)
			}
			for i := range f.Chain[1:] {
				edge := [2]int{f.Chain[i], f.Chain[i+1]}
				if g.need(edge[0], edge[1]).Why == "" {
					t.Fatalf("%v: %d does not need %d", f.Chain, edge[0], edge[1])
				}
				named[edge] = true
			}
			if asked := slices.ContainsFunc(f.Chain, g.asked); asked != g.asked(f.Change) {
				t.Fatalf("%v does not begin with one of %v", f.Chain, g.Asked)
			}
		}
		if found == maxCycles {
			return
		}
		for from, ns := range g.Needs {
			for _, need := range ns {
				if edge := [2]int{from, need.On}; named[edge] != needs[[2]int{need.On, from}] {
					t.Fatalf("%v is part of a circle: %v; named: %v", edge, !named[edge], named[edge])
				}
			}
		}
	})
}

func TestManyCircles(t *testing.T) {
	g := &Graph{Asked: numbersTo(40), Changes: map[int]*Change{}, Needs: map[int][]Need{}}
	for i := range 40 {
		g.Changes[i+1] = &Change{Number: i + 1, Project: "mediawiki/core", Branch: wmf("5"), Status: New}
		for k := range 40 {
			g.Needs[i+1] = append(g.Needs[i+1], Need{On: k + 1, Why: DependsOn})
		}
	}
	n := 0
	for _, f := range Judge(g, wiki()) {
		if f.Rule == RuleCyclic {
			n++
		}
	}
	if n != maxCycles {
		t.Errorf("%d circles are named", n)
	}
}
