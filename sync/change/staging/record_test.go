package staging

import (
	"errors"
	"os"
	"strings"
	"testing"

	"scap/sync/change"
	"scap/sync/release"
)

func TestRecords(t *testing.T) {
	w := newWorld(t, t.TempDir())
	b := w.build(nil, w.commit("", "config", repoFiles{"a": "1"}))
	s := w.stager()
	r := b.Record
	r.Changes = []change.Pick{{Number: 1001, PatchSet: 2, Revision: strings.Repeat("1", 40)}}
	must(t, s.Save(r)) // the merge gives the same tree other commits
	got, err := s.Record(r.Release)
	must(t, err)
	if len(got.Changes) != 1 || got.Changes[0].Number != 1001 {
		t.Errorf("read %v", got)
	}
	if st, err := os.Stat(s.RecordPath(r.Release)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	other := release.ID(release.SumOf([]byte("other")))
	if _, err := s.Record(other); !errors.Is(err, ErrNoRecord) {
		t.Error(err)
	}
	must(t, os.Rename(s.RecordPath(r.Release), s.RecordPath(other)))
	if _, err := s.Record(other); err == nil || errors.Is(err, ErrNoRecord) {
		t.Errorf("another release's record: %v", err)
	}
	if err := s.Save(&Record{}); err == nil {
		t.Error("saved a record of no release")
	}
}

// FuzzRecord wants a record that is accepted to say what it is of, once for each place.
func FuzzRecord(f *testing.F) {
	id := strings.Repeat("ab", 32)
	good := `{"release":"` + id + `","made":"2023-01-17T18:16:00Z","parts":[{"path":"","project":"p","commit":"c","tree":"t","head":"h"}]}`
	for text, ok := range map[string]bool{
		good: true, strings.Replace(good, `"made"`, `"mad"`, 1): false, good + good: false, "": false, "{}": false, "null": false,
		strings.Replace(good, `"tree":"t"`, `"tree":""`, 1):                                    false,
		strings.Replace(good, `[{`, `[{"path":"","project":"q","commit":"c","tree":"t"},{`, 1): false,
	} {
		if _, err := decodeRecord([]byte(text)); (err == nil) != ok {
			f.Fatalf("%s: %v", text, err)
		}
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := decodeRecord(text)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, p := range r.Parts {
			if seen[p.Path] || p.Final() == "" {
				t.Errorf("accepted part %q", p.Path)
			}
			seen[p.Path] = true
		}
		if r.Release.IsZero() {
			t.Error("accepted a record of nothing")
		}
	})
}

// FuzzWikiversions wants PHP that is accepted to have each wiki on a line of its own, quoted.
func FuzzWikiversions(f *testing.F) {
	for text, ok := range map[string]bool{
		`{"enwiki":"php-1"}`: true, `{"a'b\\":"php-1"}`: true, `{"enwiki":"php-2"}`: false, `{"enwiki":"php-1","enwiki":"php-1"}`: false, `[]`: false, `{}`: false, ``: false, `null`: false,
		`{"a":null}`: false,
	} {
		if _, err := compileWikiversions([]byte(text), func(v string) bool { return v == "php-1" }); (err == nil) != ok {
			f.Fatalf("%s: %v", text, err)
		}
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		out, err := compileWikiversions(text, func(string) bool { return true })
		if err != nil {
			return
		}
		quotes := strings.NewReplacer(`\\`, "", `\'`, "").Replace(string(out))
		if n := strings.Count(quotes, "'"); n == 0 || n%4 != 0 {
			t.Errorf("%d quotes in %q", n, out)
		}
	})
}
