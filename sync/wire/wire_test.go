package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"scap/sync/release"
)

// conversation is a valid stream of frames of every type.
func conversation(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, f := range []Frame{
		{Question, []byte(`{"op":"hello"}`)},
		{Reply, []byte(`{}`)},
		{Block, NewEncoder().EncodeAll([]byte("hello"), nil)},
		{Sums, make([]byte, 64)},
		{Wants, Want{Path: "a\xffb", Size: 3}.Append(nil)},
		{End, nil},
	} {
		if err := w.Frame(f.Type, f.Payload); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func readAll(b []byte) ([]Frame, error) {
	r := NewReader(bytes.NewReader(b))
	var fs []Frame
	for {
		f, err := r.Next()
		if err != nil {
			return fs, err
		}
		fs = append(fs, f)
	}
}

func TestFramesArriveAsSent(t *testing.T) {
	fs, err := readAll(conversation(t))
	if err != io.EOF { //nolint:errorlint // exactly io.EOF is the promise
		t.Fatalf("end: %v", err)
	}
	var types []byte
	for _, f := range fs {
		types = append(types, byte(f.Type))
	}
	if string(types) != "qabswe" {
		t.Errorf("types %q", types)
	}
}

func TestNoiseIsQuotedAndNeutralised(t *testing.T) {
	for _, noise := range []string{
		"Welcome to host1!\r\n\x1b]0;owned\x07\x1b[2J",
		"sh: 1: scap-agent: not found\n",
		"x",
		"scap-wire 9999\nmore",
		fmt.Sprintf("scap-wire %04x and not a newline", Version),
	} {
		_, err := readAll([]byte(noise))
		if !errors.Is(err, ErrPreamble) {
			t.Errorf("%q: %v", noise, err)
			continue
		}
		if text := err.Error(); strings.ContainsAny(text, "\x1b\x07\r\n") || !strings.Contains(text, noise[:1]) {
			t.Errorf("%q: %q does not quote it safely", noise, text)
		}
	}
	if _, err := readAll(nil); !errors.Is(err, ErrPreamble) || !errors.Is(err, io.EOF) {
		t.Errorf("silence: %v", err)
	}
}

func TestLyingLengthsCostNothing(t *testing.T) {
	head := fmt.Appendf(nil, "%s%04x\n", preamble, Version)
	frame := func(typ byte, size uint32, payload string) []byte {
		b := append(bytes.Clone(head), typ)
		return append(binary.BigEndian.AppendUint32(b, size), payload...)
	}
	for name, b := range map[string][]byte{
		"too long for its type": frame('q', 1<<20+1, ""),
		"4 GiB":                 frame('a', 1<<32-1, ""),
		"unknown type":          frame('z', 0, ""),
		"End with payload":      frame('e', 1, "x"),
		"cut off":               frame('a', 16<<20, "short"),
		"half a header":         append(bytes.Clone(head), 'q', 0),
	} {
		var err error
		grown := testing.AllocsPerRun(1, func() { _, err = readAll(b) })
		if err == nil || err == io.EOF { //nolint:errorlint // io.EOF would be a clean end
			t.Errorf("%s: %v", name, err)
		}
		if grown > 60 {
			t.Errorf("%s: %v allocations", name, grown)
		}
	}
}

func TestStreamOfFiles(t *testing.T) {
	when := time.Unix(1_700_000_000, 123456789)
	big := strings.Repeat("0123456789abcdef", BlockSize/8)
	files := []struct{ path, content string }{
		{"a.php", "<?php"}, {"empty", ""}, {"dir/\xff\n -rf", "x"}, {"big", big}, {"last", "end"},
	}
	var raw []byte
	for _, f := range files {
		raw = FileHeader{Path: f.path, Mtime: when, Size: int64(len(f.content))}.Append(raw)
		raw = append(raw, f.content...)
	}
	it := NewItems(blocksOf(raw, BlockSize))
	defer it.Close()
	for i, f := range files {
		h, err := it.File()
		if err != nil || h.Path != f.path || h.Size != int64(len(f.content)) || !h.Mtime.Equal(when) {
			t.Fatalf("%q: %+v, %v", f.path, h, err)
		}
		if i == 3 {
			continue // what is not read is skipped
		}
		if b, err := io.ReadAll(it); err != nil || string(b) != f.content {
			t.Fatalf("%q: %d bytes, %v", f.path, len(b), err)
		}
	}
	if _, err := it.File(); !errors.Is(err, io.EOF) {
		t.Errorf("end: %v", err)
	}
	cut := NewItems(blocksOf(raw[:len(raw)-1], 100))
	defer cut.Close()
	var err error
	for err == nil {
		_, err = cut.File()
	}
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a stream that was cut off ends like a whole one: %v", err)
	}
}

// blocksOf compresses raw in pieces of size and hands them out.
func blocksOf(raw []byte, size int) func() ([]byte, error) {
	enc := NewEncoder()
	return func() ([]byte, error) {
		if len(raw) == 0 {
			return nil, io.EOF
		}
		n := min(size, len(raw))
		b := enc.EncodeAll(raw[:n], nil)
		raw = raw[n:]
		return b, nil
	}
}

func TestBlockThatExpandsTooFarIsRefused(t *testing.T) {
	bomb := NewEncoder().EncodeAll(make([]byte, BlockSize+1), nil)
	it := NewItems(func() ([]byte, error) { return bomb, nil })
	defer it.Close()
	if _, err := it.Dir(); err == nil {
		t.Error("a block larger than BlockSize was taken")
	}
}

func TestKindsSurvive(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind Kind
	}{
		{Fenced.Errorf("token 1"), Fenced},
		{fmt.Errorf("on host: %w", Broken.Of(NotFound.Errorf("x"))), Broken},
		{&os.PathError{Op: "write", Path: "p", Err: syscall.ENOSPC}, NoSpace},
		{fs.ErrNotExist, NotFound},
		{fmt.Errorf("wait: %w", context.DeadlineExceeded), Late},
		{errors.New("plain"), Failed},
	} {
		e := ErrorOf(c.err)
		if e.Kind != c.kind || e.Text != c.err.Error() {
			t.Errorf("%v: kind %q text %q", c.err, e.Kind, e.Text)
		}
		if !errors.Is(error(e), c.kind) {
			t.Errorf("%v: errors.Is does not see %q", c.err, c.kind)
		}
		for _, std := range []error{fs.ErrNotExist, syscall.ENOSPC, context.DeadlineExceeded} {
			if errors.Is(c.err, std) != errors.Is(error(e), std) && c.kind != Broken {
				t.Errorf("%v: errors.Is(%v) differs on the other side", c.err, std)
			}
		}
	}
}

