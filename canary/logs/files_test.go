package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"scap/canary"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is a directory of logs that a test writes. Its heartbeats have a log of their own.
type host struct {
	t   *testing.T
	dir string
	c   Config
	f   *Files
	q   Query // one tick of a minute
}

func newHost(t *testing.T, own ...string) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir()}
	h.q = Query{
		Since: at, Release: strings.Repeat("b", 64), Nonce: "scap-nonce-1",
		From: at.Truncate(time.Minute), To: at.Truncate(time.Minute).Add(time.Minute), Step: time.Minute,
	}
	for _, name := range []string{"access", "mw", "php"} {
		h.write(name, "")
	}
	h.c = Config{Sources: []Log{
		{h.path("access"), AccessJSON}, {h.path("mw"), MediaWiki}, {h.path("php"), PHP}, {h.path("beats"), AccessJSON},
	}, Own: own, Heartbeat: "http://127.0.0.1/scap-heartbeat"}
	h.f = h.agent()
	return h
}

// agent is a new process on the host, two minutes after the restart.
func (h *host) agent() *Files {
	h.t.Helper()
	f, err := NewIn(h.c, World{
		Now: func() time.Time { return at.Add(2 * time.Minute) },
		Beat: func(_ context.Context, _, _, agent string) error {
			h.write("beats", req(120, 404, "", fmt.Sprintf(`,"agent":%q`, agent)))
			return nil
		},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { f.Close() })
	return f
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// write appends text to a log.
func (h *host) write(name, text string) {
	h.t.Helper()
	f, err := os.OpenFile(h.path(name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		f.Close()
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) read() Page {
	h.t.Helper()
	p, err := h.f.Read(h.t.Context(), h.q)
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

func (h *host) want(requests, failing int64) Page {
	h.t.Helper()
	p := h.read()
	if k := p.tick(); k.Requests != requests || k.Failing != failing {
		h.t.Errorf("%d of %d failing, want %d of %d: %+v", k.Failing, k.Requests, failing, requests, p)
	}
	return p
}

// tick is the only one of a page; one that is not listed had no request.
func (p Page) tick() (k canary.Tick) {
	for _, k = range p.Ticks {
	}
	return k
}

// req is one access line, sec seconds after the restart.
func req(sec, status int, id string, more ...string) string {
	return fmt.Sprintf(`{"time":%q,"request_id":%q,"status":%d,"uri":"/wiki/A"%s}`+"\n",
		at.Add(time.Duration(sec)*time.Second).Format(time.RFC3339), id, status, strings.Join(more, ""))
}

func reqs(from, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(req(1, 200, fmt.Sprint("r", from+i)))
	}
	return b.String()
}

func exception(sec int, id string) string {
	return fmt.Sprintf(`{"@timestamp":%q,"level":"ERROR","channel":"exception","reqId":%q,"exception":{"class":"TypeError","file":"/srv/Hook.php:12"}}`+"\n",
		at.Add(time.Duration(sec)*time.Second).Format(time.RFC3339), id)
}

func TestFilesCountsDistinctRequests(t *testing.T) {
	h := newHost(t, "/healthz", "/internal/")
	h.write("access", req(-1, 500, "old")+ // ended before the restart
		req(0, 200, "a")+req(1, 500, "b")+req(2, 502, "c")+
		req(3, 500, "d", `,"http_user_agent":"scap/1.0 probe"`)+
		req(3, 500, "d2", `,"agent":"scap-agent (warm-up)"`)+
		req(3, 200, "e", `,"release":"`+strings.Repeat("a", 64)+`"`)+ // a straggler of the old runtime
		req(3, 500, "f", `,"release":"`+strings.Repeat("a", 64)+`"`)+
		req(3, 200, "g", `,"release":"`+strings.Repeat("b", 12)+`"`)+
		strings.Replace(req(3, 503, "h"), "/wiki/A", "/healthz?x", 1)+
		strings.Replace(req(3, 503, "i"), "/wiki/A", "/internal/x", 1))
	h.write("mw", exception(-1, "old")+exception(1, "b")+exception(1, "b")+exception(4, "z"))
	h.write("php", "[17-Jan-2023 18:31:03 UTC] scap-nonce-1\n"+
		"[17-Jan-2023 18:31:04 UTC] PHP Fatal error:  Uncaught TypeError: x in /srv/Hook.php:12\nStack trace:\n#0 {main}\n")
	h.q.Prints = true
	p := h.want(4, 3) // a, b, c, g were served; b, c, z failed, and the php fatal error is one of them
	if !p.Nonce || p.Behind != 0 || len(p.Problems) != 0 {
		t.Errorf("page %+v", p)
	}
	want := []canary.Print{
		{Text: "TypeError in /srv/Hook.php:12", Count: 2, ID: "b"}, {Text: "HTTP 502", Count: 1, ID: "c"}, {Text: "TypeError in /srv/Hook.php:12: x", Count: 1},
	}
	if diff := cmp.Diff(want, p.Prints); diff != "" {
		t.Error(diff)
	}
	h.want(4, 3) // asked again
}

func TestFilesWithoutRequestIDsAreNotCountedTwice(t *testing.T) {
	h := newHost(t)
	h.write("access", req(1, 500, "")+req(2, 500, "-"))
	h.write("php", strings.Repeat("[17-Jan-2023 18:31:04 UTC] PHP Fatal error:  Uncaught TypeError: x in /srv/Hook.php:12\n", 3))
	h.write("mw", exception(1, "x"))
	h.want(2, 3)
}

func TestFilesNonce(t *testing.T) {
	h := newHost(t)
	if h.read().Nonce {
		t.Error("a nonce was seen in empty logs")
	}
	h.write("php", "[17-Jan-2023 18:31:03 UTC] scap-no")
	if h.read().Nonce {
		t.Error("half a nonce was seen")
	}
	h.write("php", "nce-1\n")
	if !h.read().Nonce {
		t.Error("the nonce was not seen")
	}
	h.q.Nonce = "x"
	if _, err := h.f.Read(t.Context(), h.q); err == nil {
		t.Error("a nonce of one letter was accepted")
	}
}

func TestFilesTornLine(t *testing.T) {
	h := newHost(t)
	line := req(1, 500, "a")
	for i := range line {
		h.write("access", line[i:i+1])
		if i < len(line)-1 && i%10 == 0 {
			h.want(0, 0)
		}
	}
	h.want(1, 1)
}

func TestFilesRotation(t *testing.T) {
	h := newHost(t)
	h.write("access", reqs(0, 10))
	h.want(10, 0)
	// The writer keeps the renamed file until it is told to open anew.
	h.rotate("access", "access.1")
	h.write("access.1", reqs(10, 5))
	h.want(15, 0)
	h.write("access.1", reqs(15, 5)+req(1, 500, "x"))
	h.write("access", reqs(20, 5))
	h.want(26, 1)
	// Twice between two looks: what was in the middle carried the log's name at no look.
	h.rotate("access.1", "access.2")
	h.rotate("access", "access.1")
	h.write("access", reqs(30, 7)+req(1, 500, "y"))
	h.rotate("access.1", "access.3")
	h.rotate("access", "access.1")
	h.write("access", reqs(40, 2))
	for range 2 {
		if p := h.want(36, 2); len(p.Problems) != 0 {
			t.Errorf("page %+v", p)
		}
	}
}

func (h *host) rotate(from, to string) {
	h.t.Helper()
	if err := os.Rename(h.path(from), h.path(to)); err != nil {
		h.t.Fatal(err)
	}
}

func TestFilesManyRotations(t *testing.T) {
	h := newHost(t)
	for i := range 3 * maxGens {
		h.write("access", reqs(10*i, 10))
		h.want(int64(10*(i+1)), 0)
		h.rotate("access", fmt.Sprintf("access-%03d", i))
		// A file's time says what was read already.
		old := time.Now().Add(time.Duration(i-1000) * time.Second)
		if err := os.Chtimes(h.path(fmt.Sprintf("access-%03d", i)), old, old); err != nil {
			h.t.Fatal(err)
		}
	}
	if n := len(h.f.ledgers[0].sources[0].follow.gens); n > maxGens {
		t.Errorf("%d files are open", n)
	}
}

func TestFilesFirstAskedAfterRotation(t *testing.T) {
	h := newHost(t)
	h.write("access", req(-5, 200, "before")+reqs(0, 10))
	h.rotate("access", "access.1")
	h.write("access", reqs(10, 3))
	h.write("access.2.gz", "packed")
	p := h.want(13, 0)
	if len(p.Problems) != 1 || !strings.Contains(p.Problems[0], "access.2.gz was rotated and compressed") {
		t.Errorf("problems %q", p.Problems)
	}
}

func TestFilesTruncation(t *testing.T) {
	for name, regrow := range map[string]int{"shorter": 2, "longer than before": 30} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.write("access", reqs(0, 10)+req(1, 500, "x"))
			h.want(11, 1)
			if err := os.Truncate(h.path("access"), 0); err != nil {
				t.Fatal(err)
			}
			h.write("access", reqs(100, regrow))
			for range 2 {
				if p := h.want(int64(11+regrow), 1); len(p.Problems) != 1 || !strings.Contains(p.Problems[0], "was cut off") {
					t.Errorf("problems %q", p.Problems)
				}
			}
		})
	}
}

func TestFilesBeginsNearTheRestart(t *testing.T) {
	h := newHost(t)
	var b bytes.Buffer
	for i := range 30_000 { // about 3 MB of older lines
		fmt.Fprint(&b, req(i/100-400, 500, fmt.Sprint("o", i)))
	}
	h.write("access", b.String()+reqs(0, 10))
	h.want(10, 0)
	if n := h.f.ledgers[0].sources[0].good; n > 5000 {
		t.Errorf("%d lines were read to find 10", n)
	}
}

func TestFilesPages(t *testing.T) {
	h := newHost(t)
	line := req(1, 200, strings.Repeat("x", 100))
	h.f.page = 1 << 20
	n := 2*h.f.page/int64(len(line)) + 1000
	h.write("access", strings.Repeat(line, int(n)))
	h.f.reads = 0
	if p := h.read(); p.Behind == 0 || !p.Through.Before(h.q.To) || len(p.Ticks) > 0 {
		t.Fatalf("first page %+v of %d requests", p, n)
	}
	h.f.reads = time.Hour
	if p := h.want(n, 0); p.Behind != 0 {
		t.Errorf("last page %+v", p)
	}
}

func TestFilesLongLines(t *testing.T) {
	h := newHost(t)
	long := `{"time":"` + strings.Repeat("x", 3*maxLine) + `"}` + "\n"
	h.write("access", req(1, 200, "a")+req(1, 200, "b", `,"pad":"`+strings.Repeat("p", chunk+10)+`"`)+long+req(1, 500, "c"))
	p := h.want(3, 1)
	if len(p.Problems) != 1 || !strings.Contains(p.Problems[0], "a line was too long to read") {
		t.Errorf("problems %q", p.Problems)
	}
}

func TestFilesProblems(t *testing.T) {
	h := newHost(t)
	h.write("access", strings.Repeat("127.0.0.1 - - [17/Jan/2023:18:31:02 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"-\"\n", 3))
	if p := h.read(); len(p.Problems) != 1 || !strings.Contains(p.Problems[0], "is its kind right?") {
		t.Errorf("problems %q", p.Problems)
	}
	h.c = Config{Sources: []Log{{h.path("nowhere"), Access}, {h.path("none"), MediaWiki}, {h.dir, PHP}}}
	h.f = h.agent()
	if p := h.read(); len(p.Problems) != 2 || !strings.Contains(strings.Join(p.Problems, "\n"), "no such access log") {
		t.Errorf("problems %q", p.Problems)
	}
}

func TestFilesAnswer(t *testing.T) {
	h := newHost(t)
	h.write("access", reqs(0, 3)+req(1, 500, "x"))
	q, _ := json.Marshal(h.q)
	a, err := h.f.Answer(t.Context(), q)
	var p Page
	if err == nil {
		err = json.Unmarshal(a, &p)
	}
	if err != nil || p.tick().Requests != 4 || p.tick().Failing != 1 {
		t.Errorf("answer %s, %v", a, err)
	}
	for _, bad := range []string{"", "{}", `{"since":1}`} {
		if _, err := h.f.Answer(t.Context(), json.RawMessage(bad)); err == nil {
			t.Errorf("question %q was answered", bad)
		}
	}
	// Another deploy's question starts at its own time; few runtimes are followed at once.
	for i := range 2 * maxOpen {
		q := h.q
		q.Since = at.Add(time.Duration(i+2) * time.Second)
		if p, err := h.f.Read(t.Context(), q); err != nil || len(p.Ticks) != 0 {
			t.Errorf("%+v, %v", p, err)
		}
	}
	if len(h.f.ledgers) != maxOpen {
		t.Errorf("%d runtimes are followed", len(h.f.ledgers))
	}
	h.want(4, 1) // forgotten, and counted anew
}

func TestFilesBounds(t *testing.T) {
	h := newHost(t)
	var b strings.Builder
	const n = maxIDs + 50
	for i := range n {
		class := strings.Map(func(r rune) rune { return 'g' + (r - '0') }, fmt.Sprintf("%05d", i))
		b.WriteString(strings.Replace(exception(1, fmt.Sprint("id", i)), "TypeError", class, 1))
	}
	h.write("mw", b.String())
	h.q.Prints = true
	p := h.want(0, n)
	l := h.f.ledgers[0]
	if len(l.ids.m) > maxIDs || len(l.kinds) > maxKinds || len(p.Prints) > pagePrints {
		t.Errorf("%d ids, %d kinds, %d prints", len(l.ids.m), len(l.kinds), len(p.Prints))
	}
	sum, last := int64(0), canary.Print{}
	for _, last = range p.Prints {
		sum += last.Count
	}
	if sum != n || last.Text != others {
		t.Errorf("%d of %d in the list, the last %+v", sum, n, last)
	}
}

func TestConfig(t *testing.T) {
	for name, bad := range map[string]Config{
		"nothing":      {},
		"no access":    {Sources: []Log{{"/a", PHP}}},
		"a kind":       {Sources: []Log{{"/a", Access}, {"/b", "x"}}},
		"not absolute": {Sources: []Log{{"a", Access}}},
		"twice":        {Sources: []Log{{"/a", Access}, {"/a", Access}}},
	} {
		if _, err := New(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
