package fpm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"scap/sync/release"
	"scap/targets/fpm/keeper"
	"scap/targets/fpm/proc"
)

// roster is how the generations of every configured instance stand, by the keeper's word at one moment.
type roster struct {
	keeper.State
	pools []keeper.PoolState // of the instances, in their order
}

// join finds each instance's pool. A keeper that is configured for other pools than this agent would change a part of the
// host, or more of it than was asked for.
func (r *Runtime) join(s keeper.State) (roster, error) {
	all := roster{State: s}
	var wrong []error
	var names []string
	for _, i := range r.conf.Instances {
		names = append(names, i.Name)
		n := slices.IndexFunc(s.Pools, func(p keeper.PoolState) bool { return p.Name == i.Name })
		if n < 0 {
			wrong = append(wrong, fmt.Errorf("the keeper has no pool %s", i.Name))
			continue
		}
		p := s.Pools[n]
		if p.Listen != i.Listen {
			wrong = append(wrong, fmt.Errorf("the keeper's pool %s listens on %s, not on %s", i.Name, p.Listen, i.Listen))
		}
		all.pools = append(all.pools, p)
	}
	for _, p := range s.Pools {
		if !slices.Contains(names, p.Name) {
			wrong = append(wrong, fmt.Errorf("the keeper has a pool %s, which no deploy knows of", p.Name))
		}
	}
	if len(wrong) > 0 {
		return all, fmt.Errorf("keeper.json disagrees with scap.yaml (`scap config keeper` prints it anew): %w", errors.Join(wrong...))
	}
	return all, nil
}

// numbered finds a generation of a pool; there is none of number 0.
func numbered(p keeper.PoolState, number uint64) (keeper.Generation, bool) {
	for _, g := range p.Generations {
		if g.Number == number && number != 0 {
			return g, true
		}
	}
	return keeper.Generation{}, false
}

// sound reports whether a generation could be published.
func sound(g keeper.Generation) bool { return g.Alive && g.Wrong == "" }

// published are the instances as they serve users, each its published generation. A pool of which none is published is in
// the error.
func (r *Runtime) published(all roster) ([]Instance, error) {
	var is []Instance
	var wrong []error
	for n, i := range r.conf.Instances {
		g, ok := numbered(all.pools[n], all.pools[n].Published)
		if !ok {
			text := fmt.Sprintf("php-fpm %s: no generation is published", i.Name)
			if p := all.pools[n].Problem; p != "" {
				text += ": " + p
			}
			wrong = append(wrong, errors.New(text))
			continue
		}
		is = append(is, i.of(g))
	}
	return is, errors.Join(wrong...)
}

// tried are the instances of a trial, or none where no pool is tried on.
func (r *Runtime) tried(all roster) []Instance {
	var is []Instance
	for n, i := range r.conf.Instances {
		if g, ok := numbered(all.pools[n], all.pools[n].Tried); ok {
			is = append(is, i.of(g))
		}
	}
	return is
}

// living are the instances of every generation with a process, the kept ones too.
func (r *Runtime) living(all roster) []Instance {
	var is []Instance
	for n, i := range r.conf.Instances {
		for _, g := range all.pools[n].Generations {
			if g.Alive || len(g.Orphans) > 0 {
				is = append(is, i.of(g))
			}
		}
	}
	return is
}

// leastLeft is the time that a kept generation must have left to be gone back to: else it would end between the question and
// the rename, while other pools' are started, and the switch would fail.
const leastLeft = time.Minute

// lasts reports whether a generation will still be there when it is to be published.
func lasts(p keeper.PoolState, g keeper.Generation) bool {
	return g.Number == p.Published || g.Number == p.Tried || g.Until.IsZero() || time.Until(g.Until) > leastLeft
}

// warm are the releases for which every pool has a sound generation besides the published one, that lasts.
func (all roster) warm() []release.ID {
	var ids []release.ID
	for n, p := range all.pools {
		var here []release.ID
		serves, _ := numbered(p, p.Published)
		for _, g := range p.Generations {
			if sound(g) && lasts(p, g) && g.Number != p.Published && g.Release != serves.Release && !slices.Contains(here, g.Release) {
				here = append(here, g.Release)
			}
		}
		if n == 0 {
			ids = here
		}
		ids = slices.DeleteFunc(ids, func(id release.ID) bool { return !slices.Contains(here, id) })
	}
	return ids
}

// serves reports whether every pool has a sound generation of id published: nothing has to be started, and nothing stopped.
func (all roster) serves(id release.ID) bool {
	for _, p := range all.pools {
		if g, ok := numbered(p, p.Published); !ok || !sound(g) || g.Release != id {
			return false
		}
	}
	return true
}

// has reports whether every pool has a sound generation of id that lasts, the published one among them.
func (all roster) has(id release.ID) bool {
	for _, p := range all.pools {
		if !slices.ContainsFunc(p.Generations, func(g keeper.Generation) bool { return sound(g) && lasts(p, g) && g.Release == id }) {
			return false
		}
	}
	return true
}

// of is the instance as one of its generations.
func (i Instance) of(g keeper.Generation) Instance {
	i.Listen, i.StatusListen, i.ConfigFile, i.Control, i.gen = g.Socket, g.Status, g.ConfigFile, Control{}, &g
	return i
}

// crew picks the instance's processes. A generation's master is known by pid and start tick, which root has looked up: its
// title, which php-fpm cuts where its arguments ended, need not tell it from the next generation's.
func (i Instance) crew(all map[int]proc.Process, pool string) proc.Crew {
	if i.gen == nil {
		return proc.CrewOf(all, i.ConfigFile, pool)
	}
	var c proc.Crew
	master, ok := all[i.gen.PID]
	if ok = ok && master.Tick == i.gen.Tick && strings.HasPrefix(master.Title, strings.TrimSuffix(proc.MasterTitle, "(")); ok {
		c.Masters = append(c.Masters, master)
	}
	for _, p := range all {
		switch {
		case ok && p.Parent == master.PID:
			c.Workers = append(c.Workers, p)
		case !ok && slices.Contains(i.gen.Orphans, p.PID), !ok && slices.Contains(i.gen.Workers, p.PID):
			c.Strays = append(c.Strays, p)
		}
	}
	return c
}
