package logs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"scap/canary"
	"scap/canary/sourcetest"
)

const (
	trialID = sourcetest.Release
	mainID  = sourcetest.Earlier
)

// newTrial is a host whose web server asks a second release by trialSocket.
func newTrial(t *testing.T, change ...func(*Config)) *ticking {
	h := newTicking(t)
	h.c.Trial = []string{trialSocket}
	for _, c := range change {
		c(&h.c)
	}
	h.f = h.agent()
	return h
}

// trial and main make a question one of an arm.
func trial(q *Query) { q.Arm, q.Release, q.Beside = Trial, trialID, mainID }
func main(q *Query)  { q.Arm, q.Release, q.Beside = Main, mainID, trialID }

// by is an access line that names the servers that were asked, and what they answered.
func by(s float64, id string, status int, addrs, answers string) string {
	if answers == "" {
		return line(s, id, status, fmt.Sprintf(`,"upstream_addr":%q`, addrs))
	}
	return line(s, id, status, fmt.Sprintf(`,"upstream_addr":%q,"upstream_status":%q`, addrs, answers))
}

func onTrial(s float64, id string, status int) string {
	return by(s, id, status, "unix:"+trialSocket, fmt.Sprint(status))
}

func onMain(s float64, id string, status int) string {
	return by(s, id, status, "unix:"+mainSocket, fmt.Sprint(status))
}

// strays are those of a page by ticks.
func straysOf(p Page) map[int]int64 {
	m := map[int]int64{}
	for _, k := range p.Ticks {
		if k.Stray != 0 {
			m[int(k.At.Sub(zero).Seconds())] = k.Stray
		}
	}
	return m
}

// arms wants what each release is said to have done in [0, 60), by two agents: one that reads it at once and one that has read all
// along.
func (h *ticking) arms(tried, other string, strays map[int]int64) {
	h.t.Helper()
	h.beat(70)
	for _, f := range []*Files{h.f, h.agent()} {
		p, q := h.ask(f, 0, 60, trial), h.ask(f, 0, 60, main)
		h.want(p, tried)
		h.want(q, other)
		for _, page := range []Page{p, q} {
			if diff := cmp.Diff(strays, straysOf(page)); diff != "" && len(strays)+len(straysOf(page)) > 0 {
				h.t.Errorf("strays of %s: (-want +got) %s", page.Arm, diff)
			}
		}
		if len(strays) > 0 && !strings.Contains(p.Note, "of neither of its two releases") {
			h.t.Errorf("note %q", p.Note)
		}
	}
}

// look lets the first agent read what is there so far.
func (h *ticking) look(s float64) {
	h.beat(s)
	h.ask(h.f, 0, 60, trial)
	h.ask(h.f, 0, 60, main)
}

func TestArmsByTheServerThatAnswered(t *testing.T) {
	h := newTrial(t)
	h.write("access", onTrial(1, "a", 200)+onMain(1, "b", 200)+onMain(2, "c", 500)+onTrial(6, "d", 503)+
		line(7, "static", 200, `,"upstream_addr":"","upstream_status":""`)+
		line(7, "limited", 503, `,"upstream_addr":"-"`)+ // the web server's own doing
		by(8, "swift", 500, "10.0.0.5:80", "500")) // another service
	h.arms("0: 0/1, 5: 1/1", "0: 1/2", nil)
}

func TestArmsByTheReleaseOfALine(t *testing.T) {
	h := newTrial(t)
	named := func(s float64, id, release, addr string) string {
		return line(s, id, 500, fmt.Sprintf(`,"release":%q,"upstream_addr":%q`, release, addr))
	}
	h.write("access", named(1, "a", trialID, "unix:"+mainSocket)+named(1, "b", mainID[:12], "unix:"+trialSocket)+
		named(6, "c", strings.Repeat("c", 64), "unix:"+mainSocket)+ // a third one
		named(11, "d", "1.45.0-wmf.5", "unix:"+trialSocket)) // no name of a release that anything here knows
	h.arms("0: 1/1, 10: 1/1", "0: 1/1", nil)
}

