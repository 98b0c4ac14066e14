package sourcetest

import (
	"context"
	"testing"
	"time"

	"scap/canary"
)

// patience ends a case that hangs; nothing is measured by it.
const patience = 60 * time.Second

// the hosts that most cases are about.
const (
	one   = "mw1001"
	two   = "mw1002"
	three = "mw1003"
)

// Run holds the source of fresh rigs to the contract of canary.Source, a rig for each case. mk is given the hosts that its world has.
func Run(t *testing.T, mk func(t *testing.T, hosts []canary.Host) Rig) {
	cases := []struct {
		name  string
		test  func(*bench)
		hosts []string // nil: one, two and three
	}{
		{"places events by their own time", placesByTime, nil},
		{"does not mind the order of arrival", anyOrder, nil},
		{"asks a range without its end", rangeBounds, nil},
		{"gives the same in two halves", halves, nil},
		{"gives the same again and to another reader", again, nil},
		{"knows no zero without a watermark", notClosed, nil},
		{"closes no further than the watermark", notTooEarly, nil},
		{"knows a zero by a watermark", knownZero, nil},
		{"keeps watermarks apart", ownWatermarks, nil},
		{"leaves out what was before the runtime", beforeSince, nil},
		{"leaves out another release", otherRelease, nil},
		{"answers one host for two releases", twoReleases, nil},
		{"keeps two releases of one machine apart", twoArms, nil},
		{"gives both releases of one machine to another reader", armsAgain, nil},
		{"counts for neither what may be of either", strays, nil},
		{"refuses two releases that it cannot tell apart", mixedArms, nil},
		{"counts a failing request once", sameID, nil},
		{"counts failing requests without an id", noID, nil},
		{"counts a busy tick", busyTick, nil},
		{"answers hosts in the order asked", hostOrder, nil},
		{"knows nothing of an unknown host", unknownHost, nil},
		{"keeps hostile names apart", hostileHosts, hostileNames()},
		{"reads a nonce back only where it was written", nonce, nil},
		{"counts the good of each signal", goods, nil},
		{"names failures by host", prints, nil},
		{"bounds what it says of failures", boundedPrints, nil},
		{"adds up coarser ticks", coarser, nil},
		{"does not invent finer ticks", finer, nil},
		{"names or corrects a clock that is ahead", skew, nil},
		{"answers several at once", concurrent, nil},
		{"ends with its context", cancelled, nil},
		{"tells the truth or nothing when it is broken", faults, nil},
		{"ends with its context when it is broken", cancelledFaults, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			names := c.hosts
			if names == nil {
				names = []string{one, two, three}
			}
			c.test(newBench(ctx, t, mk, names))
		})
	}
}
