// Package lease lets one deploy at a time work on a deploy host, and says who holds it, since when and why. Between deploy
// hosts the targets keep the peace: by the fencing token.
package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
)

// Sentinels.
var (
	// ErrHeld means that another deploy has the lease; the error is a *HeldError. A retry helps once that one has ended.
	ErrHeld = errors.New("another deploy holds the lease")
	// ErrLost is the cause of a lease's context that ended because the lock file was replaced or removed: another
	// deploy may have begun.
	ErrLost = errors.New("the lease is lost")
	// ErrReleased is the cause of a lease's context that ended with Release.
	ErrReleased = errors.New("the lease was released")
)

// Holder is who has the lease, or waits for it.
type Holder struct {
	Who   string    `json:"who"`
	Why   string    `json:"why"`            // the deploy or the REASON, for those who wait
	Host  string    `json:"host,omitempty"` // from where Who came
	Since time.Time `json:"since"`
	PID   int       `json:"pid"`
}

// maxWhy is how much of a reason is kept: a holder file must stay one that is read.
const maxWhy = 4 << 10

func (h Holder) complete() Holder {
	if h.Since.IsZero() {
		h.Since = time.Now()
	}
	if h.PID == 0 {
		h.PID = os.Getpid()
	}
	if len(h.Why) > maxWhy {
		h.Why = strings.ToValidUTF8(h.Why[:maxWhy], "") + "…"
	}
	return h
}

// HeldError says who holds the lease, or goes first for it. It is an ErrHeld.
type HeldError struct {
	Holder  Holder
	Known   bool          // whether Holder could be read
	Next    bool          // nobody holds the lease, but Holder waits for it and goes first
	Waiting int           // who wait, Holder included if Next, and would have gone first
	Waited  time.Duration // so long it was waited for; 0: not at all
}

// Error names the holder, since when and why.
func (e *HeldError) Error() string {
	var b strings.Builder
	b.WriteString(ErrHeld.Error())
	if e.Waited > 0 {
		fmt.Fprintf(&b, " after %s of waiting", e.Waited.Round(time.Second))
	}
	switch {
	case e.Known:
		verb := ""
		if e.Next {
			verb = "goes first, waiting "
		}
		fmt.Fprintf(&b, ": %s %ssince %s (pid %d): %s", line(e.Holder.Who), verb, e.Holder.Since.Format("2006-01-02 15:04:05 MST"), e.Holder.PID, line(e.Holder.Why))
	default:
		b.WriteString("; who it is could not be read")
	}
	if e.Waiting > 0 && !e.Next {
		fmt.Fprintf(&b, " (%d waiting)", e.Waiting)
	}
	return b.String()
}

// Is reports that a HeldError is an ErrHeld.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// line makes text from another process fit for one line of a terminal.
func line(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if r := []rune(text); len(r) > 200 {
		return string(r[:200]) + "…"
	}
	return text
}

// maxHolder bounds what is read of a holder file.
const maxHolder = 64 << 10

// watch is how often a Lease looks whether its lock file is still the one at its path.
const watch = time.Second

// Lease is held until Release, the end of the process, or until it is lost.
type Lease struct {
	path string
	lock *flock.Flock
	ctx  context.Context
	end  context.CancelCauseFunc
	done sync.WaitGroup
}

// take takes the lease when it is free, whoever waits for it.
func take(ctx context.Context, path string, h Holder) (*Lease, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	lock := flock.New(path, flock.SetPermissions(0o644))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !ok {
		held := &HeldError{}
		held.Holder, err = Read(path)
		held.Known = err == nil
		return nil, errors.Join(held, lock.Close())
	}
	l := &Lease{path: path, lock: lock}
	if !l.ours() {
		return nil, errors.Join(fmt.Errorf("lock %s: %w while it was taken", path, ErrLost), lock.Close())
	}
	if err := l.write(h.complete()); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), lock.Close())
	}
	l.ctx, l.end = context.WithCancelCause(ctx)
	l.done.Go(l.watch)
	return l, nil
}

// Context ends with the context that it was acquired with, with Release (ErrReleased) and when the lease is lost
// (ErrLost). Work that needs the lease is done on it.
func (l *Lease) Context() context.Context { return l.ctx }

// Release ends the lease. It may be called more than once.
func (l *Lease) Release() error {
	l.end(ErrReleased)
	l.done.Wait()
	if !l.lock.Locked() {
		return nil
	}
	var err error
	if l.ours() { // or the holder file is another one's
		if err = os.Remove(holderPath(l.path)); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	return errors.Join(err, l.lock.Close())
}

// watch ends the context when the lock file is no longer the one that is locked.
func (l *Lease) watch() {
	tick := time.NewTicker(watch)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if !l.ours() {
				l.end(fmt.Errorf("%s was replaced or removed: %w", l.path, ErrLost))
				return
			}
		case <-l.ctx.Done():
			return
		}
	}
}

// ours reports whether the file at path is the one that is locked.
func (l *Lease) ours() bool {
	mine, err := l.lock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(l.path)
	return err == nil && os.SameFile(mine, there)
}

func holderPath(path string) string { return path + ".holder" }

func (l *Lease) write(h Holder) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return renameio.WriteFile(holderPath(l.path), append(b, '\n'), 0o644, renameio.IgnoreUmask())
}

// Read returns who holds, or held last without releasing it, the lease whose lock file is path. Whether it is held only
// Acquire can say.
func Read(path string) (Holder, error) { return readHolder(holderPath(path)) }

func readHolder(path string) (Holder, error) {
	f, err := os.Open(path)
	if err != nil {
		return Holder{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxHolder+1))
	if err != nil {
		return Holder{}, err
	}
	if len(b) > maxHolder {
		return Holder{}, fmt.Errorf("%s: more than %d bytes", path, maxHolder)
	}
	var h Holder
	if err := json.Unmarshal(b, &h); err != nil {
		return Holder{}, fmt.Errorf("%s: %w", path, err)
	}
	return h, nil
}
