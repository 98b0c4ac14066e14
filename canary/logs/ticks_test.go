package logs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"scap/canary"
)

// zero begins a tick, and a minute.
var zero = time.Date(2023, 1, 17, 18, 0, 0, 0, time.UTC)

// sec returns a time of the test's own epoch.
func sec(s float64) time.Time { return zero.Add(time.Duration(s * float64(time.Second))) }

// ticking is a host whose logs are read by ticks: access, mw, php and nginx.
type ticking struct {
	*host
	c   Config
	now time.Time
}

func newTicking(t *testing.T) *ticking {
	t.Helper()
	h := &ticking{host: &host{t: t, dir: t.TempDir()}, now: sec(0)}
	h.c = Config{
		Sources: []Log{
			{h.path("access"), AccessJSON}, {h.path("mw"), MediaWiki}, {h.path("php"), PHP}, {h.path("nginx"), NginxError},
		},
		Own: []string{"/healthz"}, Roots: []string{"/srv/mediawiki"}, Heartbeat: "http://127.0.0.1/scap-heartbeat",
		Signals: []Signal{{Name: "edits", Method: "POST", Path: "/w/index.php", Statuses: []string{"302"}, Query: "action=submit"}},
	}
	h.write("access", "")
	h.f = h.agent()
	return h
}

// agent is a new process on the host.
func (h *ticking) agent() *Files {
	h.t.Helper()
	f, err := NewIn(h.c, World{
		Now:  func() time.Time { return h.now },
		Beat: func(context.Context, string, string, string) error { return nil },
	})
	if err != nil {
		h.t.Fatal(err)
	}
	f.patience = 0
	h.t.Cleanup(func() { f.Close() })
	return f
}

// beat writes the line of a heartbeat.
func (h *ticking) beat(s float64) {
	h.now = sec(s)
	h.write("access", accessLine(s, "beat", 200, `,"agent":"scap-agent heartbeat x"`))
}

// line is one of a user's request.
func line(s float64, id string, status int, more ...string) string {
	return accessLine(s, id, status, append([]string{`,"agent":"x"`}, more...)...)
}

func accessLine(s float64, id string, status int, more ...string) string {
	return fmt.Sprintf(`{"msec":"%.3f","reqId":%q,"status":%d,"method":"GET","uri":"/wiki/A"%s}`+"\n",
		float64(sec(s).UnixMilli())/1000, id, status, strings.Join(more, ""))
}

func wiki(s float64, id, class string) string {
	return fmt.Sprintf(`{"@timestamp":%q,"level":"ERROR","channel":"exception","reqId":%q,"exception":{"class":%q,"message":"of 12","file":"/srv/mediawiki/src/Hook.php:12"}}`+"\n",
		sec(s).Format("2006-01-02T15:04:05.000Z07:00"), id, class)
}

