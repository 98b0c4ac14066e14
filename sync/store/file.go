package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// scratch makes a new file under tmp/; what stays there after a crash is rubbish.
func (s *Store) scratch() (*os.File, error) {
	if err := s.tmp.change("create", "scratch"); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(s.tmp.name, "w")
	if err != nil {
		return nil, full(err)
	}
	return f, nil
}

// full says what to do about a full disk.
func full(err error) error {
	if said := (fullError{}); errors.As(err, &said) || !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		return err
	}
	return fullError{err}
}

type fullError struct{ error }

func (e fullError) Error() string {
	return e.error.Error() + "; prune old releases or make room, then try again: nothing is lost"
}

func (e fullError) Unwrap() error { return e.error }

// readFile reads a small file whole and refuses one larger than limit.
func (s *Store) readFile(d *dir, name string, limit int64) ([]byte, error) {
	f, st, err := d.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st.Size > limit {
		return nil, fmt.Errorf("%s: %d bytes, more than %d: %w", f.Name(), st.Size, limit, ErrDamaged)
	}
	b := make([]byte, st.Size)
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return b, nil
}

// writeFile replaces a file in one step: whoever reads it sees the old content or the new, after a crash too. What is
// not durable may be lost or torn by a power cut and must be able to tell.
func (s *Store) writeFile(d *dir, name string, b []byte, durable bool) error {
	if err := d.change("write", name); err != nil {
		return err
	}
	if !durable {
		f, err := s.scratch()
		if err != nil {
			return err
		}
		_, err = f.Write(b)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("write %s: %w", name, full(err))
		}
		return s.tmp.rename(filepath.Base(f.Name()), d, name)
	}
	path := filepath.Join(d.name, name)
	if err := renameio.WriteFile(path, b, 0o644, renameio.WithTempDir(s.tmp.name), renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("write %s: %w", path, full(err))
	}
	return d.sync()
}

// strict reads exactly one JSON value without unknown fields.
func strict(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}
