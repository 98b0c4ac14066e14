package fcgi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// said is a whole answer: each part of stdout in a record of its own, then stderr, then the end.
func said(complaint string, parts ...string) []byte {
	var b []byte
	for _, p := range parts {
		b = appendRecord(b, fcgiStdout, []byte(p))
	}
	if complaint != "" {
		b = appendRecord(b, fcgiStderr, []byte(complaint))
	}
	return appendRecord(b, fcgiEnd, make([]byte, 8))
}

func TestAnswersAreReadWhole(t *testing.T) {
	for _, c := range []struct {
		name   string
		stream []byte
		want   Answer
		err    string
	}{
		{"plain", said("", "Content-Type: a/b\r\n\r\nbody"), Answer{Status: 200, Body: []byte("body")}, ""},
		{"in pieces", said("", "Content-", "Type: a/b\r\n\r", "\nbo", "dy"), Answer{Status: 200, Body: []byte("body")}, ""},
		{"status", said("oops", "Status: 404 Not Found\r\nX: y\r\n\r\n"), Answer{Status: 404, Complaint: "oops"}, ""},
		{"broken off", said("", "A: b\r\n\r\nbody")[:30], Answer{}, "broke off"},
		{"nothing", nil, Answer{}, "broke off"},
		{"no headers", said("", "body"), Answer{}, "without an end of its headers"},
		{"no number", said("", "Status: fine\r\n\r\n"), Answer{}, "not a number"},
		{"another protocol", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), Answer{}, "not FastCGI"},
		{"overloaded", appendRecord(nil, fcgiEnd, []byte{0, 0, 0, 0, 2, 0, 0, 0}), Answer{}, "refused"},
		{"unknown record", appendRecord(nil, 11, make([]byte, 8)), Answer{}, "unknown type"},
		{"too large", said("", largeParts()...), Answer{}, "more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := exchange(struct {
				io.Reader
				io.Writer
			}{bytes.NewReader(c.stream), io.Discard}, map[string]string{"A": "b"})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want one of %q", err, c.err)
				}
				return
			}
			if err != nil || a.Status != c.want.Status || !bytes.Equal(a.Body, c.want.Body) || a.Complaint != c.want.Complaint {
				t.Errorf("answer %+v, %v; want %+v", a, err, c.want)
			}
		})
	}
}

func largeParts() []string {
	parts := []string{"A: b\r\n\r\n"}
	for range maxAnswer/fcgiMaxContent + 1 {
		parts = append(parts, strings.Repeat("x", fcgiMaxContent))
	}
	return parts
}

func TestRequestsCarryLongValues(t *testing.T) {
	long := strings.Repeat("v", 300)
	b, err := encodeRequest(map[string]string{"NAME": long})
	if err != nil || !bytes.Contains(b, append([]byte{4, 0x80, 0, 1, 44}, "NAME"+long...)) {
		t.Errorf("request %q, %v", b, err)
	}
	if _, err := encodeRequest(map[string]string{"NAME": strings.Repeat("v", fcgiMaxContent)}); err == nil {
		t.Error("a request larger than a record is encoded")
	}
}

var errQuiet = errors.New("no answer in time")

func TestSilenceEndsWithItsCause(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path) // accepts into its backlog, never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, errQuiet)
	defer cancel()
	if _, err := Call(ctx, path, nil); !errors.Is(err, errQuiet) || errors.Is(err, ErrRefused) {
		t.Errorf("call of one who never answers: %v", err)
	}
	if _, err := Call(t.Context(), path+"x", nil); !errors.Is(err, ErrRefused) {
		t.Errorf("call of nobody: %v", err)
	}
}

func FuzzReadRecords(f *testing.F) {
	good := said("why", "Status: 201 Created\r\n\r\n", "body")
	if out, complaint, err := readRecords(bufio.NewReader(bytes.NewReader(good))); err != nil || complaint != "why" || !bytes.HasSuffix(out, []byte("body")) {
		f.Fatalf("seed: %q %q %v", out, complaint, err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte{1, 6, 0, 1, 255, 255, 255, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		out, complaint, err := readRecords(bufio.NewReader(bytes.NewReader(b)))
		if len(out) > len(b) || len(complaint) > len(b) {
			t.Errorf("%d bytes became %d and %d", len(b), len(out), len(complaint))
		}
		if err == nil && len(b) < fcgiHeader+8 {
			t.Errorf("%d bytes are no whole answer", len(b))
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	good := []byte("Status: 404 Not Found\r\nContent-Type: a/b\r\n\r\nbody")
	if a, err := parseAnswer(good); err != nil || a.Status != 404 || string(a.Body) != "body" {
		f.Fatalf("seed: %+v %v", a, err)
	}
	f.Add(good)
	f.Add([]byte("\r\n\r\n"))
	f.Add([]byte("Status: -1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := parseAnswer(b); err == nil && (a.Status < 100 || a.Status > 999 || len(a.Body) > len(b)) {
			t.Errorf("%q became %+v", b, a)
		}
	})
}
