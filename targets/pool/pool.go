// Package pool puts a host's activation inside a pool transaction: the host leaves every balancer, nothing reaches it any
// more, it switches, proves itself, is checked, and comes back. Whatever fails on the way, the host comes back with the
// release it had, or stays out: named, and owned in its own journal.
package pool

import (
	"context"
	"time"

	"scap/sync/release"
	"scap/targets"
)

// Host is the target inside: it switches its own runtime and keeps its own journal.
type Host interface {
	targets.Target
	targets.Steward
	// Out writes into the host's journal that owner took it out of the pool (or gave it back) and makes its health
	// check fail while it is out. Both are durable before it returns. It fails with targets.ErrFenced for an old token.
	Out(ctx context.Context, token uint64, out bool, owner string) error
	// Quiet watches for window and says what still reaches the host.
	Quiet(ctx context.Context, window time.Duration) (release.Quiet, error)
}

// Balancer is one process that sends requests to hosts. Its methods may be called at once for several hosts; each is
// repeatable. An error means that nobody knows, never that the host is out.
type Balancer interface {
	Name() string
	// State says whether the balancer is told to send requests to host (in) or not (out, or mixed when the host is
	// known under several names); detail is for people.
	State(ctx context.Context, host string) (pooled targets.Pooling, detail string, err error)
	// Drain tells the balancer to send nothing new to host; what is under way ends.
	Drain(ctx context.Context, host string) error
	// Idle reports whether the balancer has no request under way or waiting for host, at this instant.
	Idle(ctx context.Context, host string) (bool, error)
	// Ready takes Drain back.
	Ready(ctx context.Context, host string) error
	// Healthy reports what the balancer's own health check says, drained or not.
	Healthy(ctx context.Context, host string) (bool, error)
}

// Options are the ways and the time limits of a Target. The zero value drains, with the limits named below.
type Options struct {
	// Reload: the runtime switches under traffic without losing a request, so nothing is drained nor waited for.
	Reload bool
	// Handover: the runtime starts the new release beside the old one and changes over by a rename, so nothing is drained nor
	// waited for on a host whose State says that its road is a handover, and that is in the pool and proves no other release
	// than the one to leave. Any other is drained, as is one that finds out at the last moment that it would have to stop,
	// unless the Switch says Serving: then it is left as it is. A Switch with a Hand goes through the whole pool transaction,
	// and is made on a host that proves To already. What the host is asked for says Serving exactly when users reach it and the
	// road is a handover.
	Handover bool
	// Note is told, for people, what went another way than it was configured to, such as a host that was drained because it
	// could not hand over. It may be called for several hosts at once; nil: nobody is told.
	Note func(name, text string)
	// Emergency: no drain and no waiting, on the deployer's word; requests in flight are lost.
	Emergency bool
	// Checks runs against the host after its switch and before it is repooled. An error takes the host back.
	Checks func(ctx context.Context, name string) error
	// Fit runs against a host that was taken back because Checks failed, before it is repooled with its earlier release. An
	// error keeps it out: not the release is at fault but the host, whatever it says of itself. It must not take an outage
	// of all hosts for one host's fault. Nil: every such host is fit.
	Fit func(ctx context.Context, name string) error

	Window      time.Duration // without an outside request before the host counts as quiet; 1 s
	QuietLimit  time.Duration // until the host must be quiet; 30 s
	HealthLimit time.Duration // until every balancer's health check must be green; 10 s
	SwitchLimit time.Duration // for the host transaction; 5 min
	SettleLimit time.Duration // for asking how it ended when its answer was lost; 1 min
	ChecksLimit time.Duration // for Checks, and for Fit; 2 min
	CallLimit   time.Duration // for one question to one balancer or host; 10 s
	Poll        time.Duration // between two looks; 200 ms
	Looks       int           // idle looks in a row that a balancer owes; 3
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		v    *time.Duration
		want time.Duration
	}{
		{&o.Window, time.Second},
		{&o.QuietLimit, 30 * time.Second},
		{&o.HealthLimit, 10 * time.Second},
		{&o.SwitchLimit, 5 * time.Minute},
		{&o.SettleLimit, time.Minute},
		{&o.ChecksLimit, 2 * time.Minute},
		{&o.CallLimit, 10 * time.Second},
		{&o.Poll, 200 * time.Millisecond},
	} {
		if *d.v <= 0 {
			*d.v = d.want
		}
	}
	if o.Looks <= 0 {
		o.Looks = 3
	}
	return o
}

// Target is a Host behind balancers. With no balancer at all it still switches only when the host itself is quiet.
type Target struct {
	host      Host
	balancers []Balancer
	o         Options
	turn      chan struct{} // holds one token: one call at a time does work on the host
}

var (
	_ targets.Target   = (*Target)(nil)
	_ targets.Steward  = (*Target)(nil)
	_ targets.Isolator = (*Target)(nil)
	_ targets.Trier    = (*Target)(nil)
)

// New returns h behind bs. Every balancer that sends requests to h must be among bs; one that is not is noticed by the
// host's own quiet check, and the switch is refused.
func New(h Host, bs []Balancer, o Options) *Target {
	t := &Target{host: h, balancers: append([]Balancer(nil), bs...), o: o.withDefaults(), turn: make(chan struct{}, 1)}
	t.turn <- struct{}{}
	return t
}

// Name returns the host's name, by which balancers know it too.
func (t *Target) Name() string { return t.host.Name() }

// Stage puts r on the host; the pool is not touched.
func (t *Target) Stage(ctx context.Context, r release.Release) error { return t.host.Stage(ctx, r) }

// Claim raises the host's fencing token.
func (t *Target) Claim(ctx context.Context, token uint64, owner string) error {
	return t.host.Claim(ctx, token, owner)
}

// Verify hashes the release on the host's disk.
func (t *Target) Verify(ctx context.Context, id release.ID) error { return t.host.Verify(ctx, id) }

// Prune removes what the host need not keep.
func (t *Target) Prune(ctx context.Context, token uint64, keep []release.ID) error {
	return t.host.Prune(ctx, token, keep)
}

// lock waits for the turn to work on the host.
func (t *Target) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case <-t.turn:
		return func() { t.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// wait lets d pass.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// living returns a context that outlives ctx's end by at most d: what has begun is ended also after Ctrl-C.
func living(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), d)
}
