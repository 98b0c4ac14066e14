package logs

import "testing"

// A host that is asked about any time, and has logged nothing that failed, must not look at each second since 1970: a range of a
// million million seconds would not end.
func TestRingLooksAtWhatItHoldsOnly(t *testing.T) {
	r := newRing(2, 0)
	if n := r.workers(-1<<40, 1<<40); n != 0 {
		t.Errorf("%d workers of nothing", n)
	}
}
