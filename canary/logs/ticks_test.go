package logs

import (
	"context"
	"fmt"
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
		if k.Requests == 0 && k.Failing == 0 && k.Stray > 0 {
			continue
		}
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
