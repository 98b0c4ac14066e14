package phases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

// Report is what a look at the fleet before a deploy found. It is made without changing anything.
type Report struct {
	Seen []Seen
	From release.ID // the one release that the targets serve
	// Nothing: every target is proven on the plan's release already.
	Nothing bool
	// Repair names the targets that are not proven on From.
	Repair []string
	// Problems keep the plan from being run; each names its target.
	Problems []error
	// Past says why a rollback leaves targets aside: by target.
	Past map[string]error
	// Notes are what people should know and what stops no deploy: who cannot take the road that was configured, and why,
	// trials that somebody left, what the runtimes say of themselves.
	Notes []string
	token uint64 // the largest that any target has seen
}

// Err returns the problems as one error that wraps ErrPreflight, nil when there are none.
func (r Report) Err() error {
	if len(r.Problems) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrPreflight, errors.Join(r.Problems...))
}

// Examine asks every target and every gate of p whether p can be run, and changes nothing.
func (r *Runner) Examine(ctx context.Context, p Plan) Report {
	d, soft, stop := r.start(ctx, p)
	defer stop()
	return d.examine(soft)
}

func (d *run) examine(ctx context.Context) Report {
	rep := Report{}
	if err := d.p.Check(); err != nil {
		rep.Problems = append(rep.Problems, err)
		return rep
	}
	for _, ph := range d.p.Phases {
		if ph.Confirm && (!d.p.Attended || d.Ask == nil) {
			rep.Problems = append(rep.Problems, fmt.Errorf("phase %s asks the deployer, and nobody is there to answer", ph.Name))
		}
	}
	rep.Seen = d.survey(ctx, d.all)
	rep.find(d.p)
	rep.Notes = Remarks(rep.Seen, d.p.Release.ID)
	if rep.Nothing {
		return rep
	}
	if d.p.Back { // who waits for the fleet to work again should know for how long
		rep.Notes = append([]string{"way back: " + d.p.Way(rep.Seen)}, rep.Notes...)
	}
	if base := d.p.Base; !base.IsZero() && !rep.From.IsZero() && rep.From != base {
		rep.Problems = append(rep.Problems, fmt.Errorf("the release was made for a fleet that serves %s, and it serves %s now: begin again", base.Short(), rep.From.Short()))
	}
	rep.Past = map[string]error{}
	for _, s := range rep.Seen {
		switch errs := d.unfit(s, rep); {
		case len(errs) == 0:
		case d.p.Back: // what one target lacks must not keep the others on a release that does not work
			rep.Past[s.Name()] = errors.Join(errs...)
		default:
			rep.Problems = append(rep.Problems, errs...)
		}
	}
	if len(rep.Past) == len(rep.Seen) {
		for _, s := range rep.Seen {
			rep.Problems = append(rep.Problems, rep.Past[s.Name()])
		}
	}
	if len(rep.Repair) > 0 && !d.p.Repair && !d.p.Back {
		rep.Problems = append(rep.Problems, fmt.Errorf("not proven on %s: %s: run `scap resume` or `scap repair`", rep.From.Short(), some(rep.Repair)))
	}
	rep.Problems = append(rep.Problems, d.gatesReady(ctx)...)
	// Hosts that are repaired first will serve by then: how many, each batch looks at for itself.
	if len(rep.Problems) == 0 && len(rep.Repair) == 0 && !d.p.Back && d.p.Emergency == "" {
		rep.Problems = append(rep.Problems, d.tight(ctx, rep.Seen)...)
	}
	return rep
}

// Served returns the one release that the targets serve, by what they said. Those that say nothing, or are not proven,
// are left to the preflight: it is an error when nobody, or not everybody who is proven, speaks for one release.
func Served(seen []Seen) (release.ID, error) {
	r := Report{Seen: seen}
	r.find(Plan{})
	if r.From.IsZero() && len(r.Problems) == 0 {
		r.Problems = append(r.Problems, errors.New("no target says what it serves: `scap status` shows why"))
	}
	return r.From, r.Err()
}

