package canary

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// said is a gate that always says the same, and counts its looks in its evidence.
type said struct {
	v   Verdict
	err error
}

func (s said) Ready(context.Context) error { return s.err }

func (s said) Judge(_ context.Context, _ Window, prior Evidence) (Ruling, error) {
	if s.err != nil {
		return Ruling{}, s.err
	}
	n := 0
	_ = json.Unmarshal(prior, &n)
	e, _ := json.Marshal(n + 1)
	return Ruling{Verdict: s.v, Reason: "because " + s.v.String(), Evidence: e}, nil
}

func TestAll(t *testing.T) {
	blind := errors.New("source is down")
	tests := map[string]struct {
		gates  []Gate
		want   Verdict
		reason string // what it begins with
	}{
		"none":               {nil, Hold, "no gate is configured"},
		"pass":               {[]Gate{said{v: Pass}}, Pass, "because pass"},
		"all pass":           {[]Gate{said{v: Pass}, said{v: Pass}}, Pass, "because pass; because pass"},
		"one holds":          {[]Gate{said{v: Pass}, said{}, said{v: Pass}}, Hold, "because hold; pass: because pass"},
		"one fails":          {[]Gate{said{v: Pass}, said{}, said{v: Fail}}, Fail, "because fail; pass: because pass; hold"},
		"one cannot look":    {[]Gate{said{v: Pass}, said{err: blind}}, Hold, "could not look: source is down"},
		"blind and failing":  {[]Gate{said{err: blind}, said{v: Fail}}, Fail, "because fail"},
		"an unknown verdict": {[]Gate{said{v: 7}, said{v: Pass}}, Hold, "because "},
		"nested":             {[]Gate{All(said{v: Pass}, said{v: Fail}), said{v: Pass}}, Fail, "because fail"},
		"nested, empty":      {[]Gate{All(), said{v: Pass}}, Hold, "no gate"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := All(tt.gates...).Judge(t.Context(), Window{}, nil)
			if err != nil || r.Verdict != tt.want || !strings.HasPrefix(r.Reason, tt.reason) {
				t.Errorf("%s %q %v, want %s %q", r.Verdict, r.Reason, err, tt.want, tt.reason)
			}
		})
	}
}

func TestAllKeepsEvidenceApart(t *testing.T) {
	g := All(said{v: Hold}, said{err: errors.New("down")}, said{v: Pass})
	var e Evidence
	for range 3 {
		r, err := g.Judge(t.Context(), Window{}, e)
		if err != nil {
			t.Fatal(err)
		}
		// The journal keeps evidence as JSON inside JSON.
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back struct{ Evidence Evidence }
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		e = back.Evidence
	}
	if string(e) != `{"0":3,"2":3}` {
		t.Errorf("evidence %s, want that of the first and the third", e)
	}
	r, err := All(named{said{v: Pass}}).Judge(t.Context(), Window{}, e)
	if err != nil || string(r.Evidence) != `{"0":3,"2":3,"requests":1}` {
		t.Errorf("another list of gates: %s, %v", r.Evidence, err)
	}
	r, err = All(said{v: Pass}, named{said{v: Pass}}).Judge(t.Context(), Window{}, r.Evidence)
	if err != nil || string(r.Evidence) != `{"0":4,"2":3,"requests":2}` {
		t.Errorf("a gate that has moved in the list: %s, %v", r.Evidence, err)
	}
}

// named is a gate with a name.
type named struct{ said }

func (named) Name() string { return "requests" }

// suspects is a gate that suspects a host.
type suspects struct{ Gate }

func (suspects) Judge(context.Context, Window, Evidence) (Ruling, error) {
	return Ruling{Verdict: Suspect, Suspects: []string{"b", "a", "b"}, Reason: "a and b fail alone"}, nil
}

func TestAllSuspects(t *testing.T) {
	for other, want := range map[Verdict]Verdict{Pass: Suspect, Hold: Suspect, Fail: Fail} {
		r, err := All(said{v: other}, suspects{}).Judge(t.Context(), Window{}, nil)
		if err != nil || r.Verdict != want || (want == Suspect) != (strings.Join(r.Suspects, " ") == "a b") {
			t.Errorf("beside %s: %+v, %v", other, r, err)
		}
	}
	if r, err := All(said{v: Suspect}).Judge(t.Context(), Window{}, nil); err != nil || r.Verdict != Hold {
		t.Errorf("a suspicion of nobody: %+v, %v", r, err)
	}
}

func TestAllReady(t *testing.T) {
	one, two := errors.New("one"), errors.New("two")
	err := All(said{err: one}, said{}, said{err: two}).Ready(t.Context())
	if !errors.Is(err, one) || !errors.Is(err, two) {
		t.Errorf("ready: %v", err)
	}
	if err := All(said{}).Ready(t.Context()); err != nil {
		t.Errorf("ready: %v", err)
	}
	if All().Ready(t.Context()) == nil {
		t.Error("no gates are ready")
	}
}

func TestAllCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := All(said{v: Pass}).Judge(ctx, Window{}, nil); err == nil || r.Verdict == Pass {
		t.Errorf("%s, %v", r.Verdict, err)
	}
}

// odd is a gate that panics, or that hangs until it is given up on.
type odd struct{ panics bool }

func (o odd) Ready(context.Context) error {
	if o.panics {
		panic("no such index")
	}
	return nil
}

func (o odd) Judge(ctx context.Context, _ Window, _ Evidence) (Ruling, error) {
	if o.panics {
		panic("no such index")
	}
	<-ctx.Done()
	return Ruling{}, ctx.Err()
}

// A fail stands, whatever the other gates do: it may not become a hold, which a deployer can overrule.
func TestAllKeepsAFail(t *testing.T) {
	for name, other := range map[string]Gate{"panics": odd{panics: true}, "hangs": odd{}} {
		for v, want := range map[Verdict]Verdict{Fail: Fail, Pass: Hold, Hold: Hold} {
			ctx, cancel := context.WithCancel(t.Context())
			looked := gateFunc(func() { cancel() })
			r, err := All(said{v: v}, other, looked).Judge(ctx, Window{}, nil)
			if r.Verdict != want || want == Fail && err != nil {
				t.Errorf("%s beside one that %s: %s %q %v, want %s", v, name, r.Verdict, r.Reason, err, want)
			}
		}
	}
	if err := All(odd{panics: true}).Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "no such index") {
		t.Errorf("ready: %v", err)
	}
}

type gateFunc func()

func (f gateFunc) Ready(context.Context) error { return nil }

func (f gateFunc) Judge(context.Context, Window, Evidence) (Ruling, error) {
	f()
	return Ruling{Verdict: Pass}, nil
}
