package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"scap/sync/release"
	"scap/targets/fpm/proc"
)

// Times of a watch.
const (
	lookEvery  = 10 * time.Second // at everything, whatever happens
	firstPause = time.Second      // before a failed repair is tried again; doubled each time
	maxPause   = 2 * time.Minute
	// unproven is how long a generation that the watch starts may take until it is published.
	unproven = 5 * time.Minute
	// watchWait is how long a watch waits for another one to go. Who asks whether there is one holds the lock for an instant.
	watchWait = 2 * time.Second
)

// ErrWatched means that another watch runs on this host.
var ErrWatched = errors.New("another watch runs on this host")

// Watch keeps a host's generations as the record says that they stand, until ctx ends, and returns its cause. After a reboot
// it starts what was published, or what `current` names when nothing was. A master that dies is replaced by a new generation
// of the same release, without a request lost as long as its workers live; generations end when their time is over. What it
// finds and mends, or cannot, is an Alarm in the record, and a line to said. A repair that fails is tried again after growing
// pauses. One watch runs on a host: the error wraps ErrWatched when there is another. conf is what Load returned.
func Watch(ctx context.Context, conf Config, said io.Writer) error {
	k, err := open(conf)
	if err != nil {
		return err
	}
	return k.watch(ctx, said)
}

func (k *keeper) watch(ctx context.Context, said io.Writer) error {
	lock, err := k.lockWatch(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	e, err := newEvents(ctx, k.conf.State)
	if err != nil {
		return err
	}
	defer e.close()
	w := &watcher{keeper: k, said: said, repairs: map[string]*repair{}, remarks: map[string]remark{}, started: map[string]release.ID{}, mourned: map[uint64]bool{}}
	for ctx.Err() == nil {
		w.round(ctx)
		for due := false; !due && ctx.Err() == nil; {
			masters, next := w.ahead()
			if due, err = e.wait(masters, next); err != nil {
				return fmt.Errorf("watch the masters: %w", err)
			}
		}
	}
	return context.Cause(ctx)
}

// lockWatch takes the place of the one watch of this host.
func (k *keeper) lockWatch(ctx context.Context) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(k.conf.State, watchLock), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = proc.Poll(ctx, watchWait, func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrWatched
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	}
	return f, nil
}

// watcher is one watch.
type watcher struct {
	*keeper
	said    io.Writer
	repairs map[string]*repair // by pool: those that failed
	remarks map[string]remark  // by pool or step: what was last said of it
	// started is what each pool is to have because the machine was: nothing had been published when it went down.
	started map[string]release.ID
	begun   bool
	// mourned are generations whose master could not be replaced: that is tried again in its time, not at their death.
	mourned map[uint64]bool
}

// everything is in the place of a pool's name for a round that could not be made at all.
const everything = ""

// repair is one that failed.
type repair struct {
	pause time.Duration
	next  time.Time
}

// failed puts the next try off, longer each time.
func (w *watcher) failed(pool string) {
	r := w.repairs[pool]
	if r == nil {
		r = &repair{pause: firstPause / 2}
		w.repairs[pool] = r
	}
	r.pause = min(2*r.pause, maxPause)
	r.next = time.Now().Add(r.pause)
}

// resting reports whether a pool's repair waits for its next try.
func (w *watcher) resting(pool string) bool {
	r := w.repairs[pool]
	return r != nil && time.Now().Before(r.next)
}

// ahead says which masters live that must, and when there is something to do at the latest.
func (w *watcher) ahead() (masters []proc.Process, next time.Time) {
	now := time.Now()
	next = now.Add(lookEvery)
	for _, r := range w.repairs {
		if r.next.After(now) && r.next.Before(next) {
			next = r.next
		}
	}
	r, err := w.load() // without the lock: the record is replaced whole
	if w.repairs[everything] != nil || err != nil {
		return nil, later(next, now.Add(minPause)) // the round has said so, or will
	}
	for _, e := range r.Generations {
		if !e.Until.IsZero() && e.Until.Before(next) && e.Phase == running {
			next = e.Until
		}
		if e.Phase == running && e.Boot == w.boot && !w.mourned[e.Number] {
			masters = append(masters, proc.Process{PID: e.PID, Tick: e.Tick})
		}
	}
	return masters, later(next, now.Add(minPause))
}

// minPause is between two rounds when something is overdue that a round could not end.
const minPause = firstPause

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
