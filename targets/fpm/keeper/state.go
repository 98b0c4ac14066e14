package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"scap/targets/fpm/proc"
	"scap/targets/fpm/socket"
)

// watchLock is what a watch holds as long as it lives.
const watchLock = "watch.lock"

// state says how everything stands. It waits for nobody: the record is replaced whole, the rest is asked of the kernel.
func (k *keeper) state() (State, error) {
	r, err := k.load()
	if err != nil {
		return State{}, err
	}
	s, err := look()
	if err != nil {
		return State{}, err
	}
	watched, err := k.watched()
	if err != nil {
		return State{}, err
	}
	out := State{Adopted: r.Adopted && r.Hand == "", Watched: watched, Alarms: r.Alarms}
	for _, p := range k.conf.Pools {
		one, err := k.poolState(r, s, p)
		if err != nil {
			return State{}, fmt.Errorf("pool %s: %w", p.Name, err)
		}
		out.Pools = append(out.Pools, one)
	}
	return out, nil
}

func (k *keeper) poolState(r *record, s *sight, p Pool) (PoolState, error) {
	out := PoolState{Name: p.Name, Listen: p.Listen, Trial: p.Trial}
	var err1, err2 error
	out.Published, err1 = k.leads(r, p.Name, p.Listen)
	out.Tried, err2 = k.leads(r, p.Name, p.Trial)
	need, left, err3 := k.room(r, s, p)
	out.Need, out.Free = uint64(max(0, need)), uint64(max(0, left))
	if err := errors.Join(err1, err2, err3); err != nil {
		return out, err
	}
	for _, e := range r.of(p.Name) {
		g := k.generation(e, k.crew(s, e))
		if e.Number == out.Published {
			g.Until = time.Time{} // its deadline ended with the rename, whatever the record says yet
		}
		out.Generations = append(out.Generations, g)
	}
	problem, err := k.problem(r, s, p, out)
	out.Problem = problem
	return out, err
}

// problem says what is wrong with a pool that people should know.
func (k *keeper) problem(r *record, s *sight, p Pool, now PoolState) (string, error) {
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if r.Hand != "" {
		add("%s the host has begun and not ended", r.Hand)
	}
	for _, g := range now.Generations {
		switch {
		case g.Number != now.Published:
		case !g.Alive && len(g.Orphans) > 0:
			add("the master of generation %d is dead, its workers %v go on without it", g.Number, g.Orphans)
		case !g.Alive:
			add("generation %d is dead", g.Number)
		case g.Wrong != "":
			add("generation %d: %s", g.Number, g.Wrong)
		}
	}
	if last := r.pool(p.Name).Published; last != now.Published && now.Published == 0 {
		add("%s does not lead to generation %d, as it did", p.Listen, last)
	}
	if r.Adopted && r.Hand == "" {
		if _, there, err := socket.Listening(p.Listen); err != nil {
			return "", err
		} else if there {
			add("somebody else listens on %s", p.Listen)
		}
	}
	for _, m := range s.fpm {
		ours := strings.HasPrefix(m.Title, proc.MasterTitle+filepath.Join(k.conf.Run, "fpm-")) && s.fpm[m.Parent].PID == 0
		if ours && p.Name == k.conf.Pools[0].Name && !slices.ContainsFunc(r.Generations, func(e *entry) bool { return e.PID == m.PID || e.Phase != running }) {
			add("the record does not know the master %d, %s", m.PID, m.Title)
		}
	}
	return strings.Join(all, "; "), nil
}

// watched reports whether a watch runs: nobody else holds its lock.
func (k *keeper) watched() (bool, error) {
	f, err := os.Open(filepath.Join(k.conf.State, watchLock))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}
