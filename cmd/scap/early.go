package main

import (
	"context"
	"slices"
	"time"

	"scap/phases"
	"scap/sync/release"
	"scap/targets"
)

// early is what the hosts do while the deployer reads: each hashes the release that it serves, the way back. A deploy asks
// for that before it begins anything. An agent that has done it a moment ago reads only what was touched since, so that of
// the time from the yes to the first test server the most part is gone. What it comes to is for the deploy to find out.
type early struct {
	quit context.CancelFunc // nil: nothing was begun
	over chan struct{}      // closed when all have ended
}

// earlyLimit is what the deploy itself would give a host for it.
const earlyLimit = 10 * time.Minute

// begin asks those of seen that have id, once.
func (e *early) begin(ctx context.Context, seen []phases.Seen, id release.ID) {
	if e.quit != nil {
		return
	}
	var ts []targets.Target
	for _, s := range seen {
		if s.Err == nil && slices.Contains(s.State.Releases, id) {
			ts = append(ts, s.Target)
		}
	}
	ctx, e.quit = context.WithCancel(ctx)
	all := targets.Fanout{Width: targets.FullWidth, MaxFailures: targets.AnyFailures, Timeout: earlyLimit}
	e.over = make(chan struct{})
	go func() {
		defer close(e.over)
		_, _ = targets.Each(ctx, ts, all, func(ctx context.Context, t targets.Target) error {
			if steward, ok := t.(targets.Steward); ok {
				return steward.Verify(ctx, id)
			}
			return nil
		})
	}()
}

// earlyPatience is how long nothing is said of hosts that have not ended.
const earlyPatience = 3 * time.Second

// wait returns when all have ended: a host does one thing at a time, and would have to begin again.
func (e *early) wait(tell func(text string)) {
	if e.quit == nil {
		return
	}
	t := time.NewTimer(earlyPatience)
	defer t.Stop()
	select {
	case <-e.over:
		return
	case <-t.C:
		tell("hosts are still hashing the release that they serve")
	}
	<-e.over
}

// end stops what is under way.
func (e *early) end() {
	if e.quit != nil {
		e.quit()
		<-e.over
	}
}
