package change

import (
	"slices"
	"strconv"
	"strings"
)

// Graph is what Gather found: the changes that were asked for, what they need, and what is known of all these.
type Graph struct {
	Asked   []int           // each once, as named by the deployer
	Changes map[int]*Change // these and all that is reached from them
	// Needs are what a change needs, parents first. Those of an asked change and of one under review are known; of another
	// that is merged or abandoned they are not looked for.
	Needs map[int][]Need
	// Siblings are the changes found that carry a Change-Id, by it, in order of their numbers.
	Siblings map[string][]int
	// In are the branches that hold a merged change. Only where it matters: for what is needed on another branch, or in
	// another project, than its own.
	In map[int][]string
	// Lost are the Depends-On of a change that lead to no change, as written.
	Lost map[int][]string
}

// Why a change needs another one.
const (
	DependsOn = "Depends-On"
	Parent    = "parent" // the commit stands on the other one's
)

// Need is that a change needs another one.
type Need struct {
	On  int
	Why string // DependsOn or Parent
	ID  string // the Depends-On, as written
	// PatchSet is that of a parent on which the change stands, when that is no longer its current one; else 0.
	PatchSet int
}

func (g *Graph) asked(n int) bool { return slices.Contains(g.Asked, n) }

// siblings are the other changes with c's Change-Id in its project that are not abandoned: the same on other branches.
func (g *Graph) siblings(c *Change) []*Change {
	var out []*Change
	for _, n := range g.Siblings[c.ID] {
		if s := g.Changes[n]; s != nil && n != c.Number && s.Project == c.Project && s.Status != Abandoned {
			out = append(out, s)
		}
	}
	return out
}

// name says which change is meant, for people.
func (g *Graph) name(n int) string {
	if c := g.Changes[n]; c != nil {
		return c.String()
	}
	return strconv.Itoa(n)
}

// chain writes 1003 -> 1002 -> 1001 and by what each needs the next.
func (g *Graph) chain(numbers []int) string {
	var words, whys []string
	for i, n := range numbers {
		words = append(words, strconv.Itoa(n))
		if i == 0 {
			continue
		}
		why := g.need(numbers[i-1], n).Why
		if !slices.Contains(whys, why) {
			whys = append(whys, why)
		}
	}
	return strings.Join(words, " -> ") + " (" + strings.Join(whys, ", ") + ")"
}

// need is that of a change on another one.
func (g *Graph) need(from, to int) Need {
	i := slices.IndexFunc(g.Needs[from], func(n Need) bool { return n.On == to })
	if i < 0 {
		return Need{On: to}
	}
	return g.Needs[from][i]
}