// A request that nginx gave on, because the trial did not answer: users were served by the old release, and the new one failed.
func TestArmsOfARequestThatWasPassedOn(t *testing.T) {
	for name, tt := range map[string]struct{ addrs, answers, tried, other string }{
		"the trial first":            {"unix:/run/php/canary.sock, unix:/run/php/web.sock", "502, 200", "0: 1/1", "0: 0/1"},
		"the old one first":          {"unix:/run/php/web.sock, unix:/run/php/canary.sock", "504, 200", "0: 0/1", "0: 1/1"},
		"no word of what it said":    {"unix:/run/php/canary.sock, unix:/run/php/web.sock", "", "0: 1/1", "0: 0/1"},
		"an error page":              {"unix:/run/php/canary.sock : unix:/run/php/web.sock", "500 : 200", "0: 1/1", "0: 0/1"},
		"a redirect that was meant":  {"unix:/run/php/canary.sock : unix:/run/php/web.sock", "200 : 200", "", "0: 0/1"},
		"then a file":                {"unix:/run/php/canary.sock : 10.0.0.5:80", "200 : 200", "0: 0/1", ""},
		"nobody was left":            {"unix:/run/php/canary.sock, fpm", "502, 502", "0: 0/1", ""},
		"twice the same":             {"unix:/run/php/canary.sock, unix:/run/php/canary.sock", "502, 200", "0: 0/1", ""},
		"in vain, then at the trial": {"unix:/run/php/web.sock, unix:/run/php/canary.sock", "502, 200", "0: 0/1", "0: 1/1"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTrial(t)
			h.write("access", by(1, "a", 200, tt.addrs, tt.answers))
			h.arms(tt.tried, tt.other, nil)
		})
	}
}

// An exception is of the release that served the request: its access line says so, before it or after.
func TestArmsOfExceptionsByTheirRequest(t *testing.T) {
	for _, order := range []string{"mw first", "access first"} {
		t.Run(order, func(t *testing.T) {
			h := newTrial(t)
			mw := func() {
				h.write("mw", wiki(1, "a", "TypeError")+wiki(1, "b", "TypeError")+wiki(1, "slow", "TypeError")+wiki(12, "late", "TypeError"))
			}
			access := func() {
				h.write("access", onTrial(1.5, "a", 200)+onMain(1.5, "b", 500)+onTrial(4, "late", 200)+onTrial(22, "slow", 200))
			}
			if order == "mw first" {
				mw()
				h.look(15) // ticks are closed before the slow request ends
				access()
			} else {
				access()
				h.look(15)
				mw()
			}
			// What is logged after its request's end counts at its own time: the tick of the end is closed.
			h.arms("0: 1/2, 10: 1/0, 20: 1/1", "0: 1/1", nil)
		})
	}
}

func TestArmsOfExceptionsByTheirPaths(t *testing.T) {
	at := func(s float64, id, file, message string) string {
		return fmt.Sprintf(`{"@timestamp":%q,"level":"ERROR","channel":"exception","reqId":%q,"exception":{"class":"E","message":%q,"file":%q}}`+"\n",
			sec(s).Format(time.RFC3339), id, message, file)
	}
	in := func(release string) string { return "/srv/deploy/releases/" + release + "/src/Hook.php:12" }
	h := newTrial(t)
	h.write("mw", at(1, "a", in(trialID), "x")+at(1, "b", in(mainID), "quotes "+in(trialID))+
		at(6, "", "/srv/mediawiki/src/Hook.php:1", "require "+in(trialID)+" failed")+
		at(6, "", "/srv/mediawiki/src/Hook.php:1", "between "+in(trialID)+" and "+in(mainID))) // of either
	h.write("php", fmt.Sprintf("[%s UTC] PHP Fatal error:  Uncaught TypeError: f() in %s\n", sec(11).Format("02-Jan-2006 15:04:05"), in(trialID)))
	h.write("mw", at(16, "q", "/srv/mediawiki/src/Hook.php:1", "the cache has "+in(trialID))) // its request says more than what it quotes
	h.write("access", onMain(16, "q", 200)+onMain(30, "x", 200))
	h.arms("0: 1/0, 5: 1/0, 10: 1/0", "0: 1/0, 15: 1/1, 30: 0/1", map[int]int64{5: 1})
}

