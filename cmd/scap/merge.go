package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"scap/cmd/internal/config"
	"scap/phases"
	"scap/sync/change"
)

// reviewer is what merging needs of the review system.
type reviewer interface {
	Changes(ctx context.Context, numbers []int) ([]change.Change, error)
	Vote(ctx context.Context, c change.Change, value int, message, tag string) error
	Submit(ctx context.Context, c change.Change) error
}

// merging approves changes, exactly as they were confirmed, and waits until they are merged. Whatever stands in the way
// ends it: nobody is asked to approve something else instead.
type merging struct {
	gerrit  reviewer
	conf    *config.Gerrit
	clock   phases.Clock
	changes []change.Change // as confirmed, in the order in which they are approved
	who     string          // whose approval it is, for people
	tested  string          // where the changes were before that, for people
	deploy  string          // what the votes are tagged with

	tell     func(text string)
	approved map[int]bool // voted for, and not known to be merged
	merged   map[int]bool
	before   map[int][]change.Vote // the votes there were before ours
	stands   map[int]bool          // an approval was seen on it
	stuck    map[int]bool          // not mergeable when last asked
	said     map[string]bool
}

// errMergeLimit says that the changes are not merged in time.
var errMergeLimit = errors.New("the changes were not merged in time")

// run returns once all changes are merged. When it fails the approval of those that are not is taken back, so that they do
// not merge behind everybody's back later; the error names those that are merged already.
func (m *merging) run(ctx context.Context, tell func(text string)) error {
	m.begin(tell)
	limited, cancel := context.WithTimeoutCause(ctx, m.conf.MergeTimeout, fmt.Errorf("%w: gerrit.merge_timeout is %s", errMergeLimit, config.FormatDuration(m.conf.MergeTimeout)))
	defer cancel()
	err := m.approve(limited)
	if err == nil {
		err = m.wait(limited)
	}
	if err == nil {
		return nil
	}
	if limited.Err() != nil && !errors.Is(err, context.Cause(limited)) {
		err = errors.Join(context.Cause(limited), err)
	}
	return errors.Join(err, m.withdraw(context.WithoutCancel(ctx)))
}

func (m *merging) begin(tell func(text string)) {
	m.tell = tell
	m.approved, m.merged, m.before, m.stuck, m.said = map[int]bool{}, map[int]bool{}, map[int][]change.Vote{}, map[int]bool{}, map[string]bool{}
	m.stands = map[int]bool{}
}

// approve votes for every change that is not merged.
func (m *merging) approve(ctx context.Context) error {
	now, err := m.look(ctx)
	if err != nil {
		return fmt.Errorf("before the approval: %w", err)
	}
	for i, c := range now {
		m.before[c.Number] = c.Votes
		if err := m.fit(m.changes[i], c); err != nil {
			return err
		}
	}
	for _, c := range m.changes {
		if m.merged[c.Number] {
			m.tell(fmt.Sprintf("%d is merged already", c.Number))
			continue
		}
		m.approved[c.Number] = true // it may be, whatever the answer
		text := fmt.Sprintf("Approved by %s using scap backport: %s.", m.who, m.tested)
		if err := m.gerrit.Vote(ctx, c, m.conf.Approve, text, m.deploy); err != nil {
			return fmt.Errorf("approve %s: %w", title(c), err)
		}
		m.tell(fmt.Sprintf("%d approved: +%d on patch set %d", c.Number, m.conf.Approve, c.PatchSet))
		if m.conf.Submit != config.SubmitByScap {
			continue
		}
		if err := m.gerrit.Submit(ctx, c); err != nil {
			return fmt.Errorf("submit %s: %w", title(c), err)
		}
	}
	return nil
}

// wait looks until all changes are merged. The review system may be down meanwhile.
func (m *merging) wait(ctx context.Context) error {
	began := m.clock.Now()
	told := began
	for {
		now, err := m.look(ctx)
		switch {
		case errors.Is(err, change.ErrNotFound):
			return err
		case err != nil && ctx.Err() == nil:
			m.once("Gerrit does not answer: "+err.Error()+"; it is asked again", "down")
		case err == nil:
			delete(m.said, "down")
			for i, c := range now {
				was := m.merged[c.Number]
				if err := m.fit(m.changes[i], c); err != nil {
					return err
				}
				if m.merged[c.Number] && !was {
					m.tell(fmt.Sprintf("%d is merged", c.Number))
				}
			}
		}
		if len(m.merged) == len(m.changes) {
			return nil
		}
		if t := m.clock.Now(); t.Sub(told) >= 30*time.Second {
			told = t
			m.tell(fmt.Sprintf("%d of %d merged after %s; still waiting for %s (at most %s in all)", len(m.merged), len(m.changes),
				t.Sub(began).Round(time.Second), numbers(m.open()), config.FormatDuration(m.conf.MergeTimeout)))
		}
		if err := m.clock.Wait(ctx, m.conf.Poll); err != nil {
			return fmt.Errorf("waiting for %s to be merged: %w", numbers(m.open()), err)
		}
	}
}

// look asks how the changes are now, in m's order.
func (m *merging) look(ctx context.Context) ([]change.Change, error) {
	now, err := m.gerrit.Changes(ctx, numbersOf(m.changes))
	if err != nil {
		return nil, err
	}
	if len(now) != len(m.changes) {
		return nil, fmt.Errorf("gerrit answered for %d of %d changes", len(now), len(m.changes))
	}
	return now, nil
}

