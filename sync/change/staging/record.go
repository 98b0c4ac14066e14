package staging

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"scap/sync/change"
	"scap/sync/release"
)

// ErrNoRecord means that nobody wrote down what a release is made of: it was not built here.
var ErrNoRecord = errors.New("no record of what the release is made of")

// Record says what a release is made of. It stands beside the release and not in it: the same tree can come from other
// commits, and has the same name then.
type Record struct {
	Release   release.ID     `json:"release"`
	Made      time.Time      `json:"made"`
	Message   string         `json:"message,omitempty"`
	Changes   []change.Pick  `json:"changes,omitempty"` // what the deploy that made it was asked to bring
	Parts     []change.Part  `json:"parts"`
	Private   []change.Patch `json:"private,omitempty"`   // private files, by their path in the tree
	Generated []string       `json:"generated,omitempty"` // files that are made without a step
	Excludes  []string       `json:"excludes,omitempty"`
	Steps     []StepRecord   `json:"steps,omitempty"`
}

// StepRecord is one step's work in a release.
type StepRecord struct {
	Name    string      `json:"name"`
	Version string      `json:"version,omitempty"`
	Inputs  release.Sum `json:"inputs"`           // of all that it was made from
	Outputs string      `json:"outputs"`          // the directory that it made; "" for a step that only looks
	Output  release.Sum `json:"output,omitempty"` // its directory object
}

// maxRecord bounds what is read of a record: a thousand parts take less than a megabyte.
const maxRecord = 64 << 20

// RecordPath is the file of a release's record: JSON, for whoever wants to know of which commits it is made.
func (s *Stager) RecordPath(id release.ID) string {
	return filepath.Join(s.o.Dir, "records", id.String()+".json")
}

// Record returns what a release is made of, or an error that wraps ErrNoRecord.
func (s *Stager) Record(id release.ID) (*Record, error) {
	r, err := readRecord(s.RecordPath(id))
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNoRecord
	}
	if err == nil && r.Release != id {
		err = fmt.Errorf("it tells of release %s", r.Release.Short())
	}
	if err != nil {
		return nil, fmt.Errorf("record of release %s: %w", id.Short(), err)
	}
	return r, nil
}

func readRecord(path string) (*Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err == nil && len(b) > maxRecord {
		err = fmt.Errorf("more than %d bytes", maxRecord)
	}
	if err != nil {
		return nil, err
	}
	return decodeRecord(b)
}

// decodeRecord reads exactly one record without unknown fields.
func decodeRecord(b []byte) (*Record, error) {
	r := &Record{}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(r); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return r, r.check()
}

func (r *Record) check() error {
	if r.Release.IsZero() {
		return errors.New("it names no release")
	}
	seen := map[string]bool{}
	for _, p := range r.Parts {
		if p.Final() == "" || seen[p.Path] {
			return fmt.Errorf("part %q: twice, or without a tree", p.Path)
		}
		seen[p.Path] = true
	}
	return nil
}

// Save writes a record down, durably and in one step. An earlier one of the same release is replaced.
func (s *Stager) Save(r *Record) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("save the record of a release: %w", err)
	}
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("save the record of release %s: %w", r.Release.Short(), err)
	}
	path := s.RecordPath(r.Release)
	err = renameio.WriteFile(path, append(b, '\n'), 0o600)
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("save the record of release %s: %w", r.Release.Short(), err)
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Prune forgets the records of releases that are neither in keep nor in the store, and lets go of the trees in the mirrors
// that only they needed.
func (s *Stager) Prune(ctx context.Context, keep []release.ID) error {
	dir := filepath.Join(s.o.Dir, "records")
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	needed, old := map[[2]string]bool{}, []change.Part{}
	for _, n := range names {
		stem, ok := strings.CutSuffix(n.Name(), ".json")
		id, err := release.ParseID(stem)
		if !ok || err != nil {
			continue
		}
		path := filepath.Join(dir, n.Name())
		r, err := readRecord(path)
		if err != nil {
			r = &Record{} // of no use to anybody: it goes with its release
		}
		if slices.Contains(keep, id) || s.o.Store.Has(id) {
			for _, p := range ownTrees(r.Parts) {
				needed[[2]string{p.Project, p.Final()}] = true
			}
			continue
		}
		old = append(old, ownTrees(r.Parts)...)
		errs = append(errs, os.Remove(path))
	}
	for _, p := range old {
		key := [2]string{p.Project, p.Final()}
		if needed[key] {
			continue
		}
		needed[key] = true // once
		repo, err := s.o.Mirrors.Repo(p.Project)
		if err == nil {
			err = repo.Forget(ctx, keptName(p))
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("prune records: %w", err)
	}
	return nil
}