// What nginx says of a request that got no answer names the server, in the form in which it was recorded.
func TestArmsOfNginxErrors(t *testing.T) {
	h := newTrial(t)
	stamp := func(s float64) string { return sec(s).Local().Format("2006/01/02 15:04:05") }
	h.write("nginx", fmt.Sprintf(`%[1]s [error] 29358#29358: *34 upstream prematurely closed connection while reading response header from upstream, client: 127.0.0.1, server: , request: "GET /dies HTTP/1.1", upstream: "fastcgi://unix:/run/php/canary.sock:", host: "127.0.0.1:18085"
%[1]s [error] 29358#29358: *34 no live upstreams while connecting to upstream, client: 127.0.0.1, server: , request: "GET /dies HTTP/1.1", upstream: "fastcgi://fpm", host: "127.0.0.1:18085"
%[1]s [error] 29358#29358: *35 upstream timed out (110: Connection timed out) while reading response header from upstream, client: 127.0.0.1, server: , request: "GET / HTTP/1.1", upstream: "fastcgi://unix:/run/php/web.sock:", host: "x"
%[2]s [error] 29358#29358: *36 no live upstreams while connecting to upstream, client: 127.0.0.1, server: , request: "GET /none HTTP/1.1", upstream: "fastcgi://fpm", host: "127.0.0.1:18085"
`, stamp(1), stamp(6)))
	h.arms("0: 1/0", "0: 1/0", map[int]int64{5: 1})
}

// A child that is killed says nothing of its release; the access line of its request does, so nothing is missing.
func TestStraysAreNotWhatOtherLogsHaveAttributed(t *testing.T) {
	h := newTrial(t)
	killed := func(s float64) string {
		return fmt.Sprintf("[%s UTC] WARNING: [pool www] child 9 exited on signal 11 (SIGSEGV) after 3.1 seconds from start\n", sec(s).Format("02-Jan-2006 15:04:05"))
	}
	h.write("php", killed(1)+killed(2)+killed(6))
	h.write("access", onTrial(1, "a", 502)+onMain(2, "b", 502))
	h.arms("0: 1/1", "0: 1/1", map[int]int64{5: 1})
}

// The same id on both releases, as when one request of a wiki asks the other: the one that is known to have failed had the exception,
// and where none is known nobody can say.
func TestStraysOfARequestOnBothReleases(t *testing.T) {
	h := newTrial(t)
	h.write("access", onTrial(1, "a", 500)+onMain(1, "a", 200)+onTrial(6, "b", 200)+onMain(6, "b", 200))
	h.look(10)
	h.write("mw", wiki(1, "a", "TypeError")+wiki(6, "b", "TypeError"))
	h.arms("0: 1/1, 5: 0/1", "0: 0/1, 5: 0/1", map[int]int64{5: 1})
}

func TestStraysAreManyAndBounded(t *testing.T) {
	h := newTrial(t)
	var mw strings.Builder
	for i := range maxIDs + 500 {
		mw.WriteString(wiki(1, fmt.Sprint("id", i), "TypeError"))
	}
	h.write("mw", mw.String())
	h.write("access", onTrial(1, "a", 200))
	h.arms("0: 0/1", "", map[int]int64{0: maxIDs + 500})
	if n := len(h.f.ledgers[0].arms.waiting); n > maxIDs {
		t.Errorf("%d requests wait", n)
	}
}

