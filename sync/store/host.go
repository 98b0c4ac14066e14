package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"scap/sync/release"
)

// hostLimit bounds the host's own journal.
const hostLimit = 1 << 20

// hostFile is what host.json holds: an intent, and the digest that tells when the file was torn or edited.
type hostFile struct {
	Intent json.RawMessage `json:"intent"`
	Sum    release.Sum     `json:"sum"`
}

// Host returns what this host was last asked to do; the zero Intent when it never was.
func (s *Store) Host() (release.Intent, error) {
	var i release.Intent
	b, err := s.readFile(s.root, hostName, hostLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return i, nil
	}
	var f hostFile
	if err == nil {
		err = strict(b, &f)
	}
	if err == nil && release.SumOf(f.Intent) != f.Sum {
		err = errors.New("its digest is another one")
	}
	if err == nil {
		err = strict(f.Intent, &i)
	}
	if err != nil {
		return release.Intent{}, fmt.Errorf("%s/%s cannot be trusted (%w): see what `current` points to and whether the host is in its pool, "+
			"then move the file away and repair the host", s.path, hostName, err)
	}
	return i, nil
}

// Record replaces what Host returns, durably before it returns.
func (s *Store) Record(i release.Intent) error {
	raw, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("record the host's intent: %w", err)
	}
	b, err := json.Marshal(hostFile{Intent: raw, Sum: release.SumOf(raw)})
	if err != nil {
		return fmt.Errorf("record the host's intent: %w", err)
	}
	if err := s.writeFile(s.root, hostName, append(b, '\n'), true); err != nil {
		return fmt.Errorf("record the host's intent: %w", err)
	}
	return nil
}
