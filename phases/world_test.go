package phases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scap/canary"
	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	relA = release.ID{0xa}
	relB = release.ID{0xb}
	relC = release.ID{0xc}

	errDead = errors.New("the orchestrator was killed")
	errGone = errors.New("no route to host")

	errHangs = errors.New("hangs until the caller gives up")
)

// world is a fleet of fake hosts, the journal of one deploy, and who watches that the invariants hold. Killing it is what
// SIGKILL does to an orchestrator: from then on no record is written and no host is told anything, but what a host has
// begun it ends.
type world struct {
	mu      sync.Mutex
	hosts   []*host
	min     int // serving hosts of the pool that must remain
	records []journal.Record
	notes   int // events so far
	killAt  int // the event at which the orchestrator dies; 0 never
	dead    bool
	kinds   map[string]bool // of the events so far
	diedAt  string          // the kind of the event at which it died
	passed  map[string]bool // hosts covered by a pass of a gate
	broken  []string        // violated invariants
	full    bool            // the journal's disk is full
	ungated bool            // the plan has no gates
	shared  map[string]bool // phases that try before they activate
}

// host is a fake target.
type host struct {
	w        *world
	name     string
	phase    string
	disk     release.ID
	running  release.ID
	desired  release.ID
	releases []release.ID
	intent   release.Intent
	drained  bool
	sick     map[release.ID]bool // releases with which its health check is red
	gone     bool                // it answers nobody
	fail     map[string]func(n int) error
	calls    map[string]int
	verified []release.ID
	forward  bool // took the new release and was not brought back
	plain    bool
	free     uint64
	problems []string
	pooling  targets.Pooling
	road     release.Road
	notes    []string
	trial    *release.Trial
	terms    []time.Time // until when each trial was to last
	asked    string      // what it was called for last
}

var (
	_ targets.Target   = (*host)(nil)
	_ targets.Steward  = (*host)(nil)
	_ targets.Isolator = (*host)(nil)
	_ targets.Trier    = (*host)(nil)
)

func newWorld(groups ...string) *world {
	w := &world{passed: map[string]bool{}, shared: map[string]bool{}, kinds: map[string]bool{}}
	for _, g := range groups {
		name, n := g[:len(g)-1], int(g[len(g)-1]-'0')
		for i := range n {
			w.hosts = append(w.hosts, &host{
				w: w, name: fmt.Sprintf("%s%d", name, i+1), phase: name, disk: relA, running: relA, desired: relA, releases: []release.ID{relA},
				intent: release.Intent{Token: 5, Claimer: "d0"},
				fail:   map[string]func(int) error{}, calls: map[string]int{}, sick: map[release.ID]bool{}, free: 1 << 40,
			})
		}
	}
	return w
}

func (w *world) host(name string) *host {
	i := slices.IndexFunc(w.hosts, func(h *host) bool { return h.name == name })
	return w.hosts[i]
}

func (w *world) group(name string) (ts []targets.Target) {
	for _, h := range w.hosts {
		if h.phase == name {
			ts = append(ts, h)
		}
	}
	return ts
}

func (w *world) names() (out []string) {
	for _, h := range w.hosts {
		out = append(out, h.name)
	}
	return out
}

// event is a moment of some kind at which the orchestrator may die. It reports whether it is dead. The caller holds mu.
func (w *world) event(kind string) bool {
	w.notes++
	if !w.dead {
		w.kinds[kind] = true
	}
	if w.notes == w.killAt {
		w.dead, w.diedAt = true, kind
	}
	return w.dead
}

func (w *world) violated(format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf(format, args...))
}

// Append makes world the journal of its deploy.
func (w *world) Append(r journal.Record) (journal.Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full {
		return r, errors.New("no space left on device")
	}
	if w.event(fmt.Sprint("before ", r.Kind, " ", r.Act)) { // it is not on the disk
		return r, errDead
	}
	if _, err := json.Marshal(r); err != nil {
		return r, err
	}
	r.Seq, r.Deploy = uint64(len(w.records)+1), "d1"
	w.records = append(w.records, r)
	if w.event(fmt.Sprint("after ", r.Kind, " ", r.Act)) { // it is on the disk
		return r, errDead
	}
	return r, nil
}

// Seq is the number of the last record.
func (w *world) Seq() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return uint64(len(w.records))
}

