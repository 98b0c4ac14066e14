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

// Resume ends a deploy that died or was left. past is its journal so far, which r.Journal goes on with; p has its name,
// its targets and its pools, while From and To are taken from past.
//
// It goes back to From, unless the journal says that every phase had passed its gate and no way back had begun, or that the
// deploy was itself a rollback: then it goes on to To. What a target serves it asks the target; of the journal it believes only
// what the deploy was for. On to To it takes no suspect along: that stays out, and is named. It goes past targets that do not
// answer and names them. It may die itself, at any instant, and be resumed. It refuses, and changes nothing, when another
// deploy has claimed a target since.
//
// Like Run it returns nil when To is proven on every target, and an *Ended otherwise: with journal.RolledBack every
// target is proven on From.
func (r *Runner) Resume(ctx context.Context, p Plan, past iter.Seq[journal.Record]) error {
	d, soft, stop := r.start(ctx, p)
	defer stop()
	h, err := read(past, p)
	if errors.Is(err, ErrNothing) {
		return d.end(&Ended{How: journal.Unchanged, Cause: err})
	}
	if err != nil {
		return &Ended{How: journal.Unchanged, Cause: err}
	}
	d.past, d.returning, d.out = h.records, true, h.out
	d.evidence, d.suspects = h.evidence, h.suspects
	d.p.Release.ID, d.from, d.p.Back = h.to, h.from, h.back
	return d.resume(soft, h)
}

// Undo takes a deploy back to p.From by the ways of its journal, newest first, then proves every target of p there. It is
// Resume for who has decided to go back whatever the journal says, or has none; ways may be empty.
func (r *Runner) Undo(ctx context.Context, p Plan, ways []journal.Way) error {
	d, soft, stop := r.start(ctx, p)
	defer stop()
	h := history{from: p.From, to: p.Release.ID, ways: ways, began: true, forced: true}
	for _, w := range slices.Backward(ways) {
		h.records = append(h.records, journal.Record{Kind: journal.Intent, Act: journal.Activate, Phase: w.Phase, Target: w.Target, From: w.From, To: w.To, Token: w.Token})
		h.token = max(h.token, w.Token)
	}
	if h.from.IsZero() {
		return &Ended{How: journal.Unchanged, Cause: errors.New("nothing says which release to go back to")}
	}
	d.past, d.returning = h.records, true
	if j, ok := d.Journal.(interface{ Seq() uint64 }); ok && j.Seq() == 0 { // so that this can be resumed
		if err := d.begin(); err != nil {
			return &Ended{How: journal.Unchanged, Cause: err}
		}
	}
	return d.resume(soft, h)
}

// history is what a journal says of a deploy's purpose.
type history struct {
	records  []journal.Record
	ways     []journal.Way
	from, to release.ID
	token    uint64
	back     bool // the deploy was a rollback
	began    bool // the way back had begun
	passed   bool // every phase had passed
	out      []string
	forced   bool // whatever other deploys did since
	evidence canary.Evidence
	suspects suspects
	how      string         // it ended; empty when it has not
	ended    time.Time      // when
	sighted  journal.Record // the last of the watch since then
	before   string         // from, as it stands in the records
}

// ErrNothing is why Resume of a deploy that changed nothing ends as journal.Unchanged: there was nothing to do.
var ErrNothing = errors.New("it died before it claimed the targets")

// read makes the history out of the records, of a deploy that can be resumed.
func read(past iter.Seq[journal.Record], p Plan) (history, error) {
	h, err := gather(past)
	if err != nil {
		return h, err
	}
	if h.how != "" && h.how != journal.Inconsistent {
		return h, fmt.Errorf("%w %s: there is nothing to resume", ErrFinished, h.how)
	}
	return h, h.parse(p)
}

// gather reads the records.
func gather(past iter.Seq[journal.Record]) (history, error) {
	h := history{records: slices.Collect(past), suspects: suspects{}}
	if len(h.records) == 0 || h.records[0].Kind != journal.Begin {
		return h, errors.New("the journal has no beginning: nothing was changed by this deploy")
	}
	var outline journal.Outline
	if err := json.Unmarshal(h.records[0].Data, &outline); err != nil {
		return h, fmt.Errorf("the journal's plan: %w", err)
	}
	open := map[string]bool{}
	for _, g := range outline.Phases {
		open[g.Name] = true
	}
	h.back = outline.Back
	h.before = h.records[0].From
	for _, r := range h.records {
		h.token = max(h.token, r.Token)
		h.judged(r)
		switch {
		case r.Kind == journal.Done && r.Act == journal.Preflight && len(r.Data) > 0:
			var f found
			if err := json.Unmarshal(r.Data, &f); err != nil {
				return h, fmt.Errorf("record %d: %w", r.Seq, err)
			}
			h.before, h.out = or(r.From, h.before), f.Out
		case r.Kind == journal.Done && r.Act == journal.PhaseAct:
			delete(open, r.Phase)
		case r.Kind == journal.Intent && r.Act == journal.Rollback && r.Target == "":
			h.began = true
		}
		if r.Kind == journal.End {
			h.how, h.ended, h.sighted = r.Verdict, r.At, journal.Record{}
		} else if !r.Kind.Idle() {
			h.how, h.ended = "", time.Time{}
		}
	}
	h.passed = len(open) == 0
	h.ways = journal.Undo(slices.Values(h.records))
	return h, nil
}