func TestLists(t *testing.T) {
	want := []Want{{Path: "a", Sum: release.SumOf([]byte("1")), Size: 1}, {Path: "b\xff/ c\n", Size: 1 << 40}}
	var b []byte
	for _, w := range want {
		b = w.Append(b)
	}
	got, err := ParseWants(b)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for i := 1; i < len(b); i++ {
		if got, err := ParseWants(b[:i]); err == nil && len(got) != 1 {
			t.Errorf("cut at %d: %v", i, got)
		}
	}
	if _, err := ParseSums(make([]byte, 33)); err == nil {
		t.Error("33 bytes are taken for digests")
	}
}

func FuzzReader(f *testing.F) {
	good := conversation(f)
	f.Add(good)
	f.Add(good[:len(good)-3])
	f.Add([]byte("Welcome\n"))
	if fs, _ := readAll(good); len(fs) != 6 {
		f.Fatalf("the seed has %d frames, want 6", len(fs))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fs, err := readAll(b)
		if err == nil {
			t.Fatal("no end")
		}
		var out bytes.Buffer
		w := NewWriter(&out)
		for _, fr := range fs {
			if err := w.Frame(fr.Type, fr.Payload); err != nil {
				t.Fatalf("what was read cannot be written: %v", err)
			}
		}
		if out.Len() > 0 && !bytes.HasPrefix(b, out.Bytes()) {
			t.Fatal("read and written frames differ")
		}
	})
}

func FuzzItems(f *testing.F) {
	seed := append(FileHeader{Path: "p", Size: 2}.Append(nil), "hi"...)
	f.Add(seed, false)
	f.Add(append(AppendDir(nil, 3), "dir"...), true)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, true)
	it := NewItems(blocksOf(seed, 4))
	if h, err := it.File(); err != nil || h.Path != "p" {
		f.Fatalf("the seed does not parse: %v", err)
	}
	it.Close()
	f.Fuzz(func(t *testing.T, raw []byte, dirs bool) {
		it := NewItems(blocksOf(raw, 7))
		defer it.Close()
		for range len(raw) + 1 {
			var err error
			if dirs {
				_, err = it.Dir()
			} else {
				_, err = it.File()
			}
			if err != nil {
				return
			}
		}
		t.Fatal("more items than bytes")
	})
}

func FuzzWants(f *testing.F) {
	seed := Want{Path: "p/q", Size: 9}.Append(nil)
	f.Add(seed)
	if ws, err := ParseWants(seed); err != nil || len(ws) != 1 {
		f.Fatalf("the seed does not parse: %v", err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ws, err := ParseWants(b)
		if err != nil {
			return
		}
		var again []byte
		for _, w := range ws {
			again = w.Append(again)
		}
		if back, err := ParseWants(again); err != nil || cmp.Diff(ws, back) != "" {
			t.Fatalf("not the same after encoding: %v", err)
		}
	})
}
