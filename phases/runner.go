package phases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"scap/canary"
	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

// Appender is the journal that a Runner writes: *journal.Writer. After an error the record is not in it. If it has a
// method Room() error, nothing new is begun while that returns one.
type Appender interface {
	Append(journal.Record) (journal.Record, error)
}

var _ Appender = (*journal.Writer)(nil)

// Runner runs one Plan.
type Runner struct {
	Journal Appender
	Clock   Clock // nil is System
	// Ask puts a question to the deployer. Only plans that are Attended ask.
	Ask func(context.Context, Question) (Answer, error)
	// Observers are told every record after it is in the journal, each in its own goroutine.
	Observers []func(journal.Record)
	// Leave, once closed, makes Run, Resume and Undo return at once, whatever is half done. It is the second Ctrl-C;
	// the end of the context is the first, which takes the deploy back.
	Leave <-chan struct{}
}

// run is one Run or Resume under way.
type run struct {
	*Runner
	p     Plan
	clock Clock
	tee   *journal.Tee
	all   []targets.Target
	hard  context.Context // lives on when the deploy is cancelled; ends when the deployer leaves

	mu    sync.Mutex // guards past
	past  []journal.Record
	from  release.ID // what every target served before
	token uint64
	first map[string]Seen // what the preflight saw

	silent    map[string]bool // who did not answer when last asked; guarded by mu
	claimed   map[string]bool // who has answered to the claim of token by owner; guarded by mu
	owner     string
	aside     map[string]bool          // a rollback goes past them; guarded by mu
	strays    map[string]journal.Trial // found running, by target; guarded by mu
	ends      sync.WaitGroup           // trials that targets are ending
	out       []string                 // found out of the pool by the preflight; nil when that is not known
	staged    chan struct{}            // closed when the release is on all targets, or could not be put there
	returning bool                     // on the way back, which goes on without a journal; set while nothing else runs

	// What the gates go by. Only one phase is judged at a time.
	evidence canary.Evidence // of all looks so far; it is in the journal
	earlier  []Seen          // proven on the release in the phases before
	suspects suspects        // guarded by mu
}

// start makes ready to run p. stop must be called; it waits until the observers know everything.
func (r *Runner) start(ctx context.Context, p Plan) (d *run, soft context.Context, stop func()) {
	p.Limits, p.HoldLimit = p.Limits.filled(), or(p.HoldLimit, 30*time.Minute)
	d = &run{Runner: r, p: p, clock: r.Clock, all: p.Targets(), from: p.From, first: map[string]Seen{}, silent: map[string]bool{}, claimed: map[string]bool{}, aside: map[string]bool{}, strays: map[string]journal.Trial{}, suspects: suspects{}, staged: make(chan struct{})}
	if d.clock == nil {
		d.clock = System{}
	}
	d.tee = journal.NewTee(r.Journal, r.Observers...)
	hard, leave := context.WithCancelCause(context.WithoutCancel(ctx))
	soft, cancel := context.WithCancelCause(ctx)
	d.hard = hard
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-r.Leave:
			leave(ErrLeft)
			cancel(ErrLeft)
		case <-over:
		}
	})
	return d, soft, func() {
		close(over)
		wg.Wait()
		leave(nil)
		cancel(nil)
		d.ends.Wait()
		d.flush(context.WithoutCancel(ctx))
	}
}

// Run deploys p and returns nil when p.Release is proven on every target. Any other end is an *Ended: what happened, and
// which targets are not on one release with the others, or are out of the pool as suspects.
//
// When anything fails, a gate fails or holds for too long, or ctx ends, Run takes back what it did, newest first, on a
// context of its own, and proves it. When a target says that another deploy has claimed it since (targets.ErrFenced), Run
// stops and takes nothing back: the fleet is the other deploy's now, and it will find what it needs in the targets.
func (r *Runner) Run(ctx context.Context, p Plan) error {
	d, soft, stop := r.start(ctx, p)
	defer stop()
	if err := d.begin(); err != nil {
		return &Ended{How: journal.Unchanged, Cause: err}
	}
	err := d.forward(soft)
	if err != nil && soft.Err() != nil && !errors.Is(err, context.Cause(soft)) {
		err = errors.Join(context.Cause(soft), err)
	}
	return d.conclude(soft, err)
}

// roomEach is what the records of one target take, errors and a way back with some tries included.
const roomEach = 16 << 10

// begin checks the journal and writes the first records.
func (d *run) begin() error {
	if d.Journal == nil {
		return errors.New("a deploy needs a journal")
	}
	if j, ok := d.Journal.(interface{ Reserve(int64) error }); ok { // room for the whole deploy and its way back
		if err := j.Reserve(1<<20 + int64(len(d.all))*roomEach); err != nil {
			return fmt.Errorf("the journal's disk is full: %w", err)
		}
	}
	outline, err := json.Marshal(d.p.Outline())
	if err != nil {
		return err
	}
	if err := d.note(journal.Record{Kind: journal.Begin, From: text(d.p.From), To: text(d.p.Release.ID), Text: d.p.Message, Data: outline}); err != nil {
		return err
	}
	for _, r := range d.p.Before {
		if err := d.note(r); err != nil {
			return err
		}
	}
	return nil
}

