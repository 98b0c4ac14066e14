package phases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"scap/canary"
	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

// Bounds of a watch.
const (
	writeAtLeast = time.Minute      // between two records while the gate says the same
	askAtLeast   = time.Minute      // between two questions to the targets
	askAtMost    = 15 * time.Second // while the gate says that it does not know what runs
)

// Watch goes on looking after a deploy has ended on its release, until p.Watch.For has passed since then. past is the
// deploy's journal; the looks go on with its evidence and are written behind it (journal.Watched), where they change nothing
// of how the deploy ended. r.Journal is a *journal.Postscript, or a Writer where nobody else has to write. p has the deploy's
// name, its targets and Watch. Watch holds no lock, asks the targets for their State only, and changes nothing on them: a
// suspect is named in the records and stays where it is.
//
// It returns nil when the time has passed and no gate failed the release, also when the gate could not look to the end: the
// last record says so. An error wraps ErrGate when the gate failed the release: it is for the caller to take it back;
// ErrSuperseded when another deploy has claimed a target, the targets serve something else, or the deploy was taken up again;
// ErrFinished when there is nothing to watch, or no more; else it is context.Cause(ctx), or ErrLeft. A watch that was
// cancelled or that died can be taken up again by another call: the time that has passed since the end of the deploy counts.
func (r *Runner) Watch(ctx context.Context, p Plan, past iter.Seq[journal.Record]) error {
	d, soft, stop := r.start(ctx, p)
	defer stop()
	h, err := watchable(past, p)
	if err != nil {
		return wrap(err, "watch")
	}
	d.past, d.from, d.evidence, d.suspects = h.records, h.from, h.evidence, h.suspects
	d.p.Release.ID, d.p.Back = h.to, h.back
	v := &vigil{run: d, opened: h.ended, until: h.ended.Add(p.Watch.For), token: h.token, on: map[string]Seen{}, blind: h.ended}
	if !h.sighted.At.IsZero() {
		v.blind = h.sighted.At
	}
	return v.keep(soft)
}

// watchable reads the journal of a deploy that ended on its release.
func watchable(past iter.Seq[journal.Record], p Plan) (history, error) {
	if p.Watch.For <= 0 || p.Watch.Gate == nil {
		return history{}, errors.New("the plan has no watch")
	}
	h, err := gather(past)
	if err != nil {
		return h, err
	}
	err = h.parse(p)
	switch s := h.sighted.Verdict; {
	case h.how == "":
		return h, errors.New("the deploy has not ended: it is judged by its own gates, or to be resumed")
	case h.how != journal.Deployed && (h.how != journal.Inconsistent || !h.passed || h.began), errors.Is(err, ErrNothing):
		return h, fmt.Errorf("%w %s: it left nothing to watch", ErrFinished, h.how)
	case s == journal.VerdictOver, s == journal.VerdictFail, s == journal.VerdictSuperseded:
		return h, fmt.Errorf("%w: its watch too: %s", ErrFinished, s)
	}
	return h, err
}

// vigil is a Watch under way.
type vigil struct {
	*run
	opened, until time.Time
	token         uint64          // the deploy's largest
	on            map[string]Seen // proven on the release, as last asked
	asked         time.Time
	last          canary.Ruling
	looked        bool
	blind         time.Time // since when it cannot be judged; zero: it can
	said          string    // verdict and cause of what was written last
	wrote         time.Time
}

// keep looks until there is a reason to end, and writes the reason.
func (v *vigil) keep(ctx context.Context) error {
	verdict, why, err := v.watch(ctx)
	if verdict == "" {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		verdict, why = journal.VerdictLeft, err.Error()
	}
	lost := v.write(verdict, why)
	if errors.Is(lost, journal.ErrTakenUp) && err == nil {
		return fmt.Errorf("watch: %w: %w", ErrSuperseded, lost)
	}
	return errors.Join(err, wrap(lost, "watch %s; write it down", verdict))
}

