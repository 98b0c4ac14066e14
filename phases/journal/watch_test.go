package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// ended is the journal of a deploy that was to be watched for 15 minutes after its end at `end`.
func ended(t *testing.T, more ...Record) string {
	t.Helper()
	w := create(t, "d1")
	add(t, w,
		Record{Kind: Begin, To: "b", Data: json.RawMessage(`{"watch":900000000000}`)},
		Record{Kind: Intent, Act: Activate, Target: "x", From: "a", To: "b"},
		Record{Kind: End, At: end, Verdict: Deployed})
	add(t, w, more...)
	w.Close()
	return w.Path()
}

var end = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestTheWatchInShort(t *testing.T) {
	look := func(verdict string) Record {
		return Record{Kind: Watched, Verdict: verdict, Text: "t", Data: json.RawMessage(`{"verdict":"hold","until":"2026-01-01T00:15:00Z"}`)}
	}
	tests := map[string]struct {
		more   []Record
		want   Watching
		failed bool
		text   string
	}{
		"not begun":         {want: WatchOpen},
		"under way, or not": {more: []Record{look("hold")}, want: WatchOpen, text: "t"},
		"left":              {more: []Record{look("hold"), look(VerdictLeft)}, want: WatchOpen, text: "t"},
		"over":              {more: []Record{look("pass"), look(VerdictOver)}, want: WatchOver, text: "t"},
		"failed":            {more: []Record{look(VerdictFail)}, want: WatchFailed, failed: true, text: "t"},
		"superseded":        {more: []Record{look(VerdictSuperseded), {Kind: Note}}, want: WatchSuperseded, text: "t"},
	}
	for name, tt := range tests {
		d := Summary(ended(t, tt.more...))
		if d.Watched != tt.want || !d.WatchUntil.Equal(end.Add(15*time.Minute)) || d.Failed != tt.failed || d.WatchText != tt.text {
			t.Errorf("%s: %q until %v, failed %t, %q", name, d.Watched, d.WatchUntil, d.Failed, d.WatchText)
		}
		if wantAt := name == "not begun"; d.WatchAt.Equal(end) != wantAt || d.WatchAt.IsZero() || d.WatchLeft != (name == "left") {
			t.Errorf("%s: at %v, left %t", name, d.WatchAt, d.WatchLeft)
		}
		if d.How != Deployed || !d.Ended.Equal(end) || d.Unfinished() {
			t.Errorf("%s: the watch changed how the deploy ended: %+v", name, d)
		}
		if _, ok := LastGood([]Deploy{d}, "c"); ok != !tt.failed {
			t.Errorf("%s: good to go back to: %t", name, ok)
		}
	}
	if d := Summary(ended(t, look(VerdictOver), Record{Kind: Intent, Act: Rollback})); d.How != "" || d.Watched != WatchNone || !d.WatchUntil.IsZero() || d.WatchText != "" {
		t.Errorf("taken up again: %+v", d)
	}
	w := create(t, "d1")
	add(t, w, Record{Kind: Begin, Data: json.RawMessage(`{"watch":900000000000}`)}, Record{Kind: End, Verdict: Deployed})
	if d := Summary(w.Path()); d.Watched != WatchNone {
		t.Errorf("nothing was changed: %+v", d)
	}
}

func TestAnIsolationIsTakenBack(t *testing.T) {
	act := func(k Kind, act, target string) Record {
		return Record{Kind: k, Act: act, Target: target, From: "a", To: "b"}
	}
	tests := map[string]struct {
		in   []Record
		want []string
	}{
		"after its activation": {[]Record{act(Intent, Activate, "x"), act(Intent, Activate, "y"), act(Intent, Isolate, "x"), act(Done, Isolate, "x")}, []string{"y", "x"}},
		"by itself":            {[]Record{act(Intent, Activate, "y"), act(Intent, Isolate, "x"), act(Failed, Isolate, "x")}, []string{"x", "y"}},
		"twice":                {[]Record{act(Intent, Isolate, "x"), act(Failed, Isolate, "x"), act(Intent, Isolate, "x")}, []string{"x"}},
		"and back":             {[]Record{act(Intent, Activate, "x"), act(Intent, Isolate, "x"), act(Undone, Rollback, "x")}, nil},
		"watched":              {[]Record{act(Intent, Activate, "x"), act(Watched, "", "x")}, []string{"x"}},
	}
	for name, tt := range tests {
		var got []string
		for _, w := range Undo(slices.Values(tt.in)) {
			if got = append(got, w.Target); w.From != "a" || w.To != "b" {
				t.Errorf("%s: %+v", name, w)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestAPostscript(t *testing.T) {
	path := ended(t)
	p := After(path)
	for i := range 3 {
		r, err := p.Append(Record{Kind: Watched, Verdict: "pass"})
		if err != nil || r.Seq != uint64(4+i) {
			t.Fatalf("record %d: %v", r.Seq, err)
		}
	}
	for _, k := range []Kind{Intent, End, Ruled, Begin} {
		if _, err := p.Append(Record{Kind: k}); err == nil {
			t.Errorf("%s was appended", k)
		}
	}

	// Who takes the deploy up does not wait for its watcher, who learns of it.
	w, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Append(Record{Kind: Watched}); !errors.Is(err, ErrBusy) {
		t.Errorf("while another writes: %v", err)
	}
	add(t, w, Record{Kind: Intent, Act: Rollback})
	w.Close()
	for _, p := range []*Postscript{p, After(path)} {
		if _, err := p.Append(Record{Kind: Watched}); !errors.Is(err, ErrTakenUp) {
			t.Errorf("after it was taken up: %v", err)
		}
	}

	// Of two watchers the one that came later goes on.
	path = ended(t)
	first, second := After(path), After(path)
	for i, p := range []*Postscript{first, second, first, second} {
		if _, err := p.Append(Record{Kind: Watched}); errors.Is(err, ErrTakenUp) != (i == 2) {
			t.Errorf("append %d: %v", i, err)
		}
	}
	// None of a deploy that runs, nor of one that is not there.
	w = create(t, "d2")
	add(t, w, Record{Kind: Begin, Data: json.RawMessage("{}")})
	w.Close()
	if _, err := After(w.Path()).Append(Record{Kind: Watched}); !errors.Is(err, ErrTakenUp) {
		t.Error(err)
	}
	if _, err := After(w.Path() + "x").Append(Record{Kind: Watched}); err == nil {
		t.Error("appended to nothing")
	}
}

// A postscript that is cut off is as if it had never been.
func TestATornPostscript(t *testing.T) {
	path := ended(t)
	for i := range 3 {
		if _, err := After(path).Append(Record{Kind: Watched, Text: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
		tear(t, path, `{"seq":9,"kind":"wat`)
		if d := Summary(path); d.Err != nil || d.WatchText != fmt.Sprint(i) {
			t.Errorf("%+v", d)
		}
	}
}

func tear(t *testing.T, path, tail string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(tail)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}
