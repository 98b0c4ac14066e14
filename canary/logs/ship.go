package logs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// shipEvery is the least time between two lines in the shipped log.
const shipEvery = time.Second

// shipper writes heartbeats into a log that the host's own shipper sends on: whoever finds one of them elsewhere knows that what
// the host wrote before it has arrived there too, as far as the shipper keeps files in step.
type shipper struct {
	path string
	host any // its name, or its name and the short form of it

	mu   sync.Mutex
	last map[Arm]time.Time
}

// shipped is one line: the fields are those that canary/opensearch looks for.
type shipped struct {
	Type string    `json:"type"`
	At   time.Time `json:"@timestamp"`
	Host any       `json:"host"`
	// Nonce is that of the host's runtime, when it was read back from the host's own logs.
	Nonce   string `json:"nonce,omitempty"`
	Release string `json:"release,omitempty"` // that the host was asked about
}

func newShipper(c Config) *shipper {
	s := &shipper{path: c.Ship, host: c.Name, last: map[Arm]time.Time{}}
	if short, _, dotted := strings.Cut(c.Name, "."); dotted {
		s.host = []string{c.Name, short}
	}
	return s
}

// beat appends a line of that time, unless one of that arm was written within the last second.
func (s *shipper) beat(at time.Time, arm Arm, nonce, release string) error {
	if s.path == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if since := at.Sub(s.last[arm]); since >= 0 && since < shipEvery {
		return nil
	}
	line, err := json.Marshal(shipped{"scap-heartbeat", at.UTC(), s.host, nonce, clean(release, maxText)})
	if err == nil {
		err = appendLine(s.path, append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write a heartbeat for the shipper of logs: %w", err)
	}
	s.last[arm] = at
	return nil
}

// appendLine writes to a regular file at path in one write. It follows no symbolic link and waits for no reader of a pipe: whoever
// may write to the directory must not choose where an agent writes.
func appendLine(path string, line []byte) (err error) {
	const flags = os.O_WRONLY | os.O_APPEND | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	file, err := os.OpenFile(path, flags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		const everybodyReads = 0o644 // a shipper is another user
		if file, err = os.OpenFile(path, flags|os.O_CREATE|os.O_EXCL, everybodyReads); err == nil {
			err = file.Chmod(everybodyReads)
		}
	}
	if file != nil {
		defer func() { err = errors.Join(err, file.Close()) }()
	}
	if err != nil {
		return err
	}
	st, err := file.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	_, err = file.Write(line)
	return err
}
