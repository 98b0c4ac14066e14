package probe

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"scap/canary"
)

// places is an Asker: what each host answers for the probes a and b.
type places map[string][]Outcome

func (p places) Ask(_ context.Context, host string, _ Question) (Report, error) {
	outcomes, ok := p[host]
	if !ok {
		return Report{}, errors.New("no route to host")
	}
	var r Report
	for i, o := range outcomes {
		r.Results = append(r.Results, Result{Name: string(rune('a' + i)), Outcome: o, Reason: "status 500"})
	}
	return r, nil
}

func TestGate(t *testing.T) {
	const bad, gone = Failed, Unreachable
	good := wiki(t)
	set := func(path string) *Set {
		s, err := parse(fmt.Sprintf("probes: [{name: a, path: /wiki/Main_Page}, {name: b, path: %s}]", path))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	dead := httptest.NewServer(nil)
	dead.Close()
	tests := map[string]struct {
		places  places
		control []string
		front   string
		path    string
		want    canary.Verdict
		says    string
	}{
		"all well":                {places: places{"mw1": {OK, OK}, "mw2": {OK, OK}}, want: canary.Pass, says: "2 probes as expected on mw1, mw2"},
		"well through the front":  {places: places{"mw1": {OK, OK}, "mw2": {OK, OK}}, front: good.URL, want: canary.Pass, says: "and through http://127"},
		"a canary fails":          {places: places{"mw1": {OK, bad}, "mw2": {OK, OK}, "mw9": {OK, OK}}, control: []string{"mw9"}, want: canary.Fail, says: `mw1: "b" failed: status 500; as expected on a host with the old release`},
		"both fail":               {places: places{"mw1": {OK, bad}, "mw2": {OK, bad}, "mw9": {OK, bad}}, control: []string{"mw9"}, want: canary.Hold, says: "not this release"},
		"one control of two":      {places: places{"mw1": {OK, bad}, "mw2": {OK, OK}, "mw8": {OK, OK}, "mw9": {OK, bad}}, control: []string{"mw8", "mw9"}, want: canary.Fail},
		"another fails there":     {places: places{"mw1": {OK, bad}, "mw2": {OK, OK}, "mw9": {bad, OK}}, control: []string{"mw9"}, want: canary.Fail},
		"one alike, one not":      {places: places{"mw1": {bad, bad}, "mw2": {OK, OK}, "mw9": {bad, OK}}, control: []string{"mw9"}, want: canary.Fail, says: `mw1: "b"`},
		"nothing to compare with": {places: places{"mw1": {OK, bad}, "mw2": {OK, OK}}, want: canary.Fail, says: "no host with the old release is left"},
		"control unreachable":     {places: places{"mw1": {OK, bad}, "mw2": {OK, OK}}, control: []string{"mw9"}, want: canary.Hold, says: "mw9, to compare with: no route"},
		"control's server down":   {places: places{"mw1": {OK, bad}, "mw2": {OK, OK}, "mw9": {gone, gone}}, control: []string{"mw9"}, want: canary.Hold, says: "no host with the old release could be asked"},
		"canary unreachable":      {places: places{"mw1": {OK, OK}}, want: canary.Hold, says: "could not ask mw2: no route to host"},
		"canary's server down":    {places: places{"mw1": {OK, OK}, "mw2": {gone, gone}}, want: canary.Hold, says: `could not ask mw2: "a" unreachable`},
		"not tried":               {places: places{"mw1": {OK, OK}, "mw2": {OK, Untried}}, want: canary.Hold, says: "was not tried"},
		"no results":              {places: places{"mw1": {OK, OK}, "mw2": {}}, want: canary.Hold, says: "no probe was run"},
		"failing and unreachable": {places: places{"mw1": {OK, bad}, "mw9": {OK, OK}}, control: []string{"mw9"}, want: canary.Fail},
		"only the front fails":    {places: places{"mw1": {OK, OK}, "mw2": {OK, OK}}, front: good.URL, path: "/broken", want: canary.Hold, says: "on the canaries themselves all is as expected"},
		"the front is down":       {places: places{"mw1": {OK, OK}, "mw2": {OK, OK}}, front: dead.URL, want: canary.Hold, says: "could not ask the balancer"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.path == "" {
				tt.path = "/wiki/Main_Page"
			}
			g := Gate{Set: set(tt.path), Asker: tt.places, Local: "http://127.0.0.1", Front: tt.front}
			w := canary.Window{Canary: []canary.Host{{Name: "mw1"}, {Name: "mw2"}}}
			for _, c := range tt.control {
				w.Control = append(w.Control, canary.Host{Name: c})
			}
			r, err := g.Judge(t.Context(), w, nil)
			if err != nil || r.Verdict != tt.want || !strings.Contains(r.Reason, tt.says) {
				t.Errorf("%s %q %v, want %s saying %q", r.Verdict, r.Reason, err, tt.want, tt.says)
			}
		})
	}
}