// ask asks about [from, to), seconds of the test's epoch.
func (h *ticking) ask(f *Files, from, to int, change ...func(*Query)) Page {
	h.t.Helper()
	q := Query{From: sec(float64(from)), To: sec(float64(to)), Step: 5 * time.Second, Now: h.now, Prints: true}
	for _, c := range change {
		c(&q)
	}
	p, err := f.Read(h.t.Context(), q)
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// counts writes ticks as "0: 2/1 good 1, 5: …".
func counts(p Page) string {
	var list []string
	for _, k := range p.Ticks {
		s := fmt.Sprintf("%d: %d/%d", int(k.At.Sub(zero).Seconds()), k.Failing, k.Requests)
		if n := k.Good["edits"]; n > 0 {
			s += fmt.Sprintf(" good %d", n)
		}
		list = append(list, s)
	}
	return strings.Join(list, ", ")
}

func (h *ticking) want(p Page, counted string) {
	h.t.Helper()
	if got := counts(p); got != counted || len(p.Problems) > 0 {
		h.t.Errorf("counted %s, want %s; problems %q", got, counted, p.Problems)
	}
}

func TestTicksOfARequestThatStraddlesTwo(t *testing.T) {
	parts := map[string][]func(h *ticking){
		"the web server's line first": {
			func(h *ticking) { h.write("access", line(5.1, "a", 500)) },
			func(h *ticking) { h.write("mw", wiki(4.9, "a", "TypeError")+wiki(4.95, "a", "OtherError")) },
		},
		"the exception first": {
			func(h *ticking) { h.write("mw", wiki(4.9, "a", "TypeError")+wiki(4.95, "a", "OtherError")) },
			func(h *ticking) { h.write("access", line(5.1, "a", 500)) },
		},
	}
	for name, steps := range parts {
		t.Run(name, func(t *testing.T) {
			h := newTicking(t)
			h.now = sec(6)
			h.write("access", line(1, "x", 200)+line(2, "y", 200))
			for _, step := range steps {
				step(h)
				h.ask(h.f, 0, 10)
			}
			h.write("access", line(6, "z", 200))
			h.beat(20)
			for _, f := range []*Files{h.f, h.agent()} {
				p := h.ask(f, 0, 15)
				h.want(p, "0: 1/3, 5: 0/1")
				want := []canary.Print{{Text: "TypeError in src/Hook.php:12: of N", File: "src/Hook.php", Count: 1, ID: "a"}}
				if diff := cmp.Diff(want, p.Prints); diff != "" {
					t.Error(diff)
				}
				h.want(h.ask(f, 5, 15), "5: 0/1") // its first line was before
				h.want(h.ask(f, 0, 5), "0: 1/3")
			}
		})
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

// TestTicksAreTheSameToAnyReader lets one agent follow a log through everything that happens to logs, and asks a fresh one.
func TestTicksAreTheSameToAnyReader(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			h, r := newTicking(t), rand.New(rand.NewPCG(seed, 1))
			old, rotations := 0, 0
			for now := 0.0; now < 600; now += 3 {
				h.now = sec(now + 3)
				var access, mw, php, nginx strings.Builder
				for range r.IntN(12) {
					s, id := now+3*r.Float64(), fmt.Sprint("r", int(now)+r.IntN(20)) // some ids are used again soon
					switch r.IntN(8) {
					case 0:
						access.WriteString(line(s, id, 500))
						mw.WriteString(wiki(max(0, s-4*r.Float64()), id, fmt.Sprint("Error", string('A'+rune(r.IntN(5))))))
					case 1:
						mw.WriteString(wiki(s, id, "TypeError"))
					case 2:
						fmt.Fprintf(&php, "[%s UTC] PHP Fatal error:  Uncaught Error: x in /srv/mediawiki/x.php:7\n", sec(s).Format("02-Jan-2006 15:04:05"))
						access.WriteString(line(s, "", 500))
					case 3:
						fmt.Fprintf(&nginx, "%s [error] 1#1: *%d upstream timed out (110: x) while reading, client: ::1, request: \"GET / HTTP/1.1\"\n", sec(s).Local().Format("2006/01/02 15:04:05"), r.IntN(5))
						access.WriteString(line(s, id, 504))
					default:
						access.WriteString(line(s, id, 200))
					}
				}
				for name, b := range map[string]*strings.Builder{"access": &access, "mw": &mw, "php": &php, "nginx": &nginx} {
					h.write(name, b.String())
				}
				h.beat(now + 3)
				if r.IntN(4) > 0 {
					from := max(0, int(now)/5*5-5*r.IntN(60))
					h.ask(h.f, from, from+5+5*r.IntN(30))
				}
				if r.IntN(8) == 0 {
					rotations++
					h.age([]string{"access", "mw"}[r.IntN(2)], rotations, r.IntN(2) == 0)
				}
			}
			h.beat(620)
			for range 10 {
				from := 5 * r.IntN(100)
				to := from + 5 + 5*r.IntN(20)
				a, b := h.ask(h.f, from, to), h.ask(h.agent(), from, to)
				if a.Through.Before(sec(600)) || len(a.Problems)+len(b.Problems) > 0 {
					t.Fatalf("through %s, problems %q %q", stamp(a.Through), a.Problems, b.Problems)
				}
				old += len(a.Ticks)
				if diff := cmp.Diff(a.Ticks, b.Ticks) + cmp.Diff(a.Prints, b.Prints); diff != "" {
					t.Fatalf("[%d, %d): the one that followed (-), a fresh one (+): %s", from, to, diff)
				}
			}
			if old == 0 || rotations == 0 {
				t.Errorf("%d ticks, %d rotations: nothing was shown", old, rotations)
			}
		})
	}
}

