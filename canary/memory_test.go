package canary

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFileMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory.json")
	open := func() *FileMemory {
		m, err := OpenMemory(path)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := open()
	if _, ok := m.Largest(); ok {
		t.Error("an empty memory knows a dispersion")
	}
	if err := m.Note([]string{"A in a.php:1: b\x1b", ""}, 2.5, epoch); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Note([]string{"A in a.php:1: b"}, 2.5, epoch.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("what it knows already was written again (%v)", err)
	}
	m = open() // another process
	if at, ok := m.Seen("A in a.php:1: b"); !ok || !at.Equal(epoch) {
		t.Errorf("seen %v %v", at, ok)
	}
	if phi, ok := m.Largest(); !ok || phi != 2.5 {
		t.Errorf("largest %v %v", phi, ok)
	}
	if _, ok := m.Seen("B"); ok {
		t.Error("B was never noted")
	}

	many := make([]string, maxMemory+10)
	for i := range many {
		many[i] = fmt.Sprint("kind ", i)
	}
	if err := m.Note(many, 1.5, epoch.Add(6*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n := len(open().kept.Prints); n != maxMemory {
		t.Errorf("%d fingerprints are kept, want %d", n, maxMemory)
	}
	if _, ok := m.Seen("A in a.php:1: b"); ok {
		t.Error("of too many the oldest is kept")
	}
	if phi, _ := m.Largest(); phi != 2.5 {
		t.Errorf("largest %v, want that of six days ago", phi)
	}
	if err := m.Note(nil, 0, epoch.Add(14*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	m = open()
	if phi, ok := m.Largest(); ok || len(m.kept.Prints) != 0 {
		t.Errorf("after a week: %v and %d fingerprints", phi, len(m.kept.Prints))
	}
	if left, err := filepath.Glob(filepath.Dir(path) + "/.*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// A memory that cannot be understood is never an empty one.
func TestOpenMemoryRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"empty":         "",
		"cut":           `{"format":1,"prints":{"a":"2026-`,
		"another":       `{"format":2}`,
		"unknown":       `{"format":1,"colour":1}`,
		"two documents": `{"format":1}{"format":1}`,
		"no dispersion": `{"format":1,"phi":{"2026-03-02":-1}}`,
		"no day":        `{"format":1,"phi":{"yesterday":2}}`,
		"too large":     `{"format":1,"prints":{"` + strings.Repeat("a", maxFile) + `":"2026-03-02T13:00:00Z"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenMemory(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "move it away") {
				t.Errorf("error %v", err)
			}
		})
	}
	if _, err := OpenMemory(dir); err == nil {
		t.Error("a directory is a memory")
	}
	m, err := OpenMemory(filepath.Join(dir, "none", "memory.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Note([]string{"a"}, 2, epoch); err == nil {
		t.Error("noted in a directory that is not there")
	}
	if _, ok := m.Seen("a"); ok {
		t.Error("what could not be written is remembered")
	}
}
