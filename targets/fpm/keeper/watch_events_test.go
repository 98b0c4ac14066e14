package keeper

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scap/targets/fpm/proc"
)

// TestEvents waits for each thing that a watch waits for.
func TestEvents(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	e, err := newEvents(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	p, err := proc.Read(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	other := p
	other.Tick++
	never := time.Now().Add(time.Hour)
	wait := func(what string, want bool, ps []proc.Process, next time.Time, after func()) {
		t.Helper()
		done := make(chan bool, 1)
		go func() {
			due, err := e.wait(ps, next)
			if err != nil {
				t.Error(err)
			}
			done <- due
		}()
		after()
		select {
		case due := <-done:
			if due != want {
				t.Errorf("%s: due %v", what, due)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s is not noticed", what)
		}
	}
	nothing := func() {}
	wait("a time that is past", true, []proc.Process{p}, time.Now().Add(-time.Second), nothing)
	wait("a time that comes", true, []proc.Process{p}, time.Now().Add(20*time.Millisecond), nothing)
	wait("a pid of somebody else", true, []proc.Process{other}, never, nothing)
	wait("another record", false, []proc.Process{p}, never, func() {
		f := filepath.Join(dir, "x")
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Error(err)
		}
		if err := os.Rename(f, filepath.Join(dir, recordName)); err != nil {
			t.Error(err)
		}
	})
	wait("a death", true, []proc.Process{p}, never, func() { _ = cmd.Process.Kill() })
	wait("somebody long dead", true, []proc.Process{p}, never, nothing)
	_ = cmd.Wait()
	wait("nobody at all", true, []proc.Process{p}, never, nothing)
	wait("the end", false, nil, never, cancel)
}

// TestPauses wants repairs that fail to be tried at once, then ever more rarely, and what is wrong to be said once.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &watcher{repairs: map[string]*repair{}, remarks: map[string]remark{}, said: io.Discard}
		began, tries := time.Now(), []time.Duration{}
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for time.Since(began) < 10*time.Minute {
			if !w.resting("www") {
				tries = append(tries, time.Since(began).Round(time.Second))
				w.failed("www")
			}
			<-tick.C
		}
		if len(tries) < 8 || len(tries) > 14 || tries[0] != 0 || tries[1] != 1*time.Second || tries[2] != 3*time.Second {
			t.Errorf("tried after %v", tries)
		}
		if w.resting("other") {
			t.Error("another pool waits too")
		}
		said := 0
		for range 90 {
			if w.say("x", "broken") {
				said++
			}
			<-time.After(time.Minute)
		}
		if said != 2 {
			t.Errorf("said %d times in 90 minutes", said)
		}
	})
}

// TestAlarmsAreBounded keeps the last ones, of the last days.
func TestAlarmsAreBounded(t *testing.T) {
	r := &record{}
	now := time.Now()
	r.raise(Alarm{At: now.Add(-8 * 24 * time.Hour), Text: "old"})
	r.raise(Alarm{At: now, Text: "same"})
	r.raise(Alarm{At: now, Text: "same"})
	if len(r.Alarms) != 1 {
		t.Errorf("%+v", r.Alarms)
	}
	for i := range 40 {
		r.raise(Alarm{At: now, Text: strings.Repeat("x", i)})
	}
	if n := len(r.Alarms); n != maxAlarms || r.Alarms[n-1].Text != strings.Repeat("x", 39) {
		t.Errorf("%d alarms", n)
	}
}

// TestUnits wants words that systemd would read otherwise to be quoted, and no template where none is used.
func TestUnits(t *testing.T) {
	conf := Config{Run: "/run/scap", Systemd: true, Pools: []Pool{{Stop: 7 * time.Second}, {Stop: 60 * time.Second}}, file: `/etc/a b/100%.json`}
	text := unitsOf(conf, "/usr/lib/scap/scap-agent")
	for _, want := range []string{
		`ExecStart=/usr/lib/scap/scap-agent keeper --conf "/etc/a b/100%%.json" enter %i`,
		`ExecStart=/usr/lib/scap/scap-agent keeper --conf "/etc/a b/100%%.json" watch`,
		"TimeoutStopSec=65\n", "StandardOutput=append:/run/scap/fpm-%i.log\n", "PrivateMounts=yes\n", "KillSignal=SIGQUIT\n", "generation %i\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	conf.Systemd = false
	if text := unitsOf(conf, "/x"); strings.Contains(text, "scap-fpm@") || !strings.Contains(text, "scap-keeper.service") {
		t.Errorf("without systemd's masters:\n%s", text)
	}
}
