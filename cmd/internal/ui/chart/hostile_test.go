package chart

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"scap/cmd/internal/ui"
	"scap/phases/journal"
)

// hostile is a journal in which every text is made to break out of where it is shown.
func hostile() []journal.Record {
	k := newTale()
	k.begin(evil)
	k.records[0].Deploy, k.records[0].From, k.records[0].To = evil, evil, evil
	k.phase(evil, 2)
	k.rules(journal.Ruled, evil, "hold", evil, "new error: "+evil+"\n"+evil+"\nthree\nfour\nfive\n"+strings.Repeat("long ", 4000), k.numbers())
	k.batch.drop = 1e9
	n := strings.Replace(string(k.numbers()), `"edits"`, string(mustJSON(strings.ToValidUTF8(evil, ""))), 1)
	n = strings.Replace(n, `"logs"`, string(mustJSON(strings.ToValidUTF8(evil, ""))), 1)
	k.rules(journal.Ruled, "", evil, "", "", json.RawMessage(n))
	k.rules(journal.Ruled, evil, "suspect", "", "", json.RawMessage(`{"e":1e308,"pass_by":-5,"canary":{"n":-9,"x":9223372036854775807},"control":{"n":9223372036854775807,"x":1},"limits":{"fail_at":-1,"pass_at":1e300}}`))
	k.tell(time.Second, journal.Record{Kind: journal.Done, Act: journal.Isolate, Target: evil})
	k.tell(48*time.Hour, journal.Record{Kind: journal.Ruled, Verdict: "word", Text: evil})
	k.tell(0, journal.Record{Kind: journal.Ruled, Verdict: "off", Phase: evil, Text: evil})
	k.end(evil, evil)
	return k.records
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// harmless holds a rendering to what may reach a terminal.
func harmless(t *testing.T, text string, l Look) {
	t.Helper()
	if l.Colour {
		for _, p := range []paint{faint, strong, red, green, yellow, blue, magenta, cyan} {
			text = strings.ReplaceAll(text, "\x1b["+string(p)+"m", "")
		}
		text = strings.ReplaceAll(text, "\x1b[0m", "")
	}
	width := min(max(l.Width, narrowest), widest)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.ContainsFunc(line, func(c rune) bool { return !unicode.IsPrint(c) || l.ASCII && c > '~' }) {
			t.Errorf("could reach the terminal: %q", line)
		}
		if n := ui.Cells(line); n > width {
			t.Errorf("%d columns of %d: %q", n, width, line)
		}
	}
}

// onlyDrawing holds an SVG to be whole XML of the elements and attributes that are written here, and nothing else.
func onlyDrawing(t *testing.T, text string) {
	t.Helper()
	elements := []string{"svg", "style", "rect", "text", "path", "circle", "title"}
	attributes := []string{"xmlns", "viewBox", "width", "height", "role", "aria-label", "class", "x", "y", "d", "rx", "cx", "cy", "r"}
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Errorf("no XML: %v", err)
			return
		}
		switch e := tok.(type) {
		case xml.StartElement:
			if !slices.Contains(elements, e.Name.Local) {
				t.Errorf("an element of somebody else: %s", e.Name.Local)
			}
			for _, a := range e.Attr {
				if !slices.Contains(attributes, a.Name.Local) {
					t.Errorf("an attribute of somebody else: %s of %s", a.Name.Local, e.Name.Local)
				}
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
					t.Errorf("%s of %s is no number: %s", a.Name.Local, e.Name.Local, a.Value)
				}
			}
		case xml.CharData:
			if bytes.ContainsFunc(e, func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }) {
				t.Errorf("an invisible letter: %q", e)
			}
		case xml.Comment, xml.ProcInst, xml.Directive:
			t.Errorf("neither element nor text: %v", e)
		}
	}
}

