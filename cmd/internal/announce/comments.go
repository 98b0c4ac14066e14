package announce

import (
	"context"
	"errors"
	"fmt"
)

// comments puts a comment on each change of a deploy, where its author and reviewers look.
type comments struct {
	comment func(ctx context.Context, number int, text string) error
}

// Tell comments on each change that is public. How to try again, and whether, is known to who gave the function.
func (c *comments) Tell(ctx context.Context, e Event) error {
	if e.facts == nil {
		return nil
	}
	text := e.comment()
	if text == "" {
		return nil
	}
	var errs []error
	for _, ch := range e.facts.outline.Changes {
		if ch.Number <= 0 {
			continue
		}
		if err := c.comment(ctx, ch.Number, text); err != nil {
			errs = append(errs, fmt.Errorf("comment on %d: %w", ch.Number, err))
		}
	}
	return errors.Join(errs...)
}

// comment is what e says to those who look at a change; empty when that is nothing. How it ended is no news on a change that
// was never served anywhere.
func (e Event) comment() string {
	f := e.facts
	by := ""
	if w := who(f.outline.User, f.outline.Host); w != "" {
		by = " by " + w
	}
	merged := ""
	if f.merged {
		merged = "\n\nIt is merged, and not deployed: a revert keeps it from the next deploy."
	}
	switch {
	case e.What == Tested:
		return "On the test servers" + by + e.Rest[len(" synced to the testservers"):] + ": it can be looked at there."
	case e.What == Deployed && f.outline.Back:
		return ""
	case e.What == Deployed:
		return "Deployed" + by + e.Rest + ": proven on every host."
	case !f.touched:
		return ""
	case e.What == RolledBack:
		return "Rolled back" + by + e.Rest + merged
	case e.What == Cancelled, e.What == Declined:
		return map[What]string{Cancelled: "Cancelled", Declined: "Declined"}[e.What] + by + e.Rest + merged
	case e.What == Inconsistent:
		return "NOT CONSISTENT" + e.Rest
	case e.What == Watch:
		return "FAILED" + e.Rest
	}
	return ""
}
