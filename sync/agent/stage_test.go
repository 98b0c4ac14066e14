package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scap/sync/push"
	"scap/sync/release"
	"scap/sync/store"
	"scap/sync/wire"
)

// depot is a deploy host's store with releases of a tree of n files.
type depot struct {
	*store.Store
	src string
}

func newDepot(t *testing.T, n int) *depot {
	t.Helper()
	st, err := store.Open(filepath.Join(t.TempDir(), "deploy"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	d := &depot{st, t.TempDir()}
	for i := range n {
		d.write(t, fmt.Sprintf("d%d/e%d/f%d.php", i%20, i%7, i), fmt.Appendf(nil, "<?php // file %d", i))
	}
	big := make([]byte, 256<<10)
	for i := range 8 {
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(big)
		d.write(t, fmt.Sprint("i18n", i), big)
	}
	return d
}

func (d *depot) write(t *testing.T, name string, content []byte) {
	t.Helper()
	file := filepath.Join(d.src, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, content, 0o644)); err != nil {
		t.Fatal(err)
	}
}

func (d *depot) release(t *testing.T) release.Release {
	t.Helper()
	r, err := d.Snapshot(t.Context(), d.src, store.SnapshotOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// meter counts what goes over a connection, and the turns: how often the direction changed.
type meter struct {
	net.Conn
	sent, got, turns atomic.Int64
	sending          atomic.Bool
	cutAfter         int64 // bytes sent; 0: never
}

func (m *meter) Write(p []byte) (int, error) {
	if m.sending.CompareAndSwap(false, true) {
		m.turns.Add(1)
	}
	if m.cutAfter > 0 && m.sent.Load() > m.cutAfter {
		_ = m.Close()
	}
	n, err := m.Conn.Write(p)
	m.sent.Add(int64(n))
	return n, err
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	m.sending.Store(false)
	m.got.Add(int64(n))
	return n, err
}

// metered starts a session whose traffic is counted.
func (r *rig) metered(t *testing.T, cutAfter int64) (*push.Client, *meter) {
	t.Helper()
	ours, theirs := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Serve(context.Background(), r.host, theirs) }()
	m := &meter{Conn: ours, cutAfter: cutAfter}
	c, err := push.Connect(t.Context(), m, wire.Hello{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		if err := <-ended; err != nil && cutAfter == 0 {
			t.Errorf("Serve: %v", err)
		}
	})
	m.sent.Store(0)
	m.got.Store(0)
	m.turns.Store(0)
	return c, m
}

// TestBackportCostsWhatChanged: bytes and round trips of five changed files do not grow with the tree.
func TestBackportCostsWhatChanged(t *testing.T) {
	var bytes [2]int64
	for i, n := range []int{200, 1000} {
		d, r := newDepot(t, n), openRig(t, t.TempDir())
		c, m := r.metered(t, 0)
		a := d.release(t)
		if err := push.Send(t.Context(), c, d, a, nil); err != nil {
			t.Fatal(err)
		}
		first := m.sent.Swap(0)
		for k := range 5 {
			d.write(t, fmt.Sprintf("d%d/e%d/f%d.php", k, k, k), []byte("<?php // fixed"))
		}
		m.got.Store(0)
		m.turns.Store(0)
		b := d.release(t)
		if err := push.Send(t.Context(), c, d, b, []release.ID{a.ID}); err != nil {
			t.Fatal(err)
		}
		if err := r.store.Verify(t.Context(), b.ID); err != nil {
			t.Error(err)
		}
		bytes[i] = m.sent.Load() + m.got.Load()
		if turns := m.turns.Load(); turns != 2 {
			t.Errorf("%d files: %d round trips, want 2", n, turns)
		}
		t.Logf("%d files: %d bytes for the first release, %d for five changed files", n, first, bytes[i])
	}
	if bytes[1] > 3*bytes[0] || bytes[1] > 16<<10 {
		t.Errorf("a tree of five times the files costs %d bytes instead of %d", bytes[1], bytes[0])
	}
}

// TestADamagedReleaseComesAnew: somebody edited a release that is staged already. It is not taken for what it is called.
func TestADamagedReleaseComesAnew(t *testing.T) {
	d, r := newDepot(t, 20), openRig(t, t.TempDir())
	c, _ := r.metered(t, 0)
	a := d.release(t)
	if err := push.Send(t.Context(), c, d, a, nil); err != nil {
		t.Fatal(err)
	}
	edited := filepath.Join(r.store.Path(a.ID), "d1/e1/f1.php")
	if err := os.WriteFile(edited, []byte("<?php // hot fix at 23:00"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := push.Send(t.Context(), c, d, a, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.store.Verify(t.Context(), a.ID); err != nil {
		t.Errorf("staged again, and still: %v", err)
	}
	if err := r.store.Swap(t.Context(), release.ID{}, a.ID); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(edited, []byte("<?php // and again, while it is served"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := push.Send(t.Context(), c, d, a, nil); err == nil || !strings.Contains(err.Error(), "serves a damaged copy") {
		t.Errorf("a damaged release that is served: %v", err)
	}
}

// TestStagingGoesOnAfterACut cuts the connection after ever more bytes: what arrived is not sent again.
func TestStagingGoesOnAfterACut(t *testing.T) {
	d, r := newDepot(t, 300), openRig(t, t.TempDir())
	rel := d.release(t)
	var wanted []int
	whole := false
	for cut := int64(64 << 10); !whole && len(wanted) < 40; cut += 64 << 10 {
		c, _ := r.metered(t, cut)
		p := &counting{Client: c}
		err := push.Send(t.Context(), p, d, rel, nil)
		whole = err == nil
		if !whole && !errors.Is(err, push.ErrLost) {
			t.Fatalf("cut after %d bytes: %v", cut, err)
		}
		wanted = append(wanted, p.wanted)
		_ = c.Close()
	}
	if !whole || len(wanted) < 2 {
		t.Fatalf("after %d sessions: whole %v", len(wanted), whole)
	}
	if last := wanted[len(wanted)-1]; last >= wanted[0] {
		t.Errorf("the files that were still wanted: %v", wanted)
	}
	if err := r.store.Verify(t.Context(), rel.ID); err != nil {
		t.Error(err)
	}
}

// counting counts what a peer wants.
type counting struct {
	*push.Client
	wanted int
}

func (c *counting) Stage(ctx context.Context, r release.Release, dirs iter.Seq2[[]byte, error]) ([]release.Sum, []wire.Want, error) {
	missing, wants, err := c.Client.Stage(ctx, r, dirs)
	c.wanted = len(wants)
	return missing, wants, err
}

// liar is a source whose file contents differ from what the release says.
type liar struct{ *depot }

func (l liar) OpenFile(id release.ID, path string) (*os.File, error) {
	f, err := l.depot.OpenFile(id, path)
	if err != nil || path != "d1/e1/f1.php" {
		return f, err
	}
	info, err := f.Stat()
	_ = f.Close()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(l.src, "lie")
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), int(info.Size())), 0o644); err != nil {
		return nil, err
	}
	return os.Open(file)
}

// TestWrongContentIsRefusedAndTheSessionGoesOn: nothing appears, and the right content can be sent on the same session.
func TestWrongContentIsRefusedAndTheSessionGoesOn(t *testing.T) {
	d, r := newDepot(t, 50), openRig(t, t.TempDir())
	rel := d.release(t)
	c, _ := r.metered(t, 0)
	err := push.Send(t.Context(), c, liar{d}, rel, nil)
	var answered *wire.Error
	if !errors.As(err, &answered) || !strings.Contains(err.Error(), "f1.php") {
		t.Errorf("%v", err)
	}
	if r.store.Has(rel.ID) {
		t.Error("a release with a wrong file is complete")
	}
	if err := push.Send(t.Context(), c, d, rel, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.store.Verify(t.Context(), rel.ID); err != nil {
		t.Error(err)
	}
	if err := push.Send(t.Context(), c, d, rel, nil); err != nil {
		t.Errorf("again: %v", err)
	}
}

// TestSourceThatFailsIsNotTakenForTheWhole: what cannot be read on the deploy host ends the session.
func TestSourceThatFailsIsNotTakenForTheWhole(t *testing.T) {
	d, r := newDepot(t, 50), openRig(t, t.TempDir())
	rel := d.release(t)
	if err := os.Remove(filepath.Join(d.Path(rel.ID), "d1/e1/f1.php")); err != nil {
		t.Fatal(err)
	}
	c, _ := r.metered(t, 0)
	if err := push.Send(t.Context(), c, d, rel, nil); err == nil || !strings.Contains(err.Error(), "f1.php") {
		t.Errorf("%v", err)
	}
	if r.store.Has(rel.ID) {
		t.Error("a release without a file is complete")
	}
}

// raw speaks to an agent without a client.
func raw(t *testing.T, r *rig) (*wire.Reader, *wire.Writer, func() error) {
	t.Helper()
	ours, theirs := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Serve(context.Background(), r.host, theirs) }()
	var once error
	var done bool
	end := func() error {
		if !done {
			done = true
			_ = ours.Close()
			once = <-ended
		}
		return once
	}
	t.Cleanup(func() { _ = end() })
	return wire.NewReader(ours), wire.NewWriter(ours), end
}

func TestProtocolIsEnforced(t *testing.T) {
	hello := wire.Frame{Type: wire.Question, Payload: []byte(`{"op":"hello","body":{}}`)}
	q := func(text string) wire.Frame { return wire.Frame{Type: wire.Question, Payload: []byte(text)} }
	for name, c := range map[string]struct {
		frames []wire.Frame
		want   string // in the reply to the last frame; "": the session ends with an error
	}{
		"state before hello":  {[]wire.Frame{q(`{"op":"state","body":{}}`)}, "before hello"},
		"stage before hello":  {[]wire.Frame{q(`{"op":"stage","body":{}}`)}, "before hello"},
		"two hellos":          {[]wire.Frame{hello, hello}, "second hello"},
		"unknown operation":   {[]wire.Frame{hello, q(`{"op":"rm\u001b"}`)}, "no operation"},
		"bad body":            {[]wire.Frame{hello, q(`{"op":"switch","body":{"to":7}}`)}, "question switch"},
		"files without stage": {[]wire.Frame{hello, q(`{"op":"files"}`)}, "files before stage"},
		"no question":         {[]wire.Frame{hello, {Type: wire.Block, Payload: []byte("x")}}, ""},
		"no JSON":             {[]wire.Frame{hello, q(`{`)}, ""},
		"zero release":        {[]wire.Frame{hello, q(`{"op":"stage","body":{"id":"","created":"2024-01-01T00:00:00Z"}}`)}, " "},
	} {
		r := openRig(t, t.TempDir())
		rd, w, end := raw(t, r)
		var last wire.Frame
		for _, f := range c.frames {
			if err := w.Frame(f.Type, f.Payload); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			var err error
			if last, err = rd.Next(); err != nil {
				last = wire.Frame{}
			}
		}
		if c.want != "" {
			if last.Type != wire.Reply || !strings.Contains(string(last.Payload), `"error"`) || !strings.Contains(string(last.Payload), c.want) {
				t.Errorf("%s: reply %q", name, last.Payload)
			}
			continue
		}
		if err := end(); last.Payload != nil || err == nil {
			t.Errorf("%s: reply %q, session ended with %v", name, last.Payload, err)
		}
	}
}

// TestNoiseInPlaceOfAnAsker: an agent started by hand ends with an explanation.
func TestNoiseInPlaceOfAnAsker(t *testing.T) {
	r := openRig(t, t.TempDir())
	ours, theirs := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Serve(context.Background(), r.host, theirs) }()
	go func() { _, _ = io.Copy(io.Discard, ours) }()
	_, _ = ours.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	select {
	case err := <-ended:
		if !errors.Is(err, wire.ErrPreamble) || !strings.Contains(err.Error(), "GET / HTTP") {
			t.Errorf("%v", err)
		}
	case <-time.After(time.Minute):
		t.Error("Serve did not end")
	}
	_ = ours.Close()
}

// TestServedPath says what the served path may be.
func TestServedPath(t *testing.T) {
	for name, c := range map[string]struct {
		make  func(r *rig) error
		plain bool
		want  string
	}{
		"link":          {func(r *rig) error { return os.Symlink(filepath.Join(r.store.Root(), "current"), r.host.Served) }, false, ""},
		"relative link": {func(r *rig) error { return os.Symlink("root/current", r.host.Served) }, false, ""},
		"elsewhere":     {func(r *rig) error { return os.Symlink("/srv/other", r.host.Served) }, false, "/srv/other"},
		"directory":     {func(r *rig) error { return os.Mkdir(r.host.Served, 0o755) }, true, ""},
		"file":          {func(r *rig) error { return os.WriteFile(r.host.Served, nil, 0o644) }, false, "neither"},
		"missing":       {func(*rig) error { return nil }, false, "does not exist"},
		"not asked for": {func(r *rig) error { r.host.Served = ""; return nil }, false, ""},
	} {
		r := newRig(t)
		if err := c.make(r); err != nil {
			t.Fatal(err)
		}
		st, err := r.host.state(t.Context(), wire.StateAsk{})
		if err != nil || st.Plain != c.plain || (c.want == "") != (len(st.Problems) == 0) || !strings.Contains(strings.Join(st.Problems, " "), c.want) {
			t.Errorf("%s: %+v, %v", name, st, err)
		}
	}
}

// TestStagingThatStopsLetsOthersIn: a deploy host that falls silent, between the steps of a staging or in the middle of a
// stream, does not keep the next one waiting for longer than stagingIdle.
func TestStagingThatStopsLetsOthersIn(t *testing.T) {
	for name, more := range map[string][]wire.Frame{
		"between the steps": {{Type: wire.End}},
		"in the stream":     nil,
	} {
		t.Run(name, func(t *testing.T) {
			d, r := newDepot(t, 20), openRig(t, t.TempDir())
			rel := d.release(t)
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				ended := make(chan error, 1)
				go func() { ended <- Serve(context.Background(), r.host, theirs) }()
				go func() { _, _ = io.Copy(io.Discard, ours) }()
				w := wire.NewWriter(ours)
				body, err := json.Marshal(rel)
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range append([]wire.Frame{
					{Type: wire.Question, Payload: []byte(`{"op":"hello","body":{}}`)},
					{Type: wire.Question, Payload: fmt.Appendf(nil, `{"op":"stage","body":%s}`, body)},
				}, more...) {
					if err := w.Frame(f.Type, f.Payload); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				begun := time.Now()
				ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
				defer cancel()
				in, err := r.store.Begin(ctx, rel)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begun); took < time.Minute || took > stagingIdle+time.Second {
					t.Errorf("the next one waited %v", took)
				}
				_ = in.Close()
				_ = ours.Close()
				<-ended
			})
		})
	}
}