// judged takes what the gates left: their evidence, and which hosts are suspects. An isolation that was intended may have
// been done.
func (h *history) judged(r journal.Record) {
	switch {
	case r.Kind == journal.Ruled, r.Kind == journal.Watched:
		var rul struct{ Evidence canary.Evidence }
		if json.Unmarshal(r.Data, &rul) == nil && len(rul.Evidence) > 0 {
			h.evidence = rul.Evidence
		}
		if r.Kind == journal.Watched {
			h.sighted = r
		}
	case r.Act == journal.Isolate:
		s := h.suspects[r.Target]
		if r.Kind == journal.Intent {
			s.why = r.Text
		}
		s.out = r.Kind == journal.Done
		h.suspects[r.Target] = s
	case r.Kind == journal.Undone, r.Act == journal.Repair && r.Kind == journal.Done:
		delete(h.suspects, r.Target)
	}
}

// parse finds out from what to what the deploy of p went.
func (h *history) parse(p Plan) (err error) {
	if to := h.records[0].To; to != "" { // a deploy of which only the targets were left does not know
		if h.to, err = release.ParseID(to); err != nil {
			return err
		}
	}
	if deploy := h.records[0].Deploy; deploy != "" && deploy != p.Deploy {
		return fmt.Errorf("the journal is of deploy %s and the plan of %s", deploy, p.Deploy)
	}
	if h.before == "" {
		h.from = p.From
	} else if h.from, err = release.ParseID(h.before); err != nil {
		return err
	}
	if h.token == 0 || h.from.IsZero() && (!h.back || h.to.IsZero()) { // a rollback may begin where nobody proves anything
		return ErrNothing
	}
	return nil
}

// resume claims the fleet and brings it to one release.
func (d *run) resume(ctx context.Context, h history) error {
	seen := d.survey(ctx, d.all)
	token := h.token
	for _, s := range seen {
		token = max(token, s.State.Intent.Token)
	}
	if err := d.overtaken(seen, h); err != nil {
		e := &Ended{How: journal.Unchanged, Cause: err}
		if errors.Is(err, ErrFinished) { // so nobody has to come back to it
			return d.end(e)
		}
		return e
	}
	g := goal{to: d.from, other: d.p.Release.ID, verb: journal.Rollback}
	owner, ended := backOwner(d.p.Deploy, d.from), journal.RolledBack
	if (h.passed || h.back) && (!h.began || h.from.IsZero()) {
		g = goal{to: d.p.Release.ID, other: d.from, verb: journal.Repair}
		owner, ended = d.p.Deploy, journal.Deployed
		if h.back {
			owner = backOwner(d.p.Deploy, g.to)
		}
	}
	token++
	d.token = token
	d.say(journal.Record{Kind: journal.Note, Text: fmt.Sprintf("resumed: every target to %s", g.to.Short())})
	if g.verb == journal.Rollback {
		d.say(journal.Record{Kind: journal.Intent, Act: journal.Rollback, From: text(g.other), To: text(g.to), Text: "resumed"})
	}
	// The way is the same for a first cancellation: the fleet must get to one release. Leave ends it.
	ctx, cancel := context.WithTimeoutCause(d.hard, d.p.Limits.Undo, fmt.Errorf("took longer than %v", d.p.Limits.Undo))
	defer cancel()
	if err := d.claim(ctx, token, owner, d.all); errors.Is(err, targets.ErrFenced) {
		return d.end(&Ended{How: journal.Inconsistent, Hosts: d.changed(), Cause: err})
	}
	d.stray(seen)
	_ = d.abandon(ctx, d.open()) // settle tries again, and names what is left
	ts := d.order()
	if g.verb == journal.Repair {
		ts = d.trusted(ts)
	} else {
		d.acquit()
	}
	hosts, err := d.settle(ctx, g, ts)
	if d.left() {
		err = errors.Join(ErrLeft, err)
	}
	if len(hosts) > 0 {
		return d.end(&Ended{How: journal.Inconsistent, Hosts: hosts, Suspects: d.suspected(hosts), Cause: err})
	}
	return d.end(&Ended{How: ended, Cause: err})
}

// repairer begins the owner of a claim that is no deploy's.
const repairer = "repair "

// RepairOwner is in whose name a single host is claimed to be repaired or adopted, besides any deploy. A Resume takes such
// a host over; it does not take over one that another deploy has claimed.
func RepairOwner(who string) string { return repairer + who }

// overtaken returns an error when another deploy has claimed a target since the history: one that wraps ErrFinished when
// that deploy has left every target on one release.
func (d *run) overtaken(seen []Seen, h history) error {
	for _, s := range seen {
		in := s.State.Intent
		owner, _, _ := strings.Cut(in.Claimer, backTo)
		if h.forced || s.Err != nil || in.Token <= h.token || owner == "" || owner == d.p.Deploy || strings.HasPrefix(owner, repairer) {
			continue
		}
		if id, ok := one(seen); ok && !slices.ContainsFunc(seen, func(s Seen) bool { return s.Err != nil }) {
			return fmt.Errorf("%w: deploy %s came after it, and every target is proven on %s", ErrFinished, owner, id.Short())
		}
		return fmt.Errorf("%s: %w: deploy %s; resume that one", s.Name(), targets.ErrFenced, owner)
	}
	return nil
}
