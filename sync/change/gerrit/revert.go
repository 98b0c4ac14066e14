package gerrit

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"scap/sync/change"
)

// Revert makes a change that takes back x, which is merged, and returns it. The message is its commit's, whole; Gerrit adds
// a Change-Id. When an error comes with a Number, the revert is there and only its description is missing.
func (c *Client) Revert(ctx context.Context, x change.Change, message string) (change.Change, error) {
	what := fmt.Sprintf("revert change %d", x.Number)
	self, err := c.account(ctx)
	if err != nil {
		return change.Change{}, fmt.Errorf("%s: %w", what, err)
	}
	before, err := c.reverts(ctx, x.Number) // so that after a lost answer the new one is told from these
	if err != nil {
		return change.Change{}, fmt.Errorf("%s: %w", what, err)
	}
	var made changeInfo
	err = c.post(ctx, id(x.Project, x.Number)+"/revert", struct {
		Message string `json:"message,omitempty"`
	}{message}, &made)
	if err == nil && made.Number <= 0 {
		err = &Error{Status: 200, Method: "POST", Path: c.below + id(x.Project, x.Number) + "/revert", Body: "the answer names no change", lost: true}
	}
	err = c.settle(ctx, what, err, func(ctx context.Context) (bool, error) {
		now, err := c.reverts(ctx, x.Number)
		if err != nil {
			return false, err
		}
		var ours []int
		for _, i := range now {
			if i.Owner.ID == self.ID && !slices.ContainsFunc(before, func(b *changeInfo) bool { return b.Number == i.Number }) {
				ours = append(ours, i.Number)
			}
		}
		if len(ours) > 1 {
			return false, fmt.Errorf("there are several new reverts: %s", strings.Trim(fmt.Sprint(ours), "[]"))
		}
		if len(ours) == 1 {
			made.Number = ours[0]
		}
		return len(ours) == 1, nil
	})
	if err != nil {
		return change.Change{}, err
	}
	list, err := c.Changes(ctx, []int{made.Number})
	if err != nil {
		return change.Change{Number: made.Number, Project: x.Project, Branch: x.Branch, RevertOf: x.Number, Status: change.New},
			fmt.Errorf("%s: change %d does it: %w", what, made.Number, err)
	}
	return list[0], nil
}

// reverts are the changes that take back a change, whatever became of them.
func (c *Client) reverts(ctx context.Context, number int) ([]*changeInfo, error) {
	return c.query(ctx, question{text: fmt.Sprintf("revertof:%d", number), n: page, most: maxList, whole: true})
}

// Reverts returns the changes that take back a change, whatever became of them, by number.
func (c *Client) Reverts(ctx context.Context, number int) ([]change.Change, error) {
	found, err := c.batches(ctx, []string{fmt.Sprintf("revertof:%d", number)}, func(some []string) question {
		return question{text: some[0], n: page, most: maxList, whole: true}
	}, func(i *changeInfo) bool { return i.RevertOf == number })
	if err != nil {
		return nil, err
	}
	list := make([]change.Change, 0, len(found))
	for _, x := range found {
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b change.Change) int { return a.Number - b.Number })
	return list, nil
}
