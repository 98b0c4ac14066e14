package phases

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"scap/sync/release"
	"scap/targets"
)

// Origin is what the targets alone know of the last deploy.
type Origin struct {
	Deploy string
	From   release.ID // the release to go back to
	To     release.ID
	Token  uint64 // the largest that a target has seen
}

// FromTargets finds out from the targets' own records which deploy was the last to act on them and what it went from and
// to, for a resume without its journal (Runner.Undo with no ways). It fails with ErrFinished when all that answer are on
// one release as they should be, and where it would have to guess.
func FromTargets(seen []Seen) (Origin, error) {
	var last, claim release.Intent // of the largest switch token, and of the largest token
	for _, s := range seen {
		in := s.State.Intent
		// Whoever repaired or adopted a single host brought it to what the others serve: that tells nothing of a deploy.
		if s.Err == nil && in.Switch.Token > last.Switch.Token && !strings.HasPrefix(in.Switch.Owner, repairer) {
			last = in
		}
		if s.Err == nil && in.Token > claim.Token {
			claim = in
		}
	}
	if id, ok := one(seen); ok {
		return Origin{}, fmt.Errorf("%w: every target that answers is proven on %s%s", ErrFinished, id.Short(), outAsSuspects(seen))
	}
	deploy, goal, err := whither(last.Switch.Owner)
	if err != nil {
		return Origin{}, err
	}
	if claimer, _, err := whither(claim.Claimer); err == nil && claimer != "" && claimer != deploy {
		// A later deploy claimed them and died before it told anybody to switch: a host may be out of the pool, no more.
		if id, ok := proven(seen); ok {
			return Origin{Deploy: claimer, From: id, To: tried(seen), Token: claim.Token}, nil
		}
	}
	if last.Switch.Token == 0 || deploy == "" {
		return Origin{}, errors.New("no target that answers was ever told to switch")
	}
	if claimer, to, err := whither(claim.Claimer); err == nil && claimer == deploy && !to.IsZero() {
		goal = to // the way back had begun, and had switched nobody yet
	}
	if goal.IsZero() { // going forward: every switch that was one says from where
		for _, s := range seen {
			sw := s.State.Intent.Switch
			if s.Err != nil || sw.Owner != deploy || sw.From == sw.To {
				continue
			}
			if !goal.IsZero() && goal != sw.From {
				return Origin{}, fmt.Errorf("deploy %s: the targets' records name %s and %s as the release that it came from", deploy, goal.Short(), sw.From.Short())
			}
			goal = sw.From
		}
	}
	if goal.IsZero() {
		return Origin{}, fmt.Errorf("deploy %s: the targets' records do not say from which release it came", deploy)
	}
	ids := slices.DeleteFunc(between(seen, deploy), func(id release.ID) bool { return id == goal })
	o := Origin{Deploy: deploy, From: goal, Token: max(claim.Token, last.Switch.Token)}
	if len(ids) == 1 {
		o.To = ids[0]
	}
	return o, nil
}

// isolatedOnTrial reports whether a host is out as a suspect of a deploy that never switched it: it only tried the release, and
// is on the old one for good.
func isolatedOnTrial(in release.Intent) bool {
	owner, ok := targets.IsSuspect(in)
	by, _, _ := strings.Cut(owner, backTo)
	last, _, _ := strings.Cut(in.Switch.Owner, backTo)
	return ok && by != last
}

// tried returns the release that is on trial somewhere, the zero one when none is, or more than one.
func tried(seen []Seen) (id release.ID) {
	for _, s := range seen {
		tr := s.State.Proof.Trial
		switch {
		case s.Err != nil || tr == nil:
		case !id.IsZero() && id != tr.Release:
			return release.ID{}
		default:
			id = tr.Release
		}
	}
	return id
}

// one returns the release that all who answer are settled on, and nothing else. A suspect that runs it as well is out for good reason.
func one(seen []Seen) (id release.ID, ok bool) {
	for _, s := range seen {
		_, suspect := targets.IsSuspect(s.State.Intent)
		on, sound := s.State.Consistent()
		switch {
		case s.Err != nil, sound && isolatedOnTrial(s.State.Intent):
		case s.State.Proof.Trial != nil:
			return release.ID{}, false
		case suspect && sound && (id.IsZero() || id == on):
			id = on
		case !settled(s.State, s.State.Disk), !id.IsZero() && id != s.State.Disk:
			return release.ID{}, false
		default:
			id = s.State.Disk
		}
	}
	return id, !id.IsZero()
}

// outAsSuspects names the suspects, for a message; "" when there are none.
func outAsSuspects(seen []Seen) string {
	var list []string
	for _, s := range seen {
		if _, ok := targets.IsSuspect(s.State.Intent); ok && s.Err == nil {
			list = append(list, s.Name())
		}
	}
	if len(list) == 0 {
		return ""
	}
	return fmt.Sprintf("; out of the pool as suspects: %s: look at them, then `scap repair`", some(list))
}

// proven returns the release that all who answer prove, in the pool or not.
func proven(seen []Seen) (id release.ID, ok bool) {
	for _, s := range seen {
		if s.Err != nil {
			continue
		}
		on, ok := s.State.Consistent()
		if !ok || !id.IsZero() && id != on {
			return release.ID{}, false
		}
		id = on
	}
	return id, !id.IsZero()
}

// between returns the releases that the deploy's switches name.
func between(seen []Seen, deploy string) (ids []release.ID) {
	for _, s := range seen {
		sw := s.State.Intent.Switch
		if owner, _, err := whither(sw.Owner); s.Err != nil || err != nil || owner != deploy {
			continue
		}
		for _, id := range []release.ID{sw.From, sw.To} {
			if !id.IsZero() && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// whither reads a deploy's owner text: its name and, on the way back, to where.
func whither(owner string) (deploy string, to release.ID, err error) {
	deploy, back, ok := strings.Cut(owner, backTo)
	if ok {
		to, err = release.ParseID(back)
	}
	return deploy, to, wrap(err, "owner %q", owner)
}