// An access log that says nothing of releases is refused, before there are two as well.
func TestArmsNeedAnAccessLogThatNamesThem(t *testing.T) {
	h := newTrial(t)
	for i := range 50 {
		h.write("access", line(float64(i)/10, fmt.Sprint("n", i), 200))
	}
	h.beat(20)
	for _, arm := range []func(*Query){trial, main, func(q *Query) { q.Arm = Main }} {
		p := h.ask(h.f, 0, 10, arm)
		if len(p.Problems) != 1 || p.Cause != canary.SourceDown || !strings.Contains(p.Problems[0], "$upstream_addr") || !p.Lost.IsZero() {
			t.Errorf("%s: problems %q (%s), lost %v", p.Arm, p.Problems, p.Cause, p.Lost)
		}
	}
	// Once it does, only what was before is lost.
	for i := range 150 {
		h.write("access", onMain(20+float64(i)/10, fmt.Sprint("m", i), 200))
	}
	h.beat(50)
	if p := h.ask(h.f, 0, 45, main); p.Lost.Before(sec(5)) || p.Lost.After(sec(20)) {
		t.Errorf("lost until %v: %q", p.Lost, p.Problems)
	}
	if p := h.ask(h.f, 20, 45, main); len(p.Problems) > 0 || counts(p) != "20: 0/50, 25: 0/50, 30: 0/50" {
		t.Errorf("%s: %q", counts(p), p.Problems)
	}
	// One in a hundred may lack it.
	h.write("access", line(36, "odd", 200))
	h.beat(60)
	if p := h.ask(h.f, 20, 55, main); len(p.Problems) > 0 {
		t.Errorf("problems %q", p.Problems)
	}
}

// Before there is a second release every server but the trial's is the one release; what an earlier trial did is not of it.
func TestArmsBeforeATrial(t *testing.T) {
	h := newTrial(t)
	h.write("access", onMain(1, "a", 500)+onTrial(2, "b", 500))
	h.beat(20)
	h.want(h.ask(h.f, 0, 10, func(q *Query) { q.Arm = Main }), "0: 1/1")
	// And a host that is asked as one with one release: the same, unless any release will do.
	h.want(h.ask(h.f, 0, 10, func(q *Query) { q.Release = mainID }), "0: 1/1")
	h.want(h.ask(h.f, 0, 10), "0: 2/2")
}

func TestArmsKnowTheMainServersWhenTheyAreNamed(t *testing.T) {
	h := newTrial(t, func(c *Config) { c.Main = []string{"unix:" + mainSocket} })
	h.write("access", onMain(1, "a", 200)+onTrial(1, "b", 200)+by(1, "c", 500, "unix:/run/php/jobs.sock", "500"))
	h.arms("0: 0/1", "0: 0/1", nil)
}

func TestArmsBySinceNonceAndWorkers(t *testing.T) {
	h := newTrial(t)
	h.write("access", onTrial(1, "a", 200)+onTrial(12, "b", 500)+onMain(12, "c", 200))
	h.write("mw", strings.Replace(wiki(12, "b", "E"), `{"@`, `{"pid":7,"@`, 1)+strings.Replace(wiki(13, "d", "E"), `{"@`, `{"pid":8,"@`, 1))
	h.write("access", onTrial(14, "d", 200)+onMain(14, "e", 500))
	h.write("php", fmt.Sprintf("[%s UTC] nonce-of-the-trial\n", sec(10).Format("02-Jan-2006 15:04:05")))
	h.beat(30)
	p := h.ask(h.f, 0, 20, trial, func(q *Query) { q.Since, q.Nonce = sec(10), "nonce-of-the-trial" })
	h.want(p, "10: 2/2")
	if !p.Nonce || p.Workers != 2 || p.Arm != Trial {
		t.Errorf("nonce %v, workers %d, arm %q", p.Nonce, p.Workers, p.Arm)
	}
	q := h.ask(h.f, 0, 20, main)
	h.want(q, "10: 1/2")
	if q.Workers != 0 || !q.Through.Equal(p.Through) {
		t.Errorf("workers %d, through %v and %v", q.Workers, q.Through, p.Through)
	}
}