// A deploy that is the cure of what is red goes on past what was red before it, and past nothing else.
func TestGateDespiteRed(t *testing.T) {
	s, err := parse("probes: [{name: a, path: /}, {name: b, path: /}]")
	if err != nil {
		t.Fatal(err)
	}
	before := places{"mw1": {OK, Failed}, "mw9": {OK, Failed}}
	for name, tt := range map[string]struct {
		after   places
		control bool
		reason  string
		want    canary.Verdict
	}{
		"cured":                    {places{"mw1": {OK, OK}, "mw9": {OK, Failed}}, true, "the cure", canary.Pass},
		"no cure":                  {places{"mw1": {OK, Failed}, "mw9": {OK, Failed}}, true, "the cure", canary.Pass},
		"no cure, nobody agreed":   {places{"mw1": {OK, Failed}, "mw9": {OK, Failed}}, true, "", canary.Hold},
		"no cure, everywhere":      {places{"mw1": {OK, Failed}}, false, "the cure", canary.Pass},
		"worse than before":        {places{"mw1": {Failed, OK}, "mw9": {OK, Failed}}, true, "the cure", canary.Fail},
		"worse than before at all": {places{"mw1": {Failed, OK}}, false, "the cure", canary.Fail},
	} {
		g := &Gate{Set: s, Asker: before, Local: "http://127.0.0.1", Hosts: []string{"mw1", "mw9"}, DespiteRed: tt.reason}
		if err := g.Ready(t.Context()); (err == nil) != (tt.reason != "") {
			t.Errorf("%s: ready: %v", name, err)
		}
		g.Asker = tt.after
		w := canary.Window{Canary: []canary.Host{{Name: "mw1"}}}
		if tt.control {
			w.Control = []canary.Host{{Name: "mw9"}}
		}
		if r, err := g.Judge(t.Context(), w, nil); err != nil || r.Verdict != tt.want || (r.Verdict == canary.Hold) != (r.Cause == canary.BothRed) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// One of three canaries that fails what the others pass is at fault, not the release; two of them are not.
func TestGateSuspects(t *testing.T) {
	s, err := parse("probes: [{name: a, path: /}, {name: b, path: /}]")
	if err != nil {
		t.Fatal(err)
	}
	good, bad := []Outcome{OK, OK}, []Outcome{OK, Failed}
	for name, tt := range map[string]struct {
		canaries []([]Outcome)
		control  bool
		want     canary.Verdict
	}{
		"one of three":             {[][]Outcome{good, bad, good}, true, canary.Suspect},
		"one of three, at the end": {[][]Outcome{good, bad, good}, false, canary.Suspect},
		"two of three":             {[][]Outcome{good, bad, bad}, true, canary.Fail},
		"one of two":               {[][]Outcome{good, bad}, true, canary.Fail},
	} {
		asked := places{"mw9": good}
		var w canary.Window
		for i, o := range tt.canaries {
			host := fmt.Sprintf("mw%d", i)
			asked[host] = o
			w.Canary = append(w.Canary, canary.Host{Name: host})
		}
		if tt.control {
			w.Control = []canary.Host{{Name: "mw9"}}
		}
		r, err := (&Gate{Set: s, Asker: asked, Local: "http://127.0.0.1"}).Judge(t.Context(), w, nil)
		if err != nil || r.Verdict != tt.want || tt.want == canary.Suspect && (len(r.Suspects) != 1 || r.Suspects[0] != "mw1") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestGateNothingToAsk(t *testing.T) {
	if r, err := (&Gate{}).Judge(t.Context(), canary.Window{Canary: []canary.Host{{Name: "mw1"}}}, nil); err == nil || r.Verdict == canary.Pass {
		t.Errorf("%s, %v", r.Verdict, err)
	}
	s, err := parse("probes: [{name: a, path: /}]")
	if err != nil {
		t.Fatal(err)
	}
	g := Gate{Set: s, Asker: places{}, Local: "http://127.0.0.1"}
	if r, err := g.Judge(t.Context(), canary.Window{}, nil); err != nil || r.Verdict != canary.Hold {
		t.Errorf("no canaries: %s, %v", r.Verdict, err)
	}
}

func TestGateReady(t *testing.T) {
	s, err := parse("probes: [{name: a, path: /}, {name: b, path: /}]")
	if err != nil {
		t.Fatal(err)
	}
	g := Gate{Set: s, Asker: places{"mw1": {OK, OK}, "mw2": {OK, Failed}}, Local: "http://127.0.0.1", Hosts: []string{"mw1"}}
	if err := g.Ready(t.Context()); err != nil {
		t.Errorf("ready: %v", err)
	}
	g.Hosts = []string{"mw1", "mw2", "mw3"}
	err = g.Ready(t.Context())
	if err == nil || !strings.Contains(err.Error(), `1 of 2 probes: "b" failed`) || !strings.Contains(err.Error(), "mw3") {
		t.Errorf("ready: %v", err)
	}
	for host, red := range map[string]bool{"mw2": true, "mw3": false} {
		g.Hosts = []string{"mw1", host}
		if err = g.Ready(t.Context()); err == nil || errors.Is(err, canary.ErrRed) != red {
			t.Errorf("%s: red is %t: %v", host, !red, err)
		}
	}
	if (&Gate{Set: s}).Ready(t.Context()) == nil {
		t.Error("a gate without hosts to ask is ready")
	}
}
