package main

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"scap/cmd/internal/announce"
	"scap/cmd/internal/config"
)

// TestAnnouncersAsConfigured: what scap.yaml may say of announcers is what they know.
func TestAnnouncersAsConfigured(t *testing.T) {
	if diff := cmp.Diff(announce.Words(), config.Events); diff != "" {
		t.Errorf("events (-told +configured):\n%s", diff)
	}
	conf, err := config.Load(filepath.Join("..", "..", "scap.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range conf.Announcers {
		crew, err := announce.Open([]announce.Options{announce.Options(a)}, announce.Deps{Comment: func(context.Context, int, string) error { return nil }})
		if err != nil {
			t.Errorf("%s, of the example: %v", a.Name, err)
			continue
		}
		if errs := crew.Close(t.Context()); len(errs) > 0 {
			t.Errorf("%s: %v", a.Name, errs)
		}
	}
}
