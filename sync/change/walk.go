package change

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// walk makes a graph of what is known, and lists what must be asked to make it whole. It begins anew after each round of
// answers: the graph is always a function of them, whatever their order was.
type walk struct {
	k    *known
	g    *Graph
	seen map[int]bool

	numbers []int
	ids     []string
	chains  []*Change
	in      []*Change
}

func newWalk(k *known, asked []int) *walk {
	w := &walk{
		k: k, seen: map[int]bool{},
		g: &Graph{Changes: map[int]*Change{}, Needs: map[int][]Need{}, In: map[int][]string{}, Lost: map[int][]string{}},
	}
	for _, n := range asked {
		if !slices.Contains(w.g.Asked, n) {
			w.g.Asked = append(w.g.Asked, n)
		}
	}
	return w
}

func (w *walk) done() bool {
	return len(w.numbers) == 0 && len(w.ids) == 0 && len(w.chains) == 0 && len(w.in) == 0
}

func (w *walk) all() error {
	var errs []error
	for _, n := range w.g.Asked {
		if w.k.absent[n] {
			errs = append(errs, fmt.Errorf("change %d: %w", n, ErrNotFound))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for _, n := range w.g.Asked {
		if err := w.visit(n); err != nil {
			return err
		}
	}
	return nil
}

// have returns a change, or asks for it.
func (w *walk) have(n int) *Change {
	c := w.k.changes[n]
	if c == nil && !w.k.absent[n] && !slices.Contains(w.numbers, n) {
		w.numbers = append(w.numbers, n)
	}
	return c
}

// visit takes a change into the graph, and what it needs.
func (w *walk) visit(n int) error {
	c := w.have(n)
	if c == nil || w.seen[n] {
		return nil
	}
	w.seen[n] = true
	w.g.Changes[n] = c
	if c.Status != New && (c.Status != Merged || !w.g.asked(n)) {
		return nil
	}
	if c.Status == New {
		if err := w.parents(c); err != nil {
			return err
		}
	}
	texts := dependsOn(c)
	if len(texts) > maxDependsOn {
		return fmt.Errorf("%s has more than %d Depends-On, which cannot be meant: correct its message", c, maxDependsOn)
	}
	for _, text := range texts {
		if err := w.dependsOn(c, text); err != nil {
			return err
		}
	}
	return nil
}

// parents follows the relation chain below c. Of an ancestor on whose current patch set c stands, the rest of the chain
// is that one's own; below one that moved on, c itself stands on it.
func (w *walk) parents(c *Change) error {
	chain, ok := w.k.chains[c.Number]
	if !ok {
		w.chains = append(w.chains, c)
		return nil
	}
	for _, link := range chain {
		if w.k.absent[link.Number] { // seen below c, but not by itself
			w.k.add(link)
		}
		w.have(link.Number)
	}
	for i, link := range chain {
		now := w.k.changes[link.Number]
		if now == nil || link.Number == c.Number {
			continue
		}
		need := Need{On: link.Number, Why: Parent}
		if current := now.Revision == link.Revision; !current {
			need.PatchSet = link.PatchSet
		} else if _, ok := w.k.chains[link.Number]; !ok {
			w.k.chains[link.Number] = chain[i+1:]
		}
		if err := w.need(c, need); err != nil {
			return err
		}
		if need.PatchSet == 0 {
			break
		}
	}
	return nil
}

// dependsOn follows one Depends-On of c.
func (w *walk) dependsOn(c *Change, text string) error {
	ref := parseReference(text, site(c))
	switch {
	case ref.id != "":
		return w.dependsOnID(c, ref.id, text)
	case ref.number == 0 || w.k.absent[ref.number]:
		w.g.Lost[c.Number] = append(w.g.Lost[c.Number], text)
		return nil
	}
	on := w.have(ref.number)
	if on == nil {
		return nil
	}
	if err := w.need(c, Need{On: on.Number, Why: DependsOn, ID: text}); err != nil {
		return err
	}
	if strings.HasPrefix(on.Branch, "wmf/") || on.ID == "" {
		return nil
	}
	same, ok := w.withID(on.ID)
	if !ok {
		return nil
	}
	for _, n := range same {
		if s := w.k.changes[n]; n != on.Number && n != c.Number && s.Project == on.Project {
			if err := w.need(c, Need{On: n, Why: DependsOn, ID: text}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *walk) dependsOnID(c *Change, id, text string) error {
	found, ok := w.withID(id)
	if ok && len(found) == 0 {
		w.g.Lost[c.Number] = append(w.g.Lost[c.Number], text)
	}
	for _, n := range found {
		if err := w.need(c, Need{On: n, Why: DependsOn, ID: text}); err != nil {
			return err
		}
	}
	return nil
}

// withID returns the changes with a Change-Id, or asks for them.
func (w *walk) withID(id string) ([]int, bool) {
	found, ok := w.k.ids[id]
	if !ok && !slices.Contains(w.ids, id) {
		w.ids = append(w.ids, id)
	}
	return found, ok
}

// need notes that c needs another change, and goes there. A change that is needed where it was not merged to must say
// where it is by now.
func (w *walk) need(c *Change, need Need) error {
	for _, have := range w.g.Needs[c.Number] {
		if have.On == need.On {
			return nil
		}
	}
	w.g.Needs[c.Number] = append(w.g.Needs[c.Number], need)
	on := w.k.changes[need.On]
	if on.Status == Merged && (on.Project != c.Project || on.Branch != c.Branch) {
		if in, ok := w.k.in[on.Number]; ok {
			w.g.In[on.Number] = in
		} else if !slices.Contains(w.in, on) {
			w.in = append(w.in, on)
		}
	}
	return w.visit(need.On)
}