// fit says what keeps a change from being merged as it was confirmed.
func (m *merging) fit(confirmed, now change.Change) error {
	switch {
	case now.Status == change.Merged:
		m.merged[now.Number] = true
		delete(m.approved, now.Number)
		return nil
	case now.Status == change.Abandoned:
		return fmt.Errorf("%s was abandoned", title(confirmed))
	case now.Revision != confirmed.Revision:
		return fmt.Errorf("%s has a new patch set: %d was tested, %d is there now. Begin again: `scap backport %d`", title(confirmed), confirmed.PatchSet, now.PatchSet, now.Number)
	case now.WIP:
		return fmt.Errorf("%s is marked as work in progress", title(confirmed))
	case now.Mergeable == change.No && m.stuck[now.Number]:
		return fmt.Errorf("%s has a merge conflict with %s: rebase it, then begin again", title(confirmed), now.Branch)
	}
	m.stuck[now.Number] = now.Mergeable == change.No
	return m.votes(confirmed, now)
}

// votes looks for those against the change that came since the approval; a veto counts whenever it came. An approval that
// was there and is there no more is one against it.
func (m *merging) votes(confirmed, now change.Change) error {
	approved := slices.ContainsFunc(now.Votes, func(v change.Vote) bool { return v.Label == m.conf.Label && v.Value >= m.conf.Approve })
	if m.approved[now.Number] && m.stands[now.Number] && !approved {
		return fmt.Errorf("%s is approved no more: somebody took %s +%d away", title(confirmed), m.conf.Label, m.conf.Approve)
	}
	m.stands[now.Number] = m.approved[now.Number] && approved
	for _, v := range now.Votes {
		fresh := !slices.Contains(m.before[now.Number], v)
		switch {
		case v.Value >= 0:
		case v.Label == m.conf.Label && v.Value <= -2:
			return fmt.Errorf("%s has %s %d by %s", title(confirmed), v.Label, v.Value, v.By)
		case fresh && v.Label == m.conf.Label:
			m.once(fmt.Sprintf("%s has %s %d by %s since the approval", title(confirmed), v.Label, v.Value, v.By), fmt.Sprint(now.Number, v.By))
		case fresh && (len(m.conf.CIUsers) == 0 || slices.Contains(m.conf.CIUsers, v.By)):
			return fmt.Errorf("%s has failed its tests after the approval: %s %d by %s", title(confirmed), v.Label, v.Value, v.By)
		}
	}
	return nil
}

func (m *merging) once(text, key string) {
	if !m.said[key] {
		m.said[key] = true
		m.tell(text)
	}
}

// open lists the changes that are not merged.
func (m *merging) open() (list []int) {
	for _, c := range m.changes {
		if !m.merged[c.Number] {
			list = append(list, c.Number)
		}
	}
	return list
}

// withdrawLimit bounds what an approval may take to be taken back.
const withdrawLimit = 30 * time.Second

// withdraw takes back the approval of what is not merged, and says what is. A newer patch set may have taken the approval
// over, so it is taken back from what is there now.
func (m *merging) withdraw(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, withdrawLimit)
	defer cancel()
	var errs []error
	for _, c := range slices.Backward(m.changes) {
		if !m.approved[c.Number] {
			continue
		}
		if now, err := m.glance(ctx, c.Number); err == nil {
			if now.Status == change.Merged {
				m.merged[c.Number] = true
				continue
			}
			c = now
		}
		err := m.gerrit.Vote(ctx, c, 0, "scap backport did not go on: the approval is taken back.", m.deploy)
		if err == nil {
			m.tell(fmt.Sprintf("the approval of %d is taken back", c.Number))
			continue
		}
		if now, look := m.glance(ctx, c.Number); look == nil && now.Status == change.Merged {
			m.merged[c.Number] = true
			continue
		}
		errs = append(errs, fmt.Errorf("the approval of %d could not be taken back: it may still be merged by itself: %w", c.Number, err))
	}
	if len(m.merged) > 0 {
		var list []int
		for _, c := range m.changes {
			if m.merged[c.Number] {
				list = append(list, c.Number)
			}
		}
		errs = append(errs, fmt.Errorf("merged, but not deployed: %s. `scap backport --revert %s` takes it out of the branch again", numbers(list), strings.ReplaceAll(numbers(list), ",", "")))
	}
	return errors.Join(errs...)
}

// glance asks how a change is now, and leaves time for doing something about it.
func (m *merging) glance(ctx context.Context, number int) (change.Change, error) {
	ctx, cancel := context.WithTimeout(ctx, withdrawLimit/3)
	defer cancel()
	now, err := m.gerrit.Changes(ctx, []int{number})
	if err == nil && (len(now) != 1 || now[0].Number != number) {
		err = change.ErrNotFound
	}
	if err != nil {
		return change.Change{}, err
	}
	return now[0], nil
}

// title names a change for people.
func title(c change.Change) string {
	return fmt.Sprintf("%d %q (%s %s)", c.Number, c.Subject, c.Project, c.Branch)
}

func numbers(list []int) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = fmt.Sprint(n)
	}
	return strings.Join(words, ", ")
}
