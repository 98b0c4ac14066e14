package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"scap/phases"
	"scap/phases/journal"
	"scap/targets/fpm/namespace"
)

// hookEnv says at which record a re-executed test binary ends itself or waits. Only the test binary reads it.
const hookEnv = "SCAP_TEST_HOOK"

// TestMain runs the tests or, called as scap, is scap: the process that deployers start, but for the hook that kills it.
func TestMain(m *testing.M) {
	namespace.Entrance()
	if filepath.Base(os.Args[0]) == "scap" {
		os.Exit(reexecuted())
	}
	goleak.VerifyTestMain(m)
}

func reexecuted() int {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	if text := os.Getenv(hookEnv); text != "" {
		kind, what, _ := strings.Cut(text, ":")
		n, err := strconv.Atoi(what)
		switch {
		case kind == "pause":
			a.through = func(w *journal.Writer) phases.Appender { return newPaused(w, what) }
		case err == nil && (kind == "record" || kind == "outcome"):
			at := death{n: n, outcome: kind == "outcome"}
			a.through = func(w *journal.Writer) phases.Appender { return &mortal{Writer: w, at: at} }
		default:
			fmt.Fprintf(os.Stderr, "%s=%q: want record:N, outcome:N or pause:ACT\n", hookEnv, text)
			return 99
		}
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

// paused is a journal whose process stops behind its first intent to do an act, until it is interrupted (once more).
type paused struct {
	*journal.Writer
	act  string
	once sync.Once
	got  chan os.Signal
}

func newPaused(w *journal.Writer, act string) *paused {
	p := &paused{Writer: w, act: act, got: make(chan os.Signal, 1)}
	signal.Notify(p.got, syscall.SIGINT)
	return p
}

// Append appends, and waits when it is time.
func (p *paused) Append(r journal.Record) (journal.Record, error) {
	wait := false
	if r.Kind == journal.Intent && r.Act == p.act && r.Target != "" {
		p.once.Do(func() { wait = true })
	}
	if wait { // an earlier interrupt does not count
		select {
		case <-p.got:
		default:
		}
	}
	r, err := p.Writer.Append(r)
	if wait {
		<-p.got
	}
	return r, err
}