func TestArmsWithApache(t *testing.T) {
	// Recorded with Apache 2.4: mod_proxy_balancer names its worker, not the socket behind it.
	lines := `{"time":"2023-01-17T18:00:01+0000","status":"200","uri":"/a","method":"GET","reqId":"awB57D5iXjQSgVeIwEhrjwAAAIA","upstream":"fcgi://web","route":"","handler":"proxy-server"}
{"time":"2023-01-17T18:00:01+0000","status":"500","uri":"/b","method":"GET","reqId":"awB57D5iXjQSgVeIwEhrkAAAAIU","upstream":"fcgi://canary","route":"","handler":"proxy-server"}
{"time":"2023-01-17T18:00:02+0000","status":"404","uri":"/c.png","method":"GET","reqId":"awB57D5iXjQSgVeIwEhrkAAAAIX","upstream":"-","route":"","handler":"default-handler"}
`
	h := newTrial(t, func(c *Config) { c.Trial = []string{"fcgi://canary"} })
	h.write("access", lines)
	h.arms("0: 1/1", "0: 0/1", nil)
}

func TestArmsWithCombinedLines(t *testing.T) {
	// Recorded with nginx 1.22: the combined format with "$request_id" "$upstream_addr" behind it.
	lines := `127.0.0.1 - - [17/Jan/2023:18:00:01 +0000] "GET / HTTP/1.1" 500 37 "-" "curl/7.88.1" "a804da8fb631dfd93184c7331df96e19" "unix:/run/php/canary.sock"
127.0.0.1 - - [17/Jan/2023:18:00:01 +0000] "GET / HTTP/1.1" 200 34 "-" "curl/7.88.1" "6fa79fe084774765cbc04b6fd3946aa4" "unix:/run/php/web.sock"
127.0.0.1 - - [17/Jan/2023:18:00:02 +0000] "GET /next HTTP/1.1" 200 157 "-" "curl/7.88.1" "a695e47cb8384b46998a853264a735f6" "unix:/run/php/canary.sock, unix:/run/php/web.sock"
127.0.0.1 - - [17/Jan/2023:18:00:02 +0000] "GET /static HTTP/1.1" 404 153 "-" "curl/7.88.1" "514df4573762ff73b8a7127feb66849c" "-"
`
	h := newTrial(t, func(c *Config) { c.Sources[0].Kind, c.Heartbeat = Access, "" })
	h.write("access", lines+`127.0.0.1 - - [17/Jan/2023:18:01:10 +0000] "GET /s HTTP/1.1" 404 1 "-" "x" "514df4573762ff73b8a7127feb66849f" "-"`+"\n")
	h.now = sec(71)
	h.want(h.ask(h.f, 0, 60, trial), "0: 2/2")
	h.want(h.ask(h.f, 0, 60, main), "0: 0/2")
}

