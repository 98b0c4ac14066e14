package change

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMessage(t *testing.T) {
	change := func(n int, subject string, bugs ...string) Change {
		c := Change{Number: n, Subject: subject, Message: subject + "\n\n"}
		for _, bug := range bugs {
			c.Message += "Bug: " + bug + "\n"
		}
		return c
	}
	for _, row := range []struct {
		name string
		cs   []Change
		want string
	}{
		{"none", nil, "Backport"},
		{"one", []Change{change(1001, "Fix it")}, "Backport for [[gerrit:1001|Fix it]]"},
		{"with its task", []Change{change(1001, "Fix it", "T123")}, "Backport for [[gerrit:1001|Fix it (T123)]]"},
		{"with its tasks", []Change{change(1001, "Fix it", "T123", "T9")}, "Backport for [[gerrit:1001|Fix it (T123 T9)]]"},
		{"two", []Change{change(1001, "Fix it", "T123"), change(1002, "Add it")}, "Backport for [[gerrit:1001|Fix it (T123)]], [[gerrit:1002|Add it]]"},
		{"a private change", []Change{change(0, "Stop the leak of passwords", "T123"), change(1002, "Add it")}, "Backport for a private change, [[gerrit:1002|Add it]]"},
		{"private in Gerrit", []Change{{Number: 1001, Private: true, Subject: "Stop the leak", Message: "Bug: T1"}}, "Backport for [[gerrit:1001|a private change]]"},
		{"no subject", []Change{change(1001, "")}, "Backport for [[gerrit:1001]]"},
		{"no subject but a task", []Change{change(1001, "", "T1")}, "Backport for [[gerrit:1001|(T1)]]"},
		{"brackets", []Change{change(1001, "Link [[Main Page]]]")}, "Backport for [[gerrit:1001|Link [ [Main Page] ] ] ]]"},
		{"a revert", []Change{change(1001, `Revert "Fix it"`)}, `Backport for [[gerrit:1001|Revert "Fix it"]]`},
		{"what does not print", []Change{change(1001, "a\nb\x1b[2J\u202ec 維基")}, "Backport for [[gerrit:1001|a b [2J c 維基]]"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if have := Message(row.cs); have != row.want {
				t.Errorf("have %s\nwant %s", have, row.want)
			}
		})
	}
	t.Run("as long as allowed", func(t *testing.T) {
		for size := 1; size < 300; size++ {
			have := Message(slices.Repeat([]Change{change(1001, strings.Repeat("x", size))}, 400))
			if len(have) > maxMessage || len(have) < maxMessage-len(" and 400 more")-size-20 {
				t.Errorf("subjects of %d bytes: a message of %d", size, len(have))
			}
		}
	})
	t.Run("many", func(t *testing.T) {
		var cs []Change
		for n := range 300 {
			cs = append(cs, change(1000+n, strings.Repeat("維", 200), "T1"))
		}
		have := Message(cs)
		shown := strings.Count(have, "[[gerrit:")
		if len(have) > maxMessage || len(have) < maxMessage-1000 || !utf8.ValidString(have) || !strings.HasSuffix(have, fmt.Sprintf("]] and %d more", 300-shown)) {
			t.Errorf("%d bytes: %s", len(have), have)
		}
	})
}
