package canary

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestTimesInJSON holds that no reader has to guess a unit, and that what is written is read again.
func TestTimesInJSON(t *testing.T) {
	for _, more := range []time.Duration{0, 90 * time.Second, -1} {
		n := Numbers{Rule: byGathering, Dwelt: 5 * time.Second, More: more, Lag: 1500 * time.Millisecond, Limits: Rule{}.Full()}
		text, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`"dwelt":"5s"`, `"lag":"1.5s"`, `"dwell":"1m0s"`, `"late_hold":"3m0s"`, `"rule":"gathering"`} {
			if strings.Count(string(text), want) != 1 {
				t.Errorf("%s is not once in %s", want, text)
			}
		}
		var read Numbers
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(n, read); diff != "" {
			t.Error(diff)
		}
	}
	var r Rule
	for _, bad := range []string{`{"tick":"soon"}`, `{"tick":5}`, `{"dwell":""}`} {
		if json.Unmarshal([]byte(bad), &r) == nil {
			t.Errorf("%s was read", bad)
		}
	}
	if text, err := json.Marshal(Rule{}); err != nil || string(text) != "{}" {
		t.Errorf("%s, %v", text, err)
	}
}
