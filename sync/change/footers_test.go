package change

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var messages = []struct {
	name, text string
	want       map[string][]string
}{
	{"none", "Fix it", map[string][]string{}},
	{"empty", "", map[string][]string{}},
	{
		"usual", "Fix it\n\nBecause of this:\nand that.\n\nBug: T1\nBug: T2\nDepends-On: I1\nChange-Id: I2\n",
		map[string][]string{"bug": {"T1", "T2"}, "depends-on": {"I1"}, "change-id": {"I2"}},
	},
	{
		"behind a cherry-pick's own paragraph", "Fix it\n\nDepends-On: I1\nChange-Id: I2\n\n(cherry picked from commit 0a1b)\n",
		map[string][]string{"depends-on": {"I1"}, "change-id": {"I2"}},
	},
	{"any case", "x\n\nDEPENDS-ON: I1\ndepends-on: I2\n", map[string][]string{"depends-on": {"I1", "I2"}}},
	{"no blank behind the colon, many, and CRLF", "x\r\n\r\nBug:T1\r\nBug:  \t T2 \r\n", map[string][]string{"bug": {"T1", "T2"}}},
	{"indented is a quotation", "x\n\n Bug: T1\n> Bug: T2\n", map[string][]string{}},
	{"no value", "x\n\nBug:\nBug: \n", map[string][]string{}},
	{"no name", "x\n\n: T1\nA b: c\n1a: b\n-a: b\nä: b\n", map[string][]string{}},
	{"an address is none but by its looks", "x\n\nhttps://a.example/b\n", map[string][]string{"https": {"//a.example/b"}}},
	{"no end of line", "x\n\nBug: T1", map[string][]string{"bug": {"T1"}}},
}

func TestFooters(t *testing.T) {
	for _, m := range messages {
		t.Run(m.name, func(t *testing.T) {
			if diff := cmp.Diff(m.want, Footers(m.text)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzFooters(f *testing.F) {
	for _, m := range messages {
		f.Add(m.text)
		if diff := cmp.Diff(m.want, Footers(m.text)); diff != "" {
			f.Fatal(m.name, diff)
		}
	}
	f.Add("x\n\nBug: T1,T2 T3\nBug: T\nBug: T01\nBug: T9999999999\n")
	f.Add("x\n" + strings.Repeat("Depends-On: I\n", 500))
	f.Fuzz(func(t *testing.T, text string) {
		size := 0
		for name, values := range Footers(text) {
			if name != strings.ToLower(name) || name == "" || len(values) == 0 {
				t.Fatalf("%q: %q", name, values)
			}
			for _, v := range values {
				if size += len(v); v == "" || strings.TrimSpace(v) != v || strings.Contains(v, "\n") || !strings.Contains(text, v) {
					t.Fatalf("%q: %q", name, v)
				}
			}
		}
		if size > len(text) {
			t.Fatal("more came out than went in")
		}
		c := Change{Number: 1001, Message: text, Subject: text, URL: gerrit + "/c/x/+/1001"}
		for _, bug := range Bugs(c) {
			if !isTask(bug) {
				t.Fatalf("%q", bug)
			}
		}
		for _, on := range dependsOn(&c) {
			if ref := parseReference(on, site(&c)); ref.id != "" && (ref.number != 0 || len(ref.id) != 41) || ref.number < 0 {
				t.Fatalf("%q: %v", on, ref)
			}
		}
		if m := Message([]Change{c, c}); len(m) > maxMessage || strings.ContainsAny(m, "\n\r\x1b") || strings.Count(m, "]]") != 2 || strings.Count(m, "[[") != 2 {
			t.Fatalf("%q", m)
		}
	})
}

func TestBugs(t *testing.T) {
	for name, row := range map[string]struct {
		text string
		want []string
	}{
		"one":               {"Bug: T123", []string{"T123"}},
		"several, in order": {"Bug: T3\nBug: T1\nBug: T2", []string{"T3", "T1", "T2"}},
		"each once":         {"Bug: T1\nBug: T1", []string{"T1"}},
		"in one line":       {"Bug: T1, T2 T3,T4", []string{"T1", "T2", "T3", "T4"}},
		"no tasks":          {"Bug: 123\nBug: t123\nBug: T\nBug: T0\nBug: T12a\nBug: T1234567890\nBug: T１\nTask: T5", nil},
		"no bug at all":     {"Fix T123", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, Bugs(Change{Message: "x\n\n" + row.text + "\n"})); diff != "" {
				t.Error(diff)
			}
		})
	}
	var many strings.Builder
	for n := range 200 {
		many.WriteString("Bug: T1" + strings.Repeat("0", n%8) + string(rune('1'+n%9)) + "\n")
	}
	if n := len(Bugs(Change{Message: many.String()})); n > maxBugs {
		t.Error(n)
	}
}

func TestReferences(t *testing.T) {
	base := Change{URL: gerrit + "/c/mediawiki/core/+/1001"}
	for text, want := range map[string]reference{
		id("A"):                                    {id: id("A")},
		strings.ToUpper(id("A")):                   {id: id("A")},
		strings.ToLower(id("A")):                   {id: id("A")},
		"1002":                                     {number: 1002},
		gerrit + "/c/mediawiki/core/+/1002":        {number: 1002},
		"https://gerrit.example.org/1002":          {number: 1002},
		"https://github.com/wikimedia/foo/pull/12": {},
		"https://gerrit.example.com/r/c/x/+/1002":  {},
		id("A") + "0":                              {},
		"I123":                                     {},
		"see above":                                {},
	} {
		if have := parseReference(text, site(&base)); have != want {
			t.Errorf("%q: have %v, want %v", text, have, want)
		}
	}
	if have := parseReference(gerrit+"/1002", site(&Change{})); have != (reference{}) {
		t.Error("an address counts although nobody knows the Gerrit's own", have)
	}
	c := Change{Message: "x\n\nDepends-On: I1\nDepends-On: I1\nDepends-On: I2\n"}
	if have := dependsOn(&c); !slices.Equal(have, []string{"I1", "I2"}) {
		t.Error(have)
	}
}