// age rotates a log: by another name, or by a copy.
func (h *ticking) age(name string, n int, copied bool) {
	h.t.Helper()
	to := fmt.Sprintf("%s.%d", name, n)
	defer func() { // the clock of a file system may be coarse
		if err := os.Chtimes(h.path(to), h.now, h.now.Add(time.Duration(n))); err != nil {
			h.t.Fatal(err)
		}
	}()
	if !copied {
		h.rotate(name, to)
		h.write(name, "")
		return
	}
	b, err := os.ReadFile(h.path(name))
	if err != nil {
		h.t.Fatal(err)
	}
	h.write(to, string(b))
	if err := os.Truncate(h.path(name), 0); err != nil {
		h.t.Fatal(err)
	}
}

func TestTicksOfALogRotatedInTheMiddle(t *testing.T) {
	for name, rotate := range map[string]func(h *ticking){
		"by another name": func(h *ticking) { h.age("access", 1, false) },
		"by a copy":       func(h *ticking) { h.age("access", 1, true) },
		"by another name, and written on": func(h *ticking) {
			h.rotate("access", "access.1")
			h.write("access.1", line(11.5, "late", 500))
			h.write("access", "")
		},
		"twice": func(h *ticking) {
			h.age("access", 1, false)
			h.rotate("access.1", "access.2")
			h.age("access", 1, false)
		},
	} {
		for _, followed := range []bool{true, false} {
			t.Run(fmt.Sprint(name, followed), func(t *testing.T) {
				h := newTicking(t)
				h.now = sec(12)
				h.write("access", line(9, "a", 200)+line(10, strings.Repeat("b", 64), 500)+line(11, strings.Repeat("c", 64), 200))
				if followed {
					h.ask(h.f, 0, 15)
				}
				h.write("access", line(11.2, "unread", 500))
				rotate(h)
				h.write("access", line(12, "d", 500)+line(14, "e", 200)+line(15, "f", 200))
				h.beat(30)
				want := "5: 0/1, 10: 3/5, 15: 0/1"
				if strings.HasSuffix(name, "written on") {
					want = "5: 0/1, 10: 4/6, 15: 0/1"
				}
				h.want(h.ask(h.f, 0, 20), want)
				h.want(h.ask(h.f, 0, 20), want)
			})
		}
	}
}

func TestTicksOfALogThatLostLines(t *testing.T) {
	h := newTicking(t)
	h.now = sec(12)
	h.write("access", line(3, "a", 200)+line(11, "b", 500))
	h.beat(12)
	h.ask(h.f, 0, 15)
	if err := os.Truncate(h.path("access"), 0); err != nil {
		t.Fatal(err)
	}
	h.write("access", line(31, "c", 200))
	h.beat(60)
	if p := h.ask(h.f, 10, 40); p.Cause != canary.SourceDown || !strings.Contains(p.Problems[0], "was cut off") {
		t.Errorf("%+v", p)
	}
	h.want(h.ask(h.f, 0, 5), "0: 0/1")
	h.want(h.ask(h.f, 35, 55), "")
	// What was compressed before it was read is lost too, unless it is older than what is asked for.
	h.write("access.2.gz", "packed")
	if err := os.Chtimes(h.path("access.2.gz"), sec(20), sec(20)); err != nil {
		t.Fatal(err)
	}
	f := h.agent()
	if p := h.ask(f, 0, 40); p.Cause != canary.SourceDown || !strings.Contains(p.Problems[0], "access.2.gz was rotated and compressed") {
		t.Errorf("%+v", p)
	}
	h.want(h.ask(f, 20, 40), "30: 0/1")
}

