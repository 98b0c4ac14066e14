// Package remote makes a host that is reached over a connection a target: it speaks to the host's agent, connects again
// when a connection died, and finds out from the host itself how an interrupted switch ended.
package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"scap/sync/push"
	"scap/sync/release"
	"scap/sync/wire"
	"scap/targets"
)

// Opener opens agent sessions on one host. Open may be called again while earlier sessions are in use, and again after it
// failed. Close ends everything that was opened; Open fails afterwards. Closing a session must free its blocked reads and
// writes at once, also when the host is hung.
type Opener interface {
	Open(ctx context.Context) (io.ReadWriteCloser, error)
	Close() error
}

// ErrSessions is what an Opener wraps when the host grants no further session beside those that are open.
var ErrSessions = errors.New("the host allows no more sessions on this connection")

// DefaultSwitchWait is how long Activate and Repair wait for a host that does not answer: both directions of a switch at
// the agent's own default limit, and the lock before it.
const DefaultSwitchWait = 15 * time.Minute

// Host is a target with an agent on it. It is safe for use by several goroutines.
type Host struct {
	// SwitchWait bounds how long a switch that has begun is waited for; set it before first use. 0: DefaultSwitchWait.
	SwitchWait time.Duration
	// Regain bounds the attempts to reach a host again whose connection died in a switch. 0: 30 seconds.
	Regain time.Duration

	name   string
	opener Opener
	source *push.Sender
	conf   json.RawMessage
	work   lane // changes, one at a time
	talk   lane // questions, which must be answered while a change is under way

	mu     sync.Mutex
	claim  wire.Claim   // what sessions work under
	staged []release.ID // by this Host, newest first: further bases for a push
}

var (
	_ targets.Target  = (*Host)(nil)
	_ targets.Steward = (*Host)(nil)
)

// New returns the host behind o. Releases are sent from src: give all hosts the same *push.Sender (push.Share), so that
// what they all lack is read and compressed once. Conf is the agent's configuration (agent.Config) as JSON. Nothing is
// opened before the first question.
func New(name string, o Opener, src push.Source, conf json.RawMessage) *Host {
	return &Host{name: name, opener: o, source: push.Share(src), conf: conf, work: newLane(), talk: newLane()}
}

// Name returns the host's name.
func (h *Host) Name() string { return h.name }

// Close ends all sessions and the connection. What is under way fails; a switch on the host goes on and ends.
func (h *Host) Close() error {
	return h.opener.Close()
}

// Welcome asks the agent who it is and what its clock says, on a session that later questions use.
func (h *Host) Welcome(ctx context.Context) (wire.Welcome, error) {
	var w wire.Welcome
	err := h.do(ctx, &h.talk, func(_ context.Context, c *push.Client) error { w = c.Welcome(); return nil })
	return w, h.failed("greet", err)
}

// State asks the host. A host on which an agent is at work says so in Reason and Problems, and Running is zero.
func (h *Host) State(ctx context.Context) (targets.State, error) {
	st, err := h.state(ctx, true)
	if err != nil {
		return targets.State{}, h.failed("ask the state of", err)
	}
	return stateOf(st), nil
}

func (h *Host) state(ctx context.Context, check bool) (wire.State, error) {
	var st wire.State
	err := h.call(ctx, &h.talk, wire.OpState, wire.StateAsk{Check: check}, &st)
	return st, err
}

// stateOf says a host's answer in the words of targets.
func stateOf(st wire.State) targets.State {
	s := targets.State{
		Disk: st.Disk, Running: st.Proof.Release, Reason: st.Proof.Reason, Desired: st.Intent.Switch.To, Intent: st.Intent,
		Proof: st.Proof, Releases: st.Releases, Free: st.Free, Plain: st.Plain, Served: st.Served, Problems: st.Problems,
	}
	if st.Intent.Outcome == release.ProvenOld {
		s.Desired = st.Intent.Switch.From
	}
	if st.Busy != "" {
		s.Problems = append(s.Problems, st.Busy)
	}
	return s
}

// Stage implements targets.Target.
func (h *Host) Stage(ctx context.Context, r release.Release) error {
	err := h.do(ctx, &h.work, func(ctx context.Context, c *push.Client) error {
		h.mu.Lock()
		bases := append(append([]release.ID(nil), h.staged...), c.Welcome().Releases...)
		h.mu.Unlock()
		return h.source.Send(ctx, c, r, bases)
	})
	if err != nil {
		return h.failed("stage "+r.ID.Short()+" on", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.staged = append([]release.ID{r.ID}, h.staged...); len(h.staged) > 2 {
		h.staged = h.staged[:2]
	}
	return nil
}

// Claim implements targets.Steward. The sessions of this Host work under the claim from then on.
func (h *Host) Claim(ctx context.Context, token uint64, owner string) error {
	claim := wire.Claim{Token: token, Owner: owner}
	if err := h.call(ctx, &h.work, wire.OpClaim, claim, nil); err != nil {
		return h.failed("claim", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.claim = claim
	return nil
}

// Verify implements targets.Steward.
func (h *Host) Verify(ctx context.Context, id release.ID) error {
	return h.failed("verify "+id.Short()+" on", h.call(ctx, &h.work, wire.OpVerify, wire.Named{ID: id}, nil))
}

// Prune implements targets.Steward.
func (h *Host) Prune(ctx context.Context, token uint64, keep []release.ID) error {
	var gone wire.Pruned
	return h.failed("prune", h.call(ctx, &h.work, wire.OpPrune, wire.Prune{Token: token, Keep: keep}, &gone))
}

// Out writes into the host's own journal that owner took it out of the pool, or put it back, and makes the host's health
// flag file say the same. Both are durable when it returns.
func (h *Host) Out(ctx context.Context, token uint64, out bool, owner string) error {
	what := "put back"
	if out {
		what = "take out"
	}
	return h.failed(what, h.call(ctx, &h.work, wire.OpOut, wire.Out{Token: token, Out: out, Owner: owner}, nil))
}

// Quiet watches for window what still reaches the host.
func (h *Host) Quiet(ctx context.Context, window time.Duration) (release.Quiet, error) {
	var q release.Quiet
	err := h.call(ctx, &h.talk, wire.OpQuiet, wire.Quiet{Window: window}, &q)
	return q, h.failed("watch", err)
}

// Ask puts a question to a service of the host's agent ("logs", "probe") and reads its answer.
func (h *Host) Ask(ctx context.Context, service string, question, answer any) error {
	q, err := json.Marshal(question)
	if err == nil {
		err = h.call(ctx, &h.talk, wire.OpAsk, wire.Ask{Service: service, Question: q}, answer)
	}
	return h.failed("ask the "+service+" of", err)
}

// Adopt makes the plain directory at the served path the host's first release.
func (h *Host) Adopt(ctx context.Context, token uint64) error {
	var r release.Release
	return h.failed("adopt", h.call(ctx, &h.work, wire.OpAdopt, wire.Token{Token: token}, &r))
}

// failed says what was tried on which host, and gives the kinds that have a meaning for a deploy their sentinel.
func (h *Host) failed(what string, err error) error {
	var e *wire.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &e):
	case e.Kind == wire.Fenced:
		err = fmt.Errorf("%w: %w", targets.ErrFenced, err)
	case e.Kind == wire.Returned:
		err = fmt.Errorf("%w: %w", targets.ErrReturned, err)
	case e.Kind == wire.Broken:
		err = fmt.Errorf("%w: %w", targets.ErrOut, err)
	}
	return fmt.Errorf("%s %s: %w", what, h.name, err)
}
