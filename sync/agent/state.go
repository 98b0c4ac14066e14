package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"scap/sync/release"
	"scap/sync/wire"
)

// state says what is on the host's disk and what its runtime proves, asked afresh. While another agent works on the host
// it says so instead of asking the runtime. What cannot be read is a problem in the answer, never left out.
func (h *Host) state(ctx context.Context, ask wire.StateAsk) (wire.State, error) {
	st := wire.State{Served: h.Served}
	wait, cancel := context.WithTimeout(ctx, stateLockWait)
	defer cancel()
	unlock, err := h.lock(wait)
	switch {
	case err == nil:
		defer unlock()
	case ctx.Err() != nil:
		return st, context.Cause(ctx)
	case errors.Is(err, context.DeadlineExceeded):
		st.Busy = h.busy()
	default:
		return st, fmt.Errorf("lock of the host: %w", err)
	}
	problem := func(err error) {
		if err != nil {
			st.Problems = append(st.Problems, wire.Plain(err.Error(), 1000))
		}
	}
	if st.Disk, err = h.Store.Current(); err != nil {
		problem(fmt.Errorf("current release: %w", err))
	}
	if st.Intent, err = h.Store.Host(); err != nil {
		problem(fmt.Errorf("the host's own journal: %w", err))
	}
	st.Releases, err = h.releases()
	problem(err)
	if st.Free, err = free(h.Store.Root()); err != nil {
		problem(err)
	}
	st.Plain, err = h.served()
	problem(err)
	problem(h.strayFlag(st.Intent))
	if st.Busy != "" {
		st.Proof.Reason = st.Busy
		return st, nil
	}
	if st.Proof, err = h.prove(ctx); err != nil {
		st.Proof = release.Proof{Reason: wire.Plain(fmt.Sprintf("the runtime cannot be asked: %v", err), 1000)}
	}
	st.Proof.Notes = notes(st.Proof.Notes)
	if ask.Check {
		problem(h.check(ctx))
	}
	if ctx.Err() != nil {
		return st, context.Cause(ctx)
	}
	return st, nil
}

// notes are what of a runtime's notes fits into an answer, fit to be shown: the newest, which are the last.
func notes(all []string) []string {
	const most = 16
	if len(all) > most {
		all = all[len(all)-most:]
	}
	var plain []string
	for _, n := range all {
		plain = append(plain, wire.Plain(n, 500))
	}
	return plain
}

func (h *Host) check(ctx context.Context) error {
	if err := h.runtime.lock(ctx); err != nil {
		return err
	}
	defer h.runtime.unlock()
	return h.Runtime.Check(ctx)
}

// releases returns the complete releases on disk, newest first.
func (h *Host) releases() ([]release.ID, error) {
	rs, err := h.Store.Releases()
	if err != nil {
		return nil, fmt.Errorf("releases on the host: %w", err)
	}
	ids := make([]release.ID, len(rs))
	for i, r := range rs {
		ids[i] = r.ID
	}
	return ids, nil
}

// free returns the bytes that an unprivileged user can still write.
func free(root string) (uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(root, &fs); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", root, err)
	}
	return fs.Bavail * uint64(fs.Bsize), nil
}

// served reports whether the served path is a plain directory. Anything but that or the link to current is an error.
func (h *Host) served() (plain bool, err error) {
	if h.Served == "" {
		return false, nil
	}
	want := filepath.Join(h.Store.Root(), "current")
	info, err := os.Lstat(h.Served)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, fmt.Errorf("served path %s does not exist: make it a link to %s", h.Served, want)
	case err != nil:
		return false, fmt.Errorf("served path: %w", err)
	case info.IsDir():
		return true, nil
	case info.Mode()&fs.ModeSymlink == 0:
		return false, fmt.Errorf("served path %s is neither a directory nor a link", h.Served)
	}
	to, err := os.Readlink(h.Served)
	if err != nil {
		return false, fmt.Errorf("served path: %w", err)
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(h.Served), to)
	}
	if filepath.Clean(to) != filepath.Clean(want) {
		return false, fmt.Errorf("served path %s is a link to %s, not to %s", h.Served, to, want)
	}
	return false, nil
}

// strayFlag finds a health flag file that nobody owns.
func (h *Host) strayFlag(in release.Intent) error {
	if h.Flag == "" || in.Out {
		return nil
	}
	if _, err := os.Lstat(h.Flag); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("health flag file: %w", err)
	}
	return fmt.Errorf("health flag file %s keeps this host out, but no deploy has taken it out: remove it by hand", h.Flag)
}
