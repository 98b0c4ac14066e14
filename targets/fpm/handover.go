package fpm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"scap/sync/release"
	"scap/targets/fpm/keeper"
)

// errServing is a switch that would have to stop a host that users reach.
var errServing = errors.New("users reach the host, and its php-fpm would have to stop")

// switchHandover is Switch of a host that is to hand over, or whose runtime is to change hands.
func (r *Runtime) switchHandover(ctx context.Context, s release.Switch, link func(context.Context) error) (release.Proof, error) {
	if s.Hand != "" && s.Serving {
		return release.Proof{}, fmt.Errorf("%s: nothing was changed: %w", s.Hand, errServing)
	}
	began := time.Now()
	g := r.lookAround(ctx)
	if ctx.Err() != nil {
		return release.Proof{}, fmt.Errorf("switch to %s: nothing was changed: %w", s.To.Short(), context.Cause(ctx))
	}
	var proof release.Proof
	var err error
	switch {
	case s.Hand == release.Adopt:
		proof, err = r.adopt(ctx, g, s, link)
	case s.Hand == release.GiveUp:
		return r.giveUp(ctx, g, s, link)
	case g.broken != nil:
		err = fmt.Errorf("nothing was changed: %w", g.broken)
	case g.adopted && (g.roster.serves(s.To) || len(g.unfit) == 0 && (g.noRoom == "" || g.roster.has(s.To))):
		proof, err = r.handover(ctx, g, s, began, link)
		if (errors.Is(err, errPinned) || refusal(err) == keeper.NoMemory) && !s.Serving {
			proof, err = r.replace(ctx, g, s, link)
		}
	case s.Serving:
		err = fmt.Errorf("nothing was changed: %w: %s", errServing, r.road(g, took{}).Why)
	case g.adopted:
		proof, err = r.replace(ctx, g, s, link)
	default:
		return r.plain(ctx, s, link)
	}
	if err != nil {
		err = fmt.Errorf("switch to %s: %w", s.To.Short(), err)
	}
	return proof, err
}

// handover brings the release to where it is proven and unseen, then publishes it. Until the link is made an error, and the
// end of ctx, leave everything as it was; from then on it is ended, whatever becomes of ctx.
func (r *Runtime) handover(ctx context.Context, g ground, s release.Switch, began time.Time, link func(context.Context) error) (release.Proof, error) {
	next, err := r.raise(ctx, g.roster, s.To, began.Add(raiseTime))
	if err != nil {
		return release.Proof{}, fmt.Errorf("nothing was changed: %w", err)
	}
	if ctx.Err() != nil {
		return release.Proof{}, errors.Join(fmt.Errorf("nothing was changed: %w", context.Cause(ctx)), r.drop(ctx, next))
	}
	ctx = context.WithoutCancel(ctx)
	err = r.endTrial(ctx, g.roster, s.To)
	if err == nil {
		err = link(ctx)
	}
	if err != nil {
		return release.Proof{}, errors.Join(err, r.drop(ctx, next))
	}
	if err := r.publish(ctx, next); err != nil {
		return release.Proof{}, errors.Join(err, r.drop(ctx, next))
	}
	if err := r.untry(ctx, g.roster); err != nil {
		return release.Proof{}, errors.Join(err, r.unpublish(ctx, next))
	}
	proof, err := r.conclude(ctx, next, s.To)
	if err != nil {
		return proof, err
	}
	kind := "start"
	switch {
	case !slices.ContainsFunc(next, func(c raised) bool { return !c.stays }):
		kind = ""
	case !slices.ContainsFunc(next, func(c raised) bool { return c.fresh }):
		kind = "rename"
	}
	proof.Road.TookRename, proof.Road.TookStart = r.noteTime(kind, time.Since(began))
	proof.Notes = append(proof.Notes, r.retire(ctx, next, s.Emergency)...)
	return proof, nil
}

// noteTime remembers how long a switch took.
func (r *Runtime) noteTime(kind string, d time.Duration) (rename, start time.Duration) {
	g, err := r.remember(func(g *register) bool {
		switch kind {
		case "rename":
			g.Took.Rename = d
		case "start":
			g.Took.Start = d
		}
		return kind != ""
	})
	if err != nil {
		return 0, 0
	}
	return g.Took.Rename, g.Took.Start
}

// stateOf proves what serves on a host that is to hand over, and what is tried on it.
func (r *Runtime) stateOf(ctx context.Context, g ground) release.Proof {
	switch {
	case g.broken != nil:
		return release.Proof{Reason: g.broken.Error()}
	case !g.adopted:
		proof := r.prove(ctx)
		proof.Nonce = r.nonce(proof)
		return proof
	}
	instances, missing := r.published(g.roster)
	proof, all := r.gather(ctx, instances)
	if missing != nil {
		proof.Release, proof.Reason = release.ID{}, strings.Join(append(strings.Split(missing.Error(), "\n"), proof.Reason), "; ")
	}
	r.inTerm(&proof.Started, &proof.Nonce, all)
	if proof.Release.IsZero() {
		proof.Nonce = ""
	}
	proof.Requests = r.countTerms(all, true)
	proof.Trial = r.trialOf(ctx, g.roster)
	proof.Notes = r.notes(g.roster)
	return proof
}

// inTerm makes started the beginning of the youngest term where that is later than the code's, and finds the nonce.
func (r *Runtime) inTerm(started *time.Time, nonce *string, all []evidence) {
	known := r.recall()
	for n, e := range all {
		t := known.of(e.of)
		if t.Since.After(*started) {
			*started = t.Since
		}
		if n == 0 {
			*nonce = t.Nonce
		} else if *nonce != t.Nonce {
			*nonce = ""
		}
	}
}

// notes are what people should know of a host and what stops no deploy. What is kept warm is no such thing: every host keeps
// something after every deploy, and Road.Warm says what.
func (r *Runtime) notes(all roster) (notes []string) {
	if !all.Watched {
		notes = append(notes, "no keeper watches over the masters (scap-agent keeper watch): a dead one would not be replaced")
	}
	for _, a := range all.Alarms {
		notes = append(notes, strings.TrimSpace(fmt.Sprintf("%s %s: %s", a.At.UTC().Format(time.DateTime), a.Pool, a.Text)))
	}
	for _, p := range all.pools {
		if p.Problem != "" {
			notes = append(notes, fmt.Sprintf("%s: %s", p.Name, p.Problem))
		}
		for _, g := range p.Generations {
			if g.Number != p.Published && g.Number != p.Tried && !g.Alive && len(g.Orphans) > 0 {
				notes = append(notes, fmt.Sprintf("%s: workers %v of a dead master with %s are left", p.Name, g.Orphans, g.Release.Short()))
			}
		}
	}
	return notes
}
