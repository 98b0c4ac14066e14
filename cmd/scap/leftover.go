package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"scap/phases"
	"scap/phases/journal"
	"scap/sync/change"
)

// halfMerged returns the changes that a deploy was having merged when it died: they may be approved, and merge by themselves
// once nobody looks.
func halfMerged(past []journal.Record) []journal.Change {
	var o journal.Outline
	open := false
	for _, r := range past {
		switch {
		case r.Kind == journal.Begin:
			if json.Unmarshal(r.Data, &o) != nil {
				return nil // resume has said so
			}
		case r.Act == journal.Merge && r.Kind == journal.Intent:
			open = true
		case r.Act == journal.Merge && (r.Kind == journal.Done || r.Kind == journal.Failed):
			open = false
		}
	}
	if !open {
		return nil
	}
	return o.Changes
}

// disapprove takes back the approvals that a deploy left when it died, and says what is merged. The fleet is on one release
// already: what goes wrong here is told.
func (d *deploy) disapprove(ctx context.Context, past []journal.Record) {
	list := halfMerged(past)
	if len(list) == 0 || d.conf.Gerrit == nil {
		return
	}
	tell := func(text string) {
		fmt.Fprintf(d.stderr, "scap: %s\n", harmless(text))
		if _, err := d.journal.Append(journal.Record{Kind: journal.Note, Act: journal.Merge, Text: text, At: time.Now()}); err != nil {
			fmt.Fprintf(d.stderr, "scap: %s\n", harmless(err.Error()))
		}
	}
	tell("the deploy died while its changes were being merged: what it approved is taken back")
	if err := d.takeBackVotes(context.WithoutCancel(ctx), list, tell); err != nil {
		tell(err.Error())
	}
}

func (d *deploy) takeBackVotes(ctx context.Context, list []journal.Change, tell func(string)) error {
	g := d.conf.Gerrit
	client, err := openGerrit(g, g.Timeout)
	if err != nil {
		return err
	}
	m := &merging{gerrit: client, conf: g, clock: phases.System{}, deploy: voteTag}
	m.begin(tell)
	for _, x := range list {
		if x.Number == 0 {
			continue
		}
		m.changes = append(m.changes, change.Change{
			Number: x.Number, PatchSet: x.PatchSet, Revision: x.Revision, Project: x.Project, Branch: x.Branch, Subject: x.Subject,
		})
		m.approved[x.Number] = true
	}
	return m.withdraw(ctx)
}
