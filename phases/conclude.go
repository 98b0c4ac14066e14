package phases

import (
	"context"
	"errors"
	"slices"

	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

// changed names the targets that may not be as they were.
func (d *run) changed() (hosts []string) {
	for _, w := range d.ways() {
		hosts = append(hosts, w.Target)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.past {
		switch {
		case r.Act != journal.Repair:
		case r.Kind == journal.Intent && !slices.Contains(hosts, r.Target):
			hosts = append(hosts, r.Target)
		case r.Kind == journal.Done:
			hosts = slices.DeleteFunc(hosts, func(h string) bool { return h == r.Target })
		}
	}
	for _, t := range journal.Trials(slices.Values(d.past)) {
		if !slices.Contains(hosts, t.Target) {
			hosts = append(hosts, t.Target)
		}
	}
	return hosts
}

// tried reports whether a target was told to switch, or to try the release. Then "nothing was changed" would be a lie, also when each went back
// by itself: the whole fleet is proven on the previous release before that is said.
func (d *run) tried() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.past, func(r journal.Record) bool {
		return r.Kind == journal.Intent && (r.Act == journal.Activate || r.Act == journal.Try)
	})
}

const backTo = " back to "

func backOwner(deploy string, to release.ID) string { return deploy + backTo + to.String() }

// conclude takes back what is to be taken back and ends the journal.
func (d *run) conclude(ctx context.Context, err error) error {
	if err == nil {
		return d.end(&Ended{How: journal.Deployed})
	}
	hosts := d.changed()
	var late *stragglers
	switch {
	case errors.As(err, &late):
		return d.end(&Ended{How: journal.Inconsistent, Hosts: late.hosts, Suspects: late.suspects, Cause: err})
	case len(hosts) == 0 && !d.tried():
		return d.end(&Ended{How: d.how(ctx, err, journal.Unchanged), Cause: err})
	case errors.Is(err, targets.ErrFenced), d.left():
		return d.end(&Ended{How: journal.Inconsistent, Hosts: hosts, Cause: errors.Join(err, d.leftOnTrial())})
	case d.p.Back && (ctx.Err() == nil || d.from.IsZero()):
		// What came from does not work, or is not known: resume goes on with the rollback.
		return d.end(&Ended{How: journal.Inconsistent, Hosts: d.unprovenNames(), Cause: err})
	}
	how := d.how(ctx, err, journal.RolledBack)
	hosts, bad := d.back(err)
	if len(hosts) > 0 {
		how = journal.Inconsistent
	} else {
		d.prune(d.hard, d.from)
	}
	if d.left() {
		bad = errors.Join(ErrLeft, bad)
	}
	return d.end(&Ended{How: how, Hosts: hosts, Cause: errors.Join(err, bad)})
}

// how names an end on one release by its cause.
func (d *run) how(ctx context.Context, err error, otherwise string) string {
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		return journal.Cancelled
	case errors.Is(err, ErrDeclined) && !errors.Is(err, ErrHold):
		return journal.Declined
	}
	return otherwise
}

// end writes the last record. It returns e, or nil when the deploy is done and written.
func (d *run) end(e *Ended) error {
	r := journal.Record{Kind: journal.End, Verdict: e.How, From: text(d.from), To: text(d.p.Release.ID)}
	if e.How != journal.Deployed {
		r.Text = e.Error()
		if e.How != journal.Inconsistent && e.Cause != nil {
			r.Text = e.Cause.Error() // the verdict says the rest
		}
	}
	r.Token = d.token
	if err := d.note(r); err != nil {
		d.tee.Tell(r)
		e.Cause = errors.Join(e.Cause, err)
		if e.How == journal.Deployed {
			e.How = journal.Inconsistent // it is proven everywhere, but the next run cannot know
		}
	}
	if e.How == journal.Deployed {
		return nil
	}
	return e
}
