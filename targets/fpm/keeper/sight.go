package keeper

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"scap/targets/fpm/namespace"
	"scap/targets/fpm/proc"
	"scap/targets/fpm/socket"
)

// sight is the host's processes at one moment.
type sight struct {
	fpm    map[int]proc.Process
	spaces map[uint64][]int // who is in which mount namespace
}

func look() (*sight, error) {
	fpm, err := proc.All()
	if err != nil {
		return nil, err
	}
	s := &sight{fpm: fpm, spaces: map[uint64][]int{}}
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if ino := spaceOf(pid); ino != 0 {
			s.spaces[ino] = append(s.spaces[ino], pid)
		}
	}
	return s, nil
}

// spaceOf is the inode of a process's mount namespace, 0 for one that is gone or is a zombie. It is namespace.Inside at a third
// of the cost, which counts where every process of the machine is asked.
func spaceOf(pid int) uint64 {
	text, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/mnt")
	if err != nil {
		return 0
	}
	ino, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(text, "mnt:["), "]"), 10, 64)
	if err != nil {
		return 0
	}
	return ino
}

// crew is who belongs to a generation.
type crew struct {
	alive   bool
	master  proc.Process
	workers []proc.Process // its children that work for the pool
	members []proc.Process // everybody: the master, its children, and whoever is in its namespace
	outside []int          // children of the master in another namespace
}

// orphans are the members without a master.
func (c crew) orphans() []int {
	if c.alive {
		return nil
	}
	return proc.PIDs(c.members)
}

// crew finds a generation's processes. A master is known by pid and start tick. The inode of a namespace that is gone may be
// another one's later, so without the master it counts only if somebody in it is of the master's session, whose number
// lasts as long as any of its processes.
func (k *keeper) crew(s *sight, e *entry) crew {
	var c crew
	if e.Boot != k.boot || e.PID == 0 {
		return c
	}
	pids := map[int]bool{}
	if p, err := proc.Read(e.PID); err == nil && p.Tick == e.Tick {
		c.alive, c.master = true, p
		pids[p.PID] = true
		for _, child := range s.fpm {
			if child.Parent != p.PID {
				continue
			}
			pids[child.PID] = true
			if ino := spaceOf(child.PID); ino != e.Namespace && ino != 0 {
				c.outside = append(c.outside, child.PID)
			}
		}
	}
	if c.alive || slices.ContainsFunc(s.spaces[e.Namespace], func(pid int) bool {
		sid, err := unix.Getsid(pid)
		return err == nil && sid == e.PID
	}) {
		for _, pid := range s.spaces[e.Namespace] {
			pids[pid] = true
		}
	}
	for pid := range pids {
		if p, err := proc.Read(pid); err == nil {
			c.members = append(c.members, p)
		}
	}
	slices.SortFunc(c.members, func(a, b proc.Process) int { return a.PID - b.PID })
	children := slices.DeleteFunc(slices.Clone(c.members), func(p proc.Process) bool {
		_, fpm := s.fpm[p.PID]
		return !fpm || p.PID == e.PID || !c.alive || p.Parent != e.PID
	})
	c.workers = proc.Crew{Workers: children}.Of(e.Section)
	return c
}

// wrong says what does not hold of a generation that must. It opens the release again, by the same rules as at the start.
func (k *keeper) wrong(e *entry, c crew) string {
	if e.Phase != running || !c.alive {
		return ""
	}
	if at := spaceOf(e.PID); at != e.Namespace {
		return fmt.Sprintf("its master is in mount namespace %d, not in %d", at, e.Namespace)
	}
	if len(c.outside) > 0 {
		return fmt.Sprintf("processes %v of it are outside of its namespace", c.outside)
	}
	r, err := namespace.Open(k.spec(e))
	if err != nil {
		return fmt.Sprintf("its release cannot be opened any more: %v", err)
	}
	defer r.Close()
	if r.Inode() != e.Inode {
		return "its release is another directory than when it was started"
	}
	for _, p := range append([]proc.Process{c.master}, c.workers...) {
		if err := r.SeenBy(p.PID); err != nil && len(proc.Left([]proc.Process{p})) > 0 {
			return err.Error()
		}
	}
	return ""
}

// generation is an entry as the protocol has it.
func (k *keeper) generation(e *entry, c crew) Generation {
	f := k.conf.files(e.Number)
	g := Generation{
		Number: e.Number, Release: e.Release, Socket: f.socket, ConfigFile: f.config, PID: e.PID, Tick: e.Tick, Namespace: e.Namespace,
		Started: e.Started, Until: e.Until, Alive: c.alive && e.Phase == running, Orphans: c.orphans(), Wrong: k.wrong(e, c),
	}
	if e.Status {
		g.Status = f.status
	}
	if c.alive {
		g.Workers = proc.PIDs(c.workers)
	}
	if e.Boot != k.boot {
		g.PID, g.Tick, g.Namespace = 0, 0, 0
	}
	return g
}

// healthy answers an error unless a generation could be shown to users now.
func (k *keeper) healthy(s *sight, e *entry) error {
	c := k.crew(s, e)
	switch {
	case e.Phase != running:
		return fmt.Errorf("generation %d is %s", e.Number, e.Phase)
	case !c.alive:
		return fmt.Errorf("the master of generation %d is dead; of it are left: %v", e.Number, c.orphans())
	case len(c.workers) == 0:
		return fmt.Errorf("generation %d has no worker", e.Number)
	}
	if text := k.wrong(e, c); text != "" {
		return fmt.Errorf("generation %d: %s", e.Number, text)
	}
	_, there, err := socket.Listening(k.conf.files(e.Number).socket)
	if err == nil && !there {
		err = errors.New("nobody listens on its socket")
	}
	if err != nil {
		return fmt.Errorf("generation %d: %w", e.Number, err)
	}
	return nil
}
