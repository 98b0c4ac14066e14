package change

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Bounds of Gather: beyond them something is wrong, and asking on would take minutes.
const (
	maxChanges   = 500 // in a graph
	maxDependsOn = 100 // of one change
	atOnce       = 16  // questions
)

// Gather asks src for the changes that were asked for and for what they need: the relation chain below them, what their
// Depends-On name, and so on from there. It asks in rounds, in each for all that is known to be missing at once; so it
// takes about two rounds a step of the longest chain of Depends-On, however many changes there are.
//
// A Depends-On with a Change-Id names all changes that carry it, in whatever project and branch. One with a number or an
// address names that change; when it is not on a version's branch, the same change on other branches is meant too, for
// there it would be. One that leads nowhere is in Graph.Lost.
//
// An asked change that does not exist is an error that wraps ErrNotFound and names all such.
func Gather(ctx context.Context, src Source, asked []int) (*Graph, error) {
	if len(asked) > maxChanges {
		return nil, fmt.Errorf("look up %d changes: at most %d go at once", len(asked), maxChanges)
	}
	k := &known{
		src: src, changes: map[int]*Change{}, absent: map[int]bool{}, chains: map[int][]Change{}, ids: map[string][]int{}, in: map[int][]string{},
	}
	for {
		w := newWalk(k, asked)
		if err := w.all(); err != nil {
			return nil, err
		}
		if w.done() {
			w.g.Siblings = siblings(w.g.Changes)
			return w.g, nil
		}
		if err := k.ask(ctx, w); err != nil {
			return nil, err
		}
		if len(k.changes) > maxChanges {
			return nil, fmt.Errorf("%s need more than %d changes, by Depends-On and relation chains: more than can be judged; look at their messages",
				numbers(asked), maxChanges)
		}
	}
}

// siblings orders changes by Change-Id.
func siblings(changes map[int]*Change) map[string][]int {
	by := map[string][]int{}
	for _, n := range slices.Sorted(maps.Keys(changes)) {
		if id := changes[n].ID; id != "" {
			by[id] = append(by[id], n)
		}
	}
	return by
}

// known is what was answered so far.
type known struct {
	src     Source
	changes map[int]*Change
	absent  map[int]bool
	chains  map[int][]Change // what the current patch set of a change stands on
	ids     map[string][]int
	in      map[int][]string
}

// ask asks for all that a walk missed.
func (k *known) ask(ctx context.Context, w *walk) error {
	type answer struct {
		changes []Change
		absent  []int
		ids     map[string][]Change
		chains  [][]Change
		in      [][]string
	}
	a := answer{chains: make([][]Change, len(w.chains)), in: make([][]string, len(w.in))}
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(atOnce)
	if len(w.numbers) > 0 {
		asking.Go(func() (err error) {
			a.changes, a.absent, err = k.lookUp(ctx, w.numbers)
			return err
		})
	}
	if len(w.ids) > 0 {
		asking.Go(func() (err error) {
			a.ids, err = k.src.WithIDs(ctx, w.ids)
			return wrap(err, "look up Depends-On %s", strings.Join(w.ids, ", "))
		})
	}
	for i, c := range w.chains {
		asking.Go(func() (err error) {
			a.chains[i], err = k.src.Ancestors(ctx, *c)
			return wrap(err, "look up what %s stands on", c)
		})
	}
	for i, c := range w.in {
		asking.Go(func() (err error) {
			a.in[i], err = k.src.Branches(ctx, *c)
			return wrap(err, "look up which branches hold %s", c)
		})
	}
	if err := asking.Wait(); err != nil {
		return err
	}
	for _, c := range a.changes {
		k.add(c)
	}
	for _, n := range a.absent {
		k.absent[n] = true
	}
	for _, id := range w.ids {
		k.addID(id, a.ids[id])
	}
	for i, c := range w.chains {
		k.chains[c.Number] = a.chains[i]
	}
	for i, c := range w.in {
		k.in[c.Number] = append([]string{}, a.in[i]...)
	}
	return nil
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

// add keeps a change as it was first told: what is judged is one state of it.
func (k *known) add(c Change) {
	if k.changes[c.Number] == nil {
		k.changes[c.Number] = &c
	}
}

func (k *known) addID(id string, changes []Change) {
	found := []int{}
	for _, c := range changes {
		k.add(c)
		if !slices.Contains(found, c.Number) {
			found = append(found, c.Number)
		}
	}
	slices.Sort(found)
	k.ids[id] = found
}

// lookUp returns the changes with these numbers, and which of them do not exist.
func (k *known) lookUp(ctx context.Context, ns []int) ([]Change, []int, error) {
	found, err := k.changesOf(ctx, ns)
	switch {
	case err == nil:
		return found, nil, nil
	case !errors.Is(err, ErrNotFound):
		return nil, nil, err
	case len(ns) == 1:
		return nil, ns, nil
	}
	// One of them is not there: which ones are, each tells for itself.
	each, lost := make([][]Change, len(ns)), make([]bool, len(ns))
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(atOnce)
	for i, n := range ns {
		asking.Go(func() (err error) {
			each[i], err = k.changesOf(ctx, []int{n})
			if errors.Is(err, ErrNotFound) {
				lost[i], err = true, nil
			}
			return err
		})
	}
	if err := asking.Wait(); err != nil {
		return nil, nil, err
	}
	var absent []int
	found = nil
	for i, n := range ns {
		found = append(found, each[i]...)
		if lost[i] {
			absent = append(absent, n)
		}
	}
	return found, absent, nil
}

// changesOf asks for changes and holds the answer to the question.
func (k *known) changesOf(ctx context.Context, ns []int) ([]Change, error) {
	found, err := k.src.Changes(ctx, ns)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", numbers(ns), err)
	}
	if len(found) != len(ns) {
		return nil, fmt.Errorf("look up %s: %d changes were asked for, %d were told of", numbers(ns), len(ns), len(found))
	}
	for i, n := range ns {
		if found[i].Number != n {
			return nil, fmt.Errorf("look up %s: change %d was asked for, and %d was told of", numbers(ns), n, found[i].Number)
		}
	}
	return found, nil
}

// numbers writes change 1001, or changes 1001, 1002 and 7 more.
func numbers(ns []int) string {
	if len(ns) == 1 {
		return fmt.Sprintf("change %d", ns[0])
	}
	const most = 10
	var words []string
	for _, n := range ns[:min(len(ns), most)] {
		words = append(words, fmt.Sprint(n))
	}
	if len(ns) > most {
		words = append(words, fmt.Sprintf("%d more", len(ns)-most))
	}
	return "changes " + list(words)
}
