package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scap/cmd/internal/config"
	"scap/phases"
	"scap/sync/change"
)

// review is a review system in a bubble: what it does at each look is scripted.
type review struct {
	t     *testing.T
	now   map[int]change.Change
	looks int
	at    func(r *review, look int) error // before look; its error is the answer
	votes []string
	vote  func(c change.Change, value int) error
}

func (r *review) Changes(_ context.Context, numbers []int) ([]change.Change, error) {
	r.looks++
	if r.at != nil {
		if err := r.at(r, r.looks); err != nil {
			return nil, err
		}
	}
	var list []change.Change
	for _, n := range numbers {
		list = append(list, r.now[n])
	}
	return list, nil
}

func (r *review) Vote(ctx context.Context, c change.Change, value int, _, _ string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.votes = append(r.votes, fmt.Sprintf("%d/%d %+d", c.Number, c.PatchSet, value))
	if r.vote != nil {
		return r.vote(c, value)
	}
	return nil
}

func (r *review) Submit(_ context.Context, c change.Change) error {
	r.votes = append(r.votes, fmt.Sprintf("%d submitted", c.Number))
	r.set(c.Number, func(c *change.Change) { c.Status = change.Merged })
	return nil
}

func (r *review) set(n int, do func(*change.Change)) {
	c := r.now[n]
	do(&c)
	r.now[n] = c
}

func (r *review) merge(n int) { r.set(n, func(c *change.Change) { c.Status = change.Merged }) }

func vote(label string, value int, by string) func(*change.Change) {
	return func(c *change.Change) {
		c.Votes = append(slices.Clone(c.Votes), change.Vote{Label: label, Value: value, By: by, At: time.Now()})
	}
}

// merged runs a merge of 1001 and 1002 and returns what was told.
func merged(t *testing.T, conf config.Gerrit, prepare func(*review)) (r *review, told string, took time.Duration, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r = &review{t: t, now: map[int]change.Change{}}
		m := merging{gerrit: r, conf: &conf, clock: phases.System{}, who: "jd@deploy1"}
		for _, n := range []int{1001, 1002} {
			c := change.Change{Number: n, Subject: fmt.Sprint("change ", n), Project: "p", Branch: "b", PatchSet: 3, Revision: fmt.Sprint("rev", n), Status: change.New, Mergeable: change.Yes}
			r.now[n] = c
			m.changes = append(m.changes, c)
		}
		prepare(r)
		began := time.Now()
		var lines []string
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		err = m.run(ctx, func(text string) { lines = append(lines, text) })
		took, told = time.Since(began), strings.Join(lines, "\n")
	})
	return r, told, took, err
}

func approvals() config.Gerrit {
	return config.Gerrit{Label: "Code-Review", Approve: 2, Submit: config.SubmitByCI, CIUsers: []string{"jenkins-bot"}, MergeTimeout: 10 * time.Minute, Poll: 5 * time.Second}
}