func TestArmsConfig(t *testing.T) {
	c := Config{Sources: []Log{{"/a", AccessJSON}}, Trial: []string{"unix:/run/a.sock", "fcgi://b"}, Main: []string{"/run/c.sock"}}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	for _, bad := range [][]string{{"run/a.sock"}, {""}, {"/run/a.sock", "unix:/run/a.sock"}, {"/run/a\x1b.sock"}, {"/run/c.sock"}} {
		c.Trial = bad
		if err := c.Check(); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	q := Query{From: zero, To: sec(10), Step: 5 * time.Second, Arm: "both"}
	if err := q.check(); err == nil {
		t.Error("an arm that there is not is taken")
	}
}

// An agent of another version answers for the whole host: that must not pass for an arm.
func TestSourceRefusesAnAgentWithoutArms(t *testing.T) {
	h := newTrial(t)
	h.write("access", onMain(1, "a", 200)+onTrial(1, "b", 500))
	h.beat(20)
	s := Source{Clock: func() time.Time { return h.now }, Reader: ReaderFunc(func(_ context.Context, host string, q Query) (Page, error) {
		if host != "mw1" {
			t.Errorf("%q is asked", host)
		}
		q.Arm = ""
		return h.f.Read(t.Context(), q)
	})}
	r, err := s.Read(t.Context(), canary.Query{
		From: zero, To: sec(10), Step: 5 * time.Second, Now: h.now,
		Hosts: []canary.Host{{Name: "mw1 canary", On: "mw1", Trial: true, Release: trialID, Beside: mainID}, {Name: "mw1", On: "mw1", Release: mainID, Beside: trialID}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range r.Hosts {
		if h.Problem == "" || h.Cause != canary.SourceDown || len(h.Ticks) > 0 {
			t.Errorf("%+v", h)
		}
	}
}

func TestHops(t *testing.T) {
	for _, tt := range hopSeeds() {
		if got := hops(tt.addrs, tt.answers); !slices.Equal(got, tt.want) {
			t.Errorf("%q %q: %v, want %v", tt.addrs, tt.answers, got, tt.want)
		}
	}
}

type hopSeed struct {
	addrs, answers string
	want           []hop
}

func hopSeeds() []hopSeed {
	return []hopSeed{
		{"", "", nil},
		{"-", "-", nil},
		{"unix:/run/a.sock", "200", []hop{{"/run/a.sock", 200}}},
		{"unix:/run/a.sock, unix:/run/b.sock", "502, 200", []hop{{"/run/a.sock", 502}, {"/run/b.sock", 200}}},
		{"unix:/run/a.sock, fpm", "502, 502", []hop{{"/run/a.sock", 502}}},
		{"unix:/run/a.sock : unix:/run/b.sock", "500 : 200", []hop{{"/run/a.sock", 500}, {"/run/b.sock", 200}}},
		{"192.168.1.1:80, 192.168.1.2:80, unix:/tmp/sock : 192.168.10.1:80", "502, 502, 200 : 200", []hop{{"/tmp/sock", 200}}},
		{"unix:/run/a.sock, unix:/run/b.sock", "502", []hop{{"/run/a.sock", 0}, {"/run/b.sock", 0}}},
		{"unix:/run/a.sock", "-", []hop{{"/run/a.sock", 0}}},
		{"fastcgi://unix:/run/a.sock:", "", []hop{{"/run/a.sock", 0}}},
		{"fastcgi://fpm", "", nil},
		{"fcgi://canary", "200", []hop{{"fcgi://canary", 200}}},
		{"unix:/run/a.sock|fcgi://canary", "", []hop{{"/run/a.sock", 0}}},
		{"[::1]:9000", "200", nil},
		{"unix:/run/a.sock,unix:/run/b.sock", "", []hop{{"/run/a.sock,unix:/run/b.sock", 0}}},
		{"unix:/a, , unix:/b", "1, 2, 99999", []hop{{"/a", 1}, {"/b", 0}}},
		{strings.Repeat("unix:/a, ", 100) + "unix:/b", "", append(slices.Repeat([]hop{{"/a", 0}}, maxHops-1), hop{"/b", 0})},
	}
}

func FuzzHops(f *testing.F) {
	seeds := hopSeeds()
	if len(seeds) < 10 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(s.addrs, s.answers)
	}
	l := &ledger{c: Config{Trial: []string{trialSocket}}, q: Query{Arm: Trial, Release: trialID, Beside: mainID}}
	f.Fuzz(func(t *testing.T, addrs, answers string) {
		list := hops(addrs, answers)
		if len(list) > maxHops {
			t.Fatalf("%d servers", len(list))
		}
		for _, h := range list {
			if h.status < 0 || h.status > 999 || !strings.Contains(addrs, h.addr) || h.addr == "" {
				t.Errorf("%+v of %q", h, addrs)
			}
		}
		e := event{web: true, served: true, detail: detail{upstream: addrs, answers: answers}}
		switch w := l.asked(e); {
		case w == mine && (len(list) == 0 || list[len(list)-1].addr != trialSocket):
			t.Errorf("%q is the trial's", addrs)
		case w == theirs && len(list) == 0:
			t.Errorf("%q is the old release's", addrs)
		}
		isUpstream(addrs)
	})
}
