package journal

import (
	"encoding/json"
	"iter"
	"slices"
	"time"
)

// Term is the Data of a Try's Intent: until when the target keeps the trial at the latest. An Intent without a target
// prolongs all trials of its phase.
type Term struct {
	Until time.Time `json:"until"`
}

// Trial is a trial that may run: Target may be sending To a share of its requests, until Until at the latest.
type Trial struct {
	Way
	Until time.Time
}

// Trials returns the trials of a deploy that are not known to be over, oldest first. Like an activation, an intent without an
// outcome counts as done, and so does a failure that does not say Returned. A trial is over when it was abandoned, when its
// release was activated, and when its target was seen to serve From again, and nothing else.
func Trials(records iter.Seq[Record]) []Trial {
	var open []Trial
	for r := range records {
		over := r.Target != "" && (r.Kind == Undone ||
			r.Kind == Done && (r.Act == Abandon || r.Act == Activate) ||
			r.Kind == Failed && (r.Act == Try || r.Act == Activate) && r.Verdict == Returned)
		switch {
		case over:
			open = slices.DeleteFunc(open, func(t Trial) bool { return t.Target == r.Target })
		case r.Kind == Intent && r.Act == Try:
			open = begun(open, r)
		}
	}
	return open
}

// begun takes the intent of a trial, or of keeping those of a phase for longer.
func begun(open []Trial, r Record) []Trial {
	var term Term
	_ = json.Unmarshal(r.Data, &term) // one that cannot be read leaves the end unknown, and the trial open
	known := false
	for i := range open {
		if open[i].Target == r.Target || r.Target == "" && open[i].Phase == r.Phase {
			known = true
			if term.Until.After(open[i].Until) {
				open[i].Until = term.Until
			}
		}
	}
	if known || r.Target == "" {
		return open
	}
	return append(open, Trial{Way{Target: r.Target, Phase: r.Phase, From: r.From, To: r.To, Token: r.Token}, term.Until})
}