func TestTicksOfClocks(t *testing.T) {
	ahead := func(d time.Duration) func(*Query) { return func(q *Query) { q.Now = q.Now.Add(-d) } }
	h := newTicking(t)
	h.write("access", line(200, "a", 200)+line(204, "b", 500)+line(206, "c", 200))
	h.beat(230)
	h.want(h.ask(h.f, 200, 220, ahead(1900*time.Millisecond)), "200: 1/2, 205: 0/1")
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

func TestTicksBelongToARuntime(t *testing.T) {
	h := newTicking(t)
	mine, other := strings.Repeat("b", 64), strings.Repeat("a", 64)
	h.write("access", line(4, "a", 200)+line(6, "b", 500)+line(7, "c", 500, `,"release":"`+other+`"`)+line(8, "d", 500, `,"release":"`+mine[:12]+`"`))
	// Without a field for it, the release is in the path of what failed.
	h.write("php", "[17-Jan-2023 18:00:09 UTC] PHP Fatal error:  Uncaught Error: x in /srv/root/releases/"+other+"/src/x.php:7\n"+
		"[17-Jan-2023 18:00:11 UTC] PHP Fatal error:  Uncaught Error: x in /srv/root/releases/"+mine+"/src/x.php:7\n")
	h.beat(30)
	h.want(h.ask(h.f, 0, 20, func(q *Query) { q.Since, q.Release = sec(5), mine }), "5: 2/2, 10: 1/0")
	h.want(h.ask(h.f, 0, 20, func(q *Query) { q.Release = other }), "0: 0/1, 5: 2/2")
	h.want(h.ask(h.f, 0, 20), "0: 0/1, 5: 3/3, 10: 1/0")
	p := h.ask(h.f, 10, 20)
	if len(p.Prints) != 1 || p.Prints[0].Text != "Error in src/x.php:7: x" || p.Prints[0].File != "src/x.php" {
		t.Errorf("prints %+v", p.Prints)
	}
}

func TestTicksCountSignals(t *testing.T) {
	h := newTicking(t)
	post := func(s float64, status int, uri string) string {
		return strings.Replace(strings.Replace(line(s, "x", status), "GET", "POST", 1), "/wiki/A", uri, 1)
	}
	h.write("access", post(1, 302, "/w/index.php?title=A&action=submit")+post(2, 200, "/w/index.php?title=A&action=submit")+
		post(6, 302, "/w/index.php?title=A&action=submit")+post(7, 302, "/w/index.php?title=A&action=submitted")+post(7, 302, "/w/api.php?action=submit")+
		strings.Replace(post(7, 302, "/w/index.php?action=submit"), "POST", "GET", 1)+
		strings.Replace(post(7, 302, "/w/index.php?action=submit"), `"agent":"x"`, `"agent":"scap/probe"`, 1))
	h.beat(30)
	h.want(h.ask(h.f, 0, 20), "0: 0/2 good 1, 5: 0/4 good 1")
}

func TestTicksOfNginxAndPHP(t *testing.T) {
	h := newTicking(t)
	const form = `%s [%s] 12#13: *%d %s, client: 10.0.0.1, server: w, request: "GET /wiki/A?x=%d HTTP/1.1", upstream: "fastcgi://unix:/run/php.sock:"%s` + "\n"
	put := func(s float64, level string, conn int, what, more string) {
		h.write("nginx", fmt.Sprintf(form, sec(s).Local().Format("2006/01/02 15:04:05"), level, conn, what, conn, more))
	}
	gone, refused := "upstream prematurely closed connection while reading response header from upstream", "connect() to unix:/run/php.sock failed (111: Connection refused) while connecting to upstream"
	put(1, "error", 1, gone, `, request_id: "a"`)
	put(1, "crit", 2, refused, "")
	put(1, "crit", 2, refused, "") // the other address of one upstream
	put(6, "error", 3, `FastCGI sent in stderr: "PHP message: PHP Fatal error:  Uncaught TypeError: x in /srv/mediawiki/src/Hook.php:12" while reading response header from upstream`, "")
	put(6, "warn", 4, "an upstream response is buffered to a temporary file", "")
	put(6, "info", 5, "epoll_wait() reported that client prematurely closed connection, so upstream connection is closed too", "")
	put(6, "error", 6, `open() "/srv/x" failed (2: No such file or directory)`, "")
	h.write("access", line(1.2, "a", 502)+line(1.3, "b", 502)+line(6.1, "c", 500))
	h.write("php", "[17-Jan-2023 18:00:01 UTC] WARNING: [pool www] child 99 exited on signal 11 (SIGSEGV) after 3.1 seconds from start\n"+
		`[17-Jan-2023 18:00:06 UTC] WARNING: [pool www] child 98 said into stderr: "NOTICE: PHP message: PHP Fatal error:  Uncaught Error: x in /srv/mediawiki/y.php:7"`+"\n")
	h.beat(30)
	p := h.ask(h.f, 0, 20)
	h.want(p, "0: 2/2, 5: 1/1")
	if p.Workers != 2 {
		t.Errorf("%d workers, want the two that php-fpm named", p.Workers)
	}
	var texts []string
	for _, f := range p.Prints {
		texts = append(texts, f.Text)
	}
	for _, want := range []string{
		"nginx: upstream prematurely closed connection while reading response header from upstream",
		"nginx: connect() to unix:* failed (N: Connection refused) while connecting to upstream",
		"TypeError in src/Hook.php:12: x", "Error in y.php:7: x", "php-fpm child killed by signal 11 (SIGSEGV)",
	} {
		if !strings.Contains(strings.Join(texts, "\n"), want) {
			t.Errorf("no fingerprint %q in %q", want, texts)
		}
	}
}

func TestTicksNonceOfLongAgo(t *testing.T) {
	h := newTicking(t)
	h.write("php", "[17-Jan-2023 18:00:01 UTC] scap-nonce-1\n"+strings.Repeat("[17-Jan-2023 18:09:00 UTC] PHP Notice:  x\n", 10))
	h.write("access", line(1000, "a", 200))
	h.beat(1030)
	ask := func(nonce string) Page {
		return h.ask(h.agent(), 995, 1015, func(q *Query) { q.Since, q.Nonce = sec(0), nonce })
	}
	p := ask("scap-nonce-1")
	h.want(p, "1000: 0/1")
	if !p.Nonce || ask("scap-nonce-2").Nonce {
		t.Error("the nonce of a runtime that began long ago was not read back, or another was")
	}
}

func TestTicksProblems(t *testing.T) {
	h := newTicking(t)
	h.c.Sources[1].Path = h.path("nowhere/mw")
	h.beat(30)
	p := h.ask(h.agent(), 0, 20)
	if p.Cause != canary.SourceDown || !strings.Contains(p.Problems[0], "there is no such directory") {
		t.Errorf("no directory of a log: %+v", p)
	}
	h.c.Sources[1].Path = h.path("mw") // no file yet: nothing failed yet
	h.want(h.ask(h.agent(), 0, 20), "")
	h.c.Sources[1].Path = h.dir
	if p = h.ask(h.agent(), 0, 20); p.Cause != canary.SourceDown || !strings.Contains(p.Problems[0], "not a regular file") {
		t.Errorf("a log that is none: %+v", p)
	}
	for name, q := range map[string]Query{
		"empty":          {From: sec(10), To: sec(10), Step: time.Second},
		"backwards":      {From: sec(10), To: sec(5), Step: time.Second},
		"no step":        {From: sec(0), To: sec(10)},
		"half a second":  {From: sec(0), To: sec(10), Step: time.Second / 2},
		"not whole":      {From: sec(1), To: sec(10), Step: 5 * time.Second},
		"too long":       {From: sec(0), To: sec(7200), Step: time.Second},
		"before history": {From: time.Unix(-10, 0), To: sec(10), Step: time.Second},
		"a step only":    {Step: time.Second},
	} {
		if _, err := h.f.Read(t.Context(), q); err == nil {
			t.Errorf("%s: answered", name)
		}
	}
	// What has left memory is not answered from it.
	h.now = sec(8000)
	h.write("access", line(1, "a", 200)+line(7990, "b", 200))
	h.beat(8000)
	if p = h.ask(h.f, 0, 20); p.Cause != canary.SourceDown || !strings.Contains(strings.Join(p.Problems, "\n"), "only the last") {
		t.Errorf("long ago: %+v", p)
	}
}

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
