package probe

import (
	"context"
	"strings"
	"testing"

	"scap/canary"
)

// A machine with two releases answers by either. What failed and is well when it is asked again is the release's; what fails again may
// be the machine's, which no probe takes out.
func TestGateOfATrial(t *testing.T) {
	s, err := parse("probes: [{name: a, path: /wiki/A}, {name: b, path: /wiki/B}]")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		answers []Outcome // of b on m1, one after another
		want    canary.Verdict
		cause   canary.Cause
		says    string
	}{
		"by the old release": {[]Outcome{OK}, canary.Pass, "", "2 probes as expected on m1, m2, m3, m4"},
		"by the new one":     {[]Outcome{Failed, OK}, canary.Fail, "", "as expected on the same machine a moment later"},
		"by both":            {[]Outcome{Failed, Failed}, canary.Hold, canary.BothRed, "the machine fails alike"},
		"by neither":         {[]Outcome{Failed, Unreachable}, canary.Hold, canary.SourceDown, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			next := tt.answers
			answers := make(chan struct{}, 1)
			answers <- struct{}{}
			g := Gate{Set: s, Local: "http://127.0.0.1", Asker: AskerFunc(func(_ context.Context, host string, _ Question) (Report, error) {
				<-answers
				defer func() { answers <- struct{}{} }()
				asked = append(asked, host)
				b := OK
				if host == "m1" {
					b, next = next[0], next[1:]
				}
				return Report{Results: []Result{{Name: "a", Outcome: OK}, {Name: "b", Outcome: b, Reason: "status 500"}}}, nil
			})}
			w := canary.Window{Share: 0.05}
			for _, m := range []string{"m1", "m2", "m3", "m4"} {
				w.Canary = append(w.Canary, canary.Host{Name: m + " canary", On: m})
				w.Control = append(w.Control, canary.Host{Name: m, On: m})
			}
			r, err := g.Judge(t.Context(), w, nil)
			if err != nil || r.Verdict != tt.want || r.Cause != tt.cause || !strings.Contains(r.Reason, tt.says) {
				t.Errorf("%s (%s) %q %v, want %s (%s) saying %q", r.Verdict, r.Cause, r.Reason, err, tt.want, tt.cause, tt.says)
			}
			if n := len(asked); n != 4+len(tt.answers)-1 {
				t.Errorf("asked %v", asked)
			}
		})
	}
}
