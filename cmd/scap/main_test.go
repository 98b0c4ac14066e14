package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"scap/phases"
	"scap/phases/journal"
)

// dieEnv says at which record a re-executed test binary ends itself. Only the test binary reads it.
const dieEnv = "SCAP_TEST_DIE"

// TestMain runs the tests or, called as scap, is scap: the process that deployers start, but for the hook that kills it.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "scap" {
		os.Exit(reexecuted())
	}
	goleak.VerifyTestMain(m)
}

func reexecuted() int {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	if text := os.Getenv(dieEnv); text != "" {
		at, err := parseDeath(text)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 99
		}
		a.through = func(w *journal.Writer) phases.Appender { return &mortal{Writer: w, at: at} }
	}
	return process(a, os.Args[1:])
}

// death is an instant of a process: behind its nth record; or in the place of its nth outcome, when the act has happened
// and the journal does not know how it ended; or, with a moment, when the nth host is in the middle of its switch.
type death struct {
	n       int
	outcome bool
	moment  string
}

func (d death) String() string {
	switch {
	case d.moment != "":
		return fmt.Sprintf("%s:%d", d.moment, d.n)
	case d.outcome:
		return fmt.Sprintf("outcome:%d", d.n)
	}
	return fmt.Sprintf("record:%d", d.n)
}

func parseDeath(text string) (d death, err error) {
	kind, n, _ := strings.Cut(text, ":")
	d.outcome = kind == "outcome"
	if d.n, err = strconv.Atoi(n); err != nil || !d.outcome && kind != "record" {
		return d, fmt.Errorf("%s=%q: want record:N or outcome:N", dieEnv, text)
	}
	return d, nil
}

// mortal is a journal whose process dies at one of its records.
type mortal struct {
	*journal.Writer
	at death

	mu sync.Mutex
	n  int
}

// Append dies or appends.
func (m *mortal) Append(r journal.Record) (journal.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	counts := !m.at.outcome || isOutcome(r)
	if counts {
		m.n++
	}
	if m.at.outcome && counts && m.n == m.at.n {
		die()
	}
	r, err := m.Writer.Append(r)
	if !m.at.outcome && m.n == m.at.n {
		die()
	}
	return r, err
}

func isOutcome(r journal.Record) bool {
	switch r.Kind {
	case journal.Done, journal.Failed, journal.Undone, journal.Ruled, journal.End:
		return true
	}
	return false
}

// die is kill -9 by one's own hand: nothing is flushed, closed or told to anybody.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