// call is the begin of a call to h: it takes a moment, and fails when it was told to.
func (h *host) call(ctx context.Context, what string) error {
	select {
	case <-time.After(time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	err := h.fault(what)
	if errors.Is(err, errHangs) {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (h *host) fault(what string) error {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	h.asked = what
	if h.w.event("call " + what) {
		return errDead
	}
	h.calls[what]++
	if fail := h.fail[what]; fail != nil {
		if err := fail(h.calls[what]); err != nil {
			return err
		}
	}
	if h.gone {
		return errGone
	}
	return nil
}

// answer is the end of a call: the orchestrator may have died meanwhile.
func (h *host) answer(err error) error {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	if h.w.event("answer " + h.asked) {
		return errDead
	}
	return err
}

func (h *host) Name() string { return h.name }

func (h *host) Stage(ctx context.Context, r release.Release) error {
	if err := h.call(ctx, "stage"); err != nil {
		return err
	}
	h.w.mu.Lock()
	if !slices.Contains(h.releases, r.ID) {
		h.releases = append(h.releases, r.ID)
	}
	h.w.mu.Unlock()
	return h.answer(nil)
}

func (h *host) State(ctx context.Context) (targets.State, error) {
	if err := h.call(ctx, "state"); err != nil {
		return targets.State{}, err
	}
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	return h.state(), nil
}

func (h *host) state() targets.State {
	s := targets.State{
		Disk: h.disk, Running: h.running, Desired: h.desired, Intent: h.intent, Releases: slices.Clone(h.releases), Free: h.free,
		Pooled: targets.PoolIn, Serving: h.serving(), Plain: h.plain, Served: "/srv/mediawiki", Problems: h.problems,
		Proof: release.Proof{Release: h.running, Nonce: "n-" + h.name, Road: h.roadNow(), Trial: h.trying(), Notes: h.notes},
	}
	if h.drained {
		s.Pooled = targets.PoolOut
	}
	if h.pooling != "" {
		s.Pooled = h.pooling
	}
	if h.pooling == silent { // as targets/pool answers
		s.Pooled, s.Serving = targets.PoolUnknown, false
	}
	return s
}

// silent is the pooling of a host whose balancer does not answer.
const silent targets.Pooling = "silent"

func (h *host) serving() bool {
	return !h.gone && !h.drained && !h.intent.Out && !h.running.IsZero() && !h.sick[h.running]
}

func (w *world) serving() (n int) {
	for _, h := range w.hosts {
		if h.serving() && h.phase != "test" {
			n++
		}
	}
	return n
}

func (h *host) fenced(token uint64, owner string) error {
	if token < h.intent.Token || token == h.intent.Token && owner != h.intent.Claimer {
		return fmt.Errorf("token %d of %s, seen %d of %s: %w", token, owner, h.intent.Token, h.intent.Claimer, targets.ErrFenced)
	}
	return nil
}

func (h *host) Claim(ctx context.Context, token uint64, owner string) error {
	fault := h.call(ctx, "claim")
	if fault != nil && !errors.Is(fault, errLost) {
		return fault
	}
	h.w.mu.Lock()
	err := h.fenced(token, owner)
	if token > h.intent.Token {
		h.intent.Token, h.intent.Claimer, err = token, owner, nil
	}
	h.w.mu.Unlock()
	if err == nil {
		err = fault
	}
	return h.answer(err)
}

func (h *host) Verify(ctx context.Context, id release.ID) error {
	if err := h.call(ctx, "verify"); err != nil {
		return err
	}
	h.w.mu.Lock()
	h.verified = append(h.verified, id)
	h.w.mu.Unlock()
	return h.answer(nil)
}

func (h *host) Prune(ctx context.Context, _ uint64, keep []release.ID) error {
	if err := h.call(ctx, "prune"); err != nil {
		return err
	}
	h.w.mu.Lock()
	h.releases = slices.DeleteFunc(h.releases, func(id release.ID) bool { return !slices.Contains(keep, id) && id != h.disk })
	h.w.mu.Unlock()
	return h.answer(nil)
}

// Faults of an activation that tests order by these errors; anything else fails before the switch has begun.
var (
	errReturns = fmt.Errorf("warm-up answered 500: %w", targets.ErrReturned) // back on the old release, proven
	errBreaks  = fmt.Errorf("php-fpm does not start: %w", targets.ErrOut)    // between two releases, out of the pool
	errLost    = errors.New("connection reset by peer")                      // it happened; nobody was told
	errDies    = errors.New("i/o timeout")                                   // out of the pool, switched, and the host is gone
)

func (h *host) Activate(ctx context.Context, s targets.Switch) error {
	return h.change(ctx, "activate", s)
}

func (h *host) Repair(ctx context.Context, s targets.Switch) error { return h.change(ctx, "repair", s) }

// change is the pool transaction around the host transaction. Once begun it does not heed ctx, nor the orchestrator's death.
func (h *host) change(ctx context.Context, what string, s targets.Switch) error {
	fault := h.call(ctx, what)
	switch {
	case fault == nil, errors.Is(fault, errReturns), errors.Is(fault, errBreaks), errors.Is(fault, errLost), errors.Is(fault, errDies):
	default:
		return fault
	}
	if err := h.begin(what, s); err != nil {
		return h.answer(err)
	}
	<-time.After(10 * time.Millisecond)
	h.finish(s, fault)
	return h.answer(fault)
}

func (h *host) begin(what string, s targets.Switch) error {
	w := h.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := h.fenced(s.Token, s.Owner); err != nil {
		return err
	}
	switch {
	case !slices.Contains(h.releases, s.To):
		return fmt.Errorf("release %s is not on %s", s.To.Short(), h.name)
	case what == "activate" && h.disk != s.From && h.disk != s.To:
		return fmt.Errorf("%s is on %s, not on %s", h.name, h.disk.Short(), s.From.Short())
	}
	if s.To == relB && s.Owner == "d1" && what == "activate" {
		h.forward = true
		for _, x := range w.hosts {
			if x != h && x.forward && x.running == relB && !x.intent.Out && !x.gone && !w.ungated && !w.passed[x.name] &&
				(!w.shared[x.phase] || !w.passedIn(x.phase)) {
				w.violated("%s was activated before a gate passed %s", h.name, x.name)
			}
		}
	}
	if s.Serving && !h.hands(s.To) {
		return fmt.Errorf("it would have to stop for it: %w", targets.ErrReturned)
	}
	if h.hands(s.To) && what == "activate" { // a rename: it serves all the while
		if w.shared[h.phase] && s.To == relB && s.Owner == "d1" && !s.Emergency && !w.passed[h.name] && (h.trying() != nil || !w.passedIn(h.phase)) {
			w.violated("%s was activated although no gate has passed its trial", h.name)
		}
		h.intent.Switch, h.intent.Outcome, h.desired = s, release.Unknown, s.To
		return nil
	}
	if h.phase != "test" && h.serving() && w.serving()-1 < w.min && !s.Emergency {
		w.violated("%s was taken out while %d served and %d must", h.name, w.serving(), w.min)
	}
	h.intent.Switch, h.intent.Outcome = s, release.Unknown
	h.intent.Out, h.intent.Owner, h.desired = true, s.Owner, s.To
	return nil
}

func (h *host) finish(s targets.Switch, fault error) {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	switch {
	case errors.Is(fault, errReturns):
		h.disk, h.running, h.desired, h.intent.Outcome = s.From, s.From, s.From, release.ProvenOld
	case errors.Is(fault, errBreaks):
		h.disk, h.running, h.intent.Outcome = s.To, release.ID{}, release.Broken
		h.intent.Out, h.intent.Owner = true, s.Owner
		return
	case errors.Is(fault, errDies):
		h.disk, h.running, h.gone, h.intent.Outcome = s.To, s.To, true, release.ProvenNew
		return
	default:
		h.disk, h.running, h.intent.Outcome = s.To, s.To, release.ProvenNew
	}
	if s.To == relA && h.disk == relA {
		h.forward = false
	}
	if h.trial != nil && h.trial.Release == h.disk {
		h.trial = nil // it is what all users get
	}
	h.intent.Out, h.intent.Owner = false, ""
	h.drained = false
}

// Isolate takes the host out as it is. Once begun it does not heed the orchestrator's death.
func (h *host) Isolate(ctx context.Context, s targets.Switch) error {
	fault := h.call(ctx, "isolate")
	switch {
	case fault == nil, errors.Is(fault, errLost), errors.Is(fault, errHalf):
	default:
		return fault
	}
	if err := h.isolate(s, fault); err != nil {
		return h.answer(err)
	}
	return h.answer(fault)
}

// errHalf: marked out, and a balancer did not do as it was told.
var errHalf = errors.New("drain at balancer lb2: timeout")

func (h *host) isolate(s targets.Switch, fault error) error {
	w := h.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := h.fenced(s.Token, s.Owner); err != nil {
		return err
	}
	if h.phase != "test" && h.serving() && w.serving()-1 < w.min {
		w.violated("%s was isolated while %d served and %d must", h.name, w.serving(), w.min)
	}
	h.intent.Out, h.intent.Owner = true, targets.SuspectOwner(s.Owner)
	h.drained = !errors.Is(fault, errHalf)
	return nil
}

// gate passes a batch after n looks, or does what it is told.
type gate struct {
	w       *world
	looks   int // that hold before the verdict
	say     canary.Verdict
	cause   canary.Cause // of the holds
	suspect string       // the host, or its trial, that it suspects while it sees it among others
	tell    func(win canary.Window, e seen) (canary.Ruling, bool)
	err     error
	ready   error
	seen    int
	prior   []string
	windows []canary.Window
	dies    func() // called when it looks for a process that is dead
}

// seen is a gate's evidence.
type seen struct {
	Looks  int       // since Opened
	Opened time.Time // of the batch
	Total  int       // of the deploy
}

var _ canary.Gate = (*gate)(nil)

func (g *gate) Ready(context.Context) error { return g.ready }

func (g *gate) Judge(_ context.Context, win canary.Window, prior canary.Evidence) (canary.Ruling, error) {
	g.w.mu.Lock()
	defer g.w.mu.Unlock()
	if g.dies != nil && g.w.dead {
		g.dies()
		return canary.Ruling{}, errDead
	}
	g.seen++
	g.prior = append(g.prior, string(prior))
	g.windows = append(g.windows, win)
	if g.err != nil {
		return canary.Ruling{}, g.err
	}
	var e seen
	_ = json.Unmarshal(prior, &e) // nil is none
	if !e.Opened.Equal(win.Opened) {
		e.Looks, e.Opened = 0, win.Opened
	}
	e.Looks++
	e.Total++
	r := g.rule(win, e)
	r.Evidence, _ = json.Marshal(e)
	if r.Verdict == canary.Pass {
		for _, h := range win.Canary {
			g.w.passed[h.On] = true
			g.w.passed[h.Name] = true
		}
	}
	return r, nil
}

func (g *gate) rule(win canary.Window, e seen) canary.Ruling {
	if g.tell != nil {
		if r, ok := g.tell(win, e); ok {
			return r
		}
	}
	is := func(h canary.Host) bool { return h.Name == g.suspect }
	if g.suspect != "" && (slices.ContainsFunc(win.Canary, is) || slices.ContainsFunc(win.Earlier, is)) {
		return canary.Ruling{Verdict: canary.Suspect, Suspects: []string{g.suspect}, Reason: "it fails by itself"}
	}
	if e.Looks <= g.looks {
		return canary.Ruling{Reason: "too little traffic", Cause: g.cause}
	}
	return canary.Ruling{Verdict: g.say, Cause: g.cause, Reason: "looked at " + fmt.Sprint(len(win.Canary))}
}

// plan is a deploy of B over the whole world: test servers, a canary group and production, as far as they are there.
func (w *world) plan(width int) Plan {
	p := Plan{Deploy: "d1", Release: release.Release{ID: relB, Bytes: 1 << 20}, Message: "T1", User: "jd"}
	for _, name := range []string{"test", "canary", "prod"} {
		ts := w.group(name)
		if len(ts) == 0 {
			continue
		}
		ph := Phase{Name: name, Targets: ts, Gate: &gate{w: w, say: canary.Pass, looks: 1}, Fanout: targets.Fanout{Width: width}}
		if name != "prod" {
			ph.Fanout.Width = len(ts)
		}
		p.Phases = append(p.Phases, ph)
	}
	pool := Pool{Name: "web", Min: w.min}
	for _, h := range w.hosts {
		if h.phase != "test" {
			pool.Targets = append(pool.Targets, h.name)
		}
	}
	p.Pools = []Pool{pool}
	return p
}

func (w *world) gate(p Plan, phase string) *gate {
	i := slices.IndexFunc(p.Phases, func(ph Phase) bool { return ph.Name == phase })
	return p.Phases[i].Gate.(*gate)
}

// on fails the test unless every host that answers is settled on id, tries nothing, and no invariant was broken.
func (w *world) on(t *testing.T, id release.ID) {
	t.Helper()
	for _, h := range w.hosts {
		if !h.gone && h.trying() != nil {
			t.Errorf("%s tries %s", h.name, h.trial.Release.Short())
		}
		if !h.gone && (!settled(h.state(), id) || h.drained) {
			t.Errorf("%s: disk %s, running %s, desired %s, out %t, drained %t; want %s", h.name, h.disk.Short(), h.running.Short(), h.desired.Short(), h.intent.Out, h.drained, id.Short())
		}
	}
	for _, b := range w.broken {
		t.Error(b)
	}
}

// ended returns err as how it ended.
func ended(t *testing.T, err error, how string) *Ended {
	t.Helper()
	var e *Ended
	if !errors.As(err, &e) {
		t.Fatalf("ended with %v, want %s", err, how)
	}
	if e.How != how {
		t.Fatalf("ended %s (%v), want %s", e.How, e.Cause, how)
	}
	return e
}

// last returns the journal's last record.
func (w *world) last() journal.Record { return w.records[len(w.records)-1] }

func once(err error) func(int) error {
	return func(n int) error {
		if n == 1 {
			return err
		}
		return nil
	}
}

func always(err error) func(int) error { return func(int) error { return err } }
