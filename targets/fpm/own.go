package fpm

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"scap/targets/fpm/proc"
)

// ledger is how many of the pages that the runtime counts were asked for by agents: warm-up and preflight. It lies on disk
// because every deploy connection has an agent of its own, and belongs to one generation of masters.
type ledger struct {
	Generation string `json:"generation"`
	Own        int64  `json:"own"`
}

const maxLedger = 64 << 10

// countOthers returns how many pages the runtime began for others than agents. Where the ledger cannot be kept it errs on
// the side of fewer: a gate that waits for requests then waits longer.
func (r *Runtime) countOthers(all []evidence) int64 {
	var entered int64
	var names []string
	for _, e := range all {
		if e.opcache.Opcache == nil {
			return 0
		}
		entered += e.opcache.Opcache.Entered
		names = append(names, fmt.Sprintf("%s:%d:%d:%d", e.instance.Name, e.instance.Master, e.instance.Tick, e.status.Start))
	}
	own, err := r.settle(strings.Join(names, " "))
	if err != nil {
		return 0
	}
	return max(entered-own, 0)
}

// settle adds what this agent did to the ledger of the generation and returns the sum.
func (r *Runtime) settle(generation string) (int64, error) {
	lock, err := os.OpenFile(filepath.Join(r.conf.Work, "own.json"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return 0, err
	}
	b, err := proc.ReadSome(lock.Name(), maxLedger)
	if err != nil {
		return 0, err
	}
	var l ledger
	if json.Unmarshal(b, &l) != nil || l.Generation != generation {
		l = ledger{Generation: generation} // a new generation, or a file that was torn: all counts begin anew
	}
	l.Own += r.pending.Swap(0)
	if b, err = json.Marshal(l); err != nil {
		return 0, err
	}
	if err := lock.Truncate(0); err != nil {
		return 0, err
	}
	_, err = lock.WriteAt(b, 0)
	return l.Own, err
}
