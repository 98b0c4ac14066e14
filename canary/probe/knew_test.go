package probe

import (
	"context"
	"testing"
)

// Only what failed before the deploy, and of which the deployer knows, is no news.
func TestWhatWasKnownToFail(t *testing.T) {
	set := &Set{Probes: []Probe{{Name: "a"}, {Name: "b"}}}
	report := func(a, b Outcome) Report {
		return Report{Results: []Result{{Name: "a", Outcome: a}, {Name: "b", Outcome: b}}}
	}
	for name, tt := range map[string]struct {
		despite string
		after   Report
		want    bool
	}{
		"the same":               {"the cure", report(Failed, OK), true},
		"nothing":                {"the cure", report(OK, OK), false},
		"another":                {"the cure", report(OK, Failed), false},
		"another too":            {"the cure", report(Failed, Failed), false},
		"another is not known":   {"the cure", report(Failed, Untried), false},
		"no answer":              {"the cure", Report{}, false},
		"the same, not despited": {"", report(Failed, OK), false},
	} {
		t.Run(name, func(t *testing.T) {
			g := &Gate{
				Set: set, Local: "http://127.0.0.1:1", Hosts: []string{"h"}, DespiteRed: tt.despite,
				Asker: AskerFunc(func(context.Context, string, Question) (Report, error) { return report(Failed, OK), nil }),
			}
			if err := g.Ready(t.Context()); (err == nil) != (tt.despite != "") {
				t.Fatal(err)
			}
			if got := g.Knew(tt.after); got != tt.want {
				t.Errorf("known: %t", got)
			}
		})
	}
}
