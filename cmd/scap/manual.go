package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// helpColumns is how wide the manual is: it fits any terminal, and is read more easily than a wider one.
const helpColumns = 80

// fitHelp fits the manual of root and of all verbs below it into helpColumns.
func fitHelp(root *cobra.Command) {
	wrapped := fmt.Sprintf("Flags.FlagUsagesWrapped %d", helpColumns)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "Flags.FlagUsages", wrapped))
	fitText(root)
}

func fitText(cmd *cobra.Command) {
	cmd.Long = fit(cmd.Long)
	for _, c := range cmd.Commands() {
		fitText(c)
	}
}

// fit fills paragraphs anew. A line that begins with a space stays as it is: it is part of a list.
func fit(text string) string {
	var b strings.Builder
	at := 0
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || line[0] == ' ' {
			if at > 0 {
				b.WriteByte('\n')
			}
			b.WriteString(line + "\n")
			at = 0
			continue
		}
		for _, w := range words {
			switch {
			case at > 0 && at+1+len(w) > helpColumns:
				b.WriteByte('\n')
				at = 0
			case at > 0:
				b.WriteByte(' ')
				at++
			}
			b.WriteString(w)
			at += len(w)
		}
	}
	return strings.TrimRight(b.String(), "\n")
}
