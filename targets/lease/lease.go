// Package lease lets one deploy at a time work on a deploy host: a lock that the kernel frees when its holder dies, beside
// which stands who holds it, why and since when. It also counts the fencing tokens that targets compare.
package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
)

var (
	// ErrHeld means that somebody else holds the lock. The error says who, why and since when.
	ErrHeld = errors.New("locked by another deploy")
	// ErrLost is the cause of a lease's context when the lock's file was taken away or replaced under the holder.
	ErrLost = errors.New("the lock was taken away")
)

// Holder is who holds a lease and why.
type Holder struct {
	Who   string    `json:"who"`
	Why   string    `json:"why"`
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
}

// String says it in words.
func (h Holder) String() string {
	return fmt.Sprintf("%s (pid %d) since %s UTC: %s", h.Who, h.PID, h.Since.UTC().Format("2006-01-02 15:04:05"), h.Why)
}

// Lease is a lock that is held.
type Lease struct {
	path   string
	holder Holder
	lock   *flock.Flock
	cancel context.CancelCauseFunc
	watch  sync.WaitGroup
}

// watchEvery is how often the holder looks whether the lock's file is still its own.
const watchEvery = 2 * time.Second

// Acquire takes the lock at path, or fails at once with ErrHeld. The context it returns ends with ErrLost when the lock
// is lost, and with Release.
func Acquire(ctx context.Context, path string, h Holder) (*Lease, context.Context, error) {
	f := flock.New(path, flock.SetPermissions(0o644))
	got, err := f.TryLock()
	if err != nil {
		return nil, ctx, fmt.Errorf("lock %s: %w", path, err)
	}
	if !got {
		return nil, ctx, fmt.Errorf("%w: %s", ErrHeld, holder(path))
	}
	h.PID, h.Since = os.Getpid(), time.Now().UTC()
	h.Who, h.Why = cut(h.Who), cut(h.Why)
	l := &Lease{path: path, holder: h, lock: f}
	if err := l.tell(); err != nil {
		return nil, ctx, errors.Join(err, f.Unlock())
	}
	own, err := f.Stat()
	if err != nil {
		return nil, ctx, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Unlock())
	}
	live, cancel := context.WithCancelCause(ctx)
	l.cancel = cancel
	l.watch.Go(func() { l.guard(live, own) })
	if !same(path, own) { // it was replaced between open and lock: another may hold the new file
		return nil, ctx, errors.Join(fmt.Errorf("lock %s: %w", path, ErrLost), l.Release())
	}
	return l, live, nil
}

// String says who holds the lease.
func (l *Lease) String() string { return l.holder.String() }

// Since is when the lease was taken.
func (l *Lease) Since() time.Time { return l.holder.Since }

// Release gives the lock back. It may be called more than once.
func (l *Lease) Release() error {
	l.cancel(context.Canceled)
	l.watch.Wait()
	return l.lock.Unlock()
}

// guard ends the lease's context when its file is no longer the one that is locked.
func (l *Lease) guard(ctx context.Context, own os.FileInfo) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if !same(l.path, own) {
				l.cancel(fmt.Errorf("lock %s: %w", l.path, ErrLost))
				return
			}
		}
	}
}

func same(path string, own os.FileInfo) bool {
	now, err := os.Stat(path)
	return err == nil && os.SameFile(now, own)
}

func holderPath(path string) string { return path + ".holder" }

// tell writes the holder beside the lock: never into it, so that a reader needs no lock.
func (l *Lease) tell() error {
	b, err := json.Marshal(l.holder)
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(holderPath(l.path), append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write who holds %s: %w", filepath.Base(l.path), err)
	}
	return nil
}

// holder reads who holds the lock at path.
func holder(path string) string {
	const most = 8 << 10
	f, err := os.Open(holderPath(path))
	if err != nil {
		return "nobody knows who"
	}
	defer f.Close()
	var h Holder
	b := make([]byte, most)
	n, _ := f.Read(b) // a short file: all of it; none: no holder is read below
	if err := json.Unmarshal(b[:n], &h); err != nil {
		return "nobody knows who"
	}
	return h.String()
}

// cut makes text one short line.
func cut(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > 200 {
		return string(runes[:200]) + "…"
	}
	return text
}

// Next returns the fencing token for a new deploy: the largest that any target has seen, plus one.
func Next(seen []uint64) uint64 {
	if len(seen) == 0 {
		return 1
	}
	return slices.Max(seen) + 1
}
