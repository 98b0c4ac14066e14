package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"scap/cmd/internal/config"
	"scap/targets/lease"
)

// turn says when a verb may have the lock.
type turn bool

const (
	inTurn turn = false
	urgent turn = true // before all who are not: the way back to a release that works
)

// acquire takes the lock: at once, or in its turn within deploy.wait. Whoever waits is told who is ahead and why.
func (a *app) acquire(ctx context.Context, conf *config.Config, why string, t turn) (*lease.Lease, error) {
	o := lease.WaitOptions{Limit: conf.Deploy.Wait, Urgent: bool(t), Tell: func(p lease.Position) { a.queued(conf, p) }}
	l, err := lease.Acquire(ctx, lockPath(conf), lease.Holder{Who: who(), Why: why, Host: hostName()}, o)
	if errors.Is(err, lease.ErrHeld) {
		return nil, coded{exitLocked, err}
	}
	return l, err
}

// queued says whom a deploy waits for.
func (a *app) queued(conf *config.Config, p lease.Position) {
	var ahead []string
	for _, h := range p.Ahead {
		ahead = append(ahead, fmt.Sprintf("%s since %s: %s", orText(h.Who, "somebody"), h.Since.UTC().Format("15:04:05"), h.Why))
	}
	fmt.Fprintf(a.stderr, "scap: waiting for the lock, place %d in the queue, at most %s (deploy.wait). Ahead:\n  %s\n",
		p.Place, config.FormatDuration(conf.Deploy.Wait), harmless(strings.Join(ahead, "\n  ")))
}
