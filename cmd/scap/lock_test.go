package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestShowLock: what others wrote into the lock's file is shown, and does nothing to the terminal.
func TestShowLock(t *testing.T) {
	const holder = `{"who":"jd\u001b[2J","why":"T1\nT2","since":"2026-10-01T12:00:00Z","pid":42}`
	for name, c := range map[string]struct {
		file  string
		alive bool
		want  string
	}{
		"nobody":       {"", true, "nobody holds the lock\n"},
		"held":         {holder, true, "held by jd\\x1b[2J since 2026-10-01 12:00:00 UTC (pid 42): T1; T2\n"},
		"dead":         {holder, false, "nobody holds the lock; the last one ended without letting go: jd\\x1b[2J since 2026-10-01 12:00:00 UTC (pid 42): T1; T2\n"},
		"without name": {`{"pid":42}`, true, "held by somebody whose name could not be read\n"},
		"garbage":      {"{", true, "!"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lock")
			if c.file != "" {
				if err := os.WriteFile(path+".holder", []byte(c.file), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var out bytes.Buffer
			err := showLock(&out, path, func(pid int) bool { return c.alive && pid == 42 })
			if (c.want == "!") != (err != nil) || err == nil && out.String() != c.want {
				t.Errorf("have %q, %v, want %q", out.String(), err, c.want)
			}
		})
	}
	if running(os.Getpid()) != true || running(0) || running(-1) {
		t.Error("which processes run is not known")
	}
}
