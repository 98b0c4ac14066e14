package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"scap/sync/release"
	"scap/sync/store"
	"scap/sync/wire"
)

// Config is what an orchestrator tells the agent of its host, as JSON in the hello: the agent keeps no file of settings
// that could disagree with the deploy host's.
type Config struct {
	Root     string   `json:"root"`             // the store
	Served   string   `json:"served,omitempty"` // the permanent link to <root>/current that web server and php-fpm know
	Flag     string   `json:"flag,omitempty"`   // health flag file: it exists while the host is out
	Excludes []string `json:"excludes,omitempty"`

	Runtime json.RawMessage `json:"runtime,omitempty"`
	Logs    json.RawMessage `json:"logs,omitempty"`

	SwitchLimit time.Duration `json:"switch_limit,omitempty"` // for each direction of a switch; 0: DefaultSwitchLimit
}

// The limits that hold where neither Config nor the asker sets one.
const (
	DefaultSwitchLimit = 5 * time.Minute
	lockLimit          = 10 * time.Minute // for a mutator: another agent's switch and its way back fit in
	stateLockWait      = 250 * time.Millisecond
)

// Host is one host as its agents see it. Several sessions may share a Host; in other processes further agents may work
// on the same store. Store and Runtime must be set.
type Host struct {
	Store       *store.Store
	Runtime     Runtime
	Served      string
	Flag        string
	Excludes    []string
	SwitchLimit time.Duration
	Answer      map[string]Answerer // by service; a nil Answerer is one that this agent lacks

	work    gate              // held with the store's lock: mutators of this process come one at a time
	runtime gate              // Runtime's promise to its implementation
	step    func(name string) // tests are told here what was just done
}

// gate is a mutex that a context can give up on. Its zero value is open.
type gate struct {
	once sync.Once
	c    chan struct{}
}

func (g *gate) lock(ctx context.Context) error {
	g.once.Do(func() { g.c = make(chan struct{}, 1) })
	select {
	case g.c <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *gate) unlock() { <-g.c }

// lock takes the host's lock against agents of this and of other processes.
func (h *Host) lock(ctx context.Context) (func(), error) {
	if err := h.work.lock(ctx); err != nil {
		return nil, err
	}
	unlock, err := h.Store.Lock(ctx)
	if err != nil {
		h.work.unlock()
		return nil, err
	}
	return func() { unlock(); h.work.unlock() }, nil
}

// locked runs do with the host's lock held and the right to change the host checked. The Intent that do gets is the
// host's own journal with the caller's token in it; do records it when it changes something.
func (h *Host) locked(ctx context.Context, who claim, do func(release.Intent) error) error {
	wait, cancel := context.WithTimeout(ctx, lockLimit)
	defer cancel()
	unlock, err := h.lock(wait)
	if err != nil {
		if ctx.Err() == nil || errors.Is(err, context.DeadlineExceeded) {
			return wire.Busy.Errorf("%s", h.busy())
		}
		return fmt.Errorf("wait for the lock of the host: %w", err)
	}
	defer unlock()
	in, err := h.admit(who)
	if err != nil {
		return err
	}
	return do(in)
}

// claim is who asks for a change.
type claim struct {
	token uint64
	owner string
}

// admit reads the host's journal and refuses a token that is no longer the largest. Of one token, only its claimer works.
func (h *Host) admit(who claim) (release.Intent, error) {
	in, err := h.Store.Host()
	if err != nil {
		return in, fmt.Errorf("read the host's own journal: %w", err)
	}
	if who.token < in.Token {
		return in, wire.Fenced.Errorf("token %d is smaller than %d, which %s claimed", who.token, in.Token, orNobody(in.Claimer))
	}
	if who.token == in.Token && who.owner != "" && in.Claimer != "" && who.owner != in.Claimer {
		return in, wire.Fenced.Errorf("token %d was claimed by %s, not by %s", in.Token, in.Claimer, who.owner)
	}
	if who.token > in.Token {
		in.Token, in.Claimer = who.token, who.owner
	}
	return in, nil
}

// claim raises the host's fencing token, durably.
func (h *Host) claim(ctx context.Context, who claim) error {
	return h.locked(ctx, who, func(in release.Intent) error {
		in.Token, in.Claimer = who.token, who.owner
		return h.record(in)
	})
}

// record writes the host's journal, durably.
func (h *Host) record(in release.Intent) error {
	in.At = time.Now().UTC()
	if err := h.Store.Record(in); err != nil {
		return fmt.Errorf("write the host's own journal: %w", err)
	}
	return nil
}

// busy says who works on the host.
func (h *Host) busy() string {
	in, err := h.Store.Host()
	if err == nil && in.Outcome == release.Unknown && !in.Switch.To.IsZero() {
		return fmt.Sprintf("the host is being switched from %s to %s by %s since %s",
			in.Switch.From.Short(), in.Switch.To.Short(), orNobody(in.Switch.Owner), in.At.Format(time.TimeOnly))
	}
	return "another agent is at work on the host"
}

// did tells a test what was just done.
func (h *Host) did(name string) {
	if h.step != nil {
		h.step(name)
	}
}

func orNobody(name string) string {
	if name == "" {
		return "an unnamed deploy"
	}
	return name
}
