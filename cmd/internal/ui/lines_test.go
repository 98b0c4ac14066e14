package ui

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"scap/phases/journal"
)

func TestLines(t *testing.T) {
	for name, tell := range map[string]func(View){"rolled-back": rolledBack, "inconsistent": inconsistent, "deployed": deployed, "suspected": suspected, "afterwards": afterwards, "tried": tried} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			tell(Lines(&b))
			golden(t, name+".lines", b.String())
			for line := range strings.Lines(b.String()) {
				if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(c rune) bool { return !unicode.IsPrint(c) }) {
					t.Errorf("a line could move the cursor: %q", line)
				}
			}
		})
	}
}

func TestJSONIsTheJournal(t *testing.T) {
	var got bytes.Buffer
	var told []journal.Record
	rolledBack(both{JSON(&got), &told})
	var read []journal.Record
	for line := range strings.Lines(got.String()) {
		if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), unicode.IsControl) {
			t.Errorf("a control character: %q", line)
		}
		var r journal.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		read = append(read, r)
	}
	for i := range told {
		told[i].Text = strings.ToValidUTF8(told[i].Text, "\ufffd") // JSON has no other letters
	}
	if diff := cmp.Diff(told, read); diff != "" {
		t.Errorf("what is written is not what was shown:\n%s", diff)
	}
	got.Reset()
	v := JSON(&got)
	v.Show(journal.Record{Seq: 1, Kind: journal.Note, Data: json.RawMessage("{broken")})
	if v.Close(); !strings.Contains(got.String(), "data left out") || strings.Count(got.String(), "\n") != 1 {
		t.Errorf("a record with broken data: %s", got.String())
	}
}

type both struct {
	View
	told *[]journal.Record
}

func (b both) Show(r journal.Record) {
	*b.told = append(*b.told, r)
	b.View.Show(r)
}

// TestClosedPipe: a view whose writer fails writes no more and the deploy's records still come in.
func TestClosedPipe(t *testing.T) {
	for name, view := range map[string]func(w *gone) View{
		"lines": func(w *gone) View { return Lines(w) },
		"json":  func(w *gone) View { return JSON(w) },
		"live":  func(w *gone) View { return Live(w, func() (int, int) { return 80, 24 }, LiveOptions{}) },
	} {
		w := &gone{left: 3}
		rolledBack(view(w))
		if w.tried != 4 {
			t.Errorf("%s: %d writes, want the three that went well and the one that failed", name, w.tried)
		}
	}
}

// TestHungTerminal: Close ends although a write hangs, as on a terminal that was stopped by Ctrl-S.
func TestHungTerminal(t *testing.T) {
	for name, view := range map[string]func(w hung, tick chan time.Time) View{
		"lines": func(w hung, _ chan time.Time) View { return Lines(w) },
		"json":  func(w hung, _ chan time.Time) View { return JSON(w) },
		"live": func(w hung, tick chan time.Time) View {
			return Live(w, func() (int, int) { return 80, 24 }, LiveOptions{Tick: tick})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := hung{make(chan struct{})}
				v := view(w, make(chan time.Time))
				go v.Show(journal.Record{Kind: journal.Begin, At: time.Now(), Deploy: "d"})
				synctest.Wait()
				began := time.Now()
				v.Close()
				if took := time.Since(began); took > 2*patience {
					t.Errorf("Close took %v", took)
				}
				close(w.free)
				synctest.Wait()
			})
		})
	}
}

type hung struct{ free chan struct{} }

func (h hung) Write(b []byte) (int, error) { <-h.free; return len(b), nil }

// TestAfterClose: nothing is written after Close, and Close may be called again.
func TestAfterClose(t *testing.T) {
	var b bytes.Buffer
	for _, v := range []View{Lines(&b), JSON(&b), Live(&b, func() (int, int) { return 80, 24 }, LiveOptions{})} {
		deployed(v)
		n := b.Len()
		v.Show(journal.Record{Kind: journal.Note, Text: "late"})
		if v.Close(); b.Len() != n {
			t.Errorf("%T wrote %q after its end", v, b.Bytes()[n:])
		}
	}
}

// TestResumed: a view that is told of the past speaks of the whole, and writes only what is new.
func TestResumed(t *testing.T) {
	var past []journal.Record
	inconsistent(both{JSON(new(bytes.Buffer)), &past})
	var b bytes.Buffer
	v := Lines(&b)
	Recall(v, slices.Values(past))
	k := newTale(v)
	k.at = k.at.Add(time.Hour)
	k.host(journal.Intent, journal.Rollback, "production", fleet[1], "", 0)
	k.host(journal.Undone, journal.Rollback, "production", fleet[1], "", time.Second)
	k.host(journal.Intent, journal.Rollback, "production", fleet[2], "", 0)
	k.host(journal.Undone, journal.Rollback, "production", fleet[2], "", time.Second)
	k.end(journal.RolledBack, "rolled back, every target is proven on the previous release")
	golden(t, "resumed.lines", b.String())
}

// TestWithoutBeginning: records without an outline make a story of what they name; none at all make none.
func TestWithoutBeginning(t *testing.T) {
	var b bytes.Buffer
	Lines(&b).Close()
	if b.Len() > 0 {
		t.Errorf("a deploy that never began: %q", b.String())
	}
	v := Lines(&b)
	k := newTale(v)
	k.tell(0, journal.Record{Kind: journal.Begin, Data: json.RawMessage(`{"phases": 7}`)})
	k.host(journal.Intent, journal.Activate, "", "a", "", 0)
	k.host(journal.Done, journal.Activate, "", "a", "", time.Second)
	k.host(journal.Intent, journal.Activate, "p", "b", "", 0)
	v.Close()
	for _, want := range []string{"hosts: a proven on aaaaaaaaaaaa, 1/1, 1.0s", "NO END SEEN", "1 host NOT proven: b (activating)", "`scap resume` ends it"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("want %q:\n%s", want, b.String())
		}
	}
}

// FuzzClean: whatever a text holds, what is shown is one line that no terminal obeys.
func FuzzClean(f *testing.F) {
	for seed, want := range map[string]string{
		"a\x1b[2Jb": `a\x1b[2Jb`, "a\r\nb\n": "a; b", "\u202eexe": `\u202eexe`, "\xff\xc2": `\xff\xc2`, "\u009b1m": `\u009b1m`, "naïve 維基 🙂": "naïve 維基 🙂", "a\u00a0b": `a\u00a0b`,
	} {
		f.Add(seed)
		if got := Clean(seed); got != want {
			f.Fatalf("%q: have %q, want %q", seed, got, want)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := Clean(text)
		if strings.ContainsFunc(got, func(c rune) bool { return !unicode.IsPrint(c) }) {
			t.Fatalf("%q", got)
		}
		for _, n := range []int{0, 1, 2, 7, 80} {
			if cut := Fit(got, n); Cells(cut) > n {
				t.Fatalf("%q takes %d columns of %d", cut, Cells(cut), n)
			}
		}
		whole := ""
		for _, l := range Wrap(got, 20) {
			if Cells(l) > 20 {
				t.Fatalf("%q takes %d columns of 20", l, Cells(l))
			}
			whole += l
		}
		if strings.ReplaceAll(whole, " ", "") != strings.ReplaceAll(got, " ", "") {
			t.Fatalf("wrapping %q lost something: %q", got, whole)
		}
	})
}
