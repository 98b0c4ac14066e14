package phases

import (
	"context"
	"errors"

	"scap/phases/journal"
	"scap/targets"
)

// A rollback is for a fleet in trouble: a target that is dead, full or broken is left aside, so that it does not keep the
// others on a release that does not work. The end of the deploy names it.

// leave leaves a target aside for the rest of the deploy.
func (d *run) leave(name string, why error) {
	d.mu.Lock()
	d.aside[name] = true
	d.mu.Unlock()
	d.say(journal.Record{Kind: journal.Note, Target: name, Text: "left aside: " + why.Error()})
}

// going returns those of ts that are not left aside.
func (d *run) going(ts []targets.Target) []targets.Target {
	d.mu.Lock()
	defer d.mu.Unlock()
	var gone []string
	for name := range d.aside {
		gone = append(gone, name)
	}
	return without(ts, gone)
}

// goPast is err of a fan-out, or nil when a rollback goes on past the targets that failed. It does not go past the end of
// ctx, nor another deploy, nor when nobody is left.
func (d *run) goPast(ctx context.Context, rs []targets.Result, err error) error {
	if err == nil || !d.p.Back || d.returning || ctx.Err() != nil || errors.Is(err, targets.ErrFenced) {
		return err
	}
	for _, r := range rs {
		if r.Err != nil {
			d.leave(r.Target, r.Err)
		}
	}
	if len(d.going(d.all)) == 0 {
		return err
	}
	return nil
}
