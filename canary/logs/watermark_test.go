package logs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"scap/canary"
)

func TestHeartbeat(t *testing.T) {
	h := newTicking(t)
	logged, status, skew := true, http.StatusNotFound, time.Duration(0)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "wiki.example" || r.URL.Path != "/beat" {
			t.Errorf("asked %s of %s", r.URL, r.Host)
		}
		if logged {
			now := time.Now().Add(skew)
			h.write("access", fmt.Sprintf(`{"msec":"%d.000","status":%d,"uri":"/beat","agent":%q}`+"\n", now.Unix(), status, r.UserAgent()))
		}
		w.Header().Set("Location", "http://elsewhere.invalid/")
		w.WriteHeader(status)
	}))
	defer web.Close()
	h.c.Heartbeat, h.c.HeartbeatHost = web.URL+"/beat", "wiki.example"
	read := func() Page {
		t.Helper()
		f, err := New(h.c)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		f.patience = 30 * time.Millisecond
		to := time.Now().Truncate(5 * time.Second)
		p, err := f.Read(t.Context(), Query{From: to.Add(-time.Minute), To: to, Step: 5 * time.Second, Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, status = range []int{200, 302, 404, 503} {
		if p := read(); len(p.Problems) > 0 || time.Since(p.Through) > time.Minute {
			t.Errorf("answered %d: %+v", status, p)
		}
	}
	if err := os.Truncate(h.path("access"), 0); err != nil {
		t.Fatal(err)
	}
	logged = false
	if p := read(); p.Cause != canary.Late || !strings.Contains(p.Problems[0], "is it logged there?") || !p.Through.IsZero() {
		t.Errorf("not logged: %+v", p)
	}
	logged, skew = true, -time.Hour
	if p := read(); p.Cause != canary.Contradict || !strings.Contains(p.Problems[0], "in another zone?") {
		t.Errorf("logged with another time: %+v", p)
	}
	if err := os.Truncate(h.path("access"), 0); err != nil {
		t.Fatal(err)
	}
	web.Close()
	if p := read(); p.Cause != canary.Late || !strings.Contains(p.Problems[0], "connection refused") {
		t.Errorf("no web server: %+v", p)
	}
}

func TestHeartbeatEndsWithTheQuestion(t *testing.T) {
	h := newTicking(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	f, err := NewIn(h.c, World{Beat: func(context.Context, string, string, string) error {
		cancel(enough)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Read(ctx, Query{From: sec(0), To: sec(10), Step: time.Second}); !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
}

func TestTicksKnowWhatIsClosed(t *testing.T) {
	h := newTicking(t)
	h.now = sec(60)
	h.write("access", line(1, "a", 200)+line(8, "b", 500)+line(14, "c", 200)+line(17, "d", 200))
	p := h.ask(h.f, 0, 60)
	if !p.Through.IsZero() || p.Cause != canary.Late || len(p.Ticks) > 0 || !strings.Contains(p.Problems[0], "no heartbeat was ever read back") {
		t.Errorf("without a heartbeat: %+v", p)
	}
	h.beat(17)
	p = h.ask(h.f, 0, 60)
	if !p.Through.Equal(sec(12)) {
		t.Errorf("through %s, want 5 s before the heartbeat", stamp(p.Through))
	}
	h.want(p, "0: 0/1, 5: 1/1")
	h.now = sec(80)
	p = h.ask(h.f, 0, 60)
	if p.Cause != canary.Late || !strings.Contains(p.Problems[0], "1 min 3 s old") || !p.Through.Equal(sec(12)) {
		t.Errorf("an old heartbeat: %+v", p)
	}
	// A log whose lines come late is closed later.
	h.write("access", line(60, "e", 200)+line(36, "f", 200))
	h.beat(81)
	if p = h.ask(h.f, 0, 60); !p.Through.Equal(sec(81 - 24)) {
		t.Errorf("through %s, want 24 s before the heartbeat, as the latest line was", stamp(p.Through))
	}
	h.want(h.ask(h.f, 10, 50), "10: 0/1, 15: 0/1, 35: 0/1")
}

func TestTicksWithoutHeartbeat(t *testing.T) {
	h := newTicking(t)
	h.c.Heartbeat = ""
	h.f = h.agent()
	h.now = sec(60)
	h.write("access", line(1, "a", 200)+line(18, "b", 200))
	if p := h.ask(h.f, 0, 60); !p.Through.Equal(sec(13)) {
		t.Errorf("through %s, want 5 s before the newest line", stamp(p.Through))
	}
}

func TestTicksOfClocks(t *testing.T) {
	ahead := func(d time.Duration) func(*Query) { return func(q *Query) { q.Now = q.Now.Add(-d) } }
	h := newTicking(t)
	h.write("access", line(200, "a", 200)+line(204, "b", 500)+line(206, "c", 200))
	h.beat(230)
	h.want(h.ask(h.f, 200, 220, ahead(1900*time.Millisecond)), "200: 1/2, 205: 0/1")
	// A busy host hears some questions late: its clock was not set for that, and its ticks stay where they are.
	h.f = h.agent()
	for _, late := range []time.Duration{12 * time.Second, 0, 25 * time.Second, time.Second} {
		p := h.ask(h.f, 200, 220, ahead(late))
		if h.want(p, "200: 1/2, 205: 0/1"); p.Skew != 0 || len(p.Problems) > 0 {
			t.Errorf("%s late: skew %s, %q", late, p.Skew, p.Problems)
		}
	}
	h.f = h.agent()
	for _, d := range []time.Duration{3 * time.Minute, 3*time.Minute + 900*time.Millisecond} { // a question may take its time
		p := h.ask(h.f, 20, 40, ahead(d))
		h.want(p, "20: 1/2, 25: 0/1")
		if p.Skew != 3*time.Minute || !p.Through.Equal(sec(45)) {
			t.Errorf("skew %s, through %s", p.Skew, stamp(p.Through))
		}
	}
	p := h.ask(h.f, 20, 40, ahead(0))
	if p.Cause != canary.Skewed || !strings.Contains(p.Problems[0], "its clock was set at") {
		t.Errorf("a clock that was set: %+v", p)
	}
	for d, want := range map[time.Duration]string{
		62 * time.Minute:  "its clock is 1 h 2 min ahead: set it",
		-11 * time.Minute: "its clock is 11 min behind: set it",
	} {
		if p := h.ask(h.agent(), 200, 220, ahead(d)); p.Cause != canary.Skewed || p.Problems[0] != want || p.Skew != d {
			t.Errorf("%s: skew %s, %s %q", d, p.Skew, p.Cause, p.Problems)
		}
	}
	// Lines of a time to come: somebody set the clock back.
	h.write("access", line(236, "d", 200))
	p = h.ask(h.agent(), 200, 220)
	if p.Cause != canary.Skewed || !strings.Contains(p.Problems[0], "was it set back?") {
		t.Errorf("lines of the future: %+v", p)
	}
	h.now = sec(236)
	h.want(h.ask(h.agent(), 200, 220), "200: 1/2, 205: 0/1")
	p = h.ask(h.agent(), 200, 220, func(q *Query) { q.Since = sec(300) })
	if p.Cause != canary.Skewed || !strings.Contains(p.Problems[0], "its runtime began at") {
		t.Errorf("a runtime of the future: %+v", p)
	}
}