// watch looks, and looks again. It returns the verdict of the last record; none when ctx has ended.
func (v *vigil) watch(ctx context.Context) (verdict, why string, err error) {
	for {
		if err := v.ask(ctx, false); err != nil {
			return v.superseded(err)
		}
		rul, err := v.glance(ctx)
		if err != nil {
			return "", "", err
		}
		now := v.clock.Now()
		over := !now.Before(v.until)
		if over || rul.Verdict == canary.Fail { // what another deploy does must not be laid at this one's door
			if err := v.ask(ctx, true); err != nil {
				return v.superseded(err)
			}
		}
		switch {
		case rul.Verdict == canary.Fail:
			return journal.VerdictFail, rul.Reason, fmt.Errorf("watch: %w: %s", ErrGate, rul.Reason)
		case over:
			return journal.VerdictOver, v.verdict(now), nil
		}
		if err := v.tell(now); errors.Is(err, journal.ErrTakenUp) {
			return v.superseded(fmt.Errorf("%w: %w", ErrSuperseded, err))
		}
		if err := v.clock.Wait(ctx, min(or(v.p.Watch.Tick, 5*time.Second), v.until.Sub(now))); err != nil {
			return "", "", err
		}
	}
}

func (v *vigil) superseded(err error) (verdict, why string, _ error) {
	if !errors.Is(err, ErrSuperseded) {
		return "", "", err
	}
	return journal.VerdictSuperseded, err.Error(), wrap(err, "watch")
}

// glance takes one look. Its error is the end of ctx.
func (v *vigil) glance(ctx context.Context) (canary.Ruling, error) {
	win := v.window()
	rul := canary.Ruling{Cause: canary.Unproven, Reason: "no host is proven on the release"}
	if len(win.Canary) > 0 {
		var err error
		if rul, err = v.rule(ctx, v.p.Watch.Gate, win); err != nil {
			return rul, err
		}
	}
	rul, _ = v.written(rul)
	switch {
	case rul.Verdict != canary.Hold:
		v.blind = time.Time{}
	case v.blind.IsZero(), v.looked && gathering(v.last) != gathering(rul):
		v.blind = win.Now
	}
	v.last, v.looked = rul, true
	return rul, nil
}

// gathering reports whether a gate holds for want of time only.
func gathering(rul canary.Ruling) bool { return rul.Cause == canary.Gathering || rul.Cause == "" }

// window is every target that runs the release; there is nothing to compare it with.
func (v *vigil) window() canary.Window {
	win := canary.Window{
		Deploy: v.p.Deploy, Phase: "watch", Release: v.p.Release.ID.String(), From: text(v.from), Opened: v.opened, Now: v.clock.Now(), Watch: true,
	}
	for _, t := range v.all {
		if s, ok := v.on[t.Name()]; ok {
			win.Canary = append(win.Canary, side(s))
		}
	}
	return win
}

// ask asks the targets what they run, when that was long ago, when the gate says that it does not know what runs, or when
// it must be. It fails with ErrSuperseded when they are another deploy's. One that does not answer is taken to run what it
// ran before: what it serves the gate's sources say.
func (v *vigil) ask(ctx context.Context, must bool) error {
	if age := v.clock.Now().Sub(v.asked); !must && (age < askAtMost || age < askAtLeast && !v.doubtful()) {
		return nil
	}
	seen := v.survey(ctx, v.all)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	v.asked = v.clock.Now()
	other, broken := 0, 0
	for _, s := range seen {
		if s.Err != nil {
			continue
		}
		if err := claimedSince(s, v.token); err != nil {
			return err
		}
		delete(v.on, s.Name())
		switch {
		case settled(s.State, v.p.Release.ID) && s.State.Pooled != targets.PoolOut:
			v.on[s.Name()] = s
		case s.State.Disk == v.p.Release.ID:
			broken++ // it runs nothing, or serves nobody: that is no other deploy's doing
		case settled(s.State, s.State.Disk):
			other++
		}
	}
	return outvoted(other, len(v.on)+broken, v.p.Release.ID)
}