// forward goes from preflight to the last phase and the proof of the whole fleet.
func (d *run) forward(ctx context.Context) error {
	todo, err := d.preflight(ctx)
	if err != nil {
		return err
	}
	there := !todo || d.from == d.p.Release.ID && !d.p.Back // what was not on it has been repaired, and there is nothing for a gate to see
	if there {
		for _, ph := range d.p.Phases {
			if ph.After != nil {
				return fmt.Errorf("every target serves the release already, and no %s was done: begin again", ph.After.Act)
			}
		}
	}
	if !todo {
		return nil
	}
	if there {
		return d.finish(ctx)
	}
	if err := d.stageAndBegin(ctx); err != nil {
		return err
	}
	for _, ph := range d.p.Phases[1:] {
		if err := d.phase(ctx, ph); err != nil {
			return err
		}
	}
	if err := d.finish(ctx); err != nil {
		return err
	}
	d.prune(ctx, d.from, d.p.Release.ID)
	return nil
}

// stageAndBegin stages everywhere at full width; the first phase is activated as soon as its own targets are staged.
// It returns when both are over.
func (d *run) stageAndBegin(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	first := d.p.Phases[0]
	var wg sync.WaitGroup
	var others error
	wg.Go(func() {
		if others = d.stage(ctx, without(d.all, names(first.Targets))); others != nil {
			cancel(others)
		}
		close(d.staged)
	})
	err := d.stage(ctx, first.Targets)
	if err == nil {
		err = d.phase(ctx, first)
	}
	if err != nil {
		cancel(err)
	}
	wg.Wait()
	if errors.Is(others, targets.ErrFenced) || err == nil {
		return others
	}
	return err
}

func (d *run) stage(ctx context.Context, ts []targets.Target) error {
	f := targets.Fanout{Width: targets.FullWidth, MaxFailures: targets.AnyFailures, Timeout: d.p.Limits.Stage}
	rs, err := targets.Each(ctx, d.going(ts), f, func(ctx context.Context, t targets.Target) error {
		return d.act(ctx, journal.Record{Act: journal.Stage, Target: t.Name(), To: text(d.p.Release.ID)}, func() error {
			return t.Stage(ctx, d.p.Release)
		})
	})
	return wrap(d.goPast(ctx, rs, err), "stage %s", d.p.Release.ID.Short())
}

// act writes an intent, does, and writes the outcome.
func (d *run) act(ctx context.Context, r journal.Record, do func() error) error {
	if err := d.intent(ctx, r); err != nil {
		return err
	}
	err := do()
	return d.outcome(r, err)
}

// intent writes that r.Act is about to be tried. After an error it must not be.
func (d *run) intent(ctx context.Context, r journal.Record) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.Kind = journal.Intent
	if d.returning {
		d.say(r)
		return nil
	}
	if j, ok := d.Journal.(interface{ Room() error }); ok {
		if err := j.Room(); err != nil {
			return err
		}
	}
	r.Token = d.token
	return d.note(r)
}

// outcome writes how r.Act ended and returns err, or why it could not be written.
func (d *run) outcome(r journal.Record, err error) error {
	r.Kind, r.Token = journal.Done, d.token
	if err != nil {
		r.Kind, r.Text = journal.Failed, err.Error()
	}
	if d.returning {
		d.say(r)
		return err
	}
	return errors.Join(err, d.note(r))
}

// note appends r.
func (d *run) note(r journal.Record) error {
	if r.At.IsZero() {
		r.At = d.clock.Now()
	}
	if r.Target != "" && r.Phase == "" {
		r.Phase = d.phaseOf(r.Target).Name
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r, err := d.tee.Append(r)
	if err != nil {
		return err
	}
	d.past = append(d.past, r)
	return nil
}

// say is note for what must go on without a journal: the way back. What cannot be written is shown at least.
func (d *run) say(r journal.Record) {
	r.Token = d.token
	if err := d.note(r); err != nil {
		r.At, r.Deploy = d.clock.Now(), d.p.Deploy
		r.Text += fmt.Sprintf(" (not in the journal: %v)", err)
		d.tee.Tell(r)
	}
}

// ways returns what is to be taken back.
func (d *run) ways() []journal.Way {
	d.mu.Lock()
	defer d.mu.Unlock()
	return journal.Undo(slices.Values(slices.Clone(d.past)))
}

// flush lets the observers catch up, those that hang for 5 s.
func (d *run) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_ = d.tee.Flush(ctx) // an observer's delay is its own affair
}

// left reports whether the deployer has left.
func (d *run) left() bool { return d.hard.Err() != nil }

func (d *run) target(name string) (targets.Target, bool) {
	i := slices.IndexFunc(d.all, func(t targets.Target) bool { return t.Name() == name })
	if i < 0 {
		return nil, false
	}
	return d.all[i], true
}

func text(id release.ID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

// wrap is fmt.Errorf with the error at the end, and nil for nil.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}
