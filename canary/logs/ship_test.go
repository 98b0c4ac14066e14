package logs

import (
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// lines are those of the shipped log.
func (h *ticking) lines() (list []map[string]any) {
	h.t.Helper()
	b, err := os.ReadFile(h.c.Ship)
	if err != nil {
		h.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			h.t.Fatalf("%q: %v", line, err)
		}
		list = append(list, m)
	}
	return list
}

func TestShip(t *testing.T) {
	h := newTicking(t)
	h.c.Ship, h.c.Name = h.path("ship.json"), "mw1001.eqiad.wmnet"
	f := h.agent()
	mine := func(q *Query) { q.Since, q.Nonce, q.Release = sec(1), "scap-nonce-1", "b" }
	ask := func(s float64) {
		h.beat(s)
		h.want(h.ask(f, 0, 5, mine), "")
	}
	old := syscall.Umask(0o077)
	ask(10)
	syscall.Umask(old)
	if st, err := os.Stat(h.c.Ship); err != nil || st.Mode() != 0o644 {
		t.Errorf("made as %v, %v", st.Mode(), err)
	}
	ask(10.9)
	h.write("php", "[17-Jan-2023 18:00:02 UTC] scap-nonce-1\n")
	ask(15.25)
	if err := os.Rename(h.c.Ship, h.c.Ship+".1"); err != nil {
		t.Fatal(err)
	}
	ask(16.25)
	ask(3) // a clock that is set back is no reason to be silent
	rotated := h.lines()
	h.c.Ship += ".1"
	both := []any{"mw1001.eqiad.wmnet", "mw1001"}
	want := []map[string]any{
		{"type": "scap-heartbeat", "@timestamp": "2023-01-17T18:00:10Z", "host": both, "release": "b"},
		{"type": "scap-heartbeat", "@timestamp": "2023-01-17T18:00:15.25Z", "host": both, "nonce": "scap-nonce-1", "release": "b"},
		{"type": "scap-heartbeat", "@timestamp": "2023-01-17T18:00:16.25Z", "host": both, "nonce": "scap-nonce-1", "release": "b"},
		{"type": "scap-heartbeat", "@timestamp": "2023-01-17T18:00:03Z", "host": both, "nonce": "scap-nonce-1", "release": "b"},
	}
	if diff := cmp.Diff(want, append(h.lines(), rotated...)); diff != "" {
		t.Error(diff)
	}
}

// What cannot be written takes nothing from what the host's own logs say, and nobody can choose what is written to.
func TestShipInto(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(h *ticking) error
		says    string
	}{
		"nowhere":         {func(h *ticking) error { h.c.Ship = h.path("no/ship"); return nil }, "no such file"},
		"a symbolic link": {func(h *ticking) error { return os.Symlink(h.path("victim"), h.c.Ship) }, "symbolic links"},
		"a pipe":          {func(h *ticking) error { return syscall.Mkfifo(h.c.Ship, 0o600) }, "ship"},
		"a directory":     {func(h *ticking) error { return os.Mkdir(h.c.Ship, 0o700) }, "directory"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTicking(t)
			h.c.Ship, h.c.Name = h.path("ship"), "mw1"
			h.write("victim", "")
			if err := tt.prepare(h); err != nil {
				t.Fatal(err)
			}
			h.write("access", line(1, "a", 200))
			h.beat(30)
			p := h.ask(h.agent(), 0, 10)
			h.want(p, "0: 0/1")
			if !strings.Contains(p.Note, "write a heartbeat") || !strings.Contains(p.Note, tt.says) {
				t.Errorf("note %q", p.Note)
			}
			if b, err := os.ReadFile(h.path("victim")); err != nil || len(b) > 0 {
				t.Errorf("%q was written through the link, %v", b, err)
			}
			r := reading(t, &Source{Reader: pages{"mw1": p}}, "mw1").Hosts[0]
			if r.Note == "" || r.Problem != "" {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestShipConfig(t *testing.T) {
	c := Config{Sources: []Log{{"/a", Access}}}
	for _, bad := range [][2]string{{"ship", "mw1"}, {"/a", "mw1"}, {"/ship", ""}, {"/ship", "mw\x1b1"}} {
		if c.Ship, c.Name = bad[0], bad[1]; c.Check() == nil {
			t.Errorf("%q: accepted", bad)
		}
	}
	if c.Ship, c.Name = "/ship", "mw1"; c.Check() != nil {
		t.Error(c.Check())
	}
}

func TestShipOnceASecond(t *testing.T) {
	h := newTicking(t)
	h.c.Ship, h.c.Name = h.path("ship"), "mw1"
	s := newShipper(h.c)
	for i := range 100 {
		if err := s.beat(sec(0).Add(time.Duration(i)*30*time.Millisecond), "", "", ""); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(h.lines()); n != 3 {
		t.Errorf("%d lines in 3 seconds", n)
	}
}

// Both releases of a host are asked about at once: neither's nonce keeps the other's from being shipped.
func TestShipOfEachArm(t *testing.T) {
	h := newTicking(t)
	h.c.Ship, h.c.Name = h.path("ship"), "mw1"
	s := newShipper(h.c)
	for _, arm := range []Arm{Main, Trial, Main, Trial} {
		if err := s.beat(sec(0), arm, "nonce of "+string(arm), ""); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(h.lines()); n != 2 {
		t.Errorf("%d lines of two arms", n)
	}
}
