package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"
)

func readAll(r io.Reader) (list []Count, err error) {
	for c, e := range Read(r) {
		if e != nil {
			return list, e
		}
		list = append(list, c)
	}
	return list, nil
}

func TestBothFormsSayTheSame(t *testing.T) {
	want := []Count{{At: epoch, Host: "mw1", Requests: 412, Failing: 1}, {At: epoch.Add(5 * time.Second), Host: "mw-2.eqiad:80", Requests: 0, Failing: 0}}
	for name, text := range map[string]string{
		"csv":          header + "\n2026-01-01T00:00:00Z,mw1,412,1\n2026-01-01T00:00:05Z,mw-2.eqiad:80,0,0\n",
		"csv, seconds": header + "\n1767225600,mw1,412,1\n1767225605,mw-2.eqiad:80,0,0",
		"csv, windows": header + "\r\n2026-01-01T01:00:00+01:00,mw1,412,1\r\n1767225605,mw-2.eqiad:80,0,0\r\n",
		"json": `{"time":"2026-01-01T00:00:00Z","host":"mw1","requests":412,"failing":1}
{"failing":0, "requests":0, "host":"mw-2.eqiad:80", "time":1767225605}
`,
	} {
		got, err := readAll(strings.NewReader(text))
		if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestMistakesNameTheirLine(t *testing.T) {
	csv := func(line string) string { return header + "\n1767225600,a,10,1\n" + line + "\n" }
	for text, want := range map[string]string{
		"":                                                   "no line at all",
		"time,host,requests\n":                               "line 1: neither",
		csv(""):                                              "line 3: 1 fields",
		csv("1767225600,a,10"):                               "line 3: 3 fields",
		csv(`1767225600,"a",10,1`):                           "line 3: \"\\\"a\\\"\" is no host name",
		csv("1767225600,a\x1b[2J,10,1"):                      "is no host name",
		csv("1767225600,,10,1"):                              "line 3: \"\" is no host name",
		csv("1767225600,a,10,11"):                            "line 3: 11 failing of 10 requests",
		csv("1767225600,a,-1,0"):                             "requests: \"-1\"",
		csv("1767225600,a,+1,0"):                             "requests: \"+1\"",
		csv("1767225600,a,1e3,0"):                            "requests: \"1e3\"",
		csv("1767225600,a,9999999999,0"):                     "9999999999 requests in one tick",
		csv("1767225599,a,10,1"):                             "line 3: the time 2025-12-31T23:59:59Z is before",
		csv("yesterday,a,10,1"):                              "\"yesterday\" is neither",
		csv("2026-13-01T00:00:00Z,a,10,1"):                   "is neither a time like",
		csv("9999-01-01T00:00:00Z,a,10,1"):                   "between 1970 and 2200",
		csv(strings.Repeat("x", 5000)):                       "line 3: longer than 4096 bytes",
		csv(`{"time":1767225600}`):                           "line 3: 1 fields",
		`{"time":1767225600,"host":"a"`:                      "line 1: not a JSON object",
		`{"time":1767225600,"host":"a"}`:                     `line 1: the key "requests" is missing`,
		`{"time":1767225600,"Host":"a"}`:                     `line 1: unknown key "Host"`,
		`{"time":1767225600,"time":1}`:                       `line 1: the key "time" is there twice`,
		`{"time":{"a":1}}`:                                   "time has a value of the wrong kind",
		`{"time":1,"host":3}`:                                "host has a value of the wrong kind",
		`{"time":1,"host":"a","requests":.5`:                 "line 1: not a JSON object",
		`{"time":1,"host":"a","requests":1.5,"failing":0}`:   `requests: "1.5" is no whole number`,
		`{"time":1,"host":"a","requests":1,"failing":0} {}`:  "something follows",
		`{"time":1,"host":"a","requests":"1","failing":"0"}`: "requests has a value of the wrong kind",
	} {
		_, err := readAll(strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
	if _, err := readAll(io.MultiReader(strings.NewReader(csv("1767225600,a,1,1")), broken{})); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a source that breaks off: %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestReadStopsWhenAsked(t *testing.T) {
	n := 0
	for range Read(strings.NewReader(header + "\n1,a,1,0\n1,b,1,0\n2,a,1,0\n")) {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d lines", n)
	}
}

// FuzzRead: whatever comes in, what is taken is within its ranges and in order, comes back the same when it is written and
// read again, and an error names a line.
func FuzzRead(f *testing.F) {
	f.Add(header + "\n2026-01-01T00:00:00Z,mw1,412,0\n1767225605,mw1,3,3\n")
	f.Add(`{"time":"2026-01-01T00:00:00Z","host":"mw1","requests":412,"failing":0}` + "\n{}")
	f.Add(header + "\r\n0,a,0,0\r\n0,a,1,2\r\n")
	f.Add("{\"time\":1e3}\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := readAll(strings.NewReader(text))
		if err != nil && !strings.Contains(err.Error(), "line ") {
			t.Fatalf("no line in %v", err)
		}
		var again strings.Builder
		again.WriteString(header + "\n")
		var last time.Time
		for _, c := range got {
			if c.check(last) != nil {
				t.Fatalf("%+v after %v was taken", c, last)
			}
			last = c.At
			fmt.Fprintf(&again, "%s,%s,%d,%d\n", c.At.Format(time.RFC3339Nano), c.Host, c.Requests, c.Failing)
		}
		back, err := readAll(strings.NewReader(again.String()))
		if err != nil || len(back) != len(got) {
			t.Fatalf("written and read again: %v, %v", back, err)
		}
		for i := range got {
			if !back[i].At.Equal(got[i].At) || back[i].Host != got[i].Host || back[i].Requests != got[i].Requests || back[i].Failing != got[i].Failing {
				t.Fatalf("%+v came back as %+v", got[i], back[i])
			}
		}
	})
}

// endless makes up lines until it has given so many bytes.
type endless struct{ left, at int }

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	line := fmt.Sprintf("%d,mw%d,400,0\n", 5*(e.at/50), e.at%50)
	if e.at == 0 {
		line = header + "\n" + line
	}
	if len(line) > len(p) {
		return 0, io.ErrShortBuffer
	}
	e.at++
	e.left -= len(line)
	return copy(p, line), nil
}

// A record of any length is read and replayed in the memory of one window.
func TestMemoryDoesNotGrowWithTheRecord(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	worst := uint64(0)
	n := 0
	counts := func(yield func(Count, error) bool) {
		for c, err := range Read(&endless{left: 8 << 20}) {
			if n++; n%100_000 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&after)
				worst = max(worst, after.HeapAlloc)
			}
			if !yield(c, err) {
				return
			}
		}
	}
	if _, err := Backtest(context.Background(), counts, BacktestOptions{Splits: 2, Ratio: 1}); err != nil {
		t.Fatal(err)
	}
	if grown := int64(worst) - int64(before.HeapAlloc); n < 400_000 || grown > 4<<20 {
		t.Errorf("%d lines take %d bytes", n, grown)
	}
}
