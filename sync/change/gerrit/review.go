package gerrit

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"scap/sync/change"
)

// reviewInput is Gerrit's ReviewInput.
type reviewInput struct {
	Message string         `json:"message,omitempty"`
	Tag     string         `json:"tag,omitempty"`
	Labels  map[string]int `json:"labels,omitempty"`
	Notify  string         `json:"notify"`
}

// Vote votes on exactly the patch set x.Revision, under the label of the options. When it returns nil the vote is there.
// It is ErrOutdated when the answer was lost and a newer patch set is there: then the vote has no meaning any more.
func (c *Client) Vote(ctx context.Context, x change.Change, value int, message, tag string) error {
	what := fmt.Sprintf("vote %s%+d on change %d, patch set %d", c.label, value, x.Number, x.PatchSet)
	self, err := c.account(ctx) // first: after a lost answer we must know which vote is ours
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	var result struct {
		Labels map[string]int `json:"labels"`
	}
	err = c.post(ctx, c.revision(x)+"/review", reviewInput{message, tag, map[string]int{c.label: value}, "OWNER"}, &result)
	if got, ok := result.Labels[c.label]; err == nil && (!ok || got != value) {
		err = &Error{Status: 200, Method: "POST", Path: c.below + c.revision(x) + "/review", Body: "the answer does not confirm the vote", lost: true}
	}
	return c.settle(ctx, what, err, func(ctx context.Context) (bool, error) {
		i, err := c.detail(ctx, x)
		if err != nil {
			return false, err
		}
		if i.vote(c.label, self) == value && (i.Current == x.Revision || i.Status == string(change.Merged)) {
			return true, nil // a merge may have made a patch set of its own, which keeps the votes
		}
		return false, i.stands(x)
	})
}

// vote is what somebody has voted.
func (i *changeInfo) vote(label string, by *accountInfo) int {
	for _, a := range i.Labels[label].All {
		if a.ID == by.ID {
			return a.Value
		}
	}
	return 0
}

// Submit submits exactly the patch set x.Revision, with all that it stands on. When it returns nil the change is merged.
func (c *Client) Submit(ctx context.Context, x change.Change) error {
	var result changeInfo
	err := c.post(ctx, c.revision(x)+"/submit", struct{}{}, &result)
	if err == nil && result.Status != string(change.Merged) {
		err = &Error{Status: 200, Method: "POST", Path: c.below + c.revision(x) + "/submit", Body: "the answer does not say that it is merged", lost: true}
	}
	return c.settle(ctx, fmt.Sprintf("submit change %d, patch set %d", x.Number, x.PatchSet), err, func(ctx context.Context) (bool, error) {
		i, err := c.detail(ctx, x)
		if err != nil {
			return false, err
		}
		if i.Status == string(change.Merged) {
			return true, nil
		}
		return false, i.stands(x)
	})
}

// Comment writes a text beside a change's current patch set. After a lost answer, the same text of ours from before counts.
func (c *Client) Comment(ctx context.Context, number int, text, tag string) error {
	what := fmt.Sprintf("comment on change %d", number)
	self, err := c.account(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	found, err := c.Changes(ctx, []int{number})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	err = c.post(ctx, c.revision(found[0])+"/review", reviewInput{Message: text, Tag: tag, Notify: "OWNER"}, &struct{}{})
	return c.settle(ctx, what, err, func(ctx context.Context) (bool, error) {
		i, err := c.detail(ctx, found[0])
		if err != nil {
			return false, err
		}
		return slices.ContainsFunc(i.Messages, func(m messageInfo) bool { // Gerrit writes "Patch Set 3:" before it
			return m.Author.ID == self.ID && strings.Contains(m.Message, strings.TrimSpace(text))
		}), nil
	})
}

// revision is the path of x's patch set.
func (c *Client) revision(x change.Change) string {
	return id(x.Project, x.Number) + "/revisions/" + url.PathEscape(x.Revision)
}
