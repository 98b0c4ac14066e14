package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"scap/sync/release"
	"scap/sync/wire"
)

// out records that the deploy took the host out of the pool, or put it back, and makes the health flag file say the same.
// The journal is never behind: it says "out" before the flag exists and until the flag is gone, so a host is never out
// without an owner.
func (h *Host) out(ctx context.Context, who claim, o wire.Out) error {
	return h.locked(ctx, who, func(in release.Intent) error {
		if in.Out && in.Owner != o.Owner && in.Claimer != who.owner {
			return wire.Refused.Errorf("%s took this host out; claim the host first to take it over", orNobody(in.Owner))
		}
		if !o.Out {
			if err := h.lowerFlag(); err != nil {
				return err
			}
			h.did("flag removed")
			in.Out, in.Owner = false, ""
			return h.record(in)
		}
		in.Out, in.Owner = true, o.Owner
		if err := h.record(in); err != nil {
			return err
		}
		h.did("out recorded")
		return h.raiseFlag(o.Owner)
	})
}

// raiseFlag creates the flag file, durably. Its content tells a person who did it.
func (h *Host) raiseFlag(owner string) error {
	if h.Flag == "" {
		return nil
	}
	f, err := os.OpenFile(h.Flag, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("health flag file: %w", err)
	}
	_, err = fmt.Fprintf(f, "out of the pool: %s\n", wire.Plain(orNobody(owner), 200))
	if err := errors.Join(err, f.Sync(), f.Close(), syncDir(filepath.Dir(h.Flag))); err != nil {
		return fmt.Errorf("health flag file %s: %w", h.Flag, err)
	}
	return nil
}

// lowerFlag removes the flag file, durably.
func (h *Host) lowerFlag() error {
	if h.Flag == "" {
		return nil
	}
	if err := os.Remove(h.Flag); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("health flag file: %w", err)
	}
	if err := syncDir(filepath.Dir(h.Flag)); err != nil {
		return fmt.Errorf("health flag file %s: %w", h.Flag, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