// find decides what the fleet serves now.
func (r *Report) find(p Plan) {
	r.From, r.Nothing = p.From, true
	votes := map[release.ID][]string{}
	for _, s := range r.Seen {
		r.token = max(r.token, s.State.Intent.Token)
		if s.Err == nil && settled(s.State, s.State.Disk) {
			votes[s.State.Disk] = append(votes[s.State.Disk], s.Name())
		}
		r.Nothing = r.Nothing && s.Err == nil && settled(s.State, p.Release.ID) && s.State.Proof.Trial == nil
	}
	if r.Nothing {
		r.From = p.Release.ID
		return
	}
	switch {
	case !r.From.IsZero():
	case len(votes) == 1:
		for r.From = range votes {
		}
	case p.Back:
		r.From = most(votes, p.Release.ID)
	case len(votes) == 0 && len(disks(r.Seen)) == 1:
		// Nobody is proven, but every disk holds one release: hosts that were adopted just now, or came back from a
		// power cut. They are repaired to what they hold.
		r.From = disks(r.Seen)[0]
	default:
		if len(votes) == 0 {
			if len(disks(r.Seen)) > 1 { // else none answers, and each says why
				r.Problems = append(r.Problems, errors.New("no target is proven on a release, and their disks differ: run `scap resume` or `scap status`"))
			}
			break
		}
		var errs []error
		for id, hosts := range votes {
			errs = append(errs, fmt.Errorf("%s: %s", id.Short(), some(hosts)))
		}
		slices.SortFunc(errs, func(a, b error) int { return compare(a.Error(), b.Error()) })
		r.Problems = append(r.Problems, fmt.Errorf("the targets do not serve one release: run `scap resume`: %w", errors.Join(errs...)))
	}
	for _, s := range r.Seen {
		if s.Err == nil && !settled(s.State, r.From) {
			r.Repair = append(r.Repair, s.Name())
		}
	}
}

// disks are the releases on the disks of the targets that answer; zero where there is none.
func disks(seen []Seen) (ids []release.ID) {
	for _, s := range seen {
		if s.Err == nil && !slices.Contains(ids, s.State.Disk) {
			ids = append(ids, s.State.Disk)
		}
	}
	return ids
}

// found is the Data of the preflight's outcome.
type found struct {
	// Out names the targets that somebody else than a deploy had taken out of the pool; they stay out.
	Out []string `json:"out"`
}

// settled reports whether a target is proven on id and as it should be in the pool. A target that somebody else than a
// deploy took out of the pool may stay out.
func settled(s targets.State, id release.ID) bool {
	on, ok := s.Consistent()
	silent := s.Pooled == targets.PoolUnknown && len(s.Problems) > 0 // a balancer that does not answer
	return ok && on == id && !s.Intent.Out && s.Pooled != targets.PoolMixed && !silent
}

// settled is the same for a target that this deploy knows: one that it took out itself may not stay out, and no share of its
// requests may go to anything else.
func (d *run) settled(s Seen, id release.ID) bool {
	return d.serves(s, id) && s.State.Proof.Trial == nil
}

// serves is settled but for a trial.
func (d *run) serves(s Seen, id release.ID) bool {
	if s.Err != nil || !settled(s.State, id) {
		return false
	}
	if s.State.Pooled != targets.PoolOut {
		return true
	}
	if d.out != nil {
		return slices.Contains(d.out, s.Name())
	}
	deploy, _, _ := strings.Cut(s.State.Intent.Switch.Owner, backTo)
	return deploy != d.p.Deploy
}

