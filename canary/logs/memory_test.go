package logs

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"scap/canary"
)

// TestFilesBoundedMemory reads logs of which every line is made to be remembered: each request fails, with an id, a worker and
// a message of its own, and is known to three logs. SCAP_ACCEPT=1 makes it a gigabyte.
func TestFilesBoundedMemory(t *testing.T) {
	size, most := int64(64<<20), uint64(96<<20)
	if os.Getenv("SCAP_ACCEPT") != "" {
		size = 1 << 30
	}
	h := newHost(t)
	var clock time.Time
	f, err := NewIn(Config{Sources: []Log{
		{h.path("access"), AccessJSON}, {h.path("mw"), MediaWiki}, {h.path("nginx"), NginxError},
	}}, World{Now: func() time.Time { return clock }})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.page = 1 << 40
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var written, lines int64
	var peak uint64
	var took time.Duration
	pad := strings.Repeat("x", 2500)
	for round := 0; written < size; round++ {
		for _, name := range []string{"access", "mw", "nginx"} {
			if err := os.Rename(h.path(name), h.path(name+".1")); err != nil && round > 0 {
				t.Fatal(err)
			}
		}
		now := at.Add(time.Duration(round) * 20 * time.Second)
		n := h.flood(now, lines, 8<<20, pad)
		lines += n.lines
		written += n.bytes
		clock = now.Add(21 * time.Second)
		q := Query{Since: at, From: at.Truncate(5 * time.Second), To: clock.Truncate(5 * time.Second), Step: 5 * time.Second, Now: clock, Prints: true}
		if q.To.Sub(q.From) > 45*time.Minute {
			q.From = q.To.Add(-45 * time.Minute)
		}
		start := time.Now()
		p, err := f.Read(t.Context(), q)
		took += time.Since(start)
		if err != nil || p.Behind != 0 || len(p.Problems) > 0 || len(p.Prints) == 0 || len(p.Prints) > pagePrints || p.Workers == 0 {
			t.Fatalf("round %d: behind %d, problems %q, %d prints, %d workers, %v", round, p.Behind, p.Problems, len(p.Prints), p.Workers, err)
		}
		if round > 1 {
			p.sum(t, now.Add(-20*time.Second), now, n.lines)
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapInuse)
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	t.Logf("%d MB, %d failing requests in %.1f s (%.0f MB/s): %d MB of heap in use at most, %d MB live, %d MB before",
		written>>20, lines, took.Seconds(), float64(written>>20)/took.Seconds(), peak>>20, m.HeapAlloc>>20, before.HeapInuse>>20)
	if peak > before.HeapInuse+most {
		t.Errorf("%d MB of heap were in use, want %d at most", peak>>20, most>>20)
	}
}

// sum wants every request of [from, to) to be counted once, but for those of the last slack.
func (p Page) sum(t *testing.T, from, to time.Time, want int64) {
	t.Helper()
	var requests, failing int64
	var ticks []canary.Tick
	for _, k := range p.Ticks {
		if !k.At.Before(from.Truncate(5*time.Second)) && k.At.Before(to.Truncate(5*time.Second)) {
			requests += k.Requests
			failing += k.Failing
			ticks = append(ticks, k)
		}
	}
	if off := max(requests-want, want-requests, failing-want, want-failing); off > want/50 {
		t.Errorf("%d of %d requests failing, want all of %d: %v", failing, requests, want, ticks)
	}
}

type flood struct{ lines, bytes int64 }

// flood writes about size bytes into three logs, for 20 seconds from now.
func (h *host) flood(now time.Time, first, size int64, pad string) (n flood) {
	h.t.Helper()
	var out [3]*bufio.Writer
	for i, name := range []string{"access", "mw", "nginx"} {
		_ = os.Remove(h.path(name))
		file, err := os.Create(h.path(name))
		if err != nil {
			h.t.Fatal(err)
		}
		defer file.Close()
		out[i] = bufio.NewWriterSize(file, 1<<20)
	}
	const each = 20 * time.Second
	total := size / 3800
	for i := range total {
		id := first + i
		e := now.Add(each * time.Duration(i) / time.Duration(total))
		a, _ := fmt.Fprintf(out[0], `{"msec":"%d.%03d","reqId":"id%020d","status":500,"uri":"/wiki/A?%d","agent":"x","worker":"%d","pad":%q}`+"\n",
			e.Unix(), e.UnixMilli()%1000, id, id, id, pad[:300])
		word := strings.Map(func(r rune) rune { return 'g' + (r - '0') }, fmt.Sprintf("%07d", id))
		b, _ := fmt.Fprintf(out[1], `{"@timestamp":%q,"level":"ERROR","channel":"exception","reqId":"id%020d","pid":%d,"exception":{"class":"Z%s","message":"of %s %s","file":"/srv/%s.php:12"}}`+"\n",
			e.Format("2006-01-02T15:04:05.000Z07:00"), id, id, word, word, pad, word)
		c, _ := fmt.Fprintf(out[2], `%s [error] 7#7: *%d upstream timed out (110: %s) while reading, client: ::1, server: w, request: "GET /%d HTTP/1.1", request_id: "id%020d"`+"\n",
			e.Local().Format("2006/01/02 15:04:05"), id, pad[:300], id, id)
		n.lines++
		n.bytes += int64(a + b + c)
	}
	for _, w := range out {
		if err := w.Flush(); err != nil {
			h.t.Fatal(err)
		}
	}
	return n
}
