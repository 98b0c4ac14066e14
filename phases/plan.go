// Package phases runs a deploy: a Plan lists Phases, each activates one release on its targets and asks its gate, and the
// journal holds every intent before it is tried, so that a Runner can take a deploy back from any instant. It knows no
// SSH, no balancer and no host beyond what targets.Target says.
package phases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"scap/canary"
	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

// Phase is one group of targets and what it takes to go beyond it. It is data: canary, rolling and all-at-once differ in
// targets, width, bake and gate only.
type Phase struct {
	Name    string
	Targets []targets.Target
	// Control are targets outside this phase that the gate may compare with; targets of the phase that still run the
	// old release are added.
	Control []targets.Target
	// Fanout.Width is the size of a batch: the gate rules after each. Fanout.MaxFailures counts over the whole phase;
	// what failed within it is tried once more at the phase's end. Fanout.Timeout bounds one activation.
	Fanout targets.Fanout
	// Bake is how long after a batch was proven the deploy goes on at the earliest.
	Bake time.Duration
	// Gate rules on each batch. Without one the phase is refused unless GateOff says why there is none. It is handed the
	// evidence that the gates of earlier batches and phases left: of gates that differ from phase to phase each phase
	// makes a canary.All, which keeps what is not its own.
	Gate    canary.Gate
	GateOff string
	Tick    time.Duration // between two looks of the gate; 0 is 5 s
	MaxWait time.Duration // after which a Hold is the deployer's to decide, or a rollback; 0 is 10 min
	// Check is run after each batch, before the gate. An error takes the deploy back.
	Check func(context.Context) error
	// Confirm asks the deployer to go on once the phase has passed. Hint says what to look at before the answer.
	Confirm bool
	Hint    string
	// Share, above 0, is the part of the requests of each target that the release is tried on, beside the release that the
	// target serves, before it is activated there (targets.Trier): the gate's arms are then the two releases of the same
	// targets. It is for the journal and for people; the targets' own settings say what is sent. A target that cannot try is
	// activated after the others have passed, and the journal says why.
	Share float64
	// After is done once the phase has passed and was confirmed, before the next one begins; nil is nothing.
	After *After
}

// After is what must come between two phases and is no target's affair, such as a merge. Do tells of its progress, and
// ends with ctx. Its error takes the deploy back; one that wraps ErrDeclined is the deployer's no.
type After struct {
	Act  string // the journal's word for it
	Text string // what it is about, for people
	Do   func(ctx context.Context, tell func(text string)) (done string, err error)
}

// Pool is a set of targets that carry one load together.
type Pool struct {
	Name    string
	Targets []string
	Min     int // serving targets that must remain while others are out
}

// Watch is what goes on after a deploy has ended, by Runner.Watch. The zero Watch is none.
type Watch struct {
	For  time.Duration // since the deploy's end
	Gate canary.Gate   // its Window has Watch set and no Control
	Tick time.Duration // between two looks; 0 is 5 s
}

// Limits bound the single acts. A zero limit is the default that its comment names.
type Limits struct {
	State    time.Duration // one target's State, Claim: 30 s
	Look     time.Duration // one look of a gate, and its Ready: 2 min, for a release that hangs is to fail, not to hold
	Verify   time.Duration // 10 min
	Stage    time.Duration // 30 min
	Activate time.Duration // where the phase's Fanout has no Timeout; also one Repair, one Isolate: 10 min
	Capacity time.Duration // waiting for hosts to serve again before a batch: 5 min
	Undo     time.Duration // the whole way back: 1 h
}

