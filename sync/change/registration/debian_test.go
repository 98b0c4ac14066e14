package registration

import (
	"os"
	"testing"
	"time"
)

func TestDebianClean(t *testing.T) {
	start := time.Now()
	r, err := Check(t.Context(), os.DirFS("/usr/share"), Options{PHP: []string{"php"}, Core: "mediawiki", Paths: []string{"mediawiki"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(time.Since(start), len(r.Checked), r.Unchecked, r.More)
	for _, f := range r.Findings {
		t.Error(f)
	}
}