func TestHostile(t *testing.T) {
	for _, l := range []Look{{Width: 100}, {Width: 100, Colour: true}, {Width: 40, ASCII: true}, {Width: 63, Colour: true, ASCII: true}, {}} {
		out := render(t, hostile(), l)
		harmless(t, out, l)
		if !strings.Contains(out, "<script>alert(1)</script>") {
			t.Errorf("what was said is not shown:\n%s", out)
		}
	}
	svg := picturesOf(t, hostile())
	onlyDrawing(t, svg)
	if strings.Contains(svg, "<script") || !strings.Contains(svg, "&lt;script&gt;alert(1)&lt;/script&gt;") || len(svg) > 200<<10 {
		t.Errorf("%d bytes", len(svg))
	}
}

// TestNothing: what has no evidence says so, in one line and in one picture.
func TestNothing(t *testing.T) {
	for want, records := range map[string][]journal.Record{
		"the journal is empty":              nil,
		"no gate has ruled in this deploy":  {{Kind: journal.Begin, Deploy: "d"}},
		"no gate has looked: p: gate: none": {{Kind: journal.Begin}, {Kind: journal.Ruled, Verdict: "off", Phase: "p", Text: "gate: none"}},
	} {
		out, svg := render(t, records, Look{Width: 80}), picturesOf(t, records)
		if !strings.HasPrefix(out, want) || strings.Count(out, "\n") != 1 || !strings.Contains(svg, want) {
			t.Errorf("want %q:\n%s\n%s", want, out, svg)
		}
		onlyDrawing(t, svg)
	}
	var zero Story
	var b strings.Builder
	if err := zero.Render(&b, Look{}); err != nil || !strings.HasPrefix(b.String(), "the journal is empty") {
		t.Errorf("the zero Story: %v, %s", err, b.String())
	}
}

// TestBroken: a ruling whose figures cannot be read keeps its verdict, and is counted.
func TestBroken(t *testing.T) {
	k := newTale()
	k.begin("x")
	k.phase("canaries", 1)
	k.looks(journal.Ruled, "canaries", 3, 2000, .05, 0, 0)
	k.tell(time.Second, journal.Record{Kind: journal.Ruled, Phase: "canaries", Verdict: "fail", Text: "it stands", Data: json.RawMessage(`{"numbers":{"e":"much"}}`)})
	out := render(t, k.records, Look{Width: 80})
	for _, want := range []string{"the figures of 1 rulings cannot be read", "it stands", "canaries fail", "gate of canaries: fail after 1 look"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q:\n%s", want, out)
		}
	}
}

// TestPanels: each gate of a combined one has a panel of its own, found again by its name when the list is another.
func TestPanels(t *testing.T) {
	k := newTale()
	k.batch.drop = 300
	both, err := json.Marshal([]word{{Name: "probes", Verdict: "pass", Reason: "12 of 12"}, {Name: "logs", Verdict: "hold", Cause: "late", Reason: "74 s behind", Numbers: k.numbers()}})
	if err != nil {
		t.Fatal(err)
	}
	k.rules(journal.Ruled, "canaries", "hold", "late", "x", both)
	k.rules(journal.Watched, "", "pass", "", "y", mustJSON([]word{{Name: "logs", Verdict: "pass", Reason: "all is well", Numbers: k.numbers()}}))
	k.tell(10*time.Second, journal.Record{Kind: journal.Watched, Verdict: journal.VerdictOver})
	out := render(t, k.records, Look{Width: 80, ASCII: true})
	for _, want := range []string{"probes: pass after 1 look\n", "logs: pass after 2 looks\n", "06:00:05 canaries hold, late\n         74 s behind\n", "signal edits: 212 a minute, usually 398", "oooo", "|watch"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q:\n%s", want, out)
		}
	}
	if got := render(t, k.records, Look{Width: 80}); strings.Contains(got, "a signal's drop") {
		t.Errorf("two curves that nobody can tell apart:\n%s", got)
	}
	onlyDrawing(t, picturesOf(t, k.records))
}

