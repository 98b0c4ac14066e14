package pin

import "testing"

// A change that was merged, with another patch set, between its look-up and the fetch is not what was named: what came with it
// is told like anything else.
func TestAnotherPatchSetWasMerged(t *testing.T) {
	w := newWorld(t)
	base := w.pin(nil).Parts
	bar := w.change(1, barRepo, five, map[string]string{"Bar.php": edited(1, "ONE")})
	w.merge(bar, map[string]string{"Bar.php": edited(1, "ONE"), "more": "nobody has seen it\n"})
	w.check("looked up before", w.pin(base, bar), []string{php5 + "/extensions/Bar: +Change 1"}, nil)
	bar.Revision = w.head(barRepo, five)
	bar.Status = "MERGED"
	w.check("looked up after", w.pin(base, bar), nil, nil)
}
