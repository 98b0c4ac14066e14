package phases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

// stragglers is the error of a deploy whose release has passed every gate while some targets could not be brought to it, or
// are suspects, and serve nobody.
type stragglers struct {
	hosts    []string
	suspects []string
	err      error
}

func (s *stragglers) Error() string {
	if len(s.suspects) == len(s.hosts) {
		return s.err.Error()
	}
	return fmt.Sprintf("not on the release: %v", s.err)
}
func (s *stragglers) Unwrap() error { return s.err }

// finish proves the whole fleet. What is missing is repaired once: every gate has passed. A target that still serves the
// old release takes the deploy back; one that serves nobody is named. A suspect is not repaired: it would serve again.
func (d *run) finish(ctx context.Context) error {
	to := d.p.Release.ID
	bad := d.unproven(d.survey(ctx, d.all), to)
	if len(bad) > 0 && ctx.Err() == nil {
		_ = d.bring(ctx, goal{to: to, other: d.from, verb: journal.Repair, tries: 1}, d.going(d.trusted(targetsOf(bad)))) // what counts is the next look
		bad = d.unproven(d.survey(ctx, d.all), to)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if len(bad) == 0 {
		return nil
	}
	s := &stragglers{}
	var errs, serving []error
	for _, b := range bad {
		err := fmt.Errorf("%s: %w", b.Name(), d.proof(b, to))
		if why := d.suspicion(b.Name()); why != nil {
			err = why
			s.suspects = append(s.suspects, b.Name())
		}
		errs, s.hosts = append(errs, err), append(s.hosts, b.Name())
		if b.Err == nil && (b.State.Serving || settled(b.State, b.State.Disk)) {
			serving = append(serving, err)
		}
	}
	if s.err = errors.Join(errs...); len(serving) > 0 && !d.p.Back {
		return fmt.Errorf("serve something else than the release: %w", errors.Join(serving...))
	}
	return s
}

func (d *run) unproven(list []Seen, id release.ID) (bad []Seen) {
	for _, s := range list {
		if d.proof(s, id) != nil {
			bad = append(bad, s)
		}
	}
	return bad
}

// unprovenNames asks all targets and names those that are not proven on the release.
func (d *run) unprovenNames() []string {
	return names(targetsOf(d.unproven(d.survey(d.hard, d.all), d.p.Release.ID)))
}

func targetsOf(list []Seen) (ts []targets.Target) {
	for _, s := range list {
		ts = append(ts, s.Target)
	}
	return ts
}

// prune removes what the plan does not keep, nor good names. The deploy is over: a failure is noted and changes nothing.
// It is done after a way back too: the refused release is no good to anybody, and pruning makes ready what lets the next
// deploy, the mended one, be staged quickly.
func (d *run) prune(ctx context.Context, good ...release.ID) {
	if !d.p.Prune || ctx.Err() != nil {
		return
	}
	keep := append(slices.Clone(d.p.Keep), good...)
	if d.p.KeepFound {
		for _, s := range d.first {
			keep = append(keep, s.State.Releases...)
		}
		slices.SortFunc(keep, func(a, b release.ID) int { return slices.Compare(a[:], b[:]) })
		keep = slices.Compact(keep)
	}
	f := targets.Fanout{Width: targets.FullWidth, MaxFailures: targets.AnyFailures, Timeout: 5 * time.Minute}
	_, err := targets.Each(ctx, d.all, f, func(ctx context.Context, t targets.Target) error {
		steward, ok := t.(targets.Steward)
		if !ok {
			return nil
		}
		return d.act(ctx, journal.Record{Act: journal.Prune, Target: t.Name()}, func() error { return steward.Prune(ctx, d.token, keep) })
	})
	if err != nil {
		d.say(journal.Record{Kind: journal.Note, Act: journal.Prune, Text: err.Error()})
	}
}
