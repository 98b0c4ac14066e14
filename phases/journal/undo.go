package journal

import (
	"iter"
	"slices"
)

// Returned is the Verdict of a Failed record whose target serves From again, proven: there is nothing to take back.
const Returned = "old"

// Way is one act to take back: Target was told to serve To in place of From.
type Way struct {
	Target string
	Phase  string
	From   string
	To     string
	Token  uint64
}

// Undo returns what of a deploy is to be taken back, newest first: every target whose activation was intended and not
// seen to be back on From. An intent without an outcome counts as done, and so does a failure that does not say Returned:
// the act may have happened. A target that was activated more than once is in the list once, by its newest intent, with
// the From of its first. One that was isolated is taken back like the others, in its place in the order: it is not in the
// pool, where it was before.
func Undo(records iter.Seq[Record]) []Way {
	var ways []Way
	drop := func(target string) (first Way, ok bool) {
		i := slices.IndexFunc(ways, func(w Way) bool { return w.Target == target })
		if i < 0 {
			return Way{}, false
		}
		first = ways[i]
		ways = slices.Delete(ways, i, i+1)
		return first, true
	}
	for r := range records {
		isIn := func(w Way) bool { return w.Target == r.Target }
		switch {
		case r.Kind == Intent && r.Act == Isolate && !slices.ContainsFunc(ways, isIn):
			ways = append(ways, Way{Target: r.Target, Phase: r.Phase, From: r.From, To: r.To, Token: r.Token})
		case r.Kind == Intent && r.Act == Activate:
			way := Way{Target: r.Target, Phase: r.Phase, From: r.From, To: r.To, Token: r.Token}
			if first, ok := drop(r.Target); ok {
				way.From = first.From
			}
			ways = append(ways, way)
		case r.Kind == Undone, r.Kind == Failed && r.Act == Activate && r.Verdict == Returned:
			drop(r.Target)
		}
	}
	slices.Reverse(ways)
	return ways
}