// unfit says why a target cannot be deployed to.
func (d *run) unfit(s Seen, rep Report) (errs []error) {
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: "+format, append([]any{s.Name()}, args...)...))
	}
	if s.Err != nil {
		bad("does not answer: %w", s.Err)
		return errs
	}
	if s.State.Plain {
		bad("%s is a plain directory: run `scap adopt %s` once", s.State.Served, s.Name())
		return errs
	}
	if !d.p.Back { // a rollback is for fleets with problems
		for _, problem := range s.State.Problems {
			bad("%s", problem)
		}
		if deploy, ok := targets.IsSuspect(s.State.Intent); ok { // a repair would let it serve again, unseen
			bad("taken out of the pool as a suspect by %s: look at it, then `scap repair %s`", deploy, s.Name())
		}
		staged := d.p.Repair && slices.Contains(rep.Repair, s.Name()) // by the repair
		if !rep.From.IsZero() && !staged && !slices.Contains(s.State.Releases, rep.From) {
			bad("has no whole copy of %s, the way back: run `scap repair %s`", rep.From.Short(), s.Name())
		}
	}
	need := or(d.p.Space, uint64(max(d.p.Release.Bytes, 0)))
	if !slices.Contains(s.State.Releases, d.p.Release.ID) && s.State.Free < need {
		bad("%d MB free, and the release may need %d MB", s.State.Free>>20, (need>>20)+1)
	}
	return errs
}

func (d *run) gatesReady(ctx context.Context) (errs []error) {
	for _, ph := range d.p.Phases {
		if ph.Gate == nil {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, d.p.Limits.Look)
		err := guard(func() error { return ph.Gate.Ready(limited) })
		cancel()
		if err != nil {
			errs = append(errs, fmt.Errorf("the gate of phase %s is not ready: %w", ph.Name, err))
		}
	}
	return errs
}

// preflight examines the fleet, claims it, repairs what the plan lets it repair, and verifies the way back. It reports
// whether there is anything to do.
func (d *run) preflight(ctx context.Context) (todo bool, err error) {
	r := journal.Record{Act: journal.Preflight, To: text(d.p.Release.ID)}
	if err := d.intent(ctx, r); err != nil {
		return false, err
	}
	rep := d.examine(ctx)
	if ctx.Err() != nil {
		return false, d.outcome(r, context.Cause(ctx))
	}
	d.from = rep.From
	found := found{Out: []string{}}
	for _, s := range rep.Seen {
		d.first[s.Name()] = s
		if s.State.Pooled == targets.PoolOut && !s.State.Intent.Out {
			found.Out = append(found.Out, s.Name())
		}
	}
	d.out = found.Out
	r.From = text(rep.From)
	r.Data, _ = json.Marshal(found) // plain strings
	if rep.Nothing {
		r.Text = "every target is proven on this release already: nothing to do"
	}
	if err := d.outcome(r, rep.Err()); err != nil || rep.Nothing {
		return false, err
	}
	for _, text := range rep.Notes {
		d.say(journal.Record{Kind: journal.Note, Text: text})
	}
	for _, s := range rep.Seen {
		if why := rep.Past[s.Name()]; why != nil {
			d.leave(s.Name(), why)
		}
	}
	d.stray(rep.Seen)
	token, owner := rep.token+1, d.p.Deploy
	if d.p.Back { // whoever has to end it without its journal goes on with it
		owner = backOwner(d.p.Deploy, d.p.Release.ID)
	} else if len(rep.Repair) > 0 {
		// Until all are on From that is where the deploy goes; what a repaired host had before is no way back.
		if err := d.claim(ctx, token, backOwner(d.p.Deploy, d.from), d.all); err != nil {
			return false, err
		}
		if err := d.clear(ctx); err != nil {
			return false, err
		}
		if err := d.repair(ctx, rep.Repair); err != nil {
			return false, err
		}
		d.repaired(ctx, rep.Repair)
		token++
	}
	if err := d.claim(ctx, token, owner, d.going(d.all)); err != nil {
		return false, err
	}
	if err := d.clear(ctx); err != nil {
		return false, err
	}
	return true, d.verify(ctx)
}

// guard turns a panic into an error.
func guard(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return do()
}

// most returns the release other than not that most targets serve.
func most(votes map[release.ID][]string, not release.ID) (id release.ID) {
	for v, hosts := range votes {
		if v == not || id == v {
			continue
		}
		if n := len(votes[id]); id.IsZero() || len(hosts) > n || len(hosts) == n && compare(v.String(), id.String()) < 0 {
			id = v
		}
	}
	return id
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
