package main

import (
	"os"
	"path/filepath"
	"testing"

	"scap/cmd/internal/config"
	"scap/sync/store"
)

// A release that was edited in the deploy host's store would be refused by every target, each time anew.
func TestSnapshotMakesADamagedReleaseAnew(t *testing.T) {
	conf := &config.Config{Deploy: config.Deploy{StageDir: t.TempDir()}}
	if err := os.WriteFile(filepath.Join(conf.Deploy.StageDir, "a.php"), []byte("<?php // a"), 0o644); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	r, err := takeSnapshot(t.Context(), st, conf, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(st.Path(r.ID), "a.php"), []byte("<?php // b"), 0o644); err != nil {
		t.Fatal(err)
	}
	again, err := takeSnapshot(t.Context(), st, conf, "")
	if err != nil || again.ID != r.ID {
		t.Fatalf("%s, %v; want %s", again.ID.Short(), err, r.ID.Short())
	}
	if err := st.Verify(t.Context(), r.ID); err != nil {
		t.Error(err)
	}
}
