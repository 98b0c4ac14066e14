package announce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
	"github.com/prometheus/common/expfmt"
)

// textfile keeps the metrics in a file that Prometheus' node_exporter reads.
type textfile struct{ path string }

// Tell adds what e ended to the file, whole or not at all. A file that is no good is left as it is: a counter that began anew
// would hide that it is.
func (t *textfile) Tell(ctx context.Context, e Event) error {
	if !counts(e) {
		return nil
	}
	lock := flock.New(t.path + ".lock") // a watch may write while the next deploy does
	if ok, err := lock.TryLockContext(ctx, 20*time.Millisecond); err != nil || !ok {
		return fmt.Errorf("lock %s: %w", t.path, errors.Join(err, context.Cause(ctx)))
	}
	defer lock.Unlock() //nolint:errcheck // it is free when the process ends
	l, err := t.read()
	if err != nil {
		return err
	}
	l.record(e)
	families, _ := l.Gather() // never fails
	var out bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&out, f); err != nil {
			return fmt.Errorf("write %s: %w", t.path, err)
		}
	}
	if err := renameio.WriteFile(t.path, out.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

func (t *textfile) read() (ledger, error) {
	f, err := os.Open(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return ledger{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer f.Close()
	l, err := readLedger(io.LimitReader(f, maxAnswer), nil)
	if err != nil {
		return nil, fmt.Errorf("%s has other things than metrics in it: %w; move it away", t.path, err)
	}
	return l, nil
}
