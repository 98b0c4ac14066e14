package fpm

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"scap/sync/release"
	"scap/targets/fpm/fcgi"
	"scap/targets/fpm/keeper"
)

// ground is what the next switch stands on: whose the masters are, and what is in a handover's way.
type ground struct {
	adopted bool   // the masters are the keeper's
	roster  roster // of an adopted host
	// unfit are reasons why there can be no handover whatever is kept; noRoom is why no master can be started beside another.
	unfit  []string
	noRoom string
	// broken is why nothing at all can be changed here: the masters are the keeper's and it cannot be asked, or is configured
	// for something else.
	broken error
}

// stand finds out, afresh, whose the masters are and whether there is a road for a handover. What the web server is seen to
// do is not in it, see heed.
func (r *Runtime) stand(ctx context.Context) (g ground) {
	for _, i := range r.conf.Instances {
		if fcgi.Network(i.Listen) != "unix" {
			g.unfit = append(g.unfit, fmt.Sprintf("%s listens on TCP (%s): only a unix socket can be renamed", i.Name, i.Listen))
		}
	}
	reply, err := r.order(ctx, keeper.Request{Op: keeper.OpState})
	if err == nil && reply.State == nil {
		err = fmt.Errorf("it answers without a state")
	}
	if err != nil {
		g.unfit = append(g.unfit, fmt.Sprintf("the keeper cannot be asked (`scap fpm adopt --dry-run` says what root is to install): %v", err))
		if listen := r.renamed(); listen != "" {
			g.adopted, g.broken = true, fmt.Errorf("%s is a link of the keeper's, and the keeper cannot be asked (`scap fpm adopt --dry-run` says what root is to install): %w", listen, err)
		}
		return g
	}
	g.adopted = reply.State.Adopted
	if g.roster, err = r.join(*reply.State); err != nil {
		g.unfit = append(g.unfit, err.Error())
		if g.adopted {
			g.broken = err
		}
	}
	if !g.adopted {
		g.unfit = append([]string{"the host is not adopted (`scap fpm adopt`): its php-fpm is the distribution's"}, g.unfit...)
		return g
	}
	if g.broken == nil {
		g.noRoom = g.roster.noRoom()
	}
	return g
}

// renamed returns the first instance's socket that is a link: php-fpm makes a socket, only a keeper makes a link.
func (r *Runtime) renamed() string {
	for _, i := range r.conf.Instances {
		if info, err := os.Lstat(i.Listen); err == nil && info.Mode()&os.ModeSymlink != 0 {
			return i.Listen
		}
	}
	return ""
}

// noRoom says why no further master of every pool fits beside those that serve. A kept one makes room: it would end anyway
// when the next is published.
func (all roster) noRoom() string {
	var total, room uint64
	for _, p := range all.pools {
		free := p.Free
		for _, g := range p.Generations {
			if sound(g) && g.Number != p.Published && g.Number != p.Tried {
				free += p.Need
			}
		}
		if p.Need > free {
			return fmt.Sprintf("a second master of %s needs %s of memory and there is room for %s", p.Name, size(p.Need), size(p.Free))
		}
		total, room = total+p.Need, max(room, free)
	}
	if total > room {
		return fmt.Sprintf("second masters of all pools need %s of memory and there is room for %s", size(total), size(room))
	}
	return ""
}

func size(n uint64) string {
	if n < 10<<20 {
		return fmt.Sprintf("%d kB", n>>10)
	}
	return fmt.Sprintf("%d MB", n>>20)
}

// heed adds what the web server was seen to do that no handover survives, by the status of an instance that serves.
func (r *Runtime) heed(ctx context.Context, g *ground, i Instance, s status) {
	for _, w := range s.Processes {
		if strings.HasPrefix(w.Script, r.link.releases+"/") || strings.HasPrefix(w.Script, r.link.named+"/") {
			g.unfit = append(g.unfit, fmt.Sprintf("the web server names scripts of %s by their real path ($realpath_root, %s), which a new release's master does not have: it must pass $document_root",
				i.Name, w.Script))
			break
		}
	}
	if r.keptOpen(ctx, i, s) {
		g.unfit = append(g.unfit, fmt.Sprintf("the web server keeps connections to %s open (upstream keepalive): they would stay with the old release, and lose POSTs when it ends", i.Name))
	}
}

// keptOpen reports whether a worker waits for the next request on an open connection: twice, so that one that reads a request
// at this moment is not taken for it.
func (r *Runtime) keptOpen(ctx context.Context, i Instance, s status) bool {
	var first []int
	for _, w := range s.Processes {
		if w.State == readingHeaders {
			first = append(first, w.PID)
		}
	}
	if len(first) == 0 {
		return false
	}
	settled := time.NewTimer(keptAfter)
	defer settled.Stop()
	select {
	case <-settled.C:
	case <-ctx.Done():
		return false
	}
	again, err := r.statusOf(ctx, i)
	return err == nil && slices.ContainsFunc(again.Processes, func(w statusWorker) bool {
		return slices.Contains(first, w.PID) && w.State == readingHeaders && time.Duration(w.Duration)*time.Microsecond >= keptAfter/2
	})
}

// lookAround is stand, and what the web server does to who serves now.
func (r *Runtime) lookAround(ctx context.Context) ground {
	g := r.stand(ctx)
	if g.broken != nil {
		return g
	}
	serving := r.conf.Instances
	if g.adopted {
		serving, _ = r.published(g.roster)
	}
	for _, i := range serving {
		if i.gen != nil && !i.gen.Alive {
			continue
		}
		if s, err := r.statusOf(ctx, i); err == nil {
			r.heed(ctx, &g, i, s)
		}
	}
	return g
}

// road says for people and plans what ground allows.
func (r *Runtime) road(g ground, took took) release.Road {
	road := release.Road{Strategy: release.ByHandover, Adopted: g.adopted, TookRename: took.Rename, TookStart: took.Start}
	why := slices.Clone(g.unfit)
	if g.noRoom != "" {
		why = append(why, g.noRoom)
	}
	if len(why) > 0 {
		road.Strategy, road.Wanted, road.Why = release.ByDrain, release.ByHandover, strings.Join(why, "; ")
	}
	if g.adopted && g.broken == nil && len(g.unfit) == 0 {
		road.Warm = g.roster.warm()
	}
	if len(why) == 0 {
		road.NoTrial = g.roster.noTrial()
	}
	return road
}

// noTrial says why nothing can be tried on this host.
func (all roster) noTrial() string {
	if !all.Watched {
		return "no keeper watches over this host (scap-agent keeper watch): a trial whose deploy has died would never end"
	}
	for _, p := range all.pools {
		if p.Trial == "" {
			return fmt.Sprintf("pool %s has no second socket for a trial (php_fpm.trial)", p.Name)
		}
	}
	return ""
}
