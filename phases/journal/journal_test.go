package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func create(t *testing.T, deploy string) *Writer {
	t.Helper()
	w, err := Create(t.TempDir(), deploy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func add(t *testing.T, w *Writer, rs ...Record) (out []Record) {
	t.Helper()
	for _, r := range rs {
		r, err := w.Append(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func TestWhatIsAppendedIsReadEvenHostileText(t *testing.T) {
	w := create(t, "d1")
	hostile := "a\nb\r\n\"}\x00\x1b[2J\u2028 <&> \xff\xfe" + strings.Repeat("é", MaxText)
	want := add(t, w,
		Record{Kind: Begin, Data: json.RawMessage("{\n\"message\":\n\"x\"}")},
		Record{Kind: Intent, Act: Activate, Target: hostile[:20], From: "a", To: "b", Token: 1<<64 - 1},
		Record{Kind: Note, Text: hostile},
		Record{Kind: End, Verdict: Deployed})
	got, err := Load(w.Path())
	if err != nil {
		t.Fatal(err)
	}
	want[0].Data = json.RawMessage(`{"message":"x"}`)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-written +read\n%s", d)
	}
	if n := len(got[2].Text); n > MaxText || !strings.HasSuffix(got[2].Text, "é [cut]") || got[0].Deploy != "d1" || got[3].Seq != 4 {
		t.Errorf("text of %d bytes; %+v", n, got[3])
	}
}

func TestAppendRefusesWhatCouldNotBeRead(t *testing.T) {
	w := create(t, "d1")
	for _, r := range []Record{
		{},
		{Kind: Note, Data: json.RawMessage("{")},
		{Kind: Note, Data: json.RawMessage(`"` + strings.Repeat("x", MaxLine) + `"`)},
	} {
		if _, err := w.Append(r); err == nil {
			t.Errorf("%.60v was written", r)
		}
	}
	if got := add(t, w, Record{Kind: Note}); got[0].Seq != 1 {
		t.Errorf("seq %d after refusals", got[0].Seq)
	}
}

func TestATornTailIsLeftOutAndCutOff(t *testing.T) {
	whole := Record{Kind: Intent, Act: Activate, Target: "app01"}
	line := `{"seq":3,"at":"2026-01-01T00:00:00Z","deploy":"d1","kind":"done"}`
	tails := map[string]string{
		"nothing": "", "half": line[:20], "no newline": line, "zeros": strings.Repeat("\x00", 300), "zeros and a newline": strings.Repeat("\x00", 60) + "\n",
		"zeros, then its end": strings.Repeat("\x00", 20) + line[20:] + "\n", "garbage": "\xff\xfe{\n", "too long": strings.Repeat("x", MaxLine+10), "empty line": "\n",
	}
	for name, tail := range tails {
		t.Run(name, func(t *testing.T) {
			w := create(t, "d1")
			want := add(t, w, Record{Kind: Begin, Data: json.RawMessage("{}")}, whole)
			w.Close()
			f, err := os.OpenFile(w.Path(), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteString(tail); err != nil {
				t.Fatal(err)
			}
			f.Close()
			got, err := Load(w.Path())
			if d := cmp.Diff(want, got); d != "" || err != nil {
				t.Fatalf("%v\n%s", err, d)
			}
			again, err := Open(w.Path())
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if again.Torn() != int64(len(tail)) || again.Seq() != 2 {
				t.Errorf("torn %d, want %d; seq %d", again.Torn(), len(tail), again.Seq())
			}
			want = append(want, add(t, again, Record{Kind: End, Verdict: RolledBack})...)
			got, err = Load(w.Path())
			if d := cmp.Diff(want, got); d != "" || err != nil {
				t.Fatalf("%v\n%s", err, d)
			}
		})
	}
}

func TestCorruptionInTheMiddleIsAnErrorWithItsLine(t *testing.T) {
	record := func(seq int, deploy string) string {
		return fmt.Sprintf(`{"seq":%d,"at":"2026-01-01T00:00:00Z","deploy":%q,"kind":"note"}`+"\n", seq, deploy)
	}
	good := record(1, "d1") + record(2, "d1")
	for name, bad := range map[string]string{
		"garbage": "xx\n", "empty line": "\n", "gap": record(4, "d1"), "again": record(2, "d1"), "other deploy": record(3, "d2"), "zeros": strings.Repeat("\x00", 100) + "\n",
		"unknown field": strings.Replace(record(3, "d1"), `"seq"`, `"sec":1,"seq"`, 1), "two values": strings.TrimSuffix(record(3, "d1"), "\n") + record(4, "d1"),
		"no kind": strings.Replace(record(3, "d1"), `"note"`, `""`, 1), "too long": strings.Repeat("x", 2*MaxLine) + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "d1.jsonl")
			if err := os.WriteFile(path, []byte(good+bad+record(4, "d1")+record(5, "d1")), 0o644); err != nil {
				t.Fatal(err)
			}
			rs, err := Load(path)
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "line 3") || len(rs) != 2 {
				t.Errorf("%d records, %v", len(rs), err)
			}
			before, _ := os.ReadFile(path)
			if _, err := Open(path); !errors.Is(err, ErrCorrupt) {
				t.Errorf("open: %v", err)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("open changed a corrupt journal")
			}
			if d := Summary(path); !errors.Is(d.Err, ErrCorrupt) {
				t.Errorf("%+v", d)
			}
		})
	}
}

func TestOneWriter(t *testing.T) {
	w := create(t, "d1")
	if _, err := Open(w.Path()); !errors.Is(err, ErrBusy) {
		t.Errorf("second writer: %v", err)
	}
	if _, err := Create(filepath.Dir(w.Path()), "d1"); !errors.Is(err, os.ErrExist) {
		t.Errorf("second journal: %v", err)
	}
	w.Close()
	if _, err := w.Append(Record{Kind: Note}); err == nil {
		t.Error("appended to a closed journal")
	}
	again, err := Open(w.Path())
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	for _, name := range []string{"", ".", "..", ".d", "-rf", "a/b", "a\nb", strings.Repeat("a", 101)} {
		if _, err := Create(t.TempDir(), name); err == nil {
			t.Errorf("made a journal of %q", name)
		}
	}
	if name := NewDeploy(time.Unix(0, 0), "../jd é\n"); checkDeploy(name) != nil || name != "19700101T000000.000Z-.._jd___" {
		t.Errorf("%q", name)
	}
}

func blocks(t *testing.T, path string) (size, allocated int64) {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Size(), fi.Sys().(*syscall.Stat_t).Blocks * 512
}

func TestRoomIsReservedAheadAndGivenBack(t *testing.T) {
	w := create(t, "d1")
	if err := w.Reserve(4 << 20); err != nil {
		t.Fatal(err)
	}
	if w.end == 0 {
		t.Skip("this file system reserves nothing")
	}
	if size, got := blocks(t, w.Path()); size != 0 || got < 4<<20 {
		t.Errorf("size %d, allocated %d", size, got)
	}
	big := json.RawMessage(`"` + strings.Repeat("x", 900<<10) + `"`)
	for range 6 { // more than was reserved at first
		add(t, w, Record{Kind: Note, Data: big})
		if size, got := blocks(t, w.Path()); got < size+2<<20 {
			t.Fatalf("size %d, allocated %d", size, got)
		}
	}
	if err := w.Room(); err != nil {
		t.Error(err)
	}
	w.noRoom = syscall.ENOSPC // as when the next reserve was refused
	if w.end = w.size + 1<<20; w.Room() == nil {
		t.Error("says that there is room")
	}
	w.Close()
	if size, got := blocks(t, w.Path()); got > size+64<<10 {
		t.Errorf("closed: size %d, allocated %d", size, got)
	}
}

func TestAFailedWriteLeavesNoHalfRecord(t *testing.T) {
	w := create(t, "d1")
	add(t, w, Record{Kind: Note, Text: "one"})
	good := w.file
	readOnly, err := os.Open(w.Path())
	if err != nil {
		t.Fatal(err)
	}
	w.file = readOnly
	if _, err := w.Append(Record{Kind: Note, Text: "lost"}); err == nil {
		t.Fatal("no error")
	}
	readOnly.Close()
	w.file = good
	add(t, w, Record{Kind: Note, Text: "two"})
	rs, err := Load(w.Path())
	if err != nil || len(rs) != 2 || rs[1].Seq != 2 || rs[1].Text != "two" {
		t.Errorf("%v: %+v", err, rs)
	}
}

func TestAppendFromManyIsInOrder(t *testing.T) {
	w := create(t, "d1")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 10 {
				if _, err := w.Append(Record{Kind: Note, Target: fmt.Sprint(i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if rs, err := Load(w.Path()); err != nil || len(rs) != 80 {
		t.Errorf("%d records, %v", len(rs), err)
	}
}

func TestUndo(t *testing.T) {
	act := func(k Kind, target, from, to string) Record {
		return Record{Kind: k, Act: Activate, Phase: "p", Target: target, From: from, To: to, Token: 3}
	}
	way := func(target, from, to string) Way {
		return Way{Target: target, Phase: "p", From: from, To: to, Token: 3}
	}
	returned := act(Failed, "a", "", "")
	returned.Verdict = Returned
	tests := map[string]struct {
		in   []Record
		want []Way
	}{
		"nothing":             {},
		"lone intent":         {[]Record{act(Intent, "a", "1", "2")}, []Way{way("a", "1", "2")}},
		"done":                {[]Record{act(Intent, "a", "1", "2"), act(Done, "a", "1", "2")}, []Way{way("a", "1", "2")}},
		"failed":              {[]Record{act(Intent, "a", "1", "2"), act(Failed, "a", "1", "2")}, []Way{way("a", "1", "2")}},
		"failed and returned": {[]Record{act(Intent, "a", "1", "2"), returned}, nil},
		"undone":              {[]Record{act(Intent, "a", "1", "2"), {Kind: Undone, Act: Rollback, Target: "a"}}, nil},
		"undone, again":       {[]Record{act(Intent, "a", "1", "2"), {Kind: Undone, Target: "a"}, act(Intent, "a", "1", "2")}, []Way{way("a", "1", "2")}},
		"newest first":        {[]Record{act(Intent, "a", "1", "2"), act(Intent, "b", "1", "2"), act(Done, "a", "1", "2")}, []Way{way("b", "1", "2"), way("a", "1", "2")}},
		"twice": {
			[]Record{act(Intent, "a", "1", "2"), act(Intent, "b", "1", "2"), act(Intent, "a", "2", "2")},
			[]Way{way("a", "1", "2"), way("b", "1", "2")},
		},
		"other acts": {[]Record{{Kind: Intent, Act: Stage, Target: "a"}, {Kind: Intent, Act: Rollback, Target: "a"}, {Kind: Failed, Act: Stage, Target: "a", Verdict: Returned}}, nil},
	}
	for name, tt := range tests {
		if d := cmp.Diff(tt.want, Undo(slices.Values(tt.in)), cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s: -want +got\n%s", name, d)
		}
	}
}

func TestListAndLastGood(t *testing.T) {
	dir := t.TempDir()
	n := 0
	deploy := func(from, to, how string, more ...Record) {
		n++
		w, err := Create(dir, fmt.Sprintf("d%d", n))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		at := time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC)
		o := Outline{Back: how == "back"}
		if how == "revert" {
			o.Verb = VerbRevert
		}
		outline, _ := json.Marshal(o)
		if o.Away() {
			how = Deployed
		}
		add(t, w, Record{Kind: Begin, At: at, To: to, Data: outline}, Record{Kind: Done, Act: Preflight, From: from})
		add(t, w, more...)
		if how != "" {
			add(t, w, Record{Kind: End, Verdict: how, At: at.Add(time.Hour)})
		}
	}
	act, fail := Record{Kind: Intent, Act: Activate}, Record{Kind: Ruled, Verdict: "fail"}
	good := func(current, want string) {
		t.Helper()
		ds, err := List(dir)
		if got, ok := LastGood(ds, current); err != nil || got != want || ok != (want != "") {
			t.Errorf("after %d deploys on %s: %q, %v; want %q", n, current, got, err, want)
		}
	}
	good("A", "")
	deploy("A", "B", Deployed, act)
	good("B", "A") // A was adopted: no deploy has it as its To
	deploy("B", "C", RolledBack, act, fail)
	good("B", "A")
	deploy("B", "D", Deployed, act)
	good("D", "B")
	deploy("D", "C", Unchanged)
	deploy("D", "C", Deployed, act) // with the gate off, though one had failed it
	good("C", "D")
	deploy("C", "D", "back", act)
	good("D", "B") // never to C
	if _, ok, err := Unfinished(dir); ok || err != nil {
		t.Errorf("unfinished: %t, %v", ok, err)
	}
	deploy("D", "E", "", act)
	if d, ok, err := Unfinished(dir); !ok || err != nil || d.Name != "d7" || d.From != "D" || d.To != "E" || !d.Changed {
		t.Errorf("unfinished: %+v, %t, %v", d, ok, err)
	}
	deploy("", "F", Unchanged) // refused, because of d7
	if d, ok, _ := Unfinished(dir); !ok || d.Name != "d7" {
		t.Errorf("unfinished: %+v", d)
	}
	if d, ok, err := Latest(dir); !ok || err != nil || d.Name != "d8" || d.How != Unchanged {
		t.Errorf("latest: %+v, %t, %v", d, ok, err)
	}
	deploy("D", "E", Inconsistent, act)
	if d, ok, _ := Unfinished(dir); !ok || d.Name != "d9" || d.Ended.IsZero() {
		t.Errorf("unfinished: %+v", d)
	}
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if ds, err := List(filepath.Join(dir, "none")); len(ds) != 0 || err != nil {
		t.Errorf("%v, %v", ds, err)
	}
	deploy("K", "L", Deployed, act)
	good("L", "K")
	deploy("L", "M", "revert", act)
	good("M", "K") // nobody who reverts wants what was reverted back
}

// memory is a journal without a disk.
type memory struct {
	n   uint64
	err error
}

func (m *memory) Append(r Record) (Record, error) {
	if m.err != nil {
		return r, m.err
	}
	m.n++
	r.Seq = m.n
	return r, nil
}

func TestObserversNeitherDelayNorBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fast, slow []uint64
		stuck := make(chan struct{})
		m := &memory{}
		tee := NewTee(m,
			func(r Record) { fast = append(fast, r.Seq) },
			nil,
			func(Record) { panic("closed pipe") },
			func(r Record) { <-time.After(time.Second); slow = append(slow, r.Seq) },
			func(Record) { <-stuck })
		start := time.Now()
		for range 100 {
			if _, err := tee.Append(Record{Kind: Note}); err != nil {
				t.Fatal(err)
			}
		}
		tee.Tell(Record{Kind: Note, Seq: 101})
		m.err = errors.New("disk")
		if _, err := tee.Append(Record{}); err == nil {
			t.Error("no error")
		}
		if time.Since(start) != 0 {
			t.Errorf("appending took %v", time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if err := tee.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("flush with a stuck observer: %v", err)
		}
		close(stuck)
		if err := tee.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		for _, got := range [][]uint64{fast, slow} {
			if len(got) != 101 || !slices.IsSorted(got) {
				t.Errorf("told %v", got)
			}
		}
	})
}

// Cut at any byte, the journal reads as its whole lines, can be taken up, and never fails.
func TestCutAnywhere(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		w, err := Create(dir, fmt.Sprintf("d%d", n))
		if err != nil {
			t.Fatal(err)
		}
		var ends []int64
		for range rapid.IntRange(0, 6).Draw(t, "records") {
			if _, err := w.Append(Record{Kind: Note, Text: rapid.String().Draw(t, "text")}); err != nil {
				t.Fatal(err)
			}
			ends = append(ends, w.size)
		}
		w.Close()
		cut := rapid.Int64Range(0, w.size).Draw(t, "cut")
		if err := os.Truncate(w.Path(), cut); err != nil {
			t.Fatal(err)
		}
		want := 0
		for _, e := range ends {
			if e <= cut {
				want++
			}
		}
		rs, err := Load(w.Path())
		if err != nil || len(rs) != want {
			t.Fatalf("cut at %d of %v: %d records, %v; want %d", cut, ends, len(rs), err, want)
		}
		again, err := Open(w.Path())
		if err != nil || again.Seq() != uint64(want) {
			t.Fatal(err)
		}
		again.Close()
	})
}

