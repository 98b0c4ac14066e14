package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scap/sync/release"
	"scap/sync/store"
)

func echo(_ context.Context, q json.RawMessage) (json.RawMessage, error) {
	var text string
	if err := json.Unmarshal(q, &text); err != nil {
		return nil, err
	}
	if text == "fail" {
		return nil, errors.New("the echo is broken")
	}
	return json.Marshal(text + text)
}

// world is a deploy host with releases, and one target host that serves the first of them.
type world struct {
	dir     string // the target's
	source  *store.Store
	a, b, c release.Release
	host    *Host
	link    link
}

// link is one way to reach a host.
type link struct {
	opener Opener
	cut    func() // ends all connections that are open
}

const files = 40

func newWorld(t *testing.T, connect func(t *testing.T, dir string) link) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	var err error
	if w.source, err = store.Open(filepath.Join(t.TempDir(), "deploy")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.source.Close() })
	src := t.TempDir()
	write(t, src, "big", noise(3<<20))
	for i := range files {
		write(t, src, fmt.Sprintf("d%d/f\xff %d.php", i%5, i), []byte(fmt.Sprint("<?php //", i)))
	}
	for mark, r := range map[string]*release.Release{"A": &w.a, "B": &w.b, "C": &w.c} {
		write(t, src, "index.php", []byte("<?php //"+mark))
		if *r, err = w.source.Snapshot(t.Context(), src, store.SnapshotOptions{Message: mark}); err != nil {
			t.Fatal(err)
		}
	}
	w.link = connect(t, w.dir)
	w.host = New("host1", w.link.opener, w.source, nil)
	w.host.SwitchWait = time.Minute
	t.Cleanup(func() {
		if err := w.host.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return w
}

// deployed is a world whose host serves a.
func deployed(t *testing.T, connect func(t *testing.T, dir string) link) *world {
	t.Helper()
	w := newWorld(t, connect)
	ctx := t.Context()
	s := release.Switch{To: w.a.ID, Token: 1, Owner: "first"}
	if err := errors.Join(w.host.Claim(ctx, 1, "first"), w.host.Stage(ctx, w.a), w.host.Activate(ctx, s)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(w.dir, "root", "current"), filepath.Join(w.dir, "served")); err != nil {
		t.Fatal(err)
	}
	return w
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

func write(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, content, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// order has the runtime suffer, and returns what ends it.
func (w *world) order(t *testing.T, name string) (end func()) {
	t.Helper()
	write(t, w.dir, name, nil)
	return func() {
		if err := os.Remove(filepath.Join(w.dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// held waits until a switch is held.
func (w *world) held(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if !await(ctx, func() bool { _, err := os.Stat(filepath.Join(w.dir, "held")); return err == nil }) {
		t.Fatal("the switch did not begin")
	}
}

func (w *world) toB() release.Switch {
	return release.Switch{From: w.a.ID, To: w.b.ID, Token: 1, Owner: "first"}
}

// serves fails the test unless the host says that disk, runtime and wish are id.
func (w *world) serves(t *testing.T, id release.ID) {
	t.Helper()
	st, err := w.host.State(t.Context())
	if err != nil {
		t.Errorf("state: %v", err)
		return
	}
	if got, ok := st.Consistent(); !ok || got != id {
		t.Errorf("the host says %+v, want %s", st, id.Short())
	}
}

// fails fails the test unless err wraps want and names the host.
func fails(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), "host1") {
		t.Errorf("%s: %v; want an error that is %q and names the host", what, err, want)
	}
}