// claimedSince says that another deploy has claimed a target since token was the largest.
func claimedSince(s Seen, token uint64) error {
	if in := s.State.Intent; s.Err == nil && in.Token > token && !strings.HasPrefix(in.Claimer, repairer) {
		return fmt.Errorf("%s: %w: %s", s.Name(), ErrSuperseded, or(in.Claimer, "of no name"))
	}
	return nil
}

// outvoted says that more targets serve something else than id.
func outvoted(other, on int, id release.ID) error {
	if other > on {
		return fmt.Errorf("%w: %d targets serve something else than %s", ErrSuperseded, other, id.Short())
	}
	return nil
}

// Superseded says, by an error that wraps ErrSuperseded, that the targets as they were seen are not any more what the deploy
// of past left. Whoever takes a release back that its watch has failed asks once more, under the lock: what another deploy
// has done meanwhile is not to be undone.
func Superseded(seen []Seen, past iter.Seq[journal.Record]) error {
	h, err := gather(past)
	if err == nil {
		h.to, err = release.ParseID(h.records[0].To)
	}
	if err != nil {
		return err
	}
	on, other := 0, 0
	for _, s := range seen {
		if err := claimedSince(s, h.token); err != nil {
			return err
		}
		switch {
		case s.Err != nil:
		case s.State.Disk == h.to:
			on++
		case settled(s.State, s.State.Disk):
			other++
		}
	}
	return outvoted(other, on, h.to)
}

// doubtful reports whether the last ruling may come from what is no longer so on a host, a runtime that began anew for one.
func (v *vigil) doubtful() bool {
	causes := []canary.Cause{canary.Unproven, canary.NoTraffic, canary.SourceDown, canary.Contradict, canary.OneHost}
	return len(v.on) == 0 || v.last.Verdict == canary.Suspect || v.last.Verdict == canary.Hold && slices.Contains(causes, v.last.Cause)
}

// tell writes the last ruling when it says something new, or at least once a minute. What cannot be written now is tried
// again with the next look.
func (v *vigil) tell(now time.Time) error {
	says := v.last.Verdict.String() + "/" + string(v.last.Cause)
	if says == v.said && now.Sub(v.wrote) < writeAtLeast {
		return nil
	}
	why := v.last.Reason
	if v.last.Verdict == canary.Suspect {
		why = fmt.Sprintf("suspect %s: %s", some(v.last.Suspects), why)
	}
	err := v.write(v.last.Verdict.String(), why)
	if err == nil {
		v.said, v.wrote = says, now
	}
	return err
}

// write journals the last ruling and when the watch is to end; the observers are told also what cannot be written.
func (v *vigil) write(verdict, why string) error {
	r := journal.Record{Kind: journal.Watched, Verdict: verdict, Text: why, To: text(v.p.Release.ID)}
	data, err := json.Marshal(struct {
		canary.Ruling
		journal.Sighting
	}{v.last, journal.Sighting{Until: v.until}})
	if err == nil {
		r.Data = data
		err = v.note(r)
	}
	if err != nil {
		r.At, r.Deploy = v.clock.Now(), v.p.Deploy
		r.Text += fmt.Sprintf(" (not in the journal: %v)", err)
		v.tee.Tell(r)
	}
	return err
}

// verdict says how much of a watch that is over could be judged.
func (v *vigil) verdict(now time.Time) string {
	if v.last.Verdict != canary.Hold {
		return "watch over"
	}
	cause := strings.ReplaceAll(string(v.last.Cause), "-", " ")
	return fmt.Sprintf("watch over; the last %v could not be judged: %s", now.Sub(v.blind).Round(time.Second), or(cause, v.last.Reason))
}
