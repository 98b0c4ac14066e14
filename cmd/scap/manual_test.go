package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// TestManualFits holds that every manual fits a terminal of 80 columns; only a command to copy may be longer.
func TestManualFits(t *testing.T) {
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		cmd.InitDefaultHelpFlag()
		for _, line := range strings.Split(cmd.Long+"\n"+cmd.UsageString(), "\n") {
			if n := utf8.RuneCountInString(line); n > helpColumns && !strings.HasPrefix(line, "  scap ") {
				t.Errorf("%s: %d columns: %s", cmd.CommandPath(), n, line)
			}
		}
		for _, c := range cmd.Commands() {
			look(c)
		}
	}
	look(newRootCommand(&app{}))
}

func TestFit(t *testing.T) {
	long := strings.TrimSpace(strings.Repeat("word ", 20))
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"a\nb", "a b"},
		{"a\n\nb\n", "a\n\nb"},
		{"list:\n  1  one\n  2  two\nafter", "list:\n  1  one\n  2  two\nafter"},
		{long, long[:79] + "\n" + long[80:]},
	} {
		if got := fit(c.text); got != c.want {
			t.Errorf("fit(%q) = %q, want %q", c.text, got, c.want)
		}
	}
}
