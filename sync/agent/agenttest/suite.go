package agenttest

import (
	"context"
	"testing"
)

// Run holds the runtime of fresh rigs to the contract of agent.Runtime, a rig for each case.
func Run(t *testing.T, make func(t *testing.T) Rig) {
	cases := []struct {
		name string
		test func(context.Context, *testing.T, Rig)
	}{
		{"proves what runs", provesWhatRuns},
		{"switches there and back", switchesThereAndBack},
		{"refuses a link without a restart", refusesLinkWithoutRestart},
		{"links once with nothing running", linksOnce},
		{"says what a failing link left", failingLink},
		{"touches nothing when cancelled before", cancelledBefore},
		{"ends what it began when cancelled", cancelledInTheMiddle},
		{"comes back from a start that fails", startFails},
		{"finds a broken release by itself", brokenRelease},
		{"refuses a broken configuration before it stops anything", brokenConfig},
		{"refuses settings that let code change", brokenSettings},
		{"names orphans and removes them", orphans},
		{"says that nothing runs and starts it", stopped},
		{"says that nobody answers", hanging},
		{"lets a request in flight end", inFlight},
		{"does not wait in an emergency", emergency},
		{"sees a busy request", quietSeesBusy},
		{"sees an outside request", quietSeesOutside},
		{"counts the requests of others", countsRequests},
		{"writes a nonce into its own log", writesNonce},
		{"stops nobody whom users reach", stopsNobody},
		{"serves throughout a handover", servesThroughout},
		{"returns to what is kept by a rename", returnsByRename},
		{"changes hands", changesHands},
		{"tries a release and abandons it", triesAndAbandons},
		{"makes what is tried what all get", promotes},
		{"tries no broken release on users", triesBroken},
		{"tries nothing when the start fails", triesWithoutStart},
		{"tries nothing where two do not fit", triesWithoutRoad},
		{"tries nothing when cancelled before", trialCancelledBefore},
		{"tries wholly or not when cancelled", trialCancelledInTheMiddle},
		{"ends a trial when its time is over", trialEnds},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c.test(ctx, t, make(t))
		})
	}
}
