package sourcetest

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// victim names the environment variable by which this test binary runs the suite over a fake that is broken on purpose.
const victim = "SOURCETEST_BROKEN"

func TestAGoodSourcePasses(t *testing.T) { Run(t, newMemory("")) }

func TestAGoodSourceThatKnowsNoArmsPasses(t *testing.T) { Run(t, newMemory("knows no arms")) }

func TestVictim(t *testing.T) {
	broken := os.Getenv(victim)
	if broken == "" {
		t.Skip("run by the test beside it, which wants it to fail")
	}
	Run(t, newMemory(broken))
}

func TestTheSuiteCatches(t *testing.T) {
	// What is broken, and the case that must say so.
	for broken, by := range map[string]string{
		"arrival time":                    "places events by their own time",
		"takes the end in":                "asks a range without its end",
		"remembers ids over ticks":        "gives the same in two halves",
		"counts what it read before":      "gives the same again and to another reader",
		"zero for unknown":                "knows nothing of an unknown host",
		"closes by the clock":             "closes no further than the watermark",
		"closes by the newest event":      "knows no zero without a watermark",
		"one watermark for all":           "keeps watermarks apart",
		"never closes":                    "knows a zero by a watermark",
		"no zero":                         "knows a zero by a watermark",
		"ignores Since":                   "leaves out what was before the runtime",
		"ignores the release":             "leaves out another release",
		"asks for the name":               "keeps two releases of one machine apart",
		"mixes releases":                  "keeps two releases of one machine apart",
		"forgets strays":                  "counts for neither what may be of either",
		"gives strays to the trial":       "counts for neither what may be of either",
		"mixes what it cannot tell":       "refuses two releases that it cannot tell apart",
		"counts lines":                    "counts a failing request once",
		"drops those without an id":       "counts failing requests without an id",
		"stops at a page":                 "counts a busy tick",
		"sorts the hosts":                 "answers hosts in the order asked",
		"leaves out the unknown":          "knows nothing of an unknown host",
		"takes names for patterns":        "keeps hostile names apart",
		"mixes hosts":                     "keeps hostile names apart",
		"believes every nonce":            "reads a nonce back only where it was written",
		"believes a nonce of others":      "reads a nonce back only where it was written",
		"one signal for all":              "counts the good of each signal",
		"prints of all":                   "names failures by host",
		"counts lines of prints":          "names failures by host",
		"keeps every print":               "bounds what it says of failures",
		"keeps long texts":                "bounds what it says of failures",
		"lets control characters through": "bounds what it says of failures",
		"shuffles ticks":                  "adds up coarser ticks",
		"does not notice clocks":          "names or corrects a clock that is ahead",
		"ignores its context":             "ends with its context",
		"answers zero when broken":        "tells the truth or nothing when it is broken",
		"closes what lags":                "tells the truth or nothing when it is broken",
		"never mends":                     "tells the truth or nothing when it is broken",
	} {
		t.Run(broken, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestVictim$/^"+strings.ReplaceAll(by, " ", "_")+"$", "-test.v")
			cmd.Env = append(os.Environ(), victim+"="+broken)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("the suite passes a source that is broken so: %s", out)
			}
			if want := "--- FAIL: TestVictim/" + strings.ReplaceAll(by, " ", "_") + " "; !strings.Contains(string(out), want) {
				t.Fatalf("%q does not say so: %s", by, out)
			}
			if strings.Contains(string(out), "panic:") {
				t.Errorf("the suite panics: %s", out)
			}
		})
	}
}