// TestLeftAlone: hours in which nothing happened are left out, and that is said.
func TestLeftAlone(t *testing.T) {
	k := newTale()
	k.phase("canaries", 1)
	k.looks(journal.Ruled, "canaries", 12, 2000, .05, 0, 0)
	k.at = k.at.Add(9 * time.Hour)
	k.looks(journal.Ruled, "canaries", 12, 2000, .05, 0, 0)
	out := render(t, k.records, Look{Width: 100})
	for _, want := range []string{"nothing is drawn of the 9h00m before 15:", "│┊", "/"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q:\n%s", want, out)
		}
	}
	a := newAxis(Evidence(slices.Values(k.records)).moments)
	if long := a.length(); long > 4*time.Minute || long < 2*time.Minute {
		t.Errorf("the axis has %v", long)
	}
	last := time.Duration(-1)
	for d := time.Duration(0); d < 10*time.Hour; d += 7 * time.Second {
		at := a.at(k.records[0].At.Add(d))
		if at < last {
			t.Fatalf("time goes back at %v", d)
		}
		last = at
	}
}

func TestLookOf(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want Look
	}{
		{map[string]string{"TERM": "xterm", "LANG": "en_US.UTF-8"}, Look{Width: 80, Colour: true}},
		{map[string]string{"TERM": "xterm", "LANG": "de_DE.utf8", "NO_COLOR": "1"}, Look{Width: 80}},
		{map[string]string{"TERM": "xterm", "LANG": "en_US.UTF-8", "LC_ALL": "C"}, Look{Width: 80, Colour: true, ASCII: true}},
		{map[string]string{"TERM": "dumb", "LANG": "en_US.UTF-8"}, Look{Width: 80, ASCII: true}},
		{nil, Look{Width: 80, ASCII: true}},
	} {
		if got := LookOf(func(k string) string { return c.env[k] }, 80); got != c.want {
			t.Errorf("%v: have %+v, want %+v", c.env, got, c.want)
		}
	}
}

// FuzzEvidence: whatever stands in the data of a ruling, both pictures are whole and harmless.
func FuzzEvidence(f *testing.F) {
	good := 0
	for seed, drawn := range map[string]bool{
		`{"verdict":"hold","cause":"late","numbers":{"e":1.5,"pass_by":3,"canary":{"n":10,"x":1},"control":{"n":100,"x":1},"limits":{"fail_at":200,"pass_at":40}}}`: true,
		`{"verdict":"fail","numbers":[{"name":"a","verdict":"fail","numbers":{"e":1e300}},{"verdict":"pass","numbers":{"probes":3}}]}`:                              true,
		`{"numbers":[{"numbers":{"e":0,"signals":[{"name":"x","e":9}]}},7]}`:                                                                                        false,
		`{"numbers":[]}`:        false,
		`{"numbers":{"e":"1"}}`: false,
		`{"verdict":7}`:         false,
		`[1`:                    false,
		`{"numbers":{"e":-1,"pass_by":-1,"canary":{"n":-1,"x":5},"limits":{"fail_at":1e-300}}}`: true,
		``: false,
	} {
		f.Add([]byte(seed), "pass", "reason\nsecond", int64(5), 80)
		looks, ok := readLooks(journal.Record{Data: []byte(seed)})
		if (ok && looks[0].seen) != drawn {
			f.Fatalf("%s: have %+v, %v", seed, looks, ok)
		}
		if drawn {
			good++
		}
	}
	if good != 3 {
		f.Fatalf("%d seeds are drawn, want 3", good)
	}
	f.Fuzz(func(t *testing.T, data []byte, verdict, text string, after int64, width int) {
		at := time.Unix(1800000000, 0)
		records := []journal.Record{{Kind: journal.Intent, Act: journal.PhaseAct, Phase: text, At: at}}
		for i, kind := range []journal.Kind{journal.Ruled, journal.Watched, journal.Ruled} {
			records = append(records, journal.Record{Kind: kind, At: at.Add(time.Duration(after) * time.Duration(i+1)), Verdict: verdict, Text: text, Data: data, Phase: fmt.Sprint(i)})
		}
		for _, l := range []Look{{Width: width}, {Width: width, Colour: true, ASCII: true}} {
			harmless(t, render(t, records, l), l)
		}
		onlyDrawing(t, picturesOf(t, records))
	})
}
