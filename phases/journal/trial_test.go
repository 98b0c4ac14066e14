package journal

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestTrials(t *testing.T) {
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	try := func(k Kind, target string, minutes int) Record {
		r := Record{Kind: k, Act: Try, Phase: "p", Target: target, From: "1", To: "2", Token: 3}
		if minutes > 0 {
			r.Data, _ = json.Marshal(Term{at.Add(time.Duration(minutes) * time.Minute)})
		}
		return r
	}
	open := func(target string, minutes int) Trial {
		tr := Trial{Way: Way{Target: target, Phase: "p", From: "1", To: "2", Token: 3}}
		if minutes > 0 {
			tr.Until = at.Add(time.Duration(minutes) * time.Minute)
		}
		return tr
	}
	act := func(k Kind, act, target string) Record { return Record{Kind: k, Act: act, Phase: "p", Target: target} }
	returned := try(Failed, "a", 0)
	returned.Verdict = Returned
	other := try(Intent, "", 9)
	other.Phase = "q"
	garbage := try(Intent, "a", 0)
	garbage.Data = json.RawMessage(`"soon"`)
	tests := map[string]struct {
		in   []Record
		want []Trial
	}{
		"nothing":              {},
		"lone intent":          {[]Record{try(Intent, "a", 5)}, []Trial{open("a", 5)}},
		"done":                 {[]Record{try(Intent, "a", 5), try(Done, "a", 0)}, []Trial{open("a", 5)}},
		"failed":               {[]Record{try(Intent, "a", 5), try(Failed, "a", 0)}, []Trial{open("a", 5)}},
		"failed and returned":  {[]Record{try(Intent, "a", 5), returned}, nil},
		"abandoned":            {[]Record{try(Intent, "a", 5), act(Intent, Abandon, "a"), act(Done, Abandon, "a")}, nil},
		"about to be":          {[]Record{try(Intent, "a", 5), act(Intent, Abandon, "a")}, []Trial{open("a", 5)}},
		"not to be abandoned":  {[]Record{try(Intent, "a", 5), act(Failed, Abandon, "a")}, []Trial{open("a", 5)}},
		"promoted":             {[]Record{try(Intent, "a", 5), act(Intent, Activate, "a"), act(Done, Activate, "a")}, nil},
		"maybe promoted":       {[]Record{try(Intent, "a", 5), act(Intent, Activate, "a")}, []Trial{open("a", 5)}},
		"not promoted":         {[]Record{try(Intent, "a", 5), act(Failed, Activate, "a")}, []Trial{open("a", 5)}},
		"not, and returned":    {[]Record{try(Intent, "a", 5), {Kind: Failed, Act: Activate, Target: "a", Verdict: Returned}}, nil},
		"undone":               {[]Record{try(Intent, "a", 5), act(Undone, Rollback, "a")}, nil},
		"another's":            {[]Record{try(Intent, "a", 5), act(Done, Abandon, "b")}, []Trial{open("a", 5)}},
		"kept for longer":      {[]Record{try(Intent, "a", 5), try(Intent, "b", 5), try(Intent, "", 8)}, []Trial{open("a", 8), open("b", 8)}},
		"another phase's term": {[]Record{try(Intent, "a", 5), other}, []Trial{open("a", 5)}},
		"nothing to keep":      {[]Record{try(Intent, "", 8)}, nil},
		"again":                {[]Record{try(Intent, "a", 5), returned, try(Intent, "a", 7)}, []Trial{open("a", 7)}},
		"no end that is known": {[]Record{garbage}, []Trial{open("a", 0)}},
	}
	for name, tt := range tests {
		if d := cmp.Diff(tt.want, Trials(slices.Values(tt.in)), cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s: -want +got\n%s", name, d)
		}
		if ways := Undo(slices.Values(tt.in)); name != "promoted" && name != "maybe promoted" && len(ways) > 0 {
			t.Errorf("%s: a trial is no activation to take back: %+v", name, ways)
		}
	}
}

// A deploy that was only tried has served users its release: what `gate` and `watch` look for by itself.
func TestADeployThatOnlyTriedChangedSomething(t *testing.T) {
	w := create(t, "d1")
	add(t, w, Record{Kind: Begin, To: "b", Data: json.RawMessage(`{}`)}, Record{Kind: Intent, Act: Try, Target: "x", From: "a", To: "b"})
	w.Close()
	if d := Summary(w.Path()); !d.Changed || !d.Unfinished() {
		t.Errorf("%+v", d)
	}
}
