// Package fpm runs releases on a host's php-fpm: it proves by php-fpm's own word what every worker executes, and changes
// code, data files and runtime as one act. A release counts only when the processes that serve it have said so.
package fpm

import (
	"context"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"sync/atomic"

	"scap/sync/release"
	"scap/targets/fpm/keeper"
)

// Runtime is the php-fpm of one host, all its instances. Calls come one at a time.
type Runtime struct {
	conf  Config
	link  link
	probe string // the probe script's path
	// pending counts pages that this agent has asked for and not yet put into the ledger.
	pending atomic.Int64
	root    rooted // nil where no keeper is configured
}

// rooted is who starts and ends generations: root's keeper. It is safe for concurrent use.
type rooted interface {
	Do(ctx context.Context, q keeper.Request) (keeper.Reply, error)
}

// New makes a Runtime of a valid configuration. It touches nothing on the host.
func New(conf Config) (*Runtime, error) {
	if err := conf.Validate(); err != nil {
		return nil, fmt.Errorf("php-fpm: %w", err)
	}
	if conf.Strategy == "" {
		conf.Strategy = Drain
	}
	sum := release.SumOf(probeScript)
	r := &Runtime{
		conf: conf, link: newLink(conf.Served, conf.Releases),
		probe: filepath.Join(resolve(conf.Work), "probe-"+hex.EncodeToString(sum[:8])+".php"),
	}
	if len(conf.Keeper.Command) > 0 {
		r.root = keeper.Client{Command: conf.Keeper.Command}
	}
	return r, nil
}

// State proves what runs now. Nobody is disturbed by it for longer than a few milliseconds, and a php-fpm that is down,
// hangs or is wrongly configured is a Proof with a Reason.
func (r *Runtime) State(ctx context.Context) (release.Proof, error) {
	if err := ctx.Err(); err != nil {
		return release.Proof{}, context.Cause(ctx)
	}
	if err := r.writeProbe(); err != nil {
		return release.Proof{}, err
	}
	if r.conf.Strategy == Handover {
		g := r.lookAround(ctx)
		proof := r.stateOf(ctx, g)
		proof.Road = r.road(g, r.recall().Took)
		return proof, nil
	}
	proof := r.prove(ctx)
	proof.Nonce = r.nonce(proof)
	proof.Road = release.Road{Strategy: string(r.conf.Strategy)}
	return proof, nil
}
