package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// On a disk that fills up behind it the journal still takes what was reserved, says that nothing new shall begin, and a new
// deploy does not begin at all.
func TestAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("scap-test", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("only who may mount can fill a disk of his own: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	w, err := Create(filepath.Join(dir, "journal"), "d1")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	filler, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	for block := make([]byte, 64<<10); err == nil; {
		_, err = filler.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if _, err := Create(filepath.Join(dir, "journal"), "d2"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a second deploy: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "journal", "d2*")); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
	text := strings.Repeat("x", 1000)
	n, full := 0, 0
	for err = nil; err == nil && n < 5000; n++ {
		if _, err = w.Append(Record{Kind: Note, Text: text}); err == nil && full == 0 && w.Room() != nil {
			full = n + 1
		}
	}
	if n < 900 || full < 400 || full > n-400 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%d records, no room said after %d, then %v", n, full, err)
	}
	if rs, err := Load(w.Path()); err != nil || len(rs) != n-1 {
		t.Errorf("%d records of %d, %v", len(rs), n-1, err)
	}
	if err := errors.Join(filler.Truncate(0), w.Reserve(0)); err != nil {
		t.Error(err)
	}
	add(t, w, Record{Kind: End, Verdict: RolledBack})
	if err := w.Room(); err != nil {
		t.Error(err)
	}
}
