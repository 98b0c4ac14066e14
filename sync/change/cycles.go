package change

import (
	"fmt"
	"slices"
)

// maxCycles is how many circles are named: whoever has more has one mistake, many times.
const maxCycles = 20

// cycles finds changes that need themselves. One circle is named for each need that is part of any; circles of the same
// changes on other branches are one.
func (j *judging) cycles() {
	group := j.g.components()
	covered := map[[2]string]bool{}
	found := 0
	for _, from := range j.g.reached() {
		for _, need := range j.g.Needs[from] {
			if group[from] != group[need.On] || covered[j.edge(from, need.On)] || found == maxCycles {
				continue
			}
			found++
			circle := j.rotate(append([]int{from}, j.g.shortest(need.On, from, group)...))
			for i := range circle[1:] {
				covered[j.edge(circle[i], circle[i+1])] = true
			}
			j.cyclic(circle)
		}
	}
}

// edge names a need by what the two are on whatever branch.
func (j *judging) edge(from, to int) [2]string {
	name := func(n int) string {
		if c := j.g.Changes[n]; c != nil && c.ID != "" {
			return c.Project + " " + c.ID
		}
		return fmt.Sprint(n)
	}
	return [2]string{name(from), name(to)}
}

// rotate lets a circle begin, and end, with a change that was asked for, if one is part of it.
func (j *judging) rotate(circle []int) []int {
	open := circle[:len(circle)-1]
	for _, n := range j.g.Asked {
		if i := slices.Index(open, n); i >= 0 {
			return append(append(slices.Clone(open[i:]), open[:i]...), n)
		}
	}
	return circle
}

func (j *judging) cyclic(circle []int) {
	var names []string
	for _, n := range circle[1:] {
		names = append(names, j.g.name(n))
	}
	names = append(names[len(names)-1:], names[:len(names)-1]...) // as the circle begins
	text := fmt.Sprintf("%s need each other in a circle: %s. Nothing can merge them: %s", list(names), j.g.chain(circle), j.g.opening(circle))
	if len(names) == 1 {
		text = fmt.Sprintf("%s depends on itself: %s. Nothing can merge it: correct its message", names[0], j.g.chain(circle))
	}
	j.findings = append(j.findings, Finding{Level: Error, Change: circle[0], Rule: RuleCyclic, Text: text, Chain: circle})
}

// opening says how a circle can be opened. One with an old patch set in it comes from turning two changes round.
func (g *Graph) opening(circle []int) string {
	for i, n := range circle[1:] {
		if need := g.need(circle[i], n); need.PatchSet != 0 {
			return fmt.Sprintf("rebase %d, which stands on an old patch set of %d", circle[i], n)
		}
	}
	return "take a Depends-On out of the message of one"
}

// reached are all changes, from the asked ones on.
func (g *Graph) reached() []int {
	var order []int
	seen := map[int]bool{}
	queue := slices.Clone(g.Asked)
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		if seen[n] {
			continue
		}
		seen[n] = true
		order = append(order, n)
		for _, need := range g.Needs[n] {
			queue = append(queue, need.On)
		}
	}
	return order
}

// shortest returns the shortest way from one change to another of its component, both included.
func (g *Graph) shortest(from, to int, group map[int]int) []int {
	back := map[int]int{from: 0}
	queue := []int{from}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		if n == to {
			break
		}
		for _, need := range g.Needs[n] {
			if _, ok := back[need.On]; !ok && group[need.On] == group[from] {
				back[need.On] = n
				queue = append(queue, need.On)
			}
		}
	}
	way := []int{to}
	for n := to; n != from; {
		n = back[n]
		way = append(way, n)
	}
	slices.Reverse(way)
	return way
}

// components numbers the changes so that those and only those that need each other, both ways, have the same number
// (Tarjan's algorithm).
func (g *Graph) components() map[int]int {
	t := &tarjan{g: g, order: map[int]int{}, low: map[int]int{}, group: map[int]int{}}
	for _, n := range g.reached() {
		if t.order[n] == 0 {
			t.visit(n)
		}
	}
	return t.group
}

type tarjan struct {
	g                 *Graph
	order, low, group map[int]int
	stack             []int
}

// visit goes as deep as there are changes, which Gather bounds.
func (t *tarjan) visit(n int) {
	t.order[n] = len(t.order) + 1
	t.low[n] = t.order[n]
	t.stack = append(t.stack, n)
	for _, need := range t.g.Needs[n] {
		switch m := need.On; {
		case t.order[m] == 0:
			t.visit(m)
			t.low[n] = min(t.low[n], t.low[m])
		case t.group[m] == 0: // still on the stack
			t.low[n] = min(t.low[n], t.order[m])
		}
	}
	if t.low[n] != t.order[n] {
		return
	}
	for {
		m := t.stack[len(t.stack)-1]
		t.stack = t.stack[:len(t.stack)-1]
		t.group[m] = t.order[n]
		if m == n {
			return
		}
	}
}
