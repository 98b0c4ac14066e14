package canary

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"
)

// Memory is what a fleet's deploys remember of each other. Gates may use it at once.
type Memory interface {
	// Seen says when the old release last had a fingerprint, if it had it in the last days.
	Seen(print string) (time.Time, bool)
	// Largest is the largest dispersion of the last days.
	Largest() (phi float64, ok bool)
	// Note remembers fingerprints of the old release, and a dispersion (0: none). What only a release under judgement had
	// is never noted: a failed try must not become what is usual.
	Note(prints []string, phi float64, at time.Time) error
}

const (
	remembered = 7 * 24 * time.Hour
	maxMemory  = 10_000  // fingerprints
	maxFile    = 8 << 20 // bytes
	// renewed: a fingerprint that was noted within it is not written again.
	renewed = time.Hour
)

// FileMemory is a Memory in a JSON file of the deploy host. It forgets after seven days, and the oldest of more than 10,000
// fingerprints. One process at a time may write it: whoever holds the deploy lease.
type FileMemory struct {
	path string
	mu   sync.Mutex
	kept memoryFile
}

var _ Memory = (*FileMemory)(nil)

// memoryFile is the file's form.
type memoryFile struct {
	Format int                  `json:"format"`
	Prints map[string]time.Time `json:"prints"` // fingerprint: last seen
	Phi    map[string]float64   `json:"phi"`    // day: the largest dispersion
}

const day = time.DateOnly

// OpenMemory reads the file, if there is one. A file that cannot be understood is an error, never an empty memory: to
// forget what is usual would make every old error a new one.
func OpenMemory(path string) (*FileMemory, error) {
	m := &FileMemory{path: path, kept: memoryFile{Format: 1, Prints: map[string]time.Time{}, Phi: map[string]float64{}}}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the gate's memory: %w", err)
	}
	defer f.Close()
	var kept memoryFile
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(raw) > maxFile {
		err = fmt.Errorf("more than %d bytes", maxFile)
	}
	if err == nil {
		d := json.NewDecoder(strings.NewReader(string(raw)))
		d.DisallowUnknownFields()
		if err = d.Decode(&kept); err == nil && d.More() {
			err = errors.New("more than one document")
		}
	}
	if err == nil {
		err = kept.check()
	}
	if err != nil {
		return nil, fmt.Errorf("read the gate's memory %s: %w; restore it, or move it away: the next deploy then judges new errors by its own history alone", path, err)
	}
	m.kept = kept
	return m, nil
}

func (k *memoryFile) check() error {
	switch {
	case k.Format != 1:
		return fmt.Errorf("format %d, want 1", k.Format)
	case len(k.Prints) > maxMemory:
		return fmt.Errorf("%d fingerprints, want at most %d", len(k.Prints), maxMemory)
	}
	for d, phi := range k.Phi {
		if _, err := time.Parse(day, d); err != nil || !(phi >= 1 && phi <= 1e6) {
			return fmt.Errorf("dispersion %g of %q", phi, d)
		}
	}
	if k.Prints == nil {
		k.Prints = map[string]time.Time{}
	}
	if k.Phi == nil {
		k.Phi = map[string]float64{}
	}
	return nil
}

// Seen is of the last seven days before the newest note.
func (m *FileMemory) Seen(text string) (time.Time, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, ok := m.kept.Prints[clean(text, maxText)]
	return at, ok
}

// Largest is of the last seven days.
func (m *FileMemory) Largest() (float64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var largest float64
	for _, phi := range m.kept.Phi {
		largest = max(largest, phi)
	}
	return largest, largest > 0
}

// Note writes the file, atomically, when there is something to remember or forget. After an error nothing has changed.
func (m *FileMemory) Note(prints []string, phi float64, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	at = at.UTC()
	next := memoryFile{Format: 1, Prints: maps.Clone(m.kept.Prints), Phi: maps.Clone(m.kept.Phi)}
	changed := next.forget(at)
	for _, p := range prints {
		p = clean(p, maxText)
		if old, ok := next.Prints[p]; p != "" && (!ok || at.Sub(old) >= renewed) {
			next.Prints[p], changed = at, true
		}
	}
	if today := at.Format(day); phi >= 1 && phi <= 1e6 && phi > 1.05*next.Phi[today] { // a little more is not worth a write
		next.Phi[today], changed = phi, true
	}
	if !changed {
		return nil
	}
	next.bound()
	raw, err := json.Marshal(next)
	if err == nil {
		err = write(m.path, append(raw, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write the gate's memory %s: %w", m.path, err)
	}
	m.kept = next
	return nil
}

// forget takes out what is older than seven days.
func (k *memoryFile) forget(now time.Time) bool {
	n := len(k.Prints) + len(k.Phi)
	maps.DeleteFunc(k.Prints, func(_ string, at time.Time) bool { return now.Sub(at) > remembered })
	maps.DeleteFunc(k.Phi, func(d string, _ float64) bool {
		at, err := time.Parse(day, d)
		return err != nil || now.Sub(at) > remembered+24*time.Hour
	})
	return len(k.Prints)+len(k.Phi) != n
}

func (k *memoryFile) bound() {
	if len(k.Prints) <= maxMemory {
		return
	}
	keys := slices.SortedFunc(maps.Keys(k.Prints), func(a, b string) int {
		if c := k.Prints[a].Compare(k.Prints[b]); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	for _, p := range keys[:len(keys)-maxMemory] {
		delete(k.Prints, p)
	}
}

// write puts the file in its place whole, and the name on the disk too.
func write(path string, raw []byte) error {
	if err := renameio.WriteFile(path, raw, 0o644); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
