package fpm

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"scap/sync/release"
	"scap/targets/fpm/proc"
)

// swap remembers by the kernel's clock when the link was swapped, so that a worker's age can be compared with it to the
// tick. It holds only while the link is the one that was made then.
type swap struct {
	Link int64  `json:"link"` // the link's own time of change, in nanoseconds
	Tick uint64 `json:"tick"` // clock ticks after boot right after the swap
	Boot string `json:"boot"`
	// Nonce is what the runtime that was proven after the swap wrote into its log, and Started when it began.
	Nonce   string    `json:"nonce,omitempty"`
	Started time.Time `json:"started,omitzero"`
}

// bootTick is the present time in the unit of a proc.Process' start: USER_HZ is 100 wherever Linux runs php-fpm.
func bootTick() (uint64, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, err
	}
	return uint64(now.Nano()) / uint64(10*time.Millisecond), nil
}

func bootID() string {
	b, _ := proc.ReadSome("/proc/sys/kernel/random/boot_id", 64)
	return strings.TrimSpace(string(b))
}

func (r *Runtime) swapFile() string { return filepath.Join(r.conf.Work, "swap.json") }

// noteSwap records a swap that was made now. Where it cannot, proofs go on without it, by the wall clock.
func (r *Runtime) noteSwap() {
	tick, err := bootTick()
	if err != nil {
		return
	}
	r.writeSwap(swap{Link: r.link.swapped().UnixNano(), Tick: tick, Boot: bootID()})
}

// noteNonce adds to the recorded swap what the runtime that began at started wrote into its log.
func (r *Runtime) noteNonce(nonce string, started time.Time) {
	if s, ok := r.lastSwap(); ok {
		s.Nonce, s.Started = nonce, started
		r.writeSwap(s)
	}
}

// nonce returns what the runtime that proof is of wrote into its log after its switch; nothing for one that was started
// since by somebody else.
func (r *Runtime) nonce(proof release.Proof) string {
	if s, ok := r.lastSwap(); ok && !proof.Release.IsZero() && s.Started.Equal(proof.Started) {
		return s.Nonce
	}
	return ""
}

func (r *Runtime) writeSwap(s swap) {
	b, err := json.Marshal(s)
	if err != nil {
		return
	}
	next := r.swapFile() + ".next"
	if os.WriteFile(next, b, 0o644) == nil {
		_ = os.Rename(next, r.swapFile())
	}
}

// lastSwap returns the recorded swap if it is the one that made the present link.
func (r *Runtime) lastSwap() (swap, bool) {
	b, err := proc.ReadSome(r.swapFile(), 4096)
	if err != nil {
		return swap{}, false
	}
	var s swap
	if json.Unmarshal(b, &s) != nil || s.Link != r.link.swapped().UnixNano() || s.Boot == "" || s.Boot != bootID() {
		return swap{}, false
	}
	return s, true
}