func FuzzRead(f *testing.F) {
	line := `{"seq":1,"at":"2026-01-01T00:00:00Z","deploy":"d1","kind":"begin","data":{"phases":[]}}` + "\n"
	seeds := []string{
		"", "\n", line, line[:40], line + line, line + strings.Replace(line, `"seq":1`, `"seq":2`, 1), line + "\x00\x00\x00", strings.TrimSpace(line),
		line + "\xff\n" + line, `{"seq":18446744073709551616}` + "\n", `{"kind":1}` + "\n", strings.Repeat("[", 10000) + "\n",
	}
	if len(seeds) < 10 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var again bytes.Buffer
		n, failed := uint64(0), false
		for r, err := range records(bytes.NewReader(b)) {
			if failed {
				t.Fatal("went on after an error")
			}
			if err != nil {
				failed = true
				continue
			}
			if n++; r.Seq != n || r.Kind == "" || checkDeploy(r.Deploy) != nil {
				t.Fatalf("record %d: %+v", n, r)
			}
			line, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			again.Write(append(line, '\n'))
		}
		count := uint64(0)
		for _, err := range records(&again) {
			if err != nil {
				t.Fatalf("what was read does not read again: %v", err)
			}
			count++
		}
		if count != n {
			t.Fatalf("%d records, %d again", n, count)
		}
	})
}
