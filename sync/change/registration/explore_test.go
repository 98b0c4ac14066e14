package registration

import (
	"os"
	"testing"
	"time"
)

func TestExplore(t *testing.T) {
	dir := os.Getenv("EXPLORE")
	if dir == "" {
		t.Skip()
	}
	start := time.Now()
	r, err := Check(t.Context(), os.DirFS(dir), Options{PHP: []string{"php"}, Core: "w", Paths: []string{"w"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(time.Since(start), len(r.Checked), r.Unchecked, r.More)
	for _, f := range r.Findings {
		t.Error(f)
	}
}