// Plan is one deploy. Its targets are those of its phases, each in one phase.
type Plan struct {
	Deploy  string          // the journal's name of it
	Release release.Release // what to deploy; it is on the deploy host
	From    release.ID      // what every target serves now; zero: whatever that is, if it is one
	Base    release.ID      // what Release was made from and compared with: a fleet that serves another is refused; zero: no matter
	Message string
	User    string
	Host    string           // the deploy host
	Before  []journal.Record // what was done before, to stand behind Begin in the journal (lock, snapshot)
	Phases  []Phase
	Pools   []Pool
	// Space is what a target that lacks the release needs free; 0 is the release's size.
	Space uint64
	// Repair lets the preflight bring a target that is not proven on From there first. Without it that is refused.
	Repair bool
	// Back marks a rollback to an older release. It is never taken back because something failed: it goes on past
	// failures and names them. A target that does not serve well counts as no capacity and waits for nobody.
	Back bool
	// DespiteRed is the deployer's reason to begin although users fail already. Gates know it; here it is shown.
	DespiteRed string
	// Emergency is the deployer's reason to wait neither for requests in flight nor for capacity: full width.
	Emergency string
	// Attended says that somebody answers questions: Runner.Ask.
	Attended bool
	// HoldLimit is how long an answer may take until it counts as none; and, where nobody is there to answer, how long
	// after a batch was proven a gate may hold because of what is not this release's doing. 0 is 30 min.
	HoldLimit time.Duration
	// Took is how long a switch took lately, by the kind of its road, for targets that do not say: see Roads.
	Took map[string]time.Duration
	// Keep are releases that pruning leaves, besides From and To. Nothing is pruned when Prune is false.
	Keep  []release.ID
	Prune bool
	// KeepFound leaves also what any target had before the deploy: for a deploy host that cannot know what is good.
	KeepFound bool
	// Well says, on a way back, whether a target that is in the pool serves well. Nil trusts State.Serving.
	Well   func(context.Context, targets.Target) error
	Limits Limits
	// Watch follows the deploy when it has ended as journal.Deployed, by whoever calls Runner.Watch.
	Watch Watch
	// Verb and Changes say what the deployer asked for; the journal's Begin shows them. Verb "" is sync.
	Verb    string
	Changes []journal.Change
}

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

func (l Limits) filled() Limits {
	return Limits{
		State: or(l.State, 30*time.Second), Look: or(l.Look, 2*time.Minute), Verify: or(l.Verify, 10*time.Minute), Stage: or(l.Stage, 30*time.Minute),
		Activate: or(l.Activate, 10*time.Minute), Capacity: or(l.Capacity, 5*time.Minute), Undo: or(l.Undo, time.Hour),
	}
}

// Targets returns all targets of the plan, in order.
func (p Plan) Targets() []targets.Target {
	var ts []targets.Target
	for _, ph := range p.Phases {
		ts = append(ts, ph.Targets...)
	}
	return ts
}

// Outline returns the plan as the journal's Begin shows it.
func (p Plan) Outline() journal.Outline {
	o := journal.Outline{Message: p.Message, User: p.User, Host: p.Host, Back: p.Back, Watch: p.Watch.For, DespiteRed: p.DespiteRed, Verb: p.Verb, Changes: p.Changes}
	for _, ph := range p.Phases {
		o.Phases = append(o.Phases, journal.Group{Name: ph.Name, Targets: names(ph.Targets), GateOff: ph.GateOff, Share: ph.Share})
	}
	return o
}

// Check says, all at once, what makes the plan impossible before anybody is asked.
func (p Plan) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if p.Deploy == "" || p.Release.ID.IsZero() || len(p.Phases) == 0 {
		bad("a plan needs the deploy's name, a release and a phase")
	}
	where, phases := map[string]string{}, map[string]bool{}
	for _, ph := range p.Phases {
		if ph.Name == "" || phases[ph.Name] {
			bad("phase %q: a phase needs a name of its own", ph.Name)
		}
		phases[ph.Name] = true
		if len(ph.Targets) == 0 {
			bad("phase %s has no targets", ph.Name)
		}
		if ph.Gate == nil && ph.GateOff == "" {
			bad("phase %s has no gate, and nothing says why", ph.Name)
		}
		if !(ph.Share >= 0 && ph.Share < 1) {
			bad("phase %s: a share of %g of the requests; want one from 0 to below 1", ph.Name, ph.Share)
		}
		for _, t := range ph.Targets {
			if other, ok := where[t.Name()]; ok {
				bad("target %s is in phase %s and in phase %s", t.Name(), other, ph.Name)
			}
			where[t.Name()] = ph.Name
		}
	}
	if p.Watch.For < 0 || p.Watch.For > 0 && p.Watch.Gate == nil {
		bad("the watch after the end needs a gate and a time above zero")
	}
	for _, pool := range p.Pools {
		for _, name := range pool.Targets {
			if _, ok := where[name]; !ok {
				bad("target %s of pool %s is in no phase", name, pool.Name)
			}
		}
	}
	return errors.Join(errs...)
}

func names(ts []targets.Target) []string {
	out := make([]string, len(ts))
	for i, t := range ts {
		out[i] = t.Name()
	}
	return out
}

// without returns ts less those named.
func without(ts []targets.Target, gone []string) []targets.Target {
	return slices.DeleteFunc(slices.Clone(ts), func(t targets.Target) bool { return slices.Contains(gone, t.Name()) })
}

// some joins names for a message.
func some(list []string) string {
	const most = 20
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
	}
	return strings.Join(list, ", ")
}
