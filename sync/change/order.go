package change

import (
	"fmt"
	"slices"
)

// Order returns the asked changes so that what a change needs, directly or through others, comes before it. Of all such
// orders it is the one that keeps to the deployer's longest: at each place stands the first asked that can stand there.
// Changes that need each other in a circle are an error, which names one circle.
func Order(g *Graph) ([]int, error) {
	group := g.components()
	for _, from := range g.reached() {
		for _, need := range g.Needs[from] {
			if group[from] == group[need.On] {
				return nil, fmt.Errorf("no order of changes that need each other in a circle: %s", g.chain(append([]int{from}, g.shortest(need.On, from, group)...)))
			}
		}
	}
	before := map[int][]int{} // the asked ones that one needs
	for _, n := range g.Asked {
		part := &Graph{Asked: []int{n}, Needs: g.Needs}
		for _, m := range part.reached() {
			if m != n && g.asked(m) {
				before[n] = append(before[n], m)
			}
		}
	}
	order := make([]int, 0, len(g.Asked))
	for len(order) < len(g.Asked) {
		for _, n := range g.Asked {
			ready := !slices.ContainsFunc(before[n], func(m int) bool { return !slices.Contains(order, m) })
			if ready && !slices.Contains(order, n) {
				order = append(order, n)
				break
			}
		}
	}
	return order, nil
}
