package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"scap/sync/release"
	"scap/sync/store"
	"scap/targets/fpm/namespace"
)

// target makes this machine one: $WORK/served leads to a release of A in the store $WORK/root, which has one of B too.
func (s *story) target([]string) error {
	work := s.ts.Getenv("WORK")
	root, served := filepath.Join(work, "root"), filepath.Join(work, "served")
	st, err := store.Open(root)
	if err != nil {
		return err
	}
	defer st.Close() //nolint:errcheck // what it wrote is read from now on
	ids := map[string]release.ID{}
	for _, mark := range []string{"A", "B"} {
		src := filepath.Join(work, "tree-"+mark)
		if err := os.Mkdir(src, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(src, "RELEASE"), []byte(mark+"\n"), 0o644); err != nil {
			return err
		}
		r, err := st.Snapshot(s.t.Context(), src, store.SnapshotOptions{})
		if err != nil {
			return err
		}
		ids[mark] = r.ID
		s.ts.Setenv(mark, r.ID.String())
	}
	if err := st.Swap(s.t.Context(), release.ID{}, ids["A"]); err != nil {
		return err
	}
	if err := os.Symlink(filepath.Join(root, "current"), served); err != nil {
		return err
	}
	needsNamespaces(s.t, namespace.Spec{Root: root, Served: served, Owner: namespace.AnyOwner})
	return nil
}

// needsNamespaces skips a test where the machine lets nobody have a mount namespace of his own, as in most containers.
func needsNamespaces(t testing.TB, spec namespace.Spec) {
	t.Helper()
	if _, err := namespace.Run(t.Context(), spec, []string{"true"}, nil, io.Discard, io.Discard); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("this machine has no mount namespaces for us: %v", err)
		}
		t.Skipf("this machine has no mount namespaces for us: %v", err)
	}
}
