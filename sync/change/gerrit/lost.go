package gerrit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"scap/sync/change"
)

// looks are the pauses between two looks after a lost answer: a server may still be at work on what its proxy gave up.
var looks = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}

// lastLook bounds a look when the context has ended already.
const lastLook = 5 * time.Second

// settle turns the answer to a write into what is known: nil when it has been done, ErrLost when nobody knows. done looks,
// and says true when it sees that what was asked for is there; its error that is ErrConflict says that it never will be.
func (c *Client) settle(ctx context.Context, what string, err error, done func(context.Context) (bool, error)) error {
	var e *Error
	if err == nil {
		return nil
	}
	if !errors.As(err, &e) || !e.lost {
		return fmt.Errorf("%s: %w", what, err)
	}
	pauses, limit := looks, c.timeout
	if ctx.Err() != nil { // one look, so that who stops here knows what he leaves
		pauses, limit = nil, lastLook
	}
	inner, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if pauses != nil {
			cancel()
		}
	})
	defer stop()
	begun := time.Now()
	for n := 0; ; n++ {
		seen, wrong := done(inner)
		switch {
		case wrong == nil && seen:
			return nil
		case errors.Is(wrong, ErrConflict):
			return fmt.Errorf("%s: %w (the answer was lost: %s)", what, wrong, err.Error())
		}
		if n < len(pauses) {
			timer := time.NewTimer(pauses[n])
			select {
			case <-timer.C:
				continue
			case <-inner.Done():
				timer.Stop()
			}
		}
		saw := fmt.Sprintf("it was not there %s later", time.Since(begun).Round(time.Second))
		if wrong != nil {
			saw = "and looking did not help: " + wrong.Error()
		}
		lost := fmt.Errorf("%s: %w: %s; %s", what, ErrLost, err.Error(), saw)
		if ctx.Err() != nil {
			lost = fmt.Errorf("%w (%w)", lost, context.Cause(ctx))
		}
		return lost
	}
}

// detail asks about one change, past the index, which may be a moment behind.
func (c *Client) detail(ctx context.Context, x change.Change) (*changeInfo, error) {
	i := new(changeInfo)
	err := c.get(ctx, id(x.Project, x.Number)+"/detail?o=CURRENT_REVISION", i)
	if err == nil && i.Number != x.Number {
		err = fmt.Errorf("the answer of %s is about change %d", c.url, i.Number)
	}
	return i, err
}

// stands says whether x is still open and at the patch set that we know.
func (i *changeInfo) stands(x change.Change) error {
	switch {
	case i.Status == string(change.Merged):
		return fmt.Errorf("%w: it has been merged", ErrConflict)
	case i.Status == string(change.Abandoned):
		return fmt.Errorf("%w: it has been abandoned", ErrConflict)
	case i.Current != x.Revision:
		return ErrOutdated
	}
	return nil
}
