package phases

import (
	"context"
	"errors"
	"slices"

	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

// claim raises the fencing token on those of ts that keep one.
func (d *run) claim(ctx context.Context, token uint64, owner string, ts []targets.Target) error {
	d.token, d.owner = token, owner
	d.mu.Lock()
	clear(d.claimed)
	d.mu.Unlock()
	f := targets.Fanout{Width: targets.FullWidth, MaxFailures: targets.AnyFailures}
	rs, err := targets.Each(ctx, ts, f, func(ctx context.Context, t targets.Target) error {
		return d.claimOne(ctx, t)
	})
	return wrap(d.goPast(ctx, rs, err), "claim")
}

// claimOne claims t unless that is done. An answer that was lost leaves it to be done again: the target works for nobody
// else than its claimer.
func (d *run) claimOne(ctx context.Context, t targets.Target) error {
	d.mu.Lock()
	done := d.claimed[t.Name()]
	d.mu.Unlock()
	steward, ok := t.(targets.Steward)
	if !ok || done {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.limit(t.Name()))
	defer cancel()
	r := journal.Record{Act: journal.Claim, Target: t.Name()}
	err := d.act(ctx, r, func() error { return steward.Claim(ctx, d.token, d.owner) })
	d.mu.Lock()
	defer d.mu.Unlock()
	d.claimed[t.Name()] = err == nil
	return err
}

// repair brings the named targets to From before the deploy begins, at most as many at once as their pools allow.
func (d *run) repair(ctx context.Context, list []string) error {
	var ts []targets.Target
	for _, name := range list {
		t, _ := d.target(name)
		ts = append(ts, t)
	}
	f := targets.Fanout{Width: targets.FullWidth, MaxFailures: targets.AnyFailures, Timeout: d.p.Limits.Stage}
	_, err := targets.Each(ctx, ts, f, func(ctx context.Context, t targets.Target) error {
		r := journal.Record{Act: journal.Stage, Target: t.Name(), To: text(d.from)}
		return d.act(ctx, r, func() error { return t.Stage(ctx, release.Release{ID: d.from}) })
	})
	if err != nil {
		return wrap(err, "stage %s to repair", d.from.Short())
	}
	var errs []error
	for _, r := range d.bring(ctx, goal{to: d.from, other: d.p.Release.ID, verb: journal.Repair}, ts) {
		errs = append(errs, wrap(r.Err, "repair %s", r.Target))
	}
	return errors.Join(errs...)
}

// repaired looks at the named targets again: what they run since they were repaired is what a gate compares with.
func (d *run) repaired(ctx context.Context, list []string) {
	for _, s := range d.survey(ctx, slices.DeleteFunc(slices.Clone(d.all), func(t targets.Target) bool { return !slices.Contains(list, t.Name()) })) {
		if s.Err == nil {
			s.State.Releases = d.first[s.Name()].State.Releases // what it had before the deploy
			d.first[s.Name()] = s
		}
	}
}

// verify hashes the way back on every target; for a rollback, what it goes back to where it is there.
func (d *run) verify(ctx context.Context) error {
	id := d.from
	if d.p.Back {
		id = d.p.Release.ID
	}
	f := targets.Fanout{Width: targets.FullWidth, MaxFailures: targets.AnyFailures, Timeout: d.p.Limits.Verify}
	rs, err := targets.Each(ctx, d.going(d.all), f, func(ctx context.Context, t targets.Target) error {
		steward, ok := t.(targets.Steward)
		if !ok || (d.p.Back && !slices.Contains(d.first[t.Name()].State.Releases, id)) {
			return nil
		}
		r := journal.Record{Act: journal.Verify, Target: t.Name(), To: text(id)}
		return d.act(ctx, r, func() error { return steward.Verify(ctx, id) })
	})
	return wrap(d.goPast(ctx, rs, err), "verify %s", id.Short())
}