func TestMergeGoesOnlyOnWithWhatWasConfirmed(t *testing.T) {
	both := func(r *review, look int) error {
		if look >= 4 {
			r.merge(1001)
		}
		if look >= 6 {
			r.merge(1002)
		}
		return nil
	}
	plus := []string{"1001/3 +2", "1002/3 +2"}
	withdrawn := append(slices.Clone(plus), "1002/3 +0", "1001/3 +0")
	for _, row := range []struct {
		name    string
		prepare func(*review)
		votes   []string
		says    string // of the error; "" is none
		told    string
	}{
		{"merged by CI", func(r *review) { r.at = both }, plus, "", "1002 is merged"},
		{"merged before", func(r *review) { r.merge(1001); r.at = both }, []string{"1002/3 +2"}, "", "1001 is merged already"},
		{"a new patch set before the approval", func(r *review) {
			r.set(1002, func(c *change.Change) { c.PatchSet, c.Revision = 4, "other" })
		}, nil, "1002 \"change 1002\" (p b) has a new patch set: 3 was tested, 4 is there now", ""},
		{"a new patch set while waiting", func(r *review) {
			r.at = func(r *review, look int) error {
				if look == 3 {
					r.set(1002, func(c *change.Change) { c.PatchSet, c.Revision = 4, "other" })
				}
				return nil
			}
		}, []string{"1001/3 +2", "1002/3 +2", "1002/4 +0", "1001/3 +0"}, "has a new patch set", ""},
		{"an approval that somebody takes away", func(r *review) {
			r.vote = func(c change.Change, value int) error {
				r.set(c.Number, vote("Code-Review", value, "deployer"))
				return nil
			}
			r.at = func(r *review, look int) error {
				if look == 4 {
					r.set(1001, func(c *change.Change) { c.Votes = nil })
				}
				return nil
			}
		}, withdrawn, "1001 \"change 1001\" (p b) is approved no more", ""},
		{"marked as work in progress while waiting", func(r *review) {
			r.at = func(r *review, look int) error {
				if look == 3 {
					r.set(1001, func(c *change.Change) { c.WIP = true })
				}
				return nil
			}
		}, withdrawn, "is marked as work in progress", ""},
		{"gone while waiting", func(r *review) {
			r.at = func(_ *review, look int) error {
				if look >= 3 {
					return fmt.Errorf("1001: %w", change.ErrNotFound)
				}
				return nil
			}
		}, withdrawn, "1001: " + change.ErrNotFound.Error(), ""},
		{"merged at the last moment", func(r *review) {
			r.at = func(r *review, look int) error {
				if look == 3 {
					r.set(1002, vote("Code-Review", -2, "sam"))
				}
				if look == 4 {
					r.merge(1002)
				}
				return nil
			}
		}, []string{"1001/3 +2", "1002/3 +2", "1001/3 +0"}, "merged, but not deployed: 1002", ""},
		{"a veto before", func(r *review) { r.set(1001, vote("Code-Review", -2, "sam")) }, nil, "Code-Review -2 by sam", ""},
		{"a veto while waiting", func(r *review) {
			r.at = func(r *review, look int) error {
				if look == 3 {
					r.set(1001, vote("Code-Review", -2, "sam"))
				}
				return nil
			}
		}, withdrawn, "Code-Review -2 by sam", ""},
		{"a doubt while waiting", func(r *review) {
			r.at = func(r *review, look int) error {
				if look == 3 {
					r.set(1001, vote("Code-Review", -1, "sam"))
				}
				return both(r, look)
			}
		}, plus, "", "Code-Review -1 by sam since the approval"},
		{"tests that failed before", func(r *review) { r.set(1001, vote("Verified", -1, "jenkins-bot")); r.at = both }, plus, "", ""},
		{"tests that fail after", func(r *review) {
			r.at = func(r *review, look int) error {
				if look == 3 {
					r.set(1001, vote("Verified", -1, "jenkins-bot"))
				}
				return nil
			}
		}, withdrawn, "has failed its tests after the approval: Verified -1 by jenkins-bot", ""},
		{"a bystander's tests", func(r *review) {
			r.at = func(r *review, look int) error {
				if look == 3 {
					r.set(1001, vote("Verified", -1, "somebody"))
				}
				return both(r, look)
			}
		}, plus, "", ""},
		{"abandoned while waiting", func(r *review) {
			r.at = func(r *review, look int) error {
				if look == 3 {
					r.merge(1001)
					r.set(1002, func(c *change.Change) { c.Status = change.Abandoned })
				}
				return nil
			}
		}, []string{"1001/3 +2", "1002/3 +2", "1002/3 +0"}, "merged, but not deployed: 1001", ""},
		{"a conflict that Gerrit takes back", func(r *review) {
			r.at = func(r *review, look int) error {
				r.set(1001, func(c *change.Change) { c.Mergeable = change.Yes })
				if look == 3 {
					r.set(1001, func(c *change.Change) { c.Mergeable = change.No })
				}
				return both(r, look)
			}
		}, plus, "", ""},
		{"a conflict", func(r *review) {
			r.at = func(r *review, look int) error {
				if look >= 3 {
					r.set(1001, func(c *change.Change) { c.Mergeable = change.No })
				}
				return nil
			}
		}, withdrawn, "has a merge conflict with b", ""},
		{"Gerrit is away for a while", func(r *review) {
			r.at = func(r *review, look int) error {
				if look == 3 || look == 4 {
					return errors.New("503 Service Unavailable")
				}
				return both(r, look+2)
			}
		}, plus, "", "Gerrit does not answer: 503"},
		{"Gerrit is away before the approval", func(r *review) {
			r.at = func(*review, int) error { return errors.New("503 Service Unavailable") }
		}, nil, "before the approval: 503", ""},
		{"an approval that is refused", func(r *review) {
			r.vote = func(c change.Change, value int) error {
				if c.Number == 1002 && value > 0 {
					return errors.New("403")
				}
				return nil
			}
		}, withdrawn, "approve 1002", ""},
		{"nobody merges it", func(*review) {}, withdrawn, "the changes were not merged in time", "0 of 2 merged after"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, told, took, err := merged(t, approvals(), row.prepare)
			if !slices.Equal(r.votes, row.votes) {
				t.Errorf("votes %q, want %q", r.votes, row.votes)
			}
			if strings.Contains(row.name, "gone") && took > time.Minute {
				t.Errorf("it waited %v for what does not come back", took)
			}
			if (err == nil) != (row.says == "") || err != nil && !strings.Contains(err.Error(), row.says) {
				t.Errorf("%v, want %q", err, row.says)
			}
			if !strings.Contains(told, row.told) {
				t.Errorf("told %q, want %q in it", told, row.told)
			}
			if took > 10*time.Minute {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestMergeBySubmitting(t *testing.T) {
	conf := approvals()
	conf.Submit = config.SubmitByScap
	r, _, took, err := merged(t, conf, func(*review) {})
	if want := []string{"1001/3 +2", "1001 submitted", "1002/3 +2", "1002 submitted"}; err != nil || !slices.Equal(r.votes, want) || took > time.Second {
		t.Errorf("%q after %v, %v; want %q", r.votes, took, err, want)
	}
}

func TestMergeEndsWithTheDeployer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &review{t: t, now: map[int]change.Change{7: {Number: 7, Revision: "r", PatchSet: 1, Status: change.New}}}
		conf := approvals()
		m := merging{gerrit: r, conf: &conf, clock: phases.System{}, changes: []change.Change{r.now[7]}}
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("Ctrl-C")
		r.at = func(_ *review, look int) error {
			if look == 3 {
				cancel(stop)
			}
			return nil
		}
		err := m.run(ctx, func(string) {})
		if want := []string{"7/1 +2", "7/1 +0"}; !errors.Is(err, stop) || !slices.Equal(r.votes, want) {
			t.Errorf("%v, votes %q; want %q", err, r.votes, want)
		}
	})
}
