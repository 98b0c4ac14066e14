package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// host is a directory of logs that a test writes.
type host struct {
	t   *testing.T
	dir string
	f   *Files
	q   Query
}

func newHost(t *testing.T, own ...string) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir(), q: Query{Since: at, Release: strings.Repeat("b", 64), Nonce: "scap-nonce-1"}}
	for _, name := range []string{"access", "mw", "php"} {
		h.write(name, "")
	}
	f, err := New(Config{Sources: []Log{
		{h.path("access"), AccessJSON}, {h.path("mw"), MediaWiki}, {h.path("php"), PHP},
	}, Own: own})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	h.f = f
	return h
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
	if p.Requests != requests || p.Failing != failing {
		h.t.Errorf("%d of %d failing, want %d of %d: %+v", p.Failing, p.Requests, failing, requests, p)
	}
	return p
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
	p := h.want(4, 3) // a, b, c, g were served; b, c, z failed, and the php fatal error is one of them
	if !p.Nonce || p.Lines != 10 || p.Behind != 0 || len(p.Problems) != 0 || !p.Newest.Equal(at.Add(4*time.Second)) {
		t.Errorf("page %+v", p)
	}
	if len(p.Top) != 2 || p.Top[0].Text != "TypeError in Hook.php:12" || p.Top[0].Count != 3 || p.Top[1].Text != "HTTP 502" {
		t.Errorf("top %+v", p.Top)
	}
	h.want(4, 3) // asked again: totals
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
	p := h.want(36, 2)
	if p.Vouched != 36 || len(p.Problems) != 0 {
		t.Errorf("page %+v", p)
	}
	h.want(36, 2)
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
	c := h.f.open[0]
	if n := len(c.sources[0].follow.gens); n > maxGens {
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
			p := h.want(int64(11+regrow), 1)
			// What may have been lost vouches for nothing, and neither does what came before it.
			if p.Vouched != 0 {
				t.Errorf("vouched for %d", p.Vouched)
			}
			h.write("access", reqs(200, 4))
			if p = h.want(int64(15+regrow), 1); p.Vouched != 4 {
				t.Errorf("vouched for %d, want 4", p.Vouched)
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
	c := h.f.open[0]
	if n := c.sources[0].good; n > 5000 {
		t.Errorf("%d lines were read to find 10", n)
	}
}

func TestFilesPages(t *testing.T) {
	h := newHost(t)
	line := req(1, 200, strings.Repeat("x", 100))
	h.f.page = 3 << 20
	n := 2*(h.f.page/3)/int64(len(line)) + 1000
	h.write("access", strings.Repeat(line, int(n)))
	p := h.read()
	if p.Behind == 0 || p.Requests == 0 || p.Requests >= n {
		t.Fatalf("first page %+v of %d requests", p, n)
	}
	for range 3 {
		p = h.read()
	}
	if p.Behind != 0 || p.Requests != n {
		t.Errorf("last page %+v, want %d requests", p, n)
	}
}

func TestFilesLongLines(t *testing.T) {
	h := newHost(t)
	long := `{"time":"` + strings.Repeat("x", 3*maxLine) + `"}` + "\n"
	h.write("access", req(1, 200, "a")+req(1, 200, "b", `,"pad":"`+strings.Repeat("p", chunk+10)+`"`)+long+req(1, 500, "c"))
	p := h.want(3, 1)
	if len(p.Problems) != 1 || !strings.Contains(p.Problems[0], "1 lines longer than") {
		t.Errorf("problems %q", p.Problems)
	}
}

func TestFilesProblems(t *testing.T) {
	h := newHost(t)
	h.write("access", strings.Repeat("127.0.0.1 - - [17/Jan/2023:18:31:02 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"-\"\n", 3))
	if p := h.read(); len(p.Problems) != 1 || !strings.Contains(p.Problems[0], "is its kind right?") {
		t.Errorf("problems %q", p.Problems)
	}
	f, err := New(Config{Sources: []Log{{h.path("nowhere"), Access}, {h.path("none"), MediaWiki}, {h.dir, PHP}}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := f.Read(t.Context(), h.q)
	if err != nil || len(p.Problems) != 2 || !strings.Contains(strings.Join(p.Problems, "\n"), "no such access log") {
		t.Errorf("problems %q, %v", p.Problems, err)
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
	if err != nil || p.Requests != 4 || p.Failing != 1 {
		t.Errorf("answer %s, %v", a, err)
	}
	for _, bad := range []string{"", "{}", `{"since":1}`} {
		if _, err := h.f.Answer(t.Context(), json.RawMessage(bad)); err == nil {
			t.Errorf("question %q was answered", bad)
		}
	}
	// Another deploy's question starts at its own time; few are followed at once.
	for i := range 2 * maxOpen {
		q := h.q
		q.Since = at.Add(time.Duration(i+2) * time.Second)
		if p, err := h.f.Read(t.Context(), q); err != nil || p.Requests != 0 {
			t.Errorf("%+v, %v", p, err)
		}
	}
	if len(h.f.open) != maxOpen {
		t.Errorf("%d questions are followed", len(h.f.open))
	}
	h.want(4, 1) // forgotten, and counted anew
}

func TestFilesBounds(t *testing.T) {
	h := newHost(t)
	n := newCount(h.f.c, h.q)
	for i := range maxIDs + 50 {
		n.line(n.sources[1], []byte(strings.Replace(exception(1, fmt.Sprint("id", i)), "Hook.php:12", fmt.Sprintf("Hook.php:%d", i), 1)))
	}
	if len(n.ids) != maxIDs || len(n.prints) > maxPrints+1 || n.failing() != maxIDs+50 || len(n.top()) > maxTop {
		t.Errorf("%d ids, %d prints, %d failing, %d in the list", len(n.ids), len(n.prints), n.failing(), len(n.top()))
	}
	if n.top()[0].Text != others {
		t.Errorf("top %+v", n.top()[0])
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
